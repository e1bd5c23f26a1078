"""Signals on bins against plain loops over samples in integer milliseconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import circmean

from nldisco_core.alignment import align_signal, align_signals, derived_speed
from nldisco_core.errors import DataError
from nldisco_core.grid import Grid, interval_of, union_ns
from nldisco_core.session import Session, Signal, SpikeTrains

RULES = settings(deadline=None, max_examples=80, derandomize=True, database=None)
MS = 1_000_000


def grid_of(n_bins: int = 20, bin_ms: int = 50, *, starts_ms: tuple[int, ...] = (0,)) -> Grid:
    return Grid(
        bin_ns=bin_ms * MS,
        stretch_start_ns=np.array(starts_ms, dtype=np.int64) * MS,
        stretch_n_bins=np.full(len(starts_ms), n_bins, dtype=np.int64),
    )


def signal_of(times_ms: Any, values: Any, **fields: Any) -> Signal:
    times_s = np.asarray(times_ms, dtype=np.float64) / 1000
    return Signal(name="x", times_s=times_s, values=np.asarray(values, dtype=np.float64), **fields)


def one(signal: Signal, grid: Grid) -> np.ndarray:
    return align_signal(signal, grid).values[:, 0]


samples = st.lists(
    st.tuples(st.integers(-100, 1100), st.one_of(st.just(np.nan), st.floats(-100, 100))),
    min_size=2,
    max_size=60,
    unique_by=lambda sample: sample[0],
).map(sorted)
supports = st.one_of(
    st.none(), st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), min_size=1, max_size=3)
).map(lambda rows: None if rows is None else [(start, start + length) for start, length in rows])


def stretches_of(support: list[tuple[int, int]] | None) -> list[tuple[float, float]]:
    if support is None:
        return [(-np.inf, np.inf)]
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(support):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def stretch_at(time: float, stretches: list[tuple[float, float]]) -> int | None:
    return next((index for index, (start, stop) in enumerate(stretches) if start <= time <= stop), None)


def reference(rows: list[tuple[int, float]], support: Any, bin_ms: int, n_bins: int, mean: Any) -> np.ndarray:
    """What a bin should hold: the mean of its samples, else the nearest sample within one sampling period."""
    stretches = stretches_of(support)
    rows = [(t, v) for t, v in rows if stretch_at(t, stretches) is not None]
    period = np.median(np.diff([t for t, _ in rows])) if len(rows) > 1 else -1
    expected = np.full(n_bins, np.nan)
    for row in range(n_bins):
        inside = [v for t, v in rows if row * bin_ms <= t < (row + 1) * bin_ms]
        if inside:
            finite = [v for v in inside if not np.isnan(v)]
            expected[row] = mean(finite) if finite else np.nan
            continue
        centre = row * bin_ms + bin_ms / 2
        here = stretch_at(centre, stretches)
        near = [(abs(t - centre), t, v) for t, v in rows if here is not None and stretch_at(t, stretches) == here]
        if near and min(near)[0] <= period:
            expected[row] = mean([min(near)[2]]) if not np.isnan(min(near)[2]) else np.nan
    return expected


@RULES
@given(rows=samples, support=supports, bin_ms=st.sampled_from([10, 50, 124]))
def test_linear_signals_are_averaged_over_the_bin(rows: list[tuple[int, float]], support: Any, bin_ms: int) -> None:
    n_bins = 1000 // bin_ms
    support_s = None if support is None else np.array(support) / 1000
    signal = signal_of([t for t, _ in rows], [v for _, v in rows], support_s=support_s)
    expected = reference(rows, support, bin_ms, n_bins, np.mean)
    np.testing.assert_allclose(one(signal, grid_of(n_bins, bin_ms)), expected, atol=1e-9)


@RULES
@given(rows=samples, bin_ms=st.sampled_from([10, 50, 124]), period=st.sampled_from([360.0, 2 * np.pi, 1.0]))
def test_circular_signals_are_averaged_on_the_circle(rows: list[tuple[int, float]], bin_ms: int, period: float) -> None:
    n_bins = 1000 // bin_ms
    signal = signal_of([t for t, _ in rows], [v for _, v in rows], kind="circular", period=period)
    found = one(signal, grid_of(n_bins, bin_ms))

    def mean_direction(values: list[float]) -> float:
        """Opposite directions have none, whatever rounding makes of their sum."""
        resultant = abs(np.exp(2j * np.pi * np.asarray(values) / period).mean())
        return float(circmean(values, high=period)) if resultant > 1e-9 else np.nan

    expected = reference(rows, None, bin_ms, n_bins, mean_direction)
    assert ((found[~np.isnan(found)] >= 0) & (found[~np.isnan(found)] < period)).all()
    off = np.abs(found - expected)
    np.testing.assert_allclose(np.minimum(off, period - off), np.where(np.isnan(expected), np.nan, 0), atol=1e-6)


def test_the_mean_of_headings_beside_zero_is_not_the_opposite_heading() -> None:
    found = one(signal_of([0, 10, 20, 30], [359.0, 1.0, -1.0, 721.0], kind="circular", period=360.0), grid_of(1))
    assert np.isclose(found[0], 0, atol=1e-6) or np.isclose(found[0], 360, atol=1e-6)
    assert found[0] < 360


def test_opposite_headings_have_no_mean() -> None:
    assert np.isnan(one(signal_of([0, 10], [10.0, 190.0], kind="circular", period=360.0), grid_of(1)))


@RULES
@given(rows=samples, support=supports, bin_ms=st.sampled_from([10, 50, 124]))
def test_discrete_signals_take_the_last_sample_before_the_centre(
    rows: list[tuple[int, float]], support: Any, bin_ms: int
) -> None:
    rows = [(t, np.nan if np.isnan(v) else float(v > 0)) for t, v in rows]
    support_s = None if support is None else np.array(support) / 1000
    signal = signal_of(
        [t for t, _ in rows], [v for _, v in rows], kind="discrete", categories=("off", "on"), support_s=support_s
    )
    stretches, n_bins = stretches_of(support), 1000 // bin_ms
    period = np.median(np.diff([t for t, _ in rows]))
    expected = np.full(n_bins, np.nan)
    for row in range(n_bins):
        centre = row * bin_ms + bin_ms / 2
        here = stretch_at(centre, stretches)
        before = [(t, v) for t, v in rows if t <= centre and here is not None and stretch_at(t, stretches) == here]
        if before and (support is not None or centre - before[-1][0] <= period):
            expected[row] = before[-1][1]
    np.testing.assert_array_equal(one(signal, grid_of(n_bins, bin_ms)), expected)


def test_a_signal_without_samples_in_the_support_is_nowhere_defined() -> None:
    for kind in ({"kind": "linear"}, {"kind": "discrete", "categories": ("off", "on")}):
        signal = signal_of([10, 20], [1.0, 1.0], support_s=np.array([[5.0, 6.0]]), **kind)
        assert np.isnan(one(signal, grid_of(3))).all()


def test_one_lonely_sample_speaks_for_its_own_bin_only() -> None:
    np.testing.assert_array_equal(one(signal_of([70], [3.0]), grid_of(3)), [np.nan, 3.0, np.nan])
    discrete = signal_of([75], [1.0], kind="discrete", categories=("off", "on"))
    np.testing.assert_array_equal(one(discrete, grid_of(3)), [np.nan, 1.0, np.nan])


@pytest.mark.parametrize("kind", [{}, {"kind": "circular", "period": 8.0}])
def test_infinite_samples_are_missing(kind: dict[str, Any]) -> None:
    signal = signal_of([0, 10, 60], [np.inf, 2.0, -np.inf], **kind)
    np.testing.assert_allclose(one(signal, grid_of(2)), [2.0, np.nan])


def test_an_infinite_sample_speaks_for_no_bin_beside_it() -> None:
    near = signal_of([0, 60, 120], [1.0, np.inf, 3.0])
    np.testing.assert_array_equal(one(near, grid_of(3)), [1.0, np.nan, 3.0])
    labels = signal_of([0, 60, 120], [0.0, np.inf, 1.0], kind="discrete", categories=("a", "b"))
    np.testing.assert_array_equal(one(labels, grid_of(3)), [0.0, np.nan, 1.0])


def test_covariates_keep_what_the_signal_says_of_itself() -> None:
    signal = signal_of(
        np.arange(0, 100, 5),
        np.random.default_rng(0).random((20, 2)),
        kind="position",
        physical_unit="cm",
        channels=("east", "north"),
    )
    covariate = align_signal(signal, grid_of(2))
    assert (covariate.kind, covariate.physical_unit, covariate.channels) == ("position", "cm", ("east", "north"))
    np.testing.assert_allclose(covariate.values, signal.values.reshape(2, 10, 2).mean(axis=1))


def path(times_s: np.ndarray, speed: float) -> np.ndarray:
    return np.column_stack([3 / 5 * speed * times_s, 4 / 5 * speed * times_s])


@pytest.mark.parametrize("step_ms", [5, 33, 120])
def test_derived_speed_is_the_speed_of_travel_whatever_the_sampling(step_ms: int) -> None:
    times_ms = np.arange(0, 1001, step_ms)
    position = signal_of(times_ms, path(times_ms / 1000, 20.0), kind="position", physical_unit="cm")
    speed = derived_speed(position, grid_of())
    assert (speed.name, speed.kind, speed.physical_unit) == ("x_speed", "linear", "cm/s")
    np.testing.assert_allclose(speed.values[:, 0], 20.0, rtol=1e-6)


@pytest.mark.parametrize("step_ms", [5, 100])
def test_derived_speed_never_crosses_a_border_of_the_support(step_ms: int) -> None:
    times_ms = np.arange(0, 1000, step_ms)
    jumped = path(times_ms / 1000, 20.0) + np.where(times_ms < 500, 0, 1000.0)[:, None]
    stated = np.array([[0.0, 0.499], [0.5, 1.0]])
    position = signal_of(times_ms, jumped, kind="position", support_s=stated)
    found = derived_speed(position, grid_of()).values
    np.testing.assert_allclose(found[~np.isnan(found)], 20.0)
    assert np.isfinite(found).sum() >= 18
    blind = derived_speed(signal_of(times_ms, jumped, kind="position"), grid_of()).values
    assert np.nanmax(blind) > 1000


@pytest.mark.parametrize("step_ms", [5, 100])
def test_derived_speed_never_crosses_a_dropout_or_a_gap_between_stretches(step_ms: int) -> None:
    times_ms = np.arange(0, 3000, step_ms)
    kept = (times_ms < 800) | (times_ms >= 1500)
    jumped = path(times_ms / 1000, 20.0) + np.where(times_ms < 1500, 0, 1000.0)[:, None]
    position = signal_of(times_ms[kept], jumped[kept], kind="position")
    found = derived_speed(position, grid_of(10, starts_ms=(0, 500, 1500))).values[:, 0]
    np.testing.assert_allclose(found[~np.isnan(found)], 20.0)
    assert np.isnan(found[18:20]).all()
    dropped = signal_of(times_ms, np.where(kept[:, None], jumped, np.nan), kind="position")
    found = derived_speed(dropped, grid_of(60)).values[:, 0]
    np.testing.assert_allclose(found[~np.isnan(found)], 20.0)


def session_with(**signals: Signal) -> Session:
    return Session(
        session_id="s",
        span_s=(0.0, 1.0),
        units=pd.DataFrame({"id": ["u"], "region": "", "kind": ""}),
        spike_times=SpikeTrains.from_units([np.array([0.5])]),
        signals=signals,
    )


def test_only_chosen_signals_are_aligned_and_unknown_ones_name_the_nearest() -> None:
    times_ms = np.arange(0, 1000, 10)
    session = session_with(
        head=signal_of(times_ms, times_ms), hand=signal_of(times_ms, path(times_ms / 1000, 1.0), kind="position")
    )
    assert list(align_signals(session, grid_of())) == ["head", "hand", "hand_speed"]
    assert list(align_signals(session, grid_of(), ("head",))) == ["head"]
    with pytest.raises(DataError, match="'s': unknown signal 'hnd'; did you mean 'hand'"):
        align_signals(session, grid_of(), ("hnd",))


def test_speed_that_the_source_holds_is_not_derived_again() -> None:
    times_ms = np.arange(0, 1000, 10)
    position = signal_of(times_ms, path(times_ms / 1000, 1.0), kind="position")
    session = session_with(hand=position, hand_speed=signal_of(times_ms, np.full(100, 7.0)))
    np.testing.assert_array_equal(align_signals(session, grid_of())["hand_speed"].values, 7.0)
    assert list(align_signals(session, grid_of(), ("hand",))) == ["hand"]


@RULES
@given(rows=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=6))
def test_union_of_intervals_covers_the_same_times_once(rows: list[tuple[int, int]]) -> None:
    merged = union_ns(np.array([(start, start + length) for start, length in rows], dtype=float).reshape(-1, 2) * 1e-9)
    assert (merged[1:, 0] > merged[:-1, 1]).all()
    times = np.arange(80)
    covered = [any(start <= time <= start + length for start, length in rows) for time in times]
    np.testing.assert_array_equal(interval_of(times, merged) >= 0, covered)
