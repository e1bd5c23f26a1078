"""What each format gives of a recording before behaviour is added: units, their activity, and its rows in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_core.recording_checks import LONGEST_RECORDING_S, believable_times, sound_train
from nldisco_core.session import ActivityKind, IntervalTable, Prebinned, SpikeTrains, Traces

__all__ = ["Activity", "by_unit", "prebinned", "spiking", "traced", "unit_table"]

_ROWS_AT_ONCE = 1 << 14
_MOST_DROPPED = 0.1  # share of an activity's rows whose times may be wrong before it is not believed at all


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Units with their activity; exactly one of the three kinds, as in `Session`.

    Attributes
    ----------
    row_times_s : (n_rows,) time of every row of the source (s), for signals given per row; None for spikes
    used : names of the arrays of the main file that are spoken for, so that they are no signals
    intervals, columns : tables and per-row arrays that the format itself holds
    """

    units: pd.DataFrame
    span_s: tuple[float, float]
    spike_times: SpikeTrains | None = None
    traces: Traces | None = None
    prebinned: Prebinned | None = None
    row_times_s: NDArray[np.float64] | None = None
    row_s: float | None = None
    used: frozenset[str] = frozenset()
    intervals: Mapping[str, IntervalTable] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()


def unit_table(
    ids: Sequence[str], columns: Mapping[str, Any] | None = None, *, area: str | None = None
) -> pd.DataFrame:
    """One row per unit: id, region (the area where none is stated), kind, and further columns.

    Raises
    ------
    InvalidRecording
        An id is empty or occurs more than once.
    """
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise InvalidRecording(f"unit id {repeated[0]!r} occurs more than once; ids must differ")
    if "" in ids:
        raise InvalidRecording(f"unit {list(ids).index('')} has no id; name it, or leave the ids out")
    given = dict(columns or {})
    region = [str(value) or (area or "") for value in given.pop("region", [""] * len(ids))]
    kind = [str(value) for value in given.pop("kind", [""] * len(ids))]
    return pd.DataFrame({"id": list(ids), "region": region, "kind": kind, **given})


def spiking(
    units: pd.DataFrame,
    trains: Sequence[NDArray[np.float64]],
    *,
    span_s: tuple[float, float] | None = None,
    warnings: Sequence[str] = (),
    used: frozenset[str] = frozenset(),
) -> Activity:
    """Spike times (s) of each unit, cleaned: NaN and impossible times dropped, unsorted ones sorted, all counted.

    The span is that of the spikes where none is stated; spikes outside a stated span are dropped.
    """
    flat = np.concatenate([*trains, np.empty(0)])
    finite = flat[np.isfinite(flat)]
    if not len(finite):
        raise InvalidRecording(f"{len(trains)} units without a single finite spike time; nothing to analyse")
    middle = float(np.median(finite))
    low, high = middle - LONGEST_RECORDING_S, middle + LONGEST_RECORDING_S
    faults: Counter[str] = Counter()
    kept = []
    for train in trains:
        sound, wrong = sound_train(train, impossible_below_s=low, impossible_above_s=high)
        if span_s is not None:
            inside = (sound >= span_s[0]) & (sound <= span_s[1])
            wrong |= {"spikes outside span_s; dropped": int(np.count_nonzero(~inside))} if not inside.all() else {}
            sound = sound[inside]
        faults.update(wrong)
        kept.append(sound)
    together = np.concatenate(kept)
    if not len(together):
        raise InvalidRecording("no spike lies inside layout.span_s; state it on the clock of the spikes")
    return Activity(
        units=units,
        span_s=span_s or (float(together.min()), float(together.max())),
        spike_times=SpikeTrains.from_units(kept),
        used=used,
        warnings=(*warnings, *(f"{count} {fault}" for fault, count in faults.items())),
    )


def traced(
    units: pd.DataFrame,
    times_s: NDArray[np.float64],
    values: NDArray[Any],
    *,
    physical_unit: str | None = None,
    warnings: Sequence[str] = (),
    used: frozenset[str] = frozenset(),
) -> Activity:
    """Continuous activity (n_samples, n_units) at times (s); samples whose time cannot be are dropped and counted."""
    keep, complaints = _trusted_rows(times_s)
    kept = times_s if keep.all() else times_s[keep]
    if len(kept) < 2:
        raise InvalidRecording(f"{len(kept)} samples with a usable time; expected at least two")
    return Activity(
        units=units,
        span_s=(float(kept[0]), float(kept[-1])),
        traces=Traces(times_s=kept, source=values if keep.all() else values[keep], physical_unit=physical_unit),
        row_times_s=times_s,
        row_s=float(np.median(np.diff(kept))),
        used=used,
        warnings=(*warnings, *complaints),
    )


def prebinned(
    units: pd.DataFrame,
    start_s: NDArray[np.float64],
    bin_s: float,
    values: NDArray[Any],
    kind: ActivityKind,
    *,
    used: frozenset[str] = frozenset(),
) -> Activity:
    """Activity (n_bins, n_units) in bins of `bin_s` that begin at `start_s`; bins whose time cannot be are dropped.

    Raises
    ------
    InvalidRecording
        No bin is left, or counts that are none.
    """
    keep, complaints = _trusted_rows(start_s)
    kept = start_s if keep.all() else start_s[keep]
    if not len(kept):
        raise InvalidRecording("no bin has a usable time")
    if kind == "counts":
        _check_counts(values)
    return Activity(
        units=units,
        span_s=(float(kept[0]), float(kept[-1]) + bin_s),
        prebinned=Prebinned(start_s=kept, bin_s=bin_s, source=values if keep.all() else values[keep], kind=kind),
        row_times_s=start_s,
        row_s=bin_s,
        used=used,
        warnings=complaints,
    )


def _check_counts(values: NDArray[Any]) -> None:
    for first in range(0, len(values), _ROWS_AT_ONCE):
        rows = values[first : first + _ROWS_AT_ONCE]
        wrong = np.isfinite(rows) & ((rows < 0) | (rows != np.rint(rows)))
        if wrong.any():
            raise InvalidRecording(
                f"counts hold {rows[wrong][0]:g}; counts are whole and not negative: state rates or traces instead"
            )


def by_unit(times_s: NDArray[np.float64], whose: NDArray[Any]) -> tuple[NDArray[Any], list[NDArray[np.float64]]]:
    """The distinct units that (n_spikes,) spikes belong to, sorted, and the times (s) of each, in the order given."""
    units, code = np.unique(whose, return_inverse=True)
    order = np.argsort(code, kind="stable")
    return units, np.split(times_s[order], np.cumsum(np.bincount(code, minlength=len(units)))[:-1])


def _trusted_rows(times_s: NDArray[np.float64]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Rows of the activity whose time can be; `InvalidRecording` where more than a tenth cannot."""
    keep, complaints = believable_times(times_s)
    if len(times_s) and 1 - keep.mean() > _MOST_DROPPED:
        raise InvalidRecording(
            f"times of the activity: {'; '.join(complaints).replace('; dropped', '')}; "
            "expected increasing seconds: cut the file where its clock restarts, or correct the times"
        )
    return keep, tuple(f"activity: {complaint}" for complaint in complaints)
