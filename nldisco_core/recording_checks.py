"""What can be wrong with times, intervals and activity of a recording: what loaders drop, and what they warn of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.grid import to_ns
from nldisco_core.session import Session, SliceableArray, SpikeTrains

__all__ = [
    "LONGEST_RECORDING_S",
    "REFRACTORY_S",
    "REFRACTORY_SHARE",
    "activity_warnings",
    "believable_times",
    "sound_intervals",
    "sound_train",
]

LONGEST_RECORDING_S = 30 * 86_400.0
"""A time further than this (s) from the median of its series is impossible."""
REFRACTORY_S = 0.0015
"""No neuron fires twice within this (s); Hill, Mehta & Kleinfeld 2011, J Neurosci 31:8699, use 1.5-3 ms."""
REFRACTORY_SHARE = 0.01
"""Share of intervals shorter than `REFRACTORY_S` above which a unit is named."""

_NAMED = 5  # units named in one warning
_ENTRIES_AT_ONCE = 1 << 20  # of activity that may be larger than memory


def believable_times(
    times_s: NDArray[np.float64], span_s: tuple[float, float] | None = None
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which timestamps can be used, and what is wrong with the others.

    A timestamp is dropped where it is not finite, is impossible, repeats the one before it or lies before it. What is
    left increases strictly.

    Parameters
    ----------
    times_s : (n_samples,) s
    span_s : first and last observed time of the session (s); a time is impossible more than one session length outside
        it. None: a time is impossible more than `LONGEST_RECORDING_S` from the median

    Returns
    -------
    keep : (n_samples,) bool
    complaints : per fault a sentence with the count and the first value
    """
    finite = np.isfinite(times_s)
    low, high = _possible_range(times_s[finite], span_s)
    possible = finite & (times_s >= low) & (times_s <= high)
    latest = np.maximum.accumulate(np.where(possible, times_s, -np.inf))
    before = np.concatenate([[-np.inf], latest[:-1]])[: len(times_s)]
    outside = "a session length outside the recording" if span_s is not None else "30 days from the others"
    faults = {
        "are not finite": ~finite,
        f"are impossible (more than {outside})": finite & ~possible,
        "repeat the one before": possible & (times_s == before),
        "are earlier than the one before": possible & (times_s < before),
    }
    complaints = tuple(
        f"{np.count_nonzero(faulty)} of {len(times_s)} timestamps {fault}, first {times_s[faulty][0]:.10g} s; dropped"
        for fault, faulty in faults.items()
        if faulty.any()
    )
    return possible & (times_s > before), complaints


def _possible_range(finite_s: NDArray[np.float64], span_s: tuple[float, float] | None) -> tuple[float, float]:
    if span_s is not None:
        duration = span_s[1] - span_s[0]
        return span_s[0] - duration, span_s[1] + duration
    middle = float(np.median(finite_s)) if len(finite_s) else 0.0
    return middle - LONGEST_RECORDING_S, middle + LONGEST_RECORDING_S


def sound_train(
    times_s: NDArray[np.float64], *, impossible_below_s: float, impossible_above_s: float
) -> tuple[NDArray[np.float64], dict[str, int]]:
    """One unit's spike times (s), finite, possible and sorted, and how many spikes had which fault."""
    finite = np.isfinite(times_s)
    possible = finite & (times_s >= impossible_below_s) & (times_s <= impossible_above_s)
    kept = times_s[possible]
    backwards = int(np.count_nonzero(np.diff(kept) < 0))
    faults = {
        "spike times that are not finite; dropped": int(np.count_nonzero(~finite)),
        "impossible spike times (more than 30 days from the others); dropped": int(
            np.count_nonzero(finite & ~possible)
        ),
        "spike times earlier than the one before; sorted": backwards,
    }
    return (np.sort(kept) if backwards else kept), {fault: count for fault, count in faults.items() if count}


