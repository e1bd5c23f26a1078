from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from nldisco_sae.config import MatryoshkaConfig, UnitShuffledConfig
from nldisco_sae.examples import Examples
from nldisco_sae.gated import GatedSAE
from nldisco_sae.matryoshka import MatryoshkaSAE
from nldisco_sae.training import Trainer
from nldisco_sae.validation import held_out_rows

from nldisco_core.binned import Binned
from nldisco_core.errors import IncompatibleData

SETTINGS = {"levels": {4: 1.0, 8: 2.0}, "seeds": (0, 1), "epochs": 40}


@pytest.fixture
def noise(as_binned) -> tuple[Binned, Binned]:
    """Few bins without any structure, and others: what is learnt on the first is wrong for the second."""
    rng = np.random.default_rng(0)
    return as_binned(rng.gamma(1.0, 1.0, (120, 12))), as_binned(rng.gamma(1.0, 1.0, (300, 12)))


def fit(data: tuple[Binned, Binned], monitor, model_class=MatryoshkaSAE, **settings):
    model = model_class(model_class.config_class(**{"batch_size": 40, **SETTINGS, **settings}))
    return model, model.fit(data[0], validation=data[1], monitor=monitor)


def curve(history: pd.DataFrame) -> pd.DataFrame:
    """Validation loss, one row per epoch and one column per instance."""
    return history[history["name"] == "validation_loss"].pivot(index="step", columns="instance", values="value")


def held_out_loss(config, data: tuple[Binned, Binned], parameters) -> list[float]:
    """The objective of one batch of validation bins, by the formula."""
    examples, held_out = (np.asarray(part.activity, dtype=np.float64) for part in data)
    rows, *_ = held_out_rows(Examples.of(data[1], torch.device("cpu")), batch_size=300)
    assert rows.sort().values.tolist() == list(range(len(held_out)))
    baseline = np.square(examples - examples.mean(axis=0)).mean()
    losses = []
    for instance in range(2):
        p = {name: tensor[instance].detach().double().numpy() for name, tensor in parameters.trained().items()}
        activations = np.maximum((held_out - examples.mean(axis=0)) @ p["encoder"] + p["encoder_bias"], 0)
        total = 0.0
        for size, k in config.levels.items():
            codes = activations[:, :size]
            cutoff = np.sort(codes, axis=None)[-round(300 * k)]
            predicted = np.where(codes >= cutoff, codes, 0) @ p["decoder"][:size] + p["decoder_bias"]
            total += np.square(held_out - predicted).mean() / baseline
        losses.append(total)
    return losses


def test_the_validation_curve_has_a_point_per_epoch_and_is_the_objective_on_held_out_bins(
    noise, as_binned, make_monitor
) -> None:
    noise = (as_binned(np.random.default_rng(1).gamma(1.0, 1.0, (300, 12))), noise[1])
    model, report = fit(noise, make_monitor(), epochs=4, batch_size=300)
    found = curve(report.history)
    assert found.index.tolist() == [1, 2, 3, 4]
    expected = held_out_loss(model.config, noise, model._require_fitted().parameters)
    np.testing.assert_allclose(found.loc[4], expected, rtol=1e-4)


def test_validation_bins_change_nothing_but_the_curve(noise, make_monitor) -> None:
    with_curve, _ = fit(noise, make_monitor(), epochs=5)
    without = MatryoshkaSAE(with_curve.config)
    history = without.fit(noise[0], validation=None, monitor=make_monitor()).history
    assert curve(history).empty
    for name, tensor in without._require_fitted().tensors().items():
        assert torch.equal(tensor, with_curve._require_fitted().tensors()[name]), name


def test_held_out_batches_cover_all_bins_once_and_each_is_spread_over_time() -> None:
    values = torch.arange(1000.0)[:, None]
    examples = Examples(values=values, observed=None, mean=torch.zeros(1))
    batches = list(held_out_rows(examples, batch_size=250))
    assert [tuple(rows.shape) for rows in batches] == [(250,)] * 4
    assert torch.cat(batches).sort().values.tolist() == list(range(1000))
    assert all(int(rows.max() - rows.min()) > 900 for rows in batches)
    few = list(held_out_rows(examples, batch_size=16))
    assert len(few) == 8
    assert int(torch.cat(few).max()) > 980


