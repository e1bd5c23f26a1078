from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nldisco_sae.config import MatryoshkaConfig
from nldisco_sae.examples import Examples
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.training import Trainer, train
from scipy.optimize import linear_sum_assignment

from nldisco_core.errors import Diverged, IncompatibleData, ModelError

SMALL = {"levels": {4: 1.0, 8: 2.0}, "seeds": (0, 1), "epochs": 6}


def fitted(data, monitor, **settings) -> MatryoshkaSAE:
    model = MatryoshkaSAE(MatryoshkaConfig(**(SMALL | settings)))
    model.fit(data, validation=None, monitor=monitor)
    return model


def same_weights(one: MatryoshkaSAE, other: MatryoshkaSAE) -> bool:
    return bool((one.dictionary().values == other.dictionary().values).all())


@pytest.mark.parametrize("selection", ["per-level", "nested"])
def test_a_planted_dictionary_is_found_by_every_instance(planted, monitor, selection: str) -> None:
    data, atoms, codes = planted
    model = fitted(data, monitor, levels={12: 2.0}, selection=selection, seeds=(0, 1, 2), epochs=100)
    latents = model.transform(data).main
    for instance, rows in enumerate(model.dictionary().values):
        cosine = rows @ atoms.T
        latent, atom = linear_sum_assignment(-cosine)
        assert (cosine[latent, atom] > 0.97).sum() >= 7
        found = latents.dense(instance)
        agreement = [np.corrcoef(found[:, a], codes[:, b])[0, 1] for a, b in zip(latent, atom, strict=True)]
        assert np.median(agreement) > 0.95


def test_every_level_reconstructs_and_deeper_ones_do_it_better(planted, monitor) -> None:
    data, _, _ = planted
    model = fitted(data, monitor, epochs=40)
    sst = np.square(data.activity - data.activity.mean(axis=0)).sum()
    latents = model.transform(data)
    r2 = {
        (b.instance, b.level): 1 - np.square(data.activity - b.values).sum() / sst for b in model.reconstruct(latents)
    }
    assert sorted(r2) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for instance in range(2):
        assert 0.1 < r2[instance, 0] < r2[instance, 1]


@pytest.mark.parametrize("loss", ["mse", "msle", "torch.nn.functional:l1_loss"])
@pytest.mark.parametrize("output", ["identity", "relu", "softplus"])
def test_every_loss_falls_with_every_output(as_binned, monitor, loss: str, output: str) -> None:
    counts = np.random.default_rng(0).poisson(1.5, (600, 6)) * np.array([1, 1, 2, 2, 3, 3])
    if ":" in loss:
        loss = "tests_sae_loss:absolute_error"
    fitted(as_binned(counts), monitor, loss=loss, output=output, epochs=20)
    curve = [value for _, name, value, instance in monitor.scalars if name == "loss" and instance == 0]
    assert curve[-1] < 0.8 * curve[0]


@pytest.fixture(autouse=True)
def _own_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("tests_sae_loss")
    module.absolute_error = lambda prediction, target: (prediction - target).abs()
    monkeypatch.setitem(sys.modules, "tests_sae_loss", module)


def test_same_seeds_give_the_same_bits_and_other_seeds_do_not(planted, make_monitor) -> None:
    data, _, _ = planted
    first, second = (fitted(data, make_monitor()) for _ in range(2))
    assert same_weights(first, second)
    assert (first.transform(data).main.csc(1) != second.transform(data).main.csc(1)).nnz == 0
    assert not same_weights(first, fitted(data, make_monitor(), seeds=(2, 3)))


def test_an_instance_does_not_depend_on_those_trained_beside_it(planted, make_monitor) -> None:
    data, _, _ = planted
    together = fitted(data, make_monitor(), seeds=(7, 1, 3), grad_clip=0.5)
    alone = fitted(data, make_monitor(), seeds=(1,), grad_clip=0.5)
    np.testing.assert_allclose(together.dictionary().values[1], alone.dictionary().values[0], atol=1e-4)


def test_scale_of_the_data_does_not_matter(planted, as_binned, make_monitor) -> None:
    data, _, _ = planted
    small = fitted(data, make_monitor())
    large = fitted(as_binned(data.activity * 1024.0), make_monitor())
    np.testing.assert_allclose(small.dictionary().values, large.dictionary().values, atol=1e-3)


def test_decoder_rows_keep_unit_norm(planted, monitor) -> None:
    data, _, _ = planted
    np.testing.assert_allclose(np.linalg.norm(fitted(data, monitor).dictionary().values, axis=2), 1, rtol=1e-5)


