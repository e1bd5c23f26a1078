from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.matryoshka import MatryoshkaSAE

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData, ModelError, NotFitted, SchemaTooNew
from nldisco_core.interfaces import HasDictionary, LatentModel, Reconstructs
from nldisco_core.latents import Latents


def model_of(data: Binned, monitor, **settings) -> MatryoshkaSAE:
    model = MatryoshkaSAE(MatryoshkaConfig(**({"levels": {3: 0.7, 7: 2.0}, "seeds": (0, 1), "epochs": 3} | settings)))
    model.fit(data, validation=None, monitor=monitor)
    return model


def random_data(as_binned, n_bins: int = 2300, n_units: int = 33) -> Binned:
    return as_binned(np.random.default_rng(0).gamma(1.0, 1.0, (n_bins, n_units)))


@pytest.mark.parametrize("inference", ["threshold", "sample-topk"])
def test_a_bins_latents_do_not_depend_on_which_bins_are_given_with_it(as_binned, monitor, inference: str) -> None:
    data = random_data(as_binned)
    model = model_of(data, monitor, inference=inference)
    whole = model.transform(data).main
    rng = np.random.default_rng(1)
    for n_rows in (1, 2, 3, 5, 31, 1023, 1025, 2299):
        rows = np.zeros(data.n_bins, dtype=bool)
        rows[rng.choice(data.n_bins, n_rows, replace=False)] = True
        part, expected = model.transform(data.rows(rows)).main, whole.rows(rows)
        for instance in range(2):
            np.testing.assert_array_equal(part.dense(instance), expected.dense(instance))
            np.testing.assert_array_equal(part.level_masks[instance], expected.level_masks[instance])


@pytest.mark.parametrize("selection", ["per-level", "nested"])
@pytest.mark.parametrize("inference", ["threshold", "sample-topk"])
def test_activations_are_those_of_a_plain_loop(as_binned, monitor, selection: str, inference: str) -> None:
    data = random_data(as_binned, n_bins=70, n_units=5)
    model = model_of(data, monitor, selection=selection, inference=inference, batch_size=16)
    fitted, space = model._require_fitted(), model.transform(data).main
    assert (space.level_masks is None) == (selection == "nested")
    for instance in range(2):
        weights = {name: tensor[instance].double().numpy() for name, tensor in fitted.parameters.trained().items()}
        centred = data.activity - fitted.parameters.input_mean.numpy()
        values = np.maximum(centred @ weights["encoder"] + weights["encoder_bias"], 0)
        for level, (size, k) in enumerate({3: 1, 7: 2}.items()):
            expected = np.zeros_like(values)
            for row in range(70):
                if inference == "threshold":
                    cutoff = float(fitted.thresholds[instance, level])
                elif selection == "per-level":
                    cutoff = np.sort(values[row, :size])[-k]
                else:
                    cutoff = np.sort(values[row])[-2]
                active = [latent for latent in range(size) if values[row, latent] >= max(cutoff - 1e-9, 1e-9)]
                expected[row, active] = values[row, active]
            np.testing.assert_allclose(space.dense(instance, level=level), expected, atol=1e-5)


def test_thresholds_are_the_mean_cutoffs_of_batches(as_binned, monitor) -> None:
    data = random_data(as_binned, n_bins=512, n_units=5)
    model = model_of(data, monitor, batch_size=512)  # one batch: its cutoff is the threshold
    values = model._require_fitted().parameters.pre_activations(torch.tensor(data.activity).expand(2, -1, -1))
    for instance in range(2):
        for level, (size, k) in enumerate({3: 0.7, 7: 2.0}.items()):
            ordered = np.sort(values[instance, :, :size].numpy(), axis=None)[::-1]
            expected = ordered[round(512 * k) - 1]
            assert float(model._require_fitted().thresholds[instance, level]) == pytest.approx(expected, rel=1e-4)
    for level, k in enumerate((0.7, 2.0)):
        assert model.transform(data).main.csc(0, level=level).nnz == pytest.approx(512 * k, abs=3)


def test_reconstruction_is_the_decoder_on_each_levels_own_activations(as_binned, monitor) -> None:
    data = random_data(as_binned, n_bins=9000, n_units=4)
    model = model_of(data, monitor, levels={2: 1.0, 3: 1.5}, output="relu", epochs=1)
    latents = model.transform(data)
    seen = np.zeros((2, 2, data.n_bins), dtype=int)
    bias = model._require_fitted().parameters.decoder_bias.numpy()
    for block in model.reconstruct(latents):
        seen[block.instance, block.level, block.rows] += 1
        codes = latents.main.dense(block.instance, level=block.level)[block.rows].astype(np.float64)
        expected = np.maximum(codes @ model.dictionary().values[block.instance] + bias[block.instance], 0)
        np.testing.assert_allclose(block.values, expected, atol=1e-5)
    assert (seen == 1).all()


