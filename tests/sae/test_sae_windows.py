"""Windows as examples: which bins they hold, what encoders make of them, and what they predict."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from nldisco_sae.architecture import Parameters
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.sequences import SequenceParameters, TransformerParameters
from nldisco_sae.single_level_config import VanillaConfig
from nldisco_sae.sparsifier import sparsifier_of
from nldisco_sae.training import Trainer
from nldisco_sae.vanilla import VanillaSAE
from nldisco_sae.windows import ExampleShape
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.config import parse
from nldisco_core.conformance.models import check_model
from nldisco_core.conformance.toys import toy_binned
from nldisco_core.errors import ConfigError, IncompatibleData
from nldisco_core.interfaces import Requirements
from nldisco_core.metrics import evaluate

CPU = torch.device("cpu")
ENCODERS = ("linear", "convolution", "transformer")
REGIONS = {"region": ("a",)}, {"region": ("b",)}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def two_regions(n_bins: int = 400, n_units: int = 6, *, seed: int = 0) -> Binned:
    """One session of trials of 40 bins, half of the units in region a and half in b."""
    data = toy_binned(n_bins=n_bins, n_units=n_units, n_trials=n_bins // 40)
    session = data.sessions[0]
    regions = np.where(np.arange(n_units) < n_units // 2, "a", "b")
    values = np.random.default_rng(seed).gamma(1.0, 1.0, session.activity.shape).astype(np.float32)
    session = replace(session, units=session.units.assign(region=regions), activity=values)
    return replace(data, sessions=(session,), activity_kind="continuous")


@pytest.mark.parametrize(
    "shape",
    [
        ExampleShape(window=4),
        ExampleShape(window=4, target="last"),
        ExampleShape(window=3, target_lag=2),
        ExampleShape(window=3, target="last", target_lag=2, input_units=REGIONS[0], target_units=REGIONS[1]),
        ExampleShape(target_lag=5, target_units=REGIONS[0]),
    ],
)
def test_examples_are_views_of_the_bins_that_a_loop_collects(shape: ExampleShape) -> None:
    data = two_regions()
    examples = Examples.of(data, CPU, shape=shape)
    assert examples.starts is not None
    x, y, _ = examples.batch(torch.arange(examples.n_rows)[None])
    inputs, targets = shape.columns(data.units)
    segments, activity = data.segments, data.activity
    expected_x, expected_y = [], []
    for anchor in range(data.n_bins):
        first, last = anchor - shape.window + 1, anchor + shape.target_lag
        touched = range(first, last + 1)
        if first < 0 or last >= data.n_bins or len({(segments[t], data.split[t]) for t in touched}) > 1:
            continue
        expected_x.append(activity[first : anchor + 1][:, inputs].ravel())
        lags = range(1 - shape.window, 1) if shape.target == "window" else (0,)
        expected_y.append(np.concatenate([activity[anchor + lag + shape.target_lag, targets] for lag in lags]))
    np.testing.assert_array_equal(x[0], np.array(expected_x))
    np.testing.assert_array_equal(y[0], np.array(expected_y))
    assert examples.inputs.untyped_storage().data_ptr() == examples.values.untyped_storage().data_ptr()
    assert [lag + shape.target_lag for lag in lags] == list(shape.lags())


def test_a_window_that_no_trial_holds_is_an_error_that_says_so() -> None:
    with pytest.raises(IncompatibleData, match=r"no 41 consecutive bins of 0.05 s lie in one trial"):
        Examples.of(two_regions(), CPU, shape=ExampleShape(window=41))


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"area": ("a",)}, "unknown column of the unit table 'area'"),
        ({"region": ("A",)}, "unknown region of a unit 'A'"),
        ({"region": ("a",), "id": ("u5",)}, "no unit has"),
    ],
)
def test_units_that_are_not_there_are_named(wanted, complaint: str) -> None:
    with pytest.raises(IncompatibleData, match=complaint):
        ExampleShape(input_units=wanted).columns(two_regions().units.assign(id=[f"u{i}" for i in range(6)]))


def made(encoder: str, *, window: int = 4, n_units: int = 3, seeds=(0, 1)) -> SequenceParameters:
    """Parameters of a sequence encoder with every tensor away from its start."""
    config = MatryoshkaConfig(
        levels={5: 2.0}, window=window, encoder=encoder, encoder_width=8, encoder_heads=2, seeds=seeds
    )
    values = random(60, n_units, seed=5)
    examples = Examples(values=values, mean=values.mean(0), shape=ExampleShape(window=window))
    fresh = sparsifier_of(config).initialise(examples, scale=1.0)
    moved = {name: t + 0.3 * random(*t.shape, seed=seed) for seed, (name, t) in enumerate(fresh.trained().items())}
    return replace(fresh, **moved)


def test_a_convolution_encodes_and_decodes_as_a_loop_does() -> None:
    model, x = made("convolution"), random(2, 7, 12, seed=1)
    found = model.pre_activations(x).view(2, 7, 4, 5)
    codes = torch.relu(found)
    decoded = model.decode_levels([codes.view(2, 28, 5)], nested=True)[0].view(2, 7, 4, 3)
    bins = x.view(2, 7, 4, 3) - model.input_mean
    encoder, decoder = model.encoder.view(2, 4, 3, 5), model.decoder.view(2, 5, 4, 3)
    for i in range(2):
        for row in range(7):
            for t in range(4):
                z, y = model.encoder_bias[i].clone(), model.decoder_bias[i].clone()
                for lag in range(t + 1):
                    z += bins[i, row, t - lag] @ encoder[i, lag]
                    y += codes[i, row, t - lag] @ decoder[i, :, lag]
                torch.testing.assert_close(found[i, row, t], z, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(decoded[i, row, t], y, atol=1e-5, rtol=1e-5)


def test_the_transformer_block_is_torchs_with_a_bias_for_each_distance() -> None:
    model, x = made("transformer"), random(2, 7, 12, seed=1)
    assert isinstance(model, TransformerParameters)
    found = model.pre_activations(x).view(2, 7, 4, 5)
    for i in range(2):
        layer = torch.nn.TransformerEncoderLayer(
            8, 2, dim_feedforward=32, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
        )
        p = {name: tensor[i].clone() for name, tensor in model.trained().items()}
        own = {
            "self_attn.in_proj_weight": p["attention"].T,
            "self_attn.in_proj_bias": p["attention_bias"],
            "self_attn.out_proj.weight": p["mixing"].T,
            "self_attn.out_proj.bias": p["mixing_bias"],
            "linear1.weight": p["widening"].T,
            "linear1.bias": p["widening_bias"],
            "linear2.weight": p["narrowing"].T,
            "linear2.bias": p["narrowing_bias"],
            "norm1.weight": p["attention_norm"],
            "norm1.bias": p["attention_norm_bias"],
            "norm2.weight": p["feedforward_norm"],
            "norm2.bias": p["feedforward_norm_bias"],
        }
        layer.load_state_dict(own)
        bias = torch.full((2, 4, 4), -math.inf)
        for query in range(4):
            for key in range(query + 1):
                bias[:, query, key] = p["distance_bias"][:, query - key + 3]
        hidden = (x[i].view(7, 4, 3) - model.input_mean) @ p["embedding"] + p["embedding_bias"]
        hidden = layer(hidden, src_mask=bias.repeat(7, 1, 1))
        normed = torch.nn.functional.layer_norm(hidden, (8,), p["final_norm"], p["final_norm_bias"])
        torch.testing.assert_close(found[i], normed @ p["encoder"] + p["encoder_bias"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ["convolution", "transformer"])
def test_no_code_or_prediction_rests_on_a_later_bin(encoder: str) -> None:
    model, x = made(encoder), random(2, 7, 12, seed=1)
    later = x.clone()
    later.view(2, 7, 4, 3)[:, :, 2:] += 5
    codes, changed = (model.pre_activations(values).view(2, 7, 4, 5) for values in (x, later))
    assert torch.equal(codes[:, :, :2], changed[:, :, :2])
    assert (codes[:, :, 2:] - changed[:, :, 2:]).abs().min() > 0
    y, other = (model.combine(values.reshape(2, 28, 5), model.decoder).view(2, 7, 4, 3) for values in (codes, changed))
    assert torch.equal(y[:, :, :2], other[:, :, :2])


@pytest.mark.parametrize("encoder", ["convolution", "transformer"])
def test_the_code_of_a_rows_last_bin_is_what_the_whole_window_gives(encoder: str) -> None:
    model, x = made(encoder), random(2, 7, 12, seed=1)
    whole = model.pre_activations(x).view(2, 7, 4, 5)[:, :, -1]
    for i, one in enumerate(model.instances()):
        weights, offset = one.anchor_map()
        torch.testing.assert_close(one.anchor_features(x[i]) @ weights + offset, whole[i], atol=1e-5, rtol=1e-5)


def test_the_published_transformer_has_its_614859_parameters() -> None:
    config = MatryoshkaConfig(levels={96: 8, 192: 16}, window=10, encoder="transformer")
    values = random(50, 191)
    examples = Examples(values=values, mean=values.mean(0), shape=ExampleShape(window=10))
    trained = sparsifier_of(config).initialise(examples, scale=1.0).trained()
    assert sum(tensor.numel() for tensor in trained.values()) == 614_859


def motifs(n_bins: int = 4000, *, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Activity of 10 units that four motifs of 4 bins make at random times; the motifs (4, n_lags, n_units)."""
    rng = np.random.default_rng(seed)
    shapes = rng.gamma(0.5, 1.0, (4, 4, 10))
    shapes /= np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    onsets = (rng.random((n_bins, 4)) < 0.05) * rng.uniform(1, 2, (n_bins, 4))
    activity = sum(np.vstack([np.zeros((lag, 10)), onsets[: n_bins - lag] @ shapes[:, lag]]) for lag in range(4))
    return activity + 0.01 * rng.standard_normal((n_bins, 10)), shapes