def sound_intervals(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The rows with a finite ``start_s`` before a finite ``stop_s``, ordered by start, and what was wrong or is odd.

    Overlapping rows are kept and counted.
    """
    complaints = []
    bounds = frame[["start_s", "stop_s"]].to_numpy(dtype=np.float64)
    sound = np.isfinite(bounds).all(axis=1) & (bounds[:, 1] >= bounds[:, 0])
    if not sound.all():
        dropped = np.count_nonzero(~sound)
        complaints.append(f"{dropped} of {len(frame)} rows without a finite start before a finite stop; dropped")
        frame = frame[sound]
    if (np.diff(frame["start_s"].to_numpy(dtype=np.float64)) < 0).any():
        complaints.append("rows out of order; sorted by start")
        frame = frame.sort_values("start_s", kind="stable")
    start, stop = (frame[column].to_numpy(dtype=np.float64) for column in ("start_s", "stop_s"))
    overlapping = np.count_nonzero(start[1:] < np.maximum.accumulate(stop)[:-1]) if len(frame) else 0
    if overlapping:
        complaints.append(f"{overlapping} of {len(frame)} rows overlap an earlier one; kept")
    return frame.reset_index(drop=True), tuple(complaints)


def activity_warnings(session: Session) -> tuple[str, ...]:
    """What a look at all of a session's activity finds odd; nothing is changed. Reads the activity.

    Spikes: silent units, spikes that repeat the time of the one before, and units with more than `REFRACTORY_SHARE` of
    their intervals shorter than `REFRACTORY_S`. Traces and binned activity: units that are constant (for counts and
    rates, silent) or never observed, and the share of missing values.
    """
    ids = session.units["id"].tolist()
    if session.spike_times is not None:
        return tuple(_spike_warnings(session.spike_times, ids))
    source = session.traces if session.traces is not None else session.prebinned
    assert source is not None  # a session holds one of the three
    return tuple(_value_warnings(source.source, ids, session.activity_kind))


def _spike_warnings(trains: SpikeTrains, ids: Sequence[str]) -> Iterator[str]:
    silent, duplicates, bursting = [], {}, []
    for name, train in zip(ids, trains, strict=True):
        intervals_ns = np.diff(to_ns(train))
        n_repeats = np.count_nonzero(intervals_ns == 0)
        n_short = np.count_nonzero(intervals_ns < REFRACTORY_S * 1e9) - n_repeats
        if not len(train):
            silent.append(name)
        if n_repeats:
            duplicates[name] = n_repeats
        if n_short > REFRACTORY_SHARE * max(len(intervals_ns), 1):
            bursting.append(name)
    if silent:
        yield f"{_units(silent, ids)} silent (no spike)"
    if duplicates:
        yield f"{sum(duplicates.values())} duplicate spikes (same unit, same time) in {_units(list(duplicates), ids)}"
    if bursting:
        yield (
            f"more than {REFRACTORY_SHARE:.0%} of intervals are shorter than {REFRACTORY_S * 1e3:g} ms "
            f"(refractory violations, probably several neurons) in {_units(bursting, ids)}"
        )


def _value_warnings(source: SliceableArray, ids: Sequence[str], kind: str) -> Iterator[str]:
    n_rows, n_units = source.shape
    low, high, n_known = np.full(n_units, np.inf), np.full(n_units, -np.inf), 0
    for first in range(0, n_rows, max(_ENTRIES_AT_ONCE // n_units, 1)):
        numbers = np.asarray(source[first : first + max(_ENTRIES_AT_ONCE // n_units, 1)], dtype=np.float64)
        known = np.isfinite(numbers)
        np.minimum(low, np.where(known, numbers, np.inf).min(axis=0), out=low)
        np.maximum(high, np.where(known, numbers, -np.inf).max(axis=0), out=high)
        n_known += int(np.count_nonzero(known))
    never = low > high
    still = ~never & (low == high)
    silent = still & (high == 0) if kind != "continuous" else np.zeros_like(still)
    for chosen, what in (
        (never, "never observed (no finite value)"),
        (silent, "silent (zero throughout)"),
        (still & ~silent, "constant"),
    ):
        if chosen.any():
            yield f"{_units([ids[int(unit)] for unit in np.flatnonzero(chosen)], ids)} {what}"
    if n_known < n_rows * n_units:
        yield f"{1 - n_known / (n_rows * n_units):.2%} of the activity is missing (NaN or infinite); masked"


def _units(names: Sequence[str], ids: Sequence[str]) -> str:
    more = ", …" if len(names) > _NAMED else ""
    return f"{len(names)} of {len(ids)} units ({', '.join(names[:_NAMED])}{more})"