def test_saved_model_gives_the_same_latents_in_a_fresh_process(as_binned, monitor, tmp_path: Path) -> None:
    data = random_data(as_binned, n_bins=1500)
    model = model_of(data, monitor)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
    np.save(tmp_path / "activity.npy", data.activity)
    script = f"""
import numpy as np, torch, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import binned
from nldisco_sae.matryoshka import MatryoshkaSAE
folder = Path({str(tmp_path)!r})
model = MatryoshkaSAE.load(folder)
space = model.transform(binned(np.load(folder / "activity.npy"))).main
np.savez(folder / "found.npz", codes=np.stack([space.dense(i) for i in range(2)]), mask=space.level_masks[1])
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    found = np.load(tmp_path / "found.npz")
    space = model.transform(data).main
    np.testing.assert_array_equal(found["codes"], np.stack([space.dense(i) for i in range(2)]))
    np.testing.assert_array_equal(found["mask"], space.level_masks[1])
    assert MatryoshkaSAE.load(tmp_path).config == model.config


def test_what_cannot_be_loaded_says_why(as_binned, monitor, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no whole model"):
        MatryoshkaSAE.load(tmp_path)
    model_of(random_data(as_binned, n_bins=50, n_units=3), monitor).save(tmp_path)
    written = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(written.replace('"schema_version": 1', '"schema_version": 99'))
    with pytest.raises(SchemaTooNew, match="update nldisco-core"):
        MatryoshkaSAE.load(tmp_path)


def test_nothing_works_before_fit(as_binned, tmp_path: Path) -> None:
    model = MatryoshkaSAE(MatryoshkaConfig())
    data = random_data(as_binned, n_bins=10, n_units=3)
    for call in (lambda: model.transform(data), model.dictionary, lambda: model.save(tmp_path)):
        with pytest.raises(NotFitted, match="call fit or load first"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_other_units_are_refused(as_binned, monitor) -> None:
    model = model_of(random_data(as_binned, n_bins=100, n_units=4), monitor)
    with pytest.raises(IncompatibleData, match="fitted on 4 units; this data has 6"):
        model.transform(random_data(as_binned, n_bins=10, n_units=6))
    data = random_data(as_binned, n_bins=10, n_units=4)
    units = data.units.iloc[[1, 0, 2, 3]].reset_index(drop=True)
    swapped = type(data)(
        sessions=(type(data.sessions[0])(**(vars(data.sessions[0]) | {"units": units})),),
        bin_s=data.bin_s,
        activity_kind="continuous",
    )
    with pytest.raises(IncompatibleData, match="'u1' stands where 'u0' was"):
        model.transform(swapped)


def test_latents_of_another_model_are_not_decoded(as_binned, monitor) -> None:
    data = random_data(as_binned, n_bins=50, n_units=3)
    latents = model_of(data, monitor, levels={4: 1.0}).transform(data)
    with pytest.raises(IncompatibleData, match="this model has 2 instances with levels"):
        next(model_of(data, monitor).reconstruct(latents))


def test_one_unit_one_latent_one_instance_work(as_binned, monitor) -> None:
    data = random_data(as_binned, n_bins=40, n_units=1)
    model = model_of(data, monitor, levels={1: 1.0}, seeds=(3,))
    space = model.transform(data).main
    assert (space.n_instances, space.n_rows, space.n_latents, space.n_levels) == (1, 40, 1, 1)
    assert space.level_masks is None
    assert [block.values.shape for block in model.reconstruct(Latents.of(space))] == [(40, 1)]


@pytest.mark.parametrize("loss", ["mse", "msle"])
def test_silent_units_and_wholly_silent_data_do_not_crash(as_binned, monitor, loss: str) -> None:
    activity = np.zeros((300, 5))
    model = model_of(as_binned(activity), monitor, loss=loss, dead_after=0.1)
    assert np.isfinite(model.dictionary().values).all()
    activity[:, :4] = np.random.default_rng(0).gamma(1.0, 1.0, (300, 4))
    model = model_of(as_binned(activity), monitor, loss=loss)
    assert np.isfinite(model.transform(as_binned(activity)).main.dense(1)).all()


def test_a_model_has_the_capabilities_it_states(as_binned) -> None:
    model = MatryoshkaSAE(MatryoshkaConfig())
    assert isinstance(model, LatentModel)
    assert isinstance(model, Reconstructs)
    assert isinstance(model, HasDictionary)
