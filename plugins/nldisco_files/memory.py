"""Sessions of what is in memory already: numpy arrays and pandas frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_core.recording_checks import activity_warnings
from nldisco_core.session import ActivityKind, IntervalTable, Session, Signal
from nldisco_files.arrays import texts
from nldisco_files.behaviour import make_signal
from nldisco_files.config import SignalLayout
from nldisco_files.interval_tables import interval_table
from nldisco_files.parts import Activity, prebinned, spiking, traced, unit_table

__all__ = ["session_from_arrays"]

Timed: TypeAlias = "pd.Series | pd.DataFrame | tuple[ArrayLike, ArrayLike] | ArrayLike"

_KINDS: Mapping[str, ActivityKind] = {"counts": "counts", "rates": "rate", "traces": "continuous"}


def session_from_arrays(
    session_id: str,
    *,
    spike_times: Mapping[str, ArrayLike] | Sequence[ArrayLike] | None = None,
    counts: pd.DataFrame | ArrayLike | None = None,
    rates: pd.DataFrame | ArrayLike | None = None,
    traces: pd.DataFrame | ArrayLike | None = None,
    times_s: ArrayLike | None = None,
    bin_s: float | None = None,
    units: pd.DataFrame | None = None,
    signals: Mapping[str, Timed] | None = None,
    stated: Mapping[str, SignalLayout] | None = None,
    intervals: Mapping[str, pd.DataFrame] | None = None,
    events: Mapping[str, ArrayLike] | None = None,
    observed_s: Sequence[ArrayLike] | None = None,
    span_s: tuple[float, float] | None = None,
    subject: str | None = None,
) -> Session:
    """One session of arrays; exactly one of `spike_times`, `counts`, `rates` and `traces` is the activity.

    Parameters
    ----------
    spike_times : spike times (s) of each unit, by its id or in order
    counts, rates, traces : (n_bins, n_units); a frame's index holds the times (s) and its columns the unit ids
    times_s : (n_bins,) start of each bin or time of each sample (s), where the activity is no frame
    bin_s : width of a bin, or time between samples (s); from 0 on where there are no times
    units : one row per unit, in their order: ``id``, ``region``, ``kind`` or any other column
    signals : a series or frame whose index holds times (s), a pair of times and values, or values row by row with the
        activity. Kind and physical unit follow from name and values as for files
    stated : kind, period or physical unit of signals, where names and values do not tell
    intervals : frames with ``start_s`` and ``stop_s``
    events : times (s) by name
    observed_s : per unit (n_intervals, 2), s
    span_s : first and last observed time (s) of spikes; by default their first and last

    Raises
    ------
    InvalidRecording
        Sizes that disagree, no activity or several, or anything else that breaks a rule of `Session`.

    Examples
    --------
    >>> import numpy as np
    >>> session = session_from_arrays(
    ...     "day-1",
    ...     spike_times={"a": [0.1, 0.5, 9.0], "b": [2.0]},
    ...     signals={"speed_cm_s": (np.arange(10.0), np.arange(10.0) ** 2)},
    ... )
    >>> session.n_units, session.signals["speed_cm_s"].physical_unit
    (2, 'cm/s')
    """
    activity = _activity(
        {"counts": counts, "rates": rates, "traces": traces}, spike_times, times_s, bin_s, units, span_s
    )
    made, faults = _signals(signals or {}, stated or {}, activity)
    tables, complaints = _tables(intervals or {})
    session = Session(
        session_id=session_id,
        span_s=activity.span_s,
        subject=subject,
        units=activity.units,
        spike_times=activity.spike_times,
        traces=activity.traces,
        prebinned=activity.prebinned,
        observed_s=None if observed_s is None else tuple(np.asarray(rows, dtype=np.float64) for rows in observed_s),
        signals=made,
        intervals=tables,
        events={name: np.sort(np.asarray(times, dtype=np.float64)) for name, times in (events or {}).items()},
        warnings=(*activity.warnings, *faults, *complaints),
    )
    return Session(**{**vars(session), "warnings": (*session.warnings, *activity_warnings(session))})


def _activity(
    matrices: Mapping[str, Any],
    spike_times: Mapping[str, ArrayLike] | Sequence[ArrayLike] | None,
    times_s: ArrayLike | None,
    bin_s: float | None,
    units: pd.DataFrame | None,
    span_s: tuple[float, float] | None,
) -> Activity:
    given = {name: values for name, values in matrices.items() if values is not None}
    if len(given) + (spike_times is not None) != 1:
        raise InvalidRecording("give exactly one of spike_times, counts, rates and traces")
    if spike_times is not None:
        named = spike_times if isinstance(spike_times, Mapping) else dict(enumerate(spike_times))
        trains = [np.ravel(np.asarray(train, dtype=np.float64)) for train in named.values()]
        return spiking(_units([str(name) for name in named], units), trains, span_s=span_s)
    ((name, values),) = given.items()
    if isinstance(values, pd.DataFrame):
        times_s = values.index.to_numpy() if times_s is None else times_s
        ids = [str(column) for column in values.columns]
    matrix = np.asarray(values)
    if matrix.ndim != 2:
        raise InvalidRecording(f"{name} have shape {matrix.shape}; expected bins x units")
    if not isinstance(values, pd.DataFrame):
        ids = [str(unit) for unit in range(matrix.shape[1])]
    times, width = _rows(times_s, bin_s, len(matrix), name)
    table = _units(ids, units)
    if name == "traces":
        return traced(table, times, matrix)
    return prebinned(table, times, width, matrix, _KINDS[name])


def _rows(times_s: ArrayLike | None, bin_s: float | None, n_rows: int, name: str) -> tuple[NDArray[np.float64], float]:
    if times_s is None:
        if bin_s is None:
            raise InvalidRecording(f"nothing says when the rows of {name} were taken; give times_s or bin_s")
        return np.arange(n_rows, dtype=np.float64) * bin_s, bin_s
    times = np.asarray(times_s, dtype=np.float64)
    if times.shape != (n_rows,):
        raise InvalidRecording(f"{times.shape} times for {n_rows} rows of {name}; expected one for each")
    return times, float(np.median(np.diff(times))) if bin_s is None else bin_s


def _units(ids: Sequence[str], units: pd.DataFrame | None) -> pd.DataFrame:
    if units is None:
        return unit_table(ids)
    if len(units) != len(ids):
        raise InvalidRecording(f"a unit table of {len(units)} rows for {len(ids)} units; expected one for each")
    columns = {str(name): units[name].to_numpy() for name in units.columns}
    named = texts(columns.pop("id")) if "id" in columns else ids
    for column in ("region", "kind"):
        if column in columns:
            columns[column] = np.array(texts(columns[column]), dtype=object)
    return unit_table(named, columns)


def _signals(
    given: Mapping[str, Timed], stated: Mapping[str, SignalLayout], activity: Activity
) -> tuple[dict[str, Signal], list[str]]:
    signals: dict[str, Signal] = {}
    warnings: list[str] = []
    for name, held in given.items():
        channels: tuple[str, ...] = ()
        if isinstance(held, pd.Series | pd.DataFrame):
            times, values = held.index.to_numpy(dtype=np.float64), held.to_numpy()
            channels = tuple(map(str, held.columns)) if isinstance(held, pd.DataFrame) else ()
        elif isinstance(held, tuple):
            times, values = np.asarray(held[0], dtype=np.float64), np.asarray(held[1])
        else:
            times, values = _with_rows(name, activity), np.asarray(held)
        layout = stated.get(name, SignalLayout())
        signal, faults = make_signal(name, times, values, layout, activity.span_s, channels=channels)
        signals |= {} if signal is None else {name: signal}
        warnings += [f"signal {name!r}: {fault}" for fault in faults]
    return signals, warnings


def _with_rows(name: str, activity: Activity) -> NDArray[np.float64]:
    if activity.row_times_s is None:
        raise InvalidRecording(f"signal {name!r}: give a pair of times and values, or a series whose index is time")
    return activity.row_times_s


def _tables(given: Mapping[str, pd.DataFrame]) -> tuple[dict[str, IntervalTable], list[str]]:
    tables: dict[str, IntervalTable] = {}
    warnings: list[str] = []
    for name, frame in given.items():
        missing = {"start_s", "stop_s"} - set(frame.columns)
        if missing:
            raise InvalidRecording(f"interval table {name!r} lacks {', '.join(sorted(missing))}")
        table, complaints = interval_table(name, frame)
        tables |= {} if table is None else {name: table}
        warnings += [f"interval table {name!r}: {complaint}" for complaint in complaints]
    return tables, warnings
