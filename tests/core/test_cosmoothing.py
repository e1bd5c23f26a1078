"""Left-out units: planted structure is found through the others, and scores equal likelihoods computed by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import minimize

from nldisco_core.accumulation import RATE_FLOOR
from nldisco_core.binned import Binned, BinnedSession, Preprocessing, UnitStatistics
from nldisco_core.cosmoothing import (
    PENALTIES,
    co_smoothing,
    co_smoothing_retrained,
    leave_out,
    without_units,
)
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.latents import Latents, LatentSpace


class Projects:
    """Latents are fixed projections of activity; unobserved entries read as the mean it was given."""

    def __init__(self, weights: np.ndarray, mean: np.ndarray, *, is_sparse: bool = False) -> None:
        self.weights, self.mean, self.is_sparse = weights, mean, is_sparse
        self.hidden: list[tuple[int, ...]] = []

    def transform(self, data: Binned) -> Latents:
        activity = data.activity.astype(np.float64)
        if data.observed is not None:
            self.hidden.append(tuple(np.flatnonzero(~data.observed.any(axis=0))))
            activity = np.where(data.observed, activity, self.mean)
        codes: Any = np.maximum(activity @ self.weights, 0)[None]
        if self.is_sparse:
            codes = tuple(sparse.csc_array(code) for code in codes)
        return Latents.of(LatentSpace(codes=codes, session_ids=("s",), row_offsets=data.row_offsets))


def binned(activity: np.ndarray, split: np.ndarray, kind: Any = "counts", observed: np.ndarray | None = None) -> Binned:
    session = BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(activity.shape[1])]}),
        start_ns=np.arange(len(activity), dtype=np.int64) * 50_000_000,
        trial=np.full(len(activity), -1, dtype=np.int32),
        split=split.astype(np.int8),
        observed=observed,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind=kind)


def ensembles(seed: int = 0, n_bins: int = 1500) -> tuple[Binned, np.ndarray]:
    """Counts of three units that follow one drive, three that follow another, and one that follows neither."""
    rng = np.random.default_rng(seed)
    drive = rng.random((n_bins, 2)) < 0.3
    weights = np.zeros((2, 7))
    weights[0, :3] = weights[1, 3:6] = 3.0
    counts = rng.poisson(0.2 + drive @ weights)
    return binned(counts, np.arange(n_bins) // 100 % 3), weights


def scores(found: Any, split: str = "test") -> pd.Series:
    table = found.units[found.units["split"] == split]
    return table.set_index("unit")[found.measure]


def test_units_of_an_ensemble_are_foretold_by_the_others_and_a_lone_unit_is_not() -> None:
    data, weights = ensembles()
    model: Any = Projects(weights.T, data.activity.mean(axis=0))
    found = scores(co_smoothing(model, data, counts=data))
    assert (found[["u0", "u1", "u2", "u3", "u4", "u5"]] > 0.3).all()
    assert abs(found["u6"]) < 0.1
    assert model.hidden == [(unit,) for unit in range(7)]


def test_a_dictionary_that_copies_units_foretells_none() -> None:
    rng = np.random.default_rng(0)
    data = binned(rng.poisson(1.0, (1500, 4)), np.arange(1500) // 100 % 3)
    model: Any = Projects(np.eye(4), np.zeros(4))
    assert (scores(co_smoothing(model, data, counts=data)).abs() < 0.05).all()
    assert model.transform(data).main.dense().any()


@pytest.mark.parametrize("is_sparse", [False, True])
def test_bits_are_those_of_a_penalised_poisson_readout(is_sparse: bool) -> None:
    data, weights = ensembles(1, n_bins=600)
    mean = data.activity.mean(axis=0)
    model: Any = Projects(weights.T, mean, is_sparse=is_sparse)
    result = co_smoothing(model, data, counts=data)
    counts, train = data.activity.astype(float), data.split == 0
    gains, spikes = 0.0, 0.0
    for unit in range(7):
        hidden = counts.copy()
        hidden[:, unit] = mean[unit]
        codes = np.maximum(hidden @ weights.T, 0)
        spread = codes[train].std(axis=0)
        codes = codes / np.where(spread > 0, spread, 1)

        def objective(w: np.ndarray, x: np.ndarray = codes[train], y: np.ndarray = counts[train, unit]) -> float:
            log_rate = x @ w[1:] + w[0]
            return float((np.exp(log_rate) - y * log_rate).mean() + PENALTIES[0] / 2 * w[1:] @ w[1:])

        w = minimize(objective, np.zeros(3), method="BFGS").x
        null = counts[train, unit].mean()
        largest = counts[train, unit].max()
        rate = np.clip(np.exp(codes @ w[1:] + w[0]), RATE_FLOOR, largest)[data.split == 2]
        y = counts[data.split == 2, unit]
        gain = (y * np.log(rate / null) - rate + null).sum() / np.log(2)
        assert scores(result)[f"u{unit}"] == pytest.approx(gain / y.sum(), abs=1e-3)
        gains, spikes = gains + gain, spikes + y.sum()
    whole = result.summary[result.summary["split"] == "test"]["co_smoothing_bits"]
    assert whole.tolist() == pytest.approx([gains / spikes], abs=1e-3)


def test_without_counts_the_share_of_squares_is_scored() -> None:
    data, weights = ensembles(2)
    rates = replace(data, activity_kind="continuous")
    result = co_smoothing(Projects(weights.T, data.activity.mean(axis=0)), rates, counts=None)  # type: ignore[arg-type]
    assert result.measure == "co_smoothing_r2"
    found = scores(result)
    train, test = data.split == 0, data.split == 2
    hidden = data.activity.astype(float)
    hidden[:, 0] = hidden[:, 0].mean()
    codes = np.maximum(hidden @ weights.T, 0)
    design = np.column_stack([codes, np.ones(len(codes))])
    w = np.linalg.lstsq(design[train], data.activity[train, 0], rcond=None)[0]
    y = data.activity[test, 0]
    expected = 1 - np.square(y - design[test] @ w).sum() / np.square(y - data.activity[train, 0].mean()).sum()
    assert found["u0"] == pytest.approx(expected, abs=5e-3)
    assert found["u0"] > 0.3 > abs(found["u6"])


def test_levels_are_scored_apart() -> None:
    data, weights = ensembles(3)

    class Levels(Projects):
        def transform(self, data: Binned) -> Latents:
            return Latents.of(replace(super().transform(data).main, level_sizes=(1, 2)))

    model: Any = Levels(weights.T, data.activity.mean(axis=0))
    deepest = co_smoothing(model, data, counts=data)
    both = co_smoothing(model, data, counts=data, levels=(0, 1))
    assert deepest.units["level"].unique().tolist() == [1]
    table = both.units[both.units["split"] == "test"].pivot(index="unit", columns="level", values="co_smoothing_bits")
    assert (table.loc[["u0", "u1", "u2"]] > 0.3).all(axis=None)  # the first latent holds their drive
    assert (table.loc[["u3", "u4", "u5"], 0] < 0.1).all()
    np.testing.assert_allclose(table[1], scores(deepest)[table.index])


def test_a_retrained_model_never_sees_the_unit() -> None:
    data, weights = ensembles(4)
    seen: list[list[str]] = []

    def fit(part: Binned) -> Any:
        seen.append(part.units["id"].tolist())
        kept = [int(unit[1:]) for unit in seen[-1]]
        return Projects(weights.T[kept], part.activity.mean(axis=0))

    found = scores(co_smoothing_retrained(fit, data, counts=data))
    assert [sorted({f"u{unit}" for unit in range(7)} - set(units)) for units in seen] == [[f"u{u}"] for u in range(7)]
    assert (found[["u0", "u1", "u2", "u3", "u4", "u5"]] > 0.3).all()
    assert abs(found["u6"]) < 0.1


def test_only_the_units_asked_for_are_left_out_of_training() -> None:
    data, weights = ensembles(4)
    seen: list[list[str]] = []

    def fit(part: Binned) -> Any:
        seen.append(part.units["id"].tolist())
        return Projects(weights.T[[int(unit[1:]) for unit in seen[-1]]], part.activity.mean(axis=0))

    every = co_smoothing_retrained(fit, data, counts=data)
    seen.clear()
    found = scores(co_smoothing_retrained(fit, data, counts=data, units={"u1", "u5"}))
    assert len(seen) == 2
    np.testing.assert_array_equal(found, scores(every)[["u1", "u5"]])


def test_many_latents_without_meaning_cost_little() -> None:
    rng = np.random.default_rng(0)
    data = binned(rng.poisson(0.5, (3000, 2)), np.arange(3000) // 100 % 3)

    class Noise:
        def transform(self, data: Binned) -> Latents:
            codes = np.random.default_rng(1).gamma(1, 1, (data.n_bins, 200))
            codes[np.random.default_rng(2).random(codes.shape) > 0.05] = 0
            kept = (sparse.csc_array(codes),)
            return Latents.of(LatentSpace(codes=kept, session_ids=("s",), row_offsets=data.row_offsets))

    assert (scores(co_smoothing(Noise(), data, counts=data)) > -0.2).all()  # type: ignore[arg-type]


def test_large_populations_are_left_out_in_ten_seeded_folds() -> None:
    rng = np.random.default_rng(0)
    data = binned(rng.poisson(1.0, (300, 40)), np.arange(300) // 50 % 3)
    folds = []
    for seed in (0, 0, 1):
        model: Any = Projects(np.ones((40, 2)), np.zeros(40))
        result = co_smoothing(model, data, counts=data, seed=seed)
        folds.append(model.hidden)
        shown = [unit for fold in model.hidden for unit in fold if f"u{unit}" in scores(result).index]
        assert len(shown) == len(scores(result)) == 20
        assert all(sum(unit in fold for unit in shown) == 2 for fold in model.hidden)
    assert len(folds[0]) == 10
    assert sorted(unit for fold in folds[0] for unit in fold) == list(range(40))
    assert folds[0] == folds[1] != folds[2]


def test_bins_in_which_the_unit_was_not_observed_have_no_say() -> None:
    data, weights = ensembles(5)
    seen = np.random.default_rng(0).random(data.activity.shape) < 0.7
    wild = np.where(seen, data.activity, 200)
    mean = data.activity.mean(axis=0)
    model: Any = Projects(weights.T, mean)
    hidden = binned(wild, data.split, observed=seen)
    zeros = binned(np.where(seen, data.activity, 0), data.split, observed=seen)
    np.testing.assert_allclose(
        scores(co_smoothing(model, hidden, counts=hidden)), scores(co_smoothing(model, zeros, counts=zeros))
    )
    assert (scores(co_smoothing(model, zeros, counts=zeros))[["u0", "u4"]] > 0.2).all()


def test_units_that_never_spike_do_not_crash_and_score_nan() -> None:
    data, weights = ensembles(6, n_bins=300)
    counts = data.activity.copy()
    counts[:, 2] = 0
    counts[data.split == 0, 5] = 0
    silent = binned(counts, data.split)
    result = co_smoothing(Projects(weights.T, counts.mean(axis=0)), silent, counts=silent)  # type: ignore[arg-type]
    found = scores(result)
    assert np.isnan(found["u2"])
    assert found["u5"] == pytest.approx(0, abs=1e-9)
    assert result.summary["co_smoothing_bits"].notna().all()


def test_left_out_units_keep_their_place_and_removed_ones_take_their_statistics_along() -> None:
    data, _ = ensembles(7, n_bins=60)
    known = UnitStatistics(offset=np.arange(7.0), scale=np.arange(1.0, 8.0))
    data = replace(data, preprocessing=Preprocessing(normalise="z-score", statistics=(known,)))
    hidden = leave_out(data, np.array([1, 4]))
    assert hidden.units.equals(data.units)
    assert not hidden.observed[:, [1, 4]].any()  # type: ignore[index]
    assert hidden.observed[:, [0, 2, 3, 5, 6]].all()  # type: ignore[index]
    fewer = without_units(data, np.array([1, 4]))
    assert fewer.units["id"].tolist() == ["u0", "u2", "u3", "u5", "u6"]
    np.testing.assert_array_equal(fewer.activity, data.activity[:, [0, 2, 3, 5, 6]])
    assert fewer.preprocessing.statistics[0].offset.tolist() == [0, 2, 3, 5, 6]
    assert data.observed is None


def test_what_cannot_be_scored_is_refused() -> None:
    data, weights = ensembles(8, n_bins=600)
    model: Any = Projects(weights.T, np.zeros(7))
    with pytest.raises(DataError, match="at least 2"):
        co_smoothing(model, without_units(data, np.arange(6)), counts=None)
    with pytest.raises(DataError, match="there are bins of train"):
        co_smoothing(model, binned(data.activity, np.zeros(600)), counts=None)
    with pytest.raises(IncompatibleData, match="before preprocessing"):
        co_smoothing(model, data, counts=replace(data, activity_kind="continuous"))