@pytest.mark.parametrize("model_class", [MatryoshkaSAE, GatedSAE])
def test_training_ends_early_and_each_instance_keeps_its_best_epoch(noise, make_monitor, model_class) -> None:
    settings = {"n_latents": 24, "seeds": (0, 1), "batch_size": 40, "epochs": 80, "patience": 4, "lr": 0.02}
    if model_class is not GatedSAE:
        settings = {**settings, "levels": {24: 2.0}}
        del settings["n_latents"]
    model = model_class(model_class.config_class(**settings))
    report = model.fit(noise[0], validation=noise[1], monitor=make_monitor())
    found = curve(report.history)
    assert report.stop_reason == "early"
    best = found.idxmin()
    assert len(found) == (best.max() / 3 + 4) < 80
    for instance in range(2):
        stopped = make_monitor()
        again = model_class(model.config.model_copy(update={"patience": None}))
        stopped.should_stop = lambda at=best[instance], seen=stopped: seen.reports[-1][0] >= at
        again.fit(noise[0], validation=noise[1], monitor=stopped)
        for name, tensor in again._require_fitted().parameters.trained().items():
            kept = model._require_fitted().parameters.trained()[name][instance]
            assert torch.equal(kept, tensor[instance]), name


def test_a_fit_that_still_improves_is_not_stopped(planted, make_monitor) -> None:
    data, _, _ = planted
    _, report = fit((data, data), make_monitor(), epochs=5, patience=3, batch_size=256)
    assert report.stop_reason == "finished"
    assert len(curve(report.history)) == 5


@pytest.mark.parametrize("at", [3, 40, 75])
def test_resumed_early_stopping_ends_where_an_uninterrupted_one_does(
    noise, make_monitor, tmp_path: Path, at: int
) -> None:
    settings = {"patience": 4, "levels": {24: 2.0}, "epochs": 60, "lr": 0.02}
    whole, report = fit(noise, make_monitor(), **settings)
    assert report.stop_reason == "early"
    fit(noise, make_monitor(checkpoint_at=at, stop_after=at + 1, folder=tmp_path / "c"), **settings)
    resumed, again = fit(noise, make_monitor(resume_from=tmp_path / "c"), **settings)
    assert again.stop_reason == "early"
    assert report.history.equals(again.history)
    for name, tensor in whole._require_fitted().tensors().items():
        assert torch.equal(tensor, resumed._require_fitted().tensors()[name]), name


def test_patience_without_validation_bins_says_what_to_do(noise, monitor) -> None:
    model = MatryoshkaSAE(MatryoshkaConfig(patience=2))
    with pytest.raises(IncompatibleData, match=r"patience = 2 .* set split\.validation above 0"):
        model.fit(noise[0], validation=None, monitor=monitor)


def test_validation_of_other_units_is_refused(noise, as_binned, monitor) -> None:
    with pytest.raises(IncompatibleData, match="fitted on 12 units; this data has 5"):
        fit((noise[0], as_binned(np.ones((30, 5)))), monitor)


def test_the_control_on_shuffled_units_waits_as_long_as_what_it_controls() -> None:
    reference = MatryoshkaConfig(patience=7)
    matched = UnitShuffledConfig().matched(reference=reference, n_latents=16, l0=2.0, n_units=9)
    assert matched.patience == 7


def test_the_best_epoch_is_part_of_a_checkpoint_only_with_patience(noise) -> None:
    examples = Examples.of(noise[0], torch.device("cpu"))
    for patience in (None, 3):
        trainer = Trainer(MatryoshkaConfig(patience=patience), examples, validation=examples)
        names = {"silent_steps", *trainer.parameters.trained()}
        best = {name for name in trainer.checkpoint().tensors if name not in names}
        assert bool(best) == (patience is not None)