@pytest.mark.parametrize("checkpoint_at", [1, 3, 7])
def test_resumed_fit_equals_an_uninterrupted_one_bit_for_bit(
    planted, make_monitor, tmp_path: Path, checkpoint_at: int
) -> None:
    data, _, _ = planted
    settings = SMALL | {"grad_clip": 1.0, "dead_after": 0.1}
    whole_monitor, resumed_monitor = make_monitor(), make_monitor(resume_from=tmp_path / "c")
    whole, resumed = (MatryoshkaSAE(MatryoshkaConfig(**settings)) for _ in range(2))
    whole_report = whole.fit(data, validation=None, monitor=whole_monitor)
    killed = make_monitor(checkpoint_at=checkpoint_at, stop_after=checkpoint_at + 2, folder=tmp_path / "c")
    assert fitted(data, killed, **settings) is not None
    resumed_report = resumed.fit(data, validation=None, monitor=resumed_monitor)
    assert resumed_monitor.reports[0][0] > checkpoint_at
    for name, tensor in whole._require_fitted().tensors().items():
        assert torch.equal(tensor, resumed._require_fitted().tensors()[name]), name
    assert whole_report.history.equals(resumed_report.history)
    assert resumed_report.stop_reason == "finished"


def test_a_checkpoint_of_other_settings_or_data_is_refused(planted, as_binned, make_monitor, tmp_path: Path) -> None:
    data, _, _ = planted
    fitted(data, make_monitor(checkpoint_at=2, folder=tmp_path / "c"))
    with pytest.raises(ModelError, match="settings differ"):
        fitted(data, make_monitor(resume_from=tmp_path / "c"), lr=0.02)
    with pytest.raises(ModelError, match="data differ"):
        fitted(as_binned(data.activity * 2), make_monitor(resume_from=tmp_path / "c"))
    (tmp_path / "c" / "state.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be read"):
        fitted(data, make_monitor(resume_from=tmp_path / "c"))


def test_asked_to_stop_the_model_keeps_what_it_has(planted, make_monitor) -> None:
    data, _, _ = planted
    monitor = make_monitor(stop_after=3)
    model = MatryoshkaSAE(MatryoshkaConfig(**SMALL))
    assert model.fit(data, validation=None, monitor=monitor).stop_reason == "stopped"
    assert len(monitor.reports) == 3
    assert model.transform(data).main.n_rows == data.n_bins


def test_an_absurd_learning_rate_is_named_as_the_cause_with_the_step(planted, monitor) -> None:
    data, _, _ = planted
    with pytest.raises(Diverged, match=r"instance 0 \(seed 0\) .* at step \d+ of 66; .* lr = 1e\+25"):
        fitted(data, monitor, lr=1e25)


def test_divergence_in_the_very_last_step_is_seen(planted, monitor) -> None:
    data, _, _ = planted
    with pytest.raises(Diverged, match="at step 1 of 1"):
        fitted(data, monitor, lr=1e38, epochs=1, batch_size=3000, warmup=0.0)


def test_activity_that_is_not_finite_is_refused(planted, as_binned, monitor) -> None:
    activity = np.array(planted[0].activity)
    activity[17, 3] = np.nan
    with pytest.raises(IncompatibleData, match="unit 3 in bin 17 is nan"):
        fitted(as_binned(activity), monitor)


def test_what_was_not_observed_has_no_influence(planted, as_binned, make_monitor) -> None:
    activity = np.array(planted[0].activity)
    observed = np.random.default_rng(1).random(activity.shape) > 0.2
    zeros, noise = activity.copy(), activity.copy()
    zeros[~observed] = 0
    noise[~observed] = 99
    first, second = (as_binned(values, observed=observed) for values in (zeros, noise))
    one, other = fitted(first, make_monitor()), fitted(second, make_monitor())
    assert same_weights(one, other)
    assert (one.transform(first).main.csc() != one.transform(second).main.csc()).nnz == 0
    mean = np.nanmean(np.where(observed, activity, np.nan), axis=0)
    examples = Examples.of(second, torch.device("cpu"))
    np.testing.assert_allclose(examples.mean.numpy(), mean, rtol=1e-5, atol=1e-6)


def test_training_curves_reach_monitor_and_report(planted, make_monitor) -> None:
    data, _, _ = planted
    monitor = make_monitor()
    report = MatryoshkaSAE(MatryoshkaConfig(**SMALL)).fit(data, validation=data, monitor=monitor)
    history = report.history
    assert set(history["name"]) == {
        *("loss", "loss/4", "loss/8", "l0", "dead_share", "validation_loss"),
        *(f"{name}_l0/{size}" for name in ("batch", "training", "validation") for size in (4, 8)),
    }
    assert len(monitor.scalars) == len(history)
    assert monitor.reports[-1][:2] == (66, 66)
    assert history.query("name == 'batch_l0/8'").value.to_numpy() == pytest.approx([2.0, 2.0], abs=1e-3)
    assert any(
        note.startswith("Level 8: 2.00 latents a bin in training batches; threshold gives") for note in report.notes
    )


def test_weights_of_levels_decide_what_is_learnt(planted, monitor) -> None:
    data, _, _ = planted
    examples = Examples.of(data, torch.device("cpu"))
    only_shallow = train(MatryoshkaConfig(**SMALL, level_weights=(1.0, 0.0), aux_coefficient=0.0), examples, monitor)
    start = Trainer(MatryoshkaConfig(**SMALL), examples).parameters
    assert torch.equal(only_shallow.parameters.encoder[..., 4:], start.encoder[..., 4:])
    assert not torch.equal(only_shallow.parameters.encoder[..., :4], start.encoder[..., :4])
