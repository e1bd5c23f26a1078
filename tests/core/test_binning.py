"""Bins, trials and events against plain loops over integer milliseconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nldisco_core.binned import NO_SPLIT, BinnedSession
from nldisco_core.binning import bin_session, bin_sessions
from nldisco_core.conformance.toys import toy_session
from nldisco_core.errors import DataError, InvalidRecording
from nldisco_core.session import IntervalTable, Prebinned, Session, Signal, SpikeTrains, Traces

RULES = settings(deadline=None, max_examples=60, derandomize=True, database=None)


def session_of(
    trains: list[Any] | None = None,
    *,
    n_units: int | None = None,
    span_s: tuple[float, float] = (0.0, 1.0),
    **fields: Any,
) -> Session:
    n_units = len(trains) if trains is not None else n_units or 1
    if trains is not None:
        fields["spike_times"] = SpikeTrains.from_units([np.asarray(train, dtype=np.float64) for train in trains])
    units = pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)], "region": "", "kind": ""})
    return Session(session_id="s", span_s=span_s, units=units, **fields)


def table_of(*rows: tuple[float, float], events: tuple[str, ...] = (), **columns: Any) -> IntervalTable:
    starts, stops = zip(*rows, strict=True) if rows else ((), ())
    return IntervalTable(
        pd.DataFrame({"start_s": np.array(starts, float), "stop_s": np.array(stops, float), **columns}), events=events
    )


def labels_of(session: BinnedSession, name: str) -> list[str | None]:
    covariate = session.covariates[name]
    assert covariate.categories is not None
    return [None if np.isnan(code) else covariate.categories[int(code)] for code in covariate.values[:, 0]]


intervals_ms = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 300)), max_size=5).map(
    lambda rows: sorted((start, start + length) for start, length in rows)
)


@RULES
@given(
    trains_ms=st.lists(st.lists(st.integers(-50, 1100), max_size=60).map(sorted), min_size=1, max_size=4),
    bin_ms=st.sampled_from([1, 7, 10, 50, 333]),
    start_ms=st.integers(-20, 40),
    stop_ms=st.integers(400, 1000),
)
def test_counts_equal_a_loop_over_spikes(trains_ms: list[list[int]], bin_ms: int, start_ms: int, stop_ms: int) -> None:
    session = session_of([np.array(train) / 1000 for train in trains_ms], span_s=(start_ms / 1000, stop_ms / 1000))
    binned = bin_session(session, bin_s=bin_ms / 1000)
    n_bins = (stop_ms - start_ms) // bin_ms
    expected = np.zeros((n_bins, len(trains_ms)), dtype=int)
    for unit, train in enumerate(trains_ms):
        for spike in train:
            if start_ms <= spike < start_ms + n_bins * bin_ms:
                expected[(spike - start_ms) // bin_ms, unit] += 1
    np.testing.assert_array_equal(binned.activity, expected)
    assert binned.start_ns.tolist() == [(start_ms + row * bin_ms) * 1_000_000 for row in range(n_bins)]
    assert binned.observed is None
    assert (binned.split == NO_SPLIT).all()


@pytest.mark.parametrize("bin_s", [0.05, 0.01, 0.1])
def test_spike_on_an_edge_falls_into_the_bin_that_starts_there(bin_s: float) -> None:
    k = np.arange(20_000)
    edges = k * bin_s
    in_floats = (edges // bin_s).astype(int)
    assert (in_floats != k).any(), "the trap this guards against"
    binned = bin_session(session_of([edges], span_s=(0.0, 20_000 * bin_s)), bin_s=bin_s)
    np.testing.assert_array_equal(binned.activity[:, 0], 1)


def test_edges_stay_exact_after_a_grid_start_that_floats_cannot_hold() -> None:
    start = 1234.1
    edges = start + np.arange(5_000) * 0.02
    binned = bin_session(session_of([edges], span_s=(start, start + 100.0)), bin_s=0.02)
    np.testing.assert_array_equal(binned.activity[:, 0], 1)


@pytest.mark.parametrize(("n_spikes", "dtype"), [(255, np.uint8), (256, np.uint16), (65_536, np.uint32)])
def test_counts_use_the_smallest_integers_that_hold_them(n_spikes: int, dtype: type) -> None:
    binned = bin_session(session_of([[0.05], np.full(n_spikes, 0.15), []]), bin_s=0.1)
    assert binned.activity.dtype == dtype
    assert binned.activity.sum(axis=0).tolist() == [1, n_spikes, 0]


def test_silent_bins_are_rows_of_zeros_and_the_partial_last_bin_is_dropped() -> None:
    binned = bin_session(session_of([[0.01, 0.95], [0.98]], span_s=(0.0, 0.99)), bin_s=0.1)
    assert binned.n_bins == 9
    assert binned.activity[1:].sum() == 0


def test_a_bin_width_that_fits_no_bin_is_refused() -> None:
    with pytest.raises(DataError, match="no bin of 2 s fits"):
        bin_session(session_of([[0.5]]), bin_s=2.0)
    with pytest.raises(DataError, match="positive number of seconds"):
        bin_session(session_of([[0.5]]), bin_s=0.0)


@RULES
@given(observed_ms=st.lists(intervals_ms, min_size=2, max_size=3), bin_ms=st.sampled_from([7, 10, 50]))
def test_bins_not_wholly_observed_are_unknown_not_zero(observed_ms: list[list[tuple[int, int]]], bin_ms: int) -> None:
    every_ms = np.arange(1000) / 1000
    session = session_of(
        [every_ms] * len(observed_ms),
        observed_s=tuple(np.array(rows, dtype=float).reshape(-1, 2) / 1000 for rows in observed_ms),
    )
    binned = bin_session(session, bin_s=bin_ms / 1000)
    expected = np.zeros((1000 // bin_ms, len(observed_ms)), dtype=bool)
    for unit, rows in enumerate(observed_ms):
        seen = {ms for start, stop in rows for ms in range(start, stop)}
        for row in range(len(expected)):
            expected[row, unit] = all(ms in seen for ms in range(row * bin_ms, (row + 1) * bin_ms))
    observed = np.ones_like(expected) if binned.observed is None else binned.observed
    np.testing.assert_array_equal(observed, expected)
    np.testing.assert_array_equal(binned.activity, np.where(expected, bin_ms, 0))


def test_mask_is_absent_where_everything_was_observed() -> None:
    session = session_of([[0.5], [0.6]], observed_s=(np.array([[0.0, 1.0]]), np.array([[0.0, 0.5], [0.5, 1.0]])))
    assert bin_session(session, bin_s=0.1).observed is None


def epochs(*rows: tuple[float, float, str]) -> dict[str, IntervalTable]:
    return {"epochs": table_of(*((start, stop) for start, stop, _ in rows), label=[label for *_, label in rows])}


def test_each_interval_of_an_epoch_is_a_stretch_with_a_grid_of_its_own() -> None:
    session = session_of(
        [np.arange(100) / 100],
        intervals=epochs((0.03, 0.25, "wake"), (0.25, 0.5, "sleep"), (0.51, 0.75, "wake")),
        signals={"ramp": Signal(name="ramp", times_s=np.arange(100) / 100, values=np.arange(100.0))},
    )
    binned = bin_session(session, bin_s=0.1, epoch="wake")
    assert binned.start_ns.tolist() == [30_000_000, 130_000_000, 510_000_000, 610_000_000]
    assert binned.segments(100_000_000).tolist() == [0, 0, 1, 1]
    assert binned.activity[:, 0].tolist() == [10] * 4
    np.testing.assert_allclose(binned.covariates["ramp"].values[:, 0], [7.5, 17.5, 55.5, 65.5])


def test_overlapping_intervals_of_an_epoch_count_no_spike_twice() -> None:
    session = session_of([np.arange(100) / 100], intervals=epochs((0.0, 0.55, "wake"), (0.25, 1.0, "wake")))
    binned = bin_session(session, bin_s=0.1, epoch="wake")
    assert binned.start_ns.tolist() == [
        *range(0, 500_000_000, 100_000_000),
        *range(550_000_000, 950_000_000, 100_000_000),
    ]
    assert binned.activity[:, 0].tolist() == [10] * 9


def test_an_epoch_beyond_the_recording_keeps_its_grid_and_loses_the_bins_outside() -> None:
    session = session_of([np.arange(100) / 100], intervals=epochs((-0.25, 2.0, "wake")))
    binned = bin_session(session, bin_s=0.1, epoch="wake")
    assert binned.start_ns.tolist() == [50_000_000 + row * 100_000_000 for row in range(9)]


def test_an_unknown_epoch_names_the_nearest() -> None:
    session = session_of([[0.5]], intervals=epochs((0.0, 0.5, "wake"), (0.5, 1.0, "sleep")))
    with pytest.raises(DataError, match="'s': unknown epoch 'wak'; did you mean 'wake'"):
        bin_session(session, bin_s=0.1, epoch="wak")
    with pytest.raises(DataError, match="Known: none"):
        bin_session(session_of([[0.5]]), bin_s=0.1, epoch="wake")


@RULES
@given(rows_ms=intervals_ms.filter(bool), bin_ms=st.sampled_from([7, 10, 50]))
def test_a_bin_belongs_to_the_first_trial_that_wholly_holds_it(rows_ms: list[tuple[int, int]], bin_ms: int) -> None:
    session = session_of(
        [[0.5]], intervals={"trials": table_of(*((start / 1000, stop / 1000) for start, stop in rows_ms))}
    )
    binned = bin_session(session, bin_s=bin_ms / 1000, trials="trials")
    expected, contested = [], 0
    for row in range(1000 // bin_ms):
        start, stop = row * bin_ms, (row + 1) * bin_ms
        holding = [trial for trial, (a, b) in enumerate(rows_ms) if a <= start and stop <= b]
        expected.append(holding[0] if holding else -1)
        contested += len(holding) > 1
    assert binned.trial.tolist() == expected
    assert [int(warning.split()[0]) for warning in binned.warnings] == [contested] * bool(contested)


def test_trials_keep_the_absolute_grid_and_break_segments_where_they_join() -> None:
    session = session_of([[0.5]], intervals={"trials": table_of((0.13, 0.5), (0.5, 0.8))})
    binned = bin_session(session, bin_s=0.1, trials="trials", only_trials=True)
    assert binned.start_ns.tolist() == [200_000_000, 300_000_000, 400_000_000, 500_000_000, 600_000_000, 700_000_000]
    assert binned.trial.tolist() == [0, 0, 0, 1, 1, 1]
    assert binned.segments(100_000_000).tolist() == [0, 0, 0, 1, 1, 1]
    assert binned.trials is not None
    assert len(binned.trials) == 2


def test_trials_asked_for_where_there_are_none_is_one_clear_line() -> None:
    bare = session_of([[0.5]], intervals={"trial": table_of((0.0, 0.5)), "none": table_of()})
    with pytest.raises(InvalidRecording, match=r"'s': trials asked for.*unknown interval table 'trials'.*'trial'"):
        bin_session(bare, bin_s=0.1, trials="trials")
    with pytest.raises(InvalidRecording, match="'none' is empty"):
        bin_session(bare, bin_s=0.1, trials="none")
    with pytest.raises(DataError, match="no trial table is chosen"):
        bin_session(bare, bin_s=0.1, only_trials=True)
    with pytest.raises(DataError, match="wholly inside one of the 'trial'"):
        bin_session(bare, bin_s=0.7, trials="trial", only_trials=True)


def test_trial_columns_become_variables_of_the_kind_they_hold() -> None:
    trials = table_of(
        (0.0, 0.3),
        (0.3, 0.6),
        (0.7, 1.0),
        side=["right", None, "left"],
        rewarded=[True, False, True],
        maze=[10, 2, 10],
        block=pd.Categorical(["b", "a", "a"]),
        contrast=[0.5, np.nan, 1.0],
        maybe=pd.array([3, None, 1], dtype="Int64"),
        path=[[1], [2, 3], []],
        note=[np.nan, np.nan, np.nan],
    )
    binned = bin_session(session_of([[0.5]], intervals={"trials": trials}), bin_s=0.1, trials="trials")
    found = binned.covariates
    assert {name: covariate.kind for name, covariate in found.items()} == {
        "side": "discrete",
        "rewarded": "discrete",
        "maze": "discrete",
        "block": "discrete",
        "contrast": "linear",
        "maybe": "discrete",
    }
    assert all(covariate.source == "trial" for covariate in found.values())
    assert found["maze"].categories == ("2", "10")
    assert found["rewarded"].categories == ("False", "True")
    assert labels_of(binned, "side") == ["right"] * 3 + [None] * 4 + ["left"] * 3
    assert labels_of(binned, "block") == ["b"] * 3 + ["a"] * 3 + [None] + ["a"] * 3
    assert labels_of(binned, "maybe") == ["3"] * 3 + [None] * 4 + ["1"] * 3
    np.testing.assert_array_equal(found["contrast"].values[:, 0], [0.5] * 3 + [np.nan] * 4 + [1.0] * 3)


def test_many_integers_are_linear_and_much_text_is_left_out_with_a_warning() -> None:
    rows = [(trial / 100, (trial + 1) / 100) for trial in range(60)]
    trials = table_of(*rows, number=np.arange(60), name=[f"image {trial}" for trial in range(60)])
    binned = bin_session(session_of([[0.5]], intervals={"t": trials}), bin_s=0.01, trials="t")
    assert binned.covariates["number"].kind == "linear"
    np.testing.assert_array_equal(binned.covariates["number"].values[:60, 0], np.arange(60))
    assert "name" not in binned.covariates
    assert binned.warnings == ("trial column 'name' left out: text of 60 different values",)


def test_a_trial_column_never_hides_a_signal_or_an_event() -> None:
    times = np.arange(10) / 10
    session = session_of(
        [[0.5]],
        intervals={"t": table_of((0.0, 1.0), speed=[3.5], phase=["late"], event=[1.5], go_s=[0.5], events=("go_s",))},
        signals={"speed": Signal(name="speed", times_s=times, values=times)},
    )
    binned = bin_session(session, bin_s=0.1, trials="t")
    assert set(binned.covariates) == {"speed", "event", "phase", "trial_speed", "trial_phase", "trial_event"}
    assert binned.covariates["speed"].source == "signal"
    assert binned.covariates["phase"].source == "phase"
    np.testing.assert_array_equal(binned.covariates["trial_speed"].values, 3.5)


def test_the_kth_event_of_a_trial_is_not_k_bins_late() -> None:
    names = [f"event_{k}_time" for k in range(6)]
    starts = np.array([0.0, 1.0, 2.0])
    times = {name: starts + 0.05 + 0.15 * k for k, name in enumerate(names)}
    trials = table_of(*((start, start + 1.0) for start in starts), events=tuple(names), **times)
    binned = bin_session(session_of([[0.5]], span_s=(0.0, 3.0), intervals={"t": trials}), bin_s=0.01, trials="t")
    expected: list[str | None] = [None] * 300
    for start in starts:
        for k in range(6):
            expected[round(start * 100) + 5 + 15 * k] = f"event_{k}"
    assert labels_of(binned, "event") == expected
    assert binned.covariates["event"].source == "event"


def test_the_first_event_of_a_bin_wins_and_the_others_are_counted() -> None:
    trials = table_of((0.0, 1.0), cue_s=[0.31], go_s=[0.35], late_s=[np.nan], events=("cue_s", "go_s", "late_s"))
    session = session_of(
        [[0.5]],
        intervals={"t": trials},
        events={"go": np.array([0.05, 0.36, 0.77]), "lick_time": np.array([0.3, 0.39, 5.0, np.nan, 0.1])},
    )
    binned = bin_session(session, bin_s=0.1, trials="t")
    assert labels_of(binned, "event") == ["go", "lick", None, "lick", None, None, None, "go", None, None]
    assert binned.warnings == ("3 events share a bin with an earlier one and are left out of 'event': cue 1, go 2",)


def test_session_events_need_no_trials() -> None:
    session = session_of([[0.5]], events={"sound": np.array([0.42])})
    binned = bin_session(session, bin_s=0.1)
    assert labels_of(binned, "event") == [None] * 4 + ["sound"] + [None] * 5
    assert "phase" not in binned.covariates
    assert not bin_session(session_of([[0.5]]), bin_s=0.1).covariates


event_ms = st.one_of(st.none(), st.integers(-100, 500))


@RULES
@given(
    rows=st.lists(st.tuples(event_ms, event_ms, event_ms), min_size=1, max_size=3), bin_ms=st.sampled_from([6, 20, 50])
)
def test_phase_is_the_interval_between_events_that_holds_the_centre(
    rows: list[tuple[int | None, int | None, int | None]], bin_ms: int
) -> None:
    names = ("target_on_time", "go_s", "move_s")
    offsets_ms = [450 * trial for trial in range(len(rows))]
    columns = {
        name: [
            np.nan if row[k] is None else (row[k] + offset) / 1000 for row, offset in zip(rows, offsets_ms, strict=True)
        ]
        for k, name in enumerate(names)
    }
    trials = table_of(*((offset / 1000, (offset + 400) / 1000) for offset in offsets_ms), events=names, **columns)
    binned = bin_session(
        session_of([[0.5]], span_s=(0.0, 1.4), intervals={"t": trials}), bin_s=bin_ms / 1000, trials="t"
    )
    expected: list[str | None] = []
    for row in range(1400 // bin_ms):
        start, stop = row * bin_ms, (row + 1) * bin_ms
        holding = [k for k, offset in enumerate(offsets_ms) if offset <= start and stop <= offset + 400]
        if not holding:
            expected.append(None)
            continue
        offset = offsets_ms[holding[0]]
        times = [(t + offset, k) for k, t in enumerate(rows[holding[0]]) if t is not None and 0 <= t <= 400]
        points = [("start", offset), *((("target_on", "go", "move")[k], t) for t, k in sorted(times))]
        centre = (start + stop) / 2
        index = max(i for i, (_, t) in enumerate(points) if t <= centre)
        following = points[index + 1][0] if index + 1 < len(points) else "end"
        expected.append(f"{points[index][0]} -> {following}")
    assert labels_of(binned, "phase") == expected


def test_traces_are_averaged_and_bins_without_a_value_are_unobserved() -> None:
    times = np.delete(np.arange(100) / 100, np.s_[20:50])
    source = np.column_stack([times, np.where(times < 0.6, times, np.nan)])
    binned = bin_session(session_of(n_units=2, traces=Traces(times_s=times, source=source)), bin_s=0.1)
    expected = np.zeros((10, 2), dtype=np.float32)
    known = np.zeros((10, 2), dtype=bool)
    for row in range(10):
        for unit in range(2):
            inside = [v for t, v in zip(times, source[:, unit], strict=True) if row <= round(t * 100) / 10 < row + 1]
            inside = [value for value in inside if not np.isnan(value)]
            known[row, unit] = bool(inside)
            expected[row, unit] = np.mean(inside) if inside else 0
    assert binned.activity.dtype == np.float32
    np.testing.assert_allclose(binned.activity, expected, rtol=1e-6)
    np.testing.assert_array_equal(binned.observed, known)


def test_traces_slower_than_the_bins_repeat_their_nearest_sample() -> None:
    times = 0.05 + np.arange(10) / 10
    session = session_of(n_units=1, traces=Traces(times_s=times, source=np.arange(10.0)[:, None]))
    binned = bin_session(session, bin_s=0.05)
    centres = 0.025 + 0.05 * np.arange(20)
    nearest = [int(np.argmin(np.abs(times - centre))) for centre in centres]
    np.testing.assert_array_equal(binned.activity[:, 0], nearest)
    assert binned.observed is None


def prebinned(values: Any, *, bin_s: float = 0.1, kind: Any = "counts", starts: Any = None) -> Session:
    values = np.asarray(values)
    starts = np.arange(len(values)) * bin_s if starts is None else starts
    source = Prebinned(start_s=starts, bin_s=bin_s, source=values, kind=kind)
    return session_of(
        n_units=values.shape[1],
        prebinned=source,
        intervals=epochs((0.15, 0.62, "wake")),
    )


def test_binned_counts_are_taken_as_they_are_or_summed() -> None:
    counts = np.random.default_rng(0).integers(0, 200, (10, 3))
    same = bin_session(prebinned(counts), bin_s=0.1)
    np.testing.assert_array_equal(same.activity, counts)
    assert same.activity.dtype == np.uint8
    summed = bin_session(prebinned(counts), bin_s=0.3)
    np.testing.assert_array_equal(summed.activity, counts[:9].reshape(3, 3, 3).sum(axis=1))
    assert summed.start_ns.tolist() == [0, 300_000_000, 600_000_000]


def test_binned_rates_are_averaged_and_missing_values_are_unobserved() -> None:
    rates = np.arange(16.0).reshape(8, 2)
    rates[3, 1] = np.nan
    binned = bin_session(prebinned(rates, kind="rate"), bin_s=0.2)
    np.testing.assert_array_equal(binned.activity, [[1, 2], [5, 0], [9, 10], [13, 14]])
    np.testing.assert_array_equal(binned.observed, [[True, True], [True, False], [True, True], [True, True]])


def test_binned_sources_are_regrouped_within_stretches_and_epochs_only() -> None:
    counts = np.arange(10)[:, None]
    starts = np.array([0.0, 0.1, 0.2, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95])
    assert bin_session(prebinned(counts, starts=starts), bin_s=0.2).activity[:, 0].tolist() == [1, 7, 11, 15]
    in_epoch = bin_session(prebinned(counts, starts=starts), bin_s=0.1, epoch="wake")
    assert in_epoch.activity[:, 0].tolist() == [2, 3, 4]
    assert in_epoch.start_ns.tolist() == [200_000_000, 350_000_000, 450_000_000]


def test_bins_of_a_thirtieth_of_a_second_stay_in_one_stretch() -> None:
    binned = bin_session(prebinned(np.ones((90, 1), dtype=int), bin_s=1 / 30), bin_s=0.1)
    assert binned.n_bins == 30
    assert (binned.segments(100_000_000) == 0).all()


def test_binned_sources_say_what_they_cannot_give() -> None:
    with pytest.raises(
        DataError, match=r"already in bins of 0\.1 s.*bins of 0\.25 s; choose 0\.1 or a multiple such as 0\.2"
    ):
        bin_session(prebinned(np.ones((5, 1))), bin_s=0.25)
    with pytest.raises(DataError, match=r"cannot make bins of 0\.05 s"):
        bin_session(prebinned(np.ones((5, 1))), bin_s=0.05)
    with pytest.raises(InvalidRecording, match="overlap"):
        bin_session(prebinned(np.ones((5, 1)), starts=np.arange(5) * 0.02), bin_s=0.1)
    with pytest.raises(InvalidRecording, match="negative or fractional"):
        bin_session(prebinned(np.full((5, 1), 0.5)), bin_s=0.1)


def test_sessions_are_binned_with_the_same_settings() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(400) / 100
    signals = {name: Signal(name=name, times_s=times, values=rng.random(400)) for name in ("lick", "speed")}
    trials = table_of((0.0, 0.9), (1.0, 1.9), cue_s=[0.5, 1.5], side=["left", "right"], events=("cue_s",))
    tables = {"trials": trials, **epochs((0.0, 1.5, "first"), (1.5, 4.0, "second"))}
    sessions = [
        session_of([np.sort(rng.uniform(0, 4, 200))], span_s=(0.0, 4.0), intervals=tables, signals=signals)
        for _ in range(2)
    ]
    data = bin_sessions(iter(sessions), bin_s=0.05, epoch="first", trials="trials", signals=("speed",))
    alone = bin_session(sessions[1], bin_s=0.05, epoch="first", trials="trials", signals=("speed",))
    assert data.activity_kind == "counts"
    assert data.shares_units
    assert data.covariate_names == ("speed", "event", "phase", "side")
    np.testing.assert_array_equal(data.sessions[1].activity, alone.activity)
    assert labels_of(data.sessions[0], "phase")[:20] == ["start -> cue"] * 10 + ["cue -> end"] * 8 + [None] * 2


def test_sessions_of_different_kinds_of_activity_are_refused() -> None:
    sessions = [prebinned(np.ones((5, 1), dtype=int)), prebinned(np.ones((5, 1)), kind="rate")]
    with pytest.raises(DataError, match="counts, rate"):
        bin_sessions(sessions, bin_s=0.1)
    with pytest.raises(DataError, match="at least one session"):
        bin_sessions([], bin_s=0.1)


def test_trials_that_the_loader_dropped_are_missed_with_its_reason() -> None:
    session = replace(toy_session(duration_s=10.0), intervals={}, warnings=("trials: 3 rows end before they start",))
    with pytest.raises(InvalidRecording, match="3 rows end before they start"):
        bin_session(session, bin_s=0.05, trials="trials")