def fitted(data: Binned, monitor, **settings) -> MatryoshkaSAE:
    shared = {"levels": {8: 1.0}, "window": 4, "epochs": 20, "lr": 5e-3, "encoder_width": 16, "encoder_heads": 2}
    model = MatryoshkaSAE(MatryoshkaConfig(**(shared | settings)))
    model.fit(data, validation=None, monitor=monitor)
    return model


@pytest.mark.parametrize(
    ("encoder", "n_latents", "least"), [("linear", 40, 0.8), ("convolution", 8, 0.8), ("transformer", 8, 0.6)]
)
def test_motifs_are_reconstructed_far_above_single_bins_at_the_same_sparsity(
    encoder: str, n_latents: int, least: float, as_binned, monitor
) -> None:
    activity, _ = motifs()
    data = as_binned(activity)
    k = 1.0 if encoder == "linear" else 0.25  # codes for each bin: as many a window; one latent serves all shifts
    model = fitted(data, monitor, encoder=encoder, levels={n_latents: k})
    latents = model.transform(data)
    scores = evaluate(model, latents, data).summary
    assert scores["r2"].mean() > least
    untrained = fitted(data, monitor, encoder=encoder, levels={n_latents: k}, epochs=1, lr=1e-9)
    assert evaluate(untrained, untrained.transform(data), data).summary["r2"].mean() < scores["r2"].mean() - 0.3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_reconstruction_is_the_sum_that_a_loop_over_codes_gives(encoder: str, monitor) -> None:
    data = two_regions()
    model = fitted(data, monitor, encoder=encoder, levels={3: 0.5, 6: 1.0}, epochs=2, seeds=(0, 1))
    latents = model.transform(data)
    space, atoms = latents.main, model.dictionary()
    assert space.defined is not None
    np.testing.assert_array_equal(np.flatnonzero(~space.defined) % 40 < 3, True)
    bias = model._require_fitted().parameters.decoder_bias.numpy()
    for block in model.reconstruct(latents):
        codes = space.dense(block.instance, level=block.level)
        for row in np.flatnonzero(space.defined)[::37]:
            kernels = atoms.values[block.instance]
            if encoder == "linear":
                expected = bias[block.instance].reshape(4, 6) + np.einsum("d,dnl->ln", codes[row], kernels)
                assert block.lags_s == tuple(lag * data.bin_s for lag in (-3, -2, -1, 0)) == atoms.lags_s
            else:
                past = codes[row - np.arange(4)]
                expected = bias[block.instance] + np.einsum("ld,dnl->n", past, kernels)
                assert block.lags_s == (0.0,)
                assert atoms.lags_s == tuple(lag * data.bin_s for lag in range(4))
            np.testing.assert_allclose(block.values[row], expected, atol=1e-4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_windows_code_does_not_depend_on_what_else_is_transformed(encoder: str, monitor) -> None:
    data = two_regions(1200)
    model = fitted(data, monitor, encoder=encoder, levels={3: 0.5, 6: 1.0}, epochs=1)
    whole = model.transform(data).main
    for first, stop in ((400, 800), (1160, 1200)):
        chosen = np.zeros(data.n_bins, dtype=bool)
        chosen[first:stop] = True
        part = model.transform(data.rows(chosen)).main
        np.testing.assert_array_equal(part.dense(), whole.rows(chosen).dense())
        np.testing.assert_array_equal(part.defined, whole.rows(chosen).defined)


def test_one_region_predicts_the_other_and_a_later_bin(as_binned, monitor) -> None:
    rng = np.random.default_rng(0)
    codes = (rng.random((3000, 3)) < 0.2) * rng.uniform(1, 2, (3000, 3))
    out = np.vstack([np.zeros((2, 3)), codes[:-2]]) @ rng.gamma(1.0, 1.0, (3, 5))
    data = as_binned(np.hstack([codes @ rng.gamma(1.0, 1.0, (3, 4)), out]) + 0.01 * rng.standard_normal((3000, 9)))
    session = data.sessions[0]
    units = session.units.assign(region=["a"] * 4 + ["b"] * 5)
    data = replace(data, sessions=(replace(session, units=units),))
    settings = {"window": 1, "levels": {6: 0.6}, "input_units": REGIONS[0], "target_units": REGIONS[1], "epochs": 40}
    transcoder = fitted(data, monitor, target_lag=2, **settings)
    scores = evaluate(transcoder, transcoder.transform(data), data)
    assert float(scores.summary["r2"].iloc[0]) > 0.8
    assert scores.summary["lag_s"].tolist() == [0.1]
    known = scores.units.set_index("unit")["r2"]
    assert known[units["id"][:4]].isna().all()
    assert known[units["id"][4:]].notna().all()
    assert transcoder.dictionary().unit_ids == (tuple(units["id"][4:]),)
    at_once = fitted(data, monitor, **settings)
    assert float(evaluate(at_once, at_once.transform(data), data).summary["r2"].iloc[0]) < 0.2


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_saved_model_of_windows_says_the_same_after_loading(encoder: str, monitor, tmp_path) -> None:
    data = two_regions()
    model = fitted(data, monitor, encoder=encoder, epochs=1, target_lag=1, target_units=REGIONS[1])
    model.save(tmp_path)
    loaded = MatryoshkaSAE.load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(data).main.dense(), model.transform(data).main.dense())
    pd.testing.assert_frame_equal(
        evaluate(loaded, loaded.transform(data), data).summary, evaluate(model, model.transform(data), data).summary
    )
    with pytest.raises(IncompatibleData, match=r"fitted on windows of 4 bins of 0.05 s; this data has bins of 0.1 s"):
        loaded.transform(replace(data, bin_s=0.1))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_fit_of_windows_resumes_bit_for_bit(encoder: str, make_monitor, tmp_path) -> None:
    data = two_regions()
    settings = {"encoder": encoder, "epochs": 6, "seeds": (0, 1), "levels": {3: 0.5, 6: 1.0}}
    whole = fitted(data, make_monitor(), **settings)
    fitted(data, make_monitor(stop_after=3, checkpoint_at=2, folder=tmp_path / "c"), **settings)
    resumed = fitted(data, make_monitor(resume_from=tmp_path / "c"), **settings)
    for name, tensor in whole._require_fitted().tensors().items():
        assert torch.equal(tensor, resumed._require_fitted().tensors()[name]), name


