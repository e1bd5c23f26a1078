"""Evaluation against scikit-learn and plain loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import mean_poisson_deviance, r2_score

from nldisco_core.binned import Binned, BinnedSession, Preprocessing, UnitStatistics
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.interfaces import ReconstructionBlock
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.metrics import RATE_FLOOR, evaluate

BIN_NS = 50_000_000


def session(activity: np.ndarray, split: np.ndarray, **further: Any) -> BinnedSession:
    n_bins, n_units = activity.shape
    return BinnedSession(
        **{
            "session_id": "s",
            "activity": activity,
            "units": pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)]}),
            "start_ns": np.arange(n_bins, dtype=np.int64) * BIN_NS,
            "trial": np.full(n_bins, -1, dtype=np.int32),
            "split": split.astype(np.int8),
            **further,
        }
    )


def binned(activity: np.ndarray, split: np.ndarray, kind: Any = "continuous", **further: Any) -> Binned:
    return Binned(sessions=(session(activity, split, **further),), bin_s=0.05, activity_kind=kind)


def latents_of(codes: np.ndarray, data: Binned, **further: Any) -> Latents:
    """Sparse latents from (n_instances, n_rows, n_latents)."""
    space = LatentSpace(
        codes=tuple(sparse.csc_array(code) for code in codes),
        session_ids=tuple(one.session_id for one in data.sessions),
        row_offsets=data.row_offsets,
        **further,
    )
    return Latents.of(space)


class Told:
    """A model that predicts what it was told, in blocks of seven rows."""

    def __init__(self, predicted: np.ndarray, physical_unit: Any = "model input", lags_s: tuple[float, ...] = (0.0,)):
        self.predicted, self.physical_unit, self.lags_s = predicted, physical_unit, lags_s

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        for instance, levels in enumerate(self.predicted):
            for level, values in enumerate(levels):
                for start in range(0, len(values), 7):
                    rows = slice(start, min(start + 7, len(values)))
                    yield ReconstructionBlock(
                        instance=instance,
                        level=level,
                        rows=rows,
                        lags_s=self.lags_s,
                        values=values[rows].astype(np.float32),
                        physical_unit=self.physical_unit,
                    )


class Mute:
    """A model that reconstructs nothing."""


def case(seed: int, n_bins: int = 90, n_units: int = 4) -> tuple[Binned, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    activity = rng.gamma(1.0, 1.0, (n_bins, n_units)) + rng.random(n_units) * 5
    predicted = (activity + rng.normal(0, 0.4, activity.shape)).astype(np.float32)
    split = rng.integers(-1, 3, n_bins)
    split[:3] = 0, 1, 2
    return binned(activity, split), predicted, split


def row(frame: pd.DataFrame, **where: Any) -> pd.Series:
    found = frame
    for column, value in where.items():
        found = found[found[column] == value]
    assert len(found) == 1
    return found.iloc[0]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_reconstruction_scores_equal_scikit_learn_and_a_loop(seed: int) -> None:
    data, predicted, split = case(seed)
    latents = latents_of(np.ones((1, data.n_bins, 2)), data)
    evaluation = evaluate(Told(predicted[None, None]), latents, data)  # type: ignore[arg-type]
    for code, name in enumerate(("train", "validation", "test")):
        y, p = data.activity[split == code], predicted[split == code].astype(np.float64)
        scores = row(evaluation.summary, split=name)
        assert scores["n_rows"] == len(y)
        cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(y, p, strict=True)]
        assert scores["cosine"] == pytest.approx(np.mean(cosines), abs=1e-9)
        units = evaluation.units[evaluation.units["split"] == name]
        assert units["unit"].tolist() == ["u0", "u1", "u2", "u3"]
        for unit, found in enumerate(units["cosine"]):
            a, b = y[:, unit], p[:, unit]
            assert found == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-9)
        if len(y) < 2:
            assert np.isnan(scores["r2"])
            continue
        assert scores["r2"] == pytest.approx(r2_score(y, p, multioutput="variance_weighted"), abs=1e-9)
        assert scores["fvu"] == pytest.approx(1 - scores["r2"], abs=1e-12)
        assert scores["population_r2"] == pytest.approx(r2_score(y.sum(axis=1), p.sum(axis=1)), abs=1e-9)
        assert units["r2"].tolist() == pytest.approx(list(r2_score(y, p, multioutput="raw_values")), abs=1e-9)


@given(seed=st.integers(0, 10_000), physical_unit=st.sampled_from(["model input", "recorded"]))
@settings(max_examples=25, deadline=None)
def test_poisson_scores_equal_scikit_learn_and_log_likelihoods(seed: int, physical_unit: str) -> None:
    rng = np.random.default_rng(seed)
    mean = rng.gamma(1.0, 1.0, (120, 3))
    counts = rng.poisson(mean).astype(np.uint8)
    split = np.arange(120) % 3
    statistics = UnitStatistics(offset=np.array([0.1, 0.2, 0.3]), scale=np.array([2.0, 3.0, 4.0]))
    preprocessing = Preprocessing(smooth_s=0.05, normalise="z-score", statistics=(statistics,))
    raw = binned(counts, split, kind="counts")
    seen = replace(binned((counts - statistics.offset) / statistics.scale, split), preprocessing=preprocessing)
    expected = (mean - 0.3).astype(np.float32)  # partly below the floor
    predicted = expected if physical_unit == "recorded" else (expected - statistics.offset) / statistics.scale
    latents = latents_of(np.ones((1, 120, 2)), seen)
    evaluation = evaluate(Told(predicted[None, None], physical_unit), latents, seen, counts=raw)  # type: ignore[arg-type]
    null = np.maximum(counts[split == 0].mean(axis=0), RATE_FLOOR)
    for code, name in enumerate(("train", "validation", "test")):
        y = counts[split == code].astype(float)
        p = np.maximum(expected[split == code].astype(np.float64), RATE_FLOOR)
        base = np.broadcast_to(null, y.shape)
        scores = row(evaluation.summary, split=name)
        share = 1 - mean_poisson_deviance(y.ravel(), p.ravel()) / mean_poisson_deviance(y.ravel(), base.ravel())
        assert scores["deviance_explained"] == pytest.approx(share, abs=1e-4)
        gain = (y * np.log(p / base) - p + base).sum() / (y.sum() * np.log(2))
        assert scores["bits_per_spike"] == pytest.approx(gain, abs=1e-4)
        units = evaluation.units[evaluation.units["split"] == name]["deviance_explained"]
        for unit, found in enumerate(units):
            share = 1 - mean_poisson_deviance(y[:, unit], p[:, unit]) / mean_poisson_deviance(y[:, unit], base[:, unit])
            assert found == pytest.approx(share, abs=1e-4)


def test_predicting_the_training_mean_explains_no_deviance_and_truth_explains_most() -> None:
    rng = np.random.default_rng(0)
    mean = rng.gamma(0.3, 3.0, (600, 5))
    counts = rng.poisson(mean)
    data = binned(counts, np.arange(600) % 3, kind="counts")
    latents = latents_of(np.ones((1, 600, 1)), data)
    constant = np.broadcast_to(counts[::3].mean(axis=0), mean.shape)
    flat = row(evaluate(Told(constant[None, None]), latents, data, counts=data).summary, split="test")  # type: ignore[arg-type]
    true = row(evaluate(Told(mean[None, None]), latents, data, counts=data).summary, split="test")  # type: ignore[arg-type]
    assert flat["deviance_explained"] == pytest.approx(0, abs=1e-6)
    assert flat["bits_per_spike"] == pytest.approx(0, abs=1e-6)
    assert true["deviance_explained"] > 0.7
    assert true["bits_per_spike"] > 1


def test_a_negative_root_does_not_become_a_positive_count() -> None:
    counts = np.tile([[0], [4]], (30, 1))
    split = np.arange(60) // 20
    data = replace(binned(np.sqrt(counts), split), preprocessing=Preprocessing(normalise="sqrt"))
    raw = binned(counts, split, kind="counts")
    latents = latents_of(np.ones((1, 60, 1)), data)
    predicted = np.where(counts == 0, -3.0, 2.0)
    scores = row(evaluate(Told(predicted[None, None]), latents, data, counts=raw).summary, split="test")  # type: ignore[arg-type]
    expected = 1 - mean_poisson_deviance(counts.ravel(), np.where(counts == 0, RATE_FLOOR, 4).ravel()) / (
        mean_poisson_deviance(counts.ravel(), np.full(60, 2.0))
    )
    assert scores["deviance_explained"] == pytest.approx(expected, abs=1e-6)


def test_each_session_is_brought_back_by_its_own_statistics() -> None:
    counts = np.random.default_rng(0).poisson(3.0, (40, 2))
    split = np.arange(40) % 3
    statistics = tuple(UnitStatistics(offset=np.zeros(2), scale=np.full(2, scale)) for scale in (2.0, 10.0))
    data = Binned(
        sessions=(session(counts / 2, split), session(counts / 10, split, session_id="t")),
        bin_s=0.05,
        activity_kind="continuous",
        preprocessing=Preprocessing(normalise="unit-max", statistics=statistics),
    )
    raw = Binned(
        sessions=(session(counts, split), session(counts, split, session_id="t")), bin_s=0.05, activity_kind="counts"
    )
    latents = latents_of(np.ones((1, 80, 1)), data)
    evaluation = evaluate(Told(data.activity[None, None]), latents, data, counts=raw)  # type: ignore[arg-type]
    floored = np.maximum(counts, RATE_FLOOR)[split == 2]
    null = counts[split == 0].mean(axis=0)
    y = counts[split == 2]
    share = 1 - (mean_poisson_deviance(y.ravel(), floored.ravel())) / (
        mean_poisson_deviance(y.ravel(), np.broadcast_to(null, y.shape).ravel())
    )
    assert row(evaluation.summary, split="test")["deviance_explained"] == pytest.approx(share, abs=1e-5)


def test_unobserved_entries_count_nowhere() -> None:
    rng = np.random.default_rng(0)
    data, predicted, split = case(1)
    seen = rng.random(data.activity.shape) < 0.7
    hidden = binned(np.where(seen, data.activity, 0), split, observed=seen)
    latents = latents_of(np.ones((1, data.n_bins, 1)), data)
    wild = np.where(seen, predicted, 1e6)
    evaluation = evaluate(Told(wild[None, None]), latents, hidden)  # type: ignore[arg-type]
    scores = row(evaluation.summary, split="train")
    sse = sst = 0.0
    for unit in range(4):
        rows = seen[:, unit] & (split == 0)
        y, p = data.activity[rows, unit], predicted[rows, unit].astype(np.float64)
        sse, sst = sse + ((y - p) ** 2).sum(), sst + ((y - y.mean()) ** 2).sum()
        assert row(evaluation.units, split="train", unit=f"u{unit}")["r2"] == pytest.approx(r2_score(y, p), abs=1e-9)
    assert scores["r2"] == pytest.approx(1 - sse / sst, abs=1e-9)
    whole = [(y[m].sum(), p[m].sum()) for y, p, m in zip(data.activity, predicted, seen, strict=True)]
    totals = np.array(whole)[split == 0]
    assert scores["population_r2"] == pytest.approx(r2_score(totals[:, 0], totals[:, 1]), abs=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.7])
@pytest.mark.parametrize("masked", [False, True])
def test_constant_unit_scores_nan_and_leaves_the_others_alone(constant: float, masked: bool) -> None:
    data, predicted, split = case(2)
    activity = data.activity.copy()
    activity[:, 1] = constant
    seen = np.ones(activity.shape, dtype=bool)
    if masked:
        seen[::3, 1] = False
    data = binned(np.where(seen, activity, 0), split, observed=seen)
    latents = latents_of(np.ones((1, data.n_bins, 1)), data)
    units = evaluate(Told(predicted[None, None]), latents, data).units  # type: ignore[arg-type]
    assert np.isnan(row(units, split="test", unit="u1")["r2"])
    assert row(units, split="test", unit="u2")["r2"] > 0


def test_silent_rows_are_left_out_of_the_cosine() -> None:
    activity = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    data = binned(activity, np.zeros(3))
    latents = latents_of(np.ones((1, 3, 1)), data)
    predicted = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    summary = evaluate(Told(predicted[None, None]), latents, data).summary  # type: ignore[arg-type]
    assert summary["cosine"].tolist() == pytest.approx([1.0])


def test_rows_the_model_does_not_speak_of_are_left_out() -> None:
    data, predicted, split = case(3)
    defined = np.arange(data.n_bins) >= 20
    latents = latents_of(np.ones((1, data.n_bins, 1)), data, defined=defined)
    wild = np.where(defined[:, None], predicted, np.nan)
    scores = row(evaluate(Told(wild[None, None]), latents, data).summary, split="test")  # type: ignore[arg-type]
    rows = defined & (split == 2)
    expected = r2_score(data.activity[rows], predicted[rows], multioutput="variance_weighted")
    assert scores["r2"] == pytest.approx(expected, abs=1e-6)
    assert scores["n_rows"] == rows.sum()


def test_lags_are_compared_with_their_own_bin_and_never_across_a_gap() -> None:
    data, _, split = case(4, n_bins=60)
    start = np.arange(60, dtype=np.int64) * BIN_NS
    start[30:] += BIN_NS  # a gap after bin 29
    data = binned(data.activity, split, start_ns=start)
    earlier = np.concatenate([data.activity[:1], data.activity[:-1]])
    values = np.stack([earlier, data.activity * 0.9], axis=1)
    values[[0, 30], 0] = 1e6  # no bin before these
    latents = latents_of(np.ones((1, 60, 1)), data)
    summary = evaluate(Told(values[None, None], lags_s=(-0.05, 0.0)), latents, data).summary  # type: ignore[arg-type]
    lagged = summary[summary["lag_s"] == -0.05]
    assert lagged["r2"].tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    assert lagged["n_rows"].sum() == (split >= 0).sum() - (split[[0, 30]] >= 0).sum()
    assert (summary[summary["lag_s"] == 0.0]["r2"] < 1).all()


def test_sparsity_columns_equal_a_count_per_level_and_split() -> None:
    rng = np.random.default_rng(0)
    codes = rng.random((2, 80, 6)) * (rng.random((2, 80, 6)) < 0.3)
    codes[:, :, 5] = 0
    split = np.arange(80) % 3
    data = binned(rng.random((80, 3)), split)
    latents = latents_of(codes, data, level_sizes=(2, 6))
    predicted = np.broadcast_to(data.activity, (2, 2, 80, 3))
    summary = evaluate(Told(predicted), latents, data).summary  # type: ignore[arg-type]
    assert len(summary) == 2 * 2 * 3
    for (instance, level), size in np.ndenumerate(np.array([[2, 6], [2, 6]])):
        for code, name in enumerate(("train", "validation", "test")):
            active = codes[instance, split == code, :size] != 0
            found = row(summary, instance=instance, level=level, split=name)
            assert found["l0_mean"] == pytest.approx(active.sum(axis=1).mean())
            assert found["l0_sd"] == pytest.approx(active.sum(axis=1).std())
            assert found["dead_share"] == pytest.approx((~active.any(axis=0)).mean())
            assert found["density_mean"] == pytest.approx(active.mean())


@pytest.mark.parametrize("is_sparse", [False, True])
def test_model_without_reconstruction_gets_its_sparsity(is_sparse: bool) -> None:
    data, _, _ = case(5)
    codes = np.random.default_rng(0).normal(size=(2, data.n_bins, 3)) * [1, 1, 0]
    if is_sparse:
        latents = latents_of(codes, data)
    else:
        space = LatentSpace(codes=codes, session_ids=("s",), row_offsets=data.row_offsets, code_kind="signed")
        latents = Latents.of(space)
    evaluation = evaluate(Mute(), latents, data)  # type: ignore[arg-type]
    assert len(evaluation.summary) == 6
    assert evaluation.summary["r2"].isna().all()
    assert evaluation.summary["l0_mean"].tolist() == [2.0] * 6
    assert evaluation.summary["dead_share"].tolist() == pytest.approx([1 / 3] * 6)
    assert len(evaluation.units) == 0
    with_scores = evaluate(Told(data.activity[None, None]), latents, data)  # type: ignore[arg-type]
    assert evaluation.summary.dtypes.equals(with_scores.summary.dtypes)
    assert evaluation.units.dtypes.equals(with_scores.units.dtypes)


def test_without_counts_or_training_bins_poisson_scores_are_nan() -> None:
    counts = np.random.default_rng(0).poisson(2.0, (40, 2))
    latents = latents_of(np.ones((1, 40, 1)), binned(counts, np.zeros(40)))
    for split, with_counts in ((np.zeros(40), False), (np.ones(40), True)):
        data = binned(counts, split, kind="counts")
        told: Any = Told(counts[None, None].astype(float))
        summary = evaluate(told, latents, data, counts=data if with_counts else None).summary
        assert summary[["deviance_explained", "bits_per_spike"]].isna().all(axis=None)
        assert summary["r2"].tolist() == pytest.approx([1.0])


def test_what_does_not_fit_together_is_refused() -> None:
    data, predicted, split = case(6)
    latents = latents_of(np.ones((1, data.n_bins, 1)), data)
    told: Any = Told(predicted[None, None])
    with pytest.raises(IncompatibleData, match="10 bins"):
        evaluate(told, latents, data.rows(np.arange(data.n_bins) < 10))
    with pytest.raises(IncompatibleData, match="before preprocessing"):
        evaluate(told, latents, data, counts=data)
    with pytest.raises(IncompatibleData, match="same bins and units"):
        evaluate(told, latents, data, counts=binned(np.ones((data.n_bins, 2), dtype=int), split, kind="counts"))
    with pytest.raises(IncompatibleData, match="units it predicts"):
        evaluate(Told(predicted[None, None, :, :2]), latents, data)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="assign splits"):
        evaluate(told, latents, binned(data.activity, np.full(data.n_bins, -1)))
