"""What is wrong with times, intervals and activity is found, counted and named; what is right is left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nldisco_core.recording_checks import activity_warnings, believable_times, sound_intervals, sound_train
from nldisco_core.session import Prebinned, Session, SpikeTrains, Traces

TIMES = arrays(
    np.float64,
    st.integers(1, 40),
    elements=st.one_of(st.floats(-50, 150), st.sampled_from([np.nan, np.inf, -1.5e9, 1e12])),
)


def plain(times_s: np.ndarray, low: float, high: float) -> list[bool]:
    """The same choice, one timestamp after the other."""
    latest, keep = -np.inf, []
    for time in times_s:
        possible = np.isfinite(time) and low <= time <= high
        keep.append(bool(possible and time > latest))
        latest = max(latest, time) if possible else latest
    return keep


@given(TIMES)
def test_believable_times_are_those_of_a_plain_loop(times_s: np.ndarray) -> None:
    keep, complaints = believable_times(times_s, (0.0, 100.0))
    assert keep.tolist() == plain(times_s, -100.0, 200.0)
    assert (np.diff(times_s[keep]) > 0).all()
    dropped = [int(complaint.split()[0]) for complaint in complaints]
    assert sum(dropped) == np.count_nonzero(~keep), "each dropped timestamp is counted once"


def test_without_a_span_a_time_is_judged_by_the_others() -> None:
    keep, complaints = believable_times(np.array([1.6e9, 1.6e9 + 1, -1.5e9, 1.6e9 + 2]))
    assert keep.tolist() == [True, True, False, True]
    assert "1 of 4 timestamps are impossible (more than 30 days from the others), first -1500000000 s" in complaints[0]


def test_no_times_are_no_fault() -> None:
    keep, complaints = believable_times(np.empty(0))
    assert (len(keep), complaints) == (0, ())


def test_a_train_is_sorted_and_its_faults_are_counted() -> None:
    train = np.array([1.0, np.nan, 3.0, 2.0, -1.5e9])
    sound, faults = sound_train(train, impossible_below_s=-10.0, impossible_above_s=10.0)
    assert sound.tolist() == [1.0, 2.0, 3.0]
    assert list(faults.values()) == [1, 1, 1]
    assert sound_train(np.array([1.0, 2.0]), impossible_below_s=0.0, impossible_above_s=9.0)[1] == {}


def test_intervals_are_ordered_and_overlaps_are_counted() -> None:
    frame = pd.DataFrame({"start_s": [5.0, 1.0, np.nan, 4.0, 8.0], "stop_s": [9.0, 2.0, 3.0, 3.0, 8.5], "n": range(5)})
    sound, complaints = sound_intervals(frame)
    assert sound["n"].tolist() == [1, 0, 4]
    assert [complaint.split(",")[0] for complaint in complaints] == [
        "2 of 5 rows without a finite start before a finite stop; dropped",
        "rows out of order; sorted by start",
        "1 of 3 rows overlap an earlier one; kept",
    ]
    assert frame["n"].tolist() == [0, 1, 2, 3, 4], "the argument is left alone"


def units(n_units: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)], "region": "", "kind": ""})


def test_planted_spike_faults_are_found_and_a_clean_train_is_not() -> None:
    clean = np.arange(0.0, 10.0, 0.01)
    trains = [clean, np.empty(0), np.sort(np.append(clean, clean[:3])), np.sort(np.append(clean, clean[::20] + 5e-4))]
    session = Session(session_id="s", span_s=(0, 10), units=units(4), spike_times=SpikeTrains.from_units(trains))
    silent, duplicate, refractory = activity_warnings(session)
    assert silent.startswith("1 of 4 units (u1) silent")
    assert duplicate == "3 duplicate spikes (same unit, same time) in 1 of 4 units (u2)"
    assert "1.5 ms" in refractory
    assert refractory.endswith("1 of 4 units (u3)")


@pytest.mark.parametrize(("kind", "word"), [("counts", "silent"), ("rate", "silent"), ("continuous", "constant")])
def test_values_that_never_change_are_silent_or_constant(kind: str, word: str) -> None:
    values = np.column_stack([np.arange(5.0), np.zeros(5), np.full(5, 3.0)])
    values[0, 0] = np.nan
    source = Prebinned(start_s=np.arange(5.0), bin_s=1.0, source=values, kind=kind)  # type: ignore[arg-type]
    session = Session(session_id="s", span_s=(0, 5), units=units(3), prebinned=source)
    found = activity_warnings(session)
    assert any("(u1" in warning and word in warning for warning in found)
    assert any("u2)" in warning and "constant" in warning for warning in found)
    assert found[-1] == "6.67% of the activity is missing (NaN or infinite); masked"


def test_a_trace_without_a_value_is_never_observed() -> None:
    values = np.column_stack([np.arange(5.0), np.full(5, np.nan)])
    traces = Traces(times_s=np.arange(5.0), source=values)
    found = activity_warnings(Session(session_id="s", span_s=(0, 4), units=units(2), traces=traces))
    assert found[0] == "1 of 2 units (u1) never observed (no finite value)"


def test_activity_larger_than_a_block_is_judged_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nldisco_core.recording_checks._ENTRIES_AT_ONCE", 7)
    values = np.column_stack([np.r_[np.zeros(99), 1.0], np.zeros(100), np.r_[np.nan, np.ones(99)]])
    source = Prebinned(start_s=np.arange(100.0), bin_s=1.0, source=values, kind="rate")
    found = activity_warnings(Session(session_id="s", span_s=(0, 100), units=units(3), prebinned=source))
    assert found == (
        "1 of 3 units (u1) silent (zero throughout)",
        "1 of 3 units (u2) constant",
        "0.33% of the activity is missing (NaN or infinite); masked",
    )
