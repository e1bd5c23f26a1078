"""Smoothing and normalising against plain loops, scipy and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from sklearn.preprocessing import MaxAbsScaler, StandardScaler

from nldisco_core.binned import NO_SPLIT, SPLITS, Binned, BinnedSession
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.preprocessing import preprocess, smooth

RULES = settings(deadline=None, max_examples=60, derandomize=True, database=None)
TRAIN, TEST = SPLITS.index("train"), SPLITS.index("test")


def session_of(
    activity: Any,
    *,
    split: Any = TRAIN,
    trial: Any = -1,
    start_bins: Any = None,
    observed: Any = None,
    ids: tuple[str, ...] | None = None,
) -> BinnedSession:
    activity = np.asarray(activity)
    n_bins, n_units = activity.shape
    starts = np.arange(n_bins) if start_bins is None else np.asarray(start_bins)
    names = ids or tuple(f"u{unit}" for unit in range(n_units))
    return BinnedSession(
        session_id="s",
        activity=activity,
        units=pd.DataFrame({"id": list(names), "region": "", "kind": ""}),
        start_ns=starts.astype(np.int64) * 50_000_000,
        trial=np.broadcast_to(np.asarray(trial, dtype=np.int32), n_bins).copy(),
        split=np.broadcast_to(np.asarray(split, dtype=np.int8), n_bins).copy(),
        observed=observed,
    )


def data_of(*sessions: BinnedSession, kind: Any = "counts") -> Binned:
    return Binned(sessions=sessions, bin_s=0.05, activity_kind=kind)


def counts(n_bins: int = 200, n_units: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(2.0, (n_bins, n_units)).astype(np.uint8)


@RULES
@given(
    n_bins=st.integers(1, 40),
    breaks=st.sets(st.integers(1, 39), max_size=6),
    sigma=st.floats(0.2, 5.0),
    share_observed=st.sampled_from([None, 0.3, 0.9]),
    seed=st.integers(0, 1000),
)
def test_smoothing_equals_a_loop_over_neighbours(
    n_bins: int, breaks: set[int], sigma: float, share_observed: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.poisson(3.0, (n_bins, 2))
    segments = np.cumsum([row in breaks for row in range(n_bins)]).astype(np.int32)
    observed = None if share_observed is None else rng.random((n_bins, 2)) < share_observed
    expected = np.zeros((n_bins, 2))
    for unit in range(2):
        for i in range(n_bins):
            total = weight = 0.0
            for j in range(n_bins):
                seen = observed is None or observed[j, unit]
                if segments[i] == segments[j] and seen and abs(i - j) <= int(4 * sigma + 0.5):
                    g = np.exp(-((i - j) ** 2) / (2 * sigma**2))
                    total += g * values[j, unit]
                    weight += g
            if observed is None or observed[i, unit]:
                expected[i, unit] = total / weight
    found = smooth(values, segments, sigma_bins=sigma, observed=observed)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_smoothing_inside_a_long_segment_is_a_gaussian_filter() -> None:
    values = counts(300, 40).astype(np.float64)
    found = smooth(values, np.zeros(300, dtype=np.int32), sigma_bins=1.5)
    np.testing.assert_allclose(found[6:-6], gaussian_filter1d(values, 1.5, axis=0, truncate=4.0)[6:-6], rtol=1e-5)


def test_a_constant_stays_constant_at_ends_and_beside_unobserved_entries() -> None:
    observed = np.random.default_rng(0).random((50, 3)) < 0.7
    values = np.where(observed, 7, 0)
    found = smooth(values, np.repeat([0, 1], 25).astype(np.int32), sigma_bins=2.0, observed=observed)
    np.testing.assert_allclose(found, values, rtol=1e-6)


def test_smoothing_never_crosses_sessions_trial_joins_or_gaps() -> None:
    trial = np.repeat([0, 1], 10)
    starts = np.concatenate([np.arange(10), np.arange(10) + 10])
    first = session_of(np.where(trial[:, None] == 0, 0, 9), trial=trial, start_bins=starts)
    second = session_of(np.zeros((20, 1)), start_bins=np.concatenate([np.arange(10), np.arange(10) + 15]))
    second = replace(second, activity=np.where(np.arange(20)[:, None] < 10, 4.0, 2.0))
    found = preprocess(data_of(first, second), smooth_s=0.2, normalise="none")
    np.testing.assert_allclose(found.activity, np.concatenate([first.activity, second.activity]), rtol=1e-6)


def split_half(n_bins: int) -> np.ndarray:
    return np.where(np.arange(n_bins) < n_bins // 2, TRAIN, TEST)


def test_statistics_come_from_training_rows_only() -> None:
    activity = counts().astype(float)
    activity[100:] *= 50
    data = data_of(session_of(activity, split=split_half(200)))
    scored = preprocess(data, smooth_s=None, normalise="z-score").activity
    np.testing.assert_allclose(scored, StandardScaler().fit(activity[:100]).transform(activity), rtol=1e-4, atol=1e-5)
    scaled = preprocess(data, smooth_s=None, normalise="unit-max").activity
    np.testing.assert_allclose(scaled, MaxAbsScaler().fit(activity[:100]).transform(activity), rtol=1e-6)
    together = preprocess(data, smooth_s=None, normalise="global-max")
    np.testing.assert_allclose(together.activity, activity / activity[:100].max(), rtol=1e-6)


@pytest.mark.parametrize("normalise", ["none", "global-max", "unit-max", "z-score", "sqrt"])
@pytest.mark.parametrize("smooth_s", [None, 0.05])
def test_preprocessed_values_come_back_in_the_recorded_unit(normalise: Any, smooth_s: float | None) -> None:
    data = data_of(session_of(counts(), split=split_half(200)))
    found = preprocess(data, smooth_s=smooth_s, normalise=normalise)
    smoothed = preprocess(data, smooth_s=smooth_s, normalise="none")
    assert (found.preprocessing.smooth_s, found.preprocessing.normalise) == (smooth_s, normalise)
    np.testing.assert_allclose(found.preprocessing.to_recorded(found.activity), smoothed.activity, rtol=1e-4, atol=1e-5)


def test_the_square_root_is_taken_after_smoothing() -> None:
    data = data_of(session_of(counts()))
    smoothed = preprocess(data, smooth_s=0.05, normalise="none").activity
    np.testing.assert_allclose(preprocess(data, smooth_s=0.05, normalise="sqrt").activity, np.sqrt(smoothed), rtol=1e-6)


def test_counts_become_continuous_only_when_something_is_done() -> None:
    data = data_of(session_of(counts()))
    assert preprocess(data, smooth_s=None, normalise="none") is data
    changed = preprocess(data, smooth_s=0.05, normalise="none")
    assert changed.activity_kind == "continuous"
    assert changed.activity.dtype == np.float32
    rates = data_of(session_of(counts().astype(float)), kind="rate")
    assert preprocess(rates, smooth_s=0.05, normalise="none").activity_kind == "rate"
    assert preprocess(rates, smooth_s=0.05, normalise="unit-max").activity_kind == "continuous"


def test_the_input_is_left_as_it_was() -> None:
    activity = counts().astype(np.float32)
    before = activity.copy()
    preprocess(data_of(session_of(activity), kind="rate"), smooth_s=None, normalise="z-score")
    np.testing.assert_array_equal(activity, before)


def test_silent_and_constant_units_keep_their_scale() -> None:
    activity = np.column_stack([np.zeros(300), np.full(300, 0.1), counts(300, 1)[:, 0]])
    for normalise in ("unit-max", "z-score"):
        found = preprocess(data_of(session_of(activity)), smooth_s=0.05, normalise=normalise)
        assert np.isfinite(found.activity).all()
        assert found.preprocessing.statistics[0].scale[0] == 1
        np.testing.assert_array_equal(found.activity[:, 0], 0)
    assert found.preprocessing.statistics[0].scale[1] == 1
    np.testing.assert_allclose(found.activity[:, 1], 0, atol=1e-6)


def test_unobserved_entries_enter_no_statistic_and_stay_zero() -> None:
    observed = np.random.default_rng(1).random((200, 4)) < 0.6
    activity = np.where(observed, counts(200, 4) + 3.0, 0.0)
    data = data_of(session_of(activity, observed=observed))
    found = preprocess(data, smooth_s=None, normalise="z-score")
    known = np.ma.masked_array(activity, ~observed)
    np.testing.assert_allclose(found.preprocessing.statistics[0].offset, known.mean(axis=0))
    np.testing.assert_allclose(found.preprocessing.statistics[0].scale, known.std(axis=0))
    np.testing.assert_array_equal(found.activity[~observed], 0)


def test_sessions_that_share_units_share_statistics_and_others_have_their_own() -> None:
    low, high = counts(100, 3, seed=1).astype(float), counts(60, 3, seed=2) + 10.0
    shared = preprocess(data_of(session_of(low), session_of(high)), smooth_s=None, normalise="z-score")
    both = np.concatenate([low, high])
    for statistics in shared.preprocessing.statistics:
        np.testing.assert_allclose(statistics.offset, both.mean(axis=0))
        np.testing.assert_allclose(statistics.scale, both.std(axis=0))
    animals = data_of(session_of(low), session_of(high, ids=("a", "b", "c")))
    own = preprocess(animals, smooth_s=None, normalise="global-max").preprocessing.statistics
    assert [set(statistics.scale) for statistics in own] == [{low.max()}, {high.max()}]


def test_statistics_without_training_rows_are_refused() -> None:
    unassigned = data_of(session_of(counts(), split=NO_SPLIT))
    with pytest.raises(DataError, match="assign splits first"):
        preprocess(unassigned, smooth_s=0.05, normalise="z-score")
    assert preprocess(unassigned, smooth_s=0.05, normalise="sqrt").activity_kind == "continuous"
    animals = data_of(session_of(counts()), session_of(counts(), split=TEST, ids=("a", "b", "c", "d", "e")))
    with pytest.raises(DataError, match="no training rows"):
        preprocess(animals, smooth_s=None, normalise="unit-max")


def test_statistics_of_an_earlier_call_are_applied_to_another_epoch() -> None:
    wake = preprocess(data_of(session_of(counts(seed=1))), smooth_s=None, normalise="z-score")
    sleep = counts(seed=2)
    known = wake.preprocessing.statistics
    found = preprocess(data_of(session_of(sleep, split=NO_SPLIT)), smooth_s=None, normalise="z-score", statistics=known)
    assert found.preprocessing.statistics is known
    np.testing.assert_allclose(found.activity, (sleep - known[0].offset) / known[0].scale, rtol=1e-5, atol=1e-6)
    with pytest.raises(IncompatibleData, match=r"units; the data have"):
        preprocess(data_of(session_of(counts(50, 2))), smooth_s=None, normalise="z-score", statistics=known)


def test_preprocessing_twice_and_roots_of_negative_values_are_refused() -> None:
    once = preprocess(data_of(session_of(counts())), smooth_s=0.05, normalise="none")
    with pytest.raises(DataError, match="already preprocessed"):
        preprocess(once, smooth_s=0.05, normalise="none")
    with pytest.raises(DataError, match="no square root"):
        preprocess(data_of(session_of(counts() - 5.0), kind="continuous"), smooth_s=None, normalise="sqrt")