class WindowedSAE(MatryoshkaSAE):
    requirements: ClassVar[Requirements] = Requirements(example="window")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_models_of_windows_pass_the_conformance_checks(encoder: str) -> None:
    def make(settings):
        base = {"window": 3, "encoder": encoder, "levels": {"4": 1}, "epochs": 2, "encoder_width": 8, "batch_size": 64}
        return WindowedSAE(parse(MatryoshkaConfig, base | dict(settings)))

    failed = {result.name: result.reason for result in check_model(make) if result.status == "failed"}
    assert not failed


def test_gradients_of_dead_latents_flow_through_the_convolution() -> None:
    config = MatryoshkaConfig(levels={6: 1.0}, window=4, encoder="convolution", batch_size=50, dead_after=0.01)
    values = random(300, 3).abs()
    starts = torch.arange(297)
    trainer = Trainer(config, Examples(values=values, mean=values.mean(0), shape=ExampleShape(window=4), starts=starts))
    trainer.parameters.encoder_bias.data[:, 0] = -1e3  # never fires
    before = trainer.parameters.encoder.detach().clone()
    for _ in range(5):
        trainer._update(torch.arange(50)[None])
        trainer.step += 1
    assert (trainer.parameters.encoder.detach() - before)[0, :, 0].abs().max() > 0


@pytest.mark.parametrize("settings", [{"window": 3}, {"window": 3, "target": "last"}])
def test_the_l1_autoencoder_takes_windows_too(settings, monitor) -> None:
    data = two_regions()
    model = VanillaSAE(VanillaConfig(n_latents=6, epochs=2, **settings))
    model.fit(data, validation=None, monitor=monitor)
    lags = 3 if "target" not in settings else 1
    assert evaluate(model, model.transform(data), data).summary["lag_s"].nunique() == lags


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"encoder": "transformer", "target": "last"}, "encoder 'transformer' predicts windows"),
        ({"encoder": "transformer", "encoder_heads": 3}, "encoder_width 128 is no multiple of encoder_heads 3"),
        ({"window": 0}, "window: Input should be greater than or equal to 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse(MatryoshkaConfig, settings)


def test_encoders_for_each_bin_are_for_models_with_a_top_k() -> None:
    with pytest.raises(ConfigError, match="encoder 'convolution' is for models with a top-k"):
        parse(VanillaConfig, {"encoder": "convolution"})


def test_single_bins_are_windows_of_one() -> None:
    assert Examples.of(two_regions(), CPU).starts is None
    assert isinstance(made("convolution"), Parameters)
