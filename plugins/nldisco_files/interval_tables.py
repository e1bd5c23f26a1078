"""Interval tables of a layout: from a file, from arrays of starts and stops, or from a label for each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from nldisco_core.errors import InvalidRecording, unknown_name
from nldisco_core.recording_checks import sound_intervals
from nldisco_core.session import IntervalTable
from nldisco_files.arrays import Array, naming, numbers, texts
from nldisco_files.config import IntervalLayout, Layout
from nldisco_files.parts import Activity
from nldisco_files.source import Source
from nldisco_files.stretches import equal_stretches

__all__ = ["interval_table", "read_intervals"]

_STARTS = ("start_s", "start_time", "start", "onset", "begin", "t_start")
_STOPS = ("stop_s", "stop_time", "stop", "end", "end_time", "offset", "t_stop", "t_end")


def read_intervals(
    source: Source, layout: Layout, activity: Activity
) -> tuple[dict[str, IntervalTable], tuple[str, ...]]:
    """Interval tables by name, and a sentence for whatever was dropped or is odd.

    Raises
    ------
    InvalidRecording
        A table without starts and stops, columns of different lengths, or a column that is not there.
    """
    tables, warnings = dict(activity.intervals), []
    for name, stated in layout.intervals.items():
        with naming(source.path):
            frame = _of_labels(source, stated, activity, name) if stated.label else _of_columns(source, stated, name)
            table, complaints = interval_table(name, frame, stated.events)
        tables |= {} if table is None else {name: table}
        warnings += [f"interval table {name!r}: {complaint}" for complaint in complaints]
    return tables, tuple(warnings)


def interval_table(
    name: str, frame: pd.DataFrame, events: tuple[str, ...] = ()
) -> tuple[IntervalTable | None, tuple[str, ...]]:
    """A table of sound rows, None where none is left; float columns that end in ``_s`` and lie inside are events.

    Times of events outside their row become NaN; a table named ``epochs`` gets labels where it has none.
    """
    missing = [column for column in events if column not in frame.columns]
    if missing:
        raise InvalidRecording(f"layout.intervals.{name}.events: {unknown_name('column', missing[0], frame.columns)}")
    frame, complaints = sound_intervals(frame)
    if not len(frame):
        return None, (*complaints, "has no rows; left out")
    events = events or tuple(column for column in frame.columns if _looks_like_event(frame, column))
    for column in events:
        times = frame[column].to_numpy(dtype=np.float64)
        stray = (times < frame["start_s"]) | (times > frame["stop_s"])
        if stray.any():
            complaints = (*complaints, f"{int(stray.sum())} times of {column!r} lie outside their row; set to NaN")
            frame = frame.assign(**{column: np.where(stray, np.nan, times)})
    if name == "epochs" and "label" not in frame.columns:
        frame = frame.assign(label=[str(row) for row in range(len(frame))])
    return IntervalTable(frame, events=events), complaints


def _looks_like_event(frame: pd.DataFrame, column: str) -> bool:
    if column in ("start_s", "stop_s") or not column.endswith("_s") or frame[column].dtype.kind != "f":
        return False
    inside = (frame[column] >= frame["start_s"]) & (frame[column] <= frame["stop_s"])
    return bool(inside.sum() * 2 > frame[column].notna().sum())


def _of_columns(source: Source, stated: IntervalLayout, name: str) -> pd.DataFrame:
    held = {} if stated.table is None else dict(source.file(stated.table))
    scale = source.scale_s()
    where = f"{stated.table or source.path.name}: layout.intervals.{name}"
    start, starts_s = _bound(source, held, stated.start, "start_s", _STARTS, where)
    stop, stops_s = _bound(source, held, stated.stop, "stop_s", _STOPS, where)
    columns: dict[str, Any] = {"start_s": starts_s * scale, "stop_s": stops_s * scale}
    kept = held if stated.columns is None else {column: _one(source, held, column, name) for column in stated.columns}
    kept |= {column: _one(source, held, column, name) for column in stated.events}
    for column, values in kept.items():
        if column not in (start, stop) and np.ndim(values) == 1:
            columns |= _column(column, values, scale, is_event=column in stated.events)
    lengths = sorted({len(values) for values in columns.values()})
    if len(lengths) > 1:
        raise InvalidRecording(
            f"{where}: columns have {' and '.join(map(str, lengths))} rows; expected as many in each"
        )
    return pd.DataFrame(columns)


def _column(column: str, values: Array, scale: float, *, is_event: bool) -> dict[str, Array]:
    """A column as it is, times in seconds and named ``…_s``."""
    if values.dtype.kind not in "iuf" or not (is_event or column.endswith(("_time", "_s"))):
        return {column: _plain(values)}
    name = column if is_event else f"{column.removesuffix('_s').removesuffix('_time')}_s"
    return {name: numbers(values, repr(column)) * scale}


def _bound(
    source: Source, held: Mapping[str, Array], stated: str | None, column: str, candidates: tuple[str, ...], where: str
) -> tuple[str, Array]:
    if stated is not None:
        key, values = stated, held[stated] if stated in held else source.array(stated, column)
    else:
        named = [name for name in candidates if name in held]
        if not named:
            raise InvalidRecording(
                f"{where} has no column {' or '.join(candidates[:3])}; it has {', '.join(held) or 'none'}: "
                f"set {column.removesuffix('_s')}"
            )
        key, values = named[0], held[named[0]]
    return key, np.ravel(numbers(values, repr(key)))


def _one(source: Source, held: Mapping[str, Array], column: str, name: str) -> Array:
    return held[column] if column in held else source.array(column, f"intervals.{name}")


def _plain(values: Array) -> Array:
    return np.array(texts(values), dtype=object) if values.dtype.kind in "SU" else values


def _of_labels(source: Source, stated: IntervalLayout, activity: Activity, name: str) -> pd.DataFrame:
    assert stated.label is not None  # the caller looked
    values = np.ravel(source.array(stated.label, f"intervals.{name}.label"))
    times_s, row_s = activity.row_times_s, activity.row_s
    if times_s is None or row_s is None or len(values) != len(times_s):
        n_rows = "no" if times_s is None else len(times_s)
        raise InvalidRecording(
            f"layout.intervals.{name}.label has {len(values)} values for {n_rows} rows of activity; expected as many"
        )
    stretch = equal_stretches(values)
    first = np.searchsorted(stretch, np.arange(stretch[-1] + 1))
    last = np.append(first[1:], len(stretch)) - 1
    frame = pd.DataFrame({"start_s": times_s[first], "stop_s": times_s[last] + row_s, "label": _plain(values[first])})
    for column in stated.columns or ():
        of_row = np.ravel(source.array(column, f"intervals.{name}.columns"))
        frame[column] = _constant(of_row, first, stretch, column)
    return frame[pd.notna(frame["label"]).to_numpy()]


def _constant(of_row: Array, first: Array, stretch: Array, column: str) -> Array:
    if len(of_row) != len(stretch):
        raise InvalidRecording(f"{column!r} has {len(of_row)} values for {len(stretch)} rows; expected as many")
    codes = pd.factorize(of_row)[0]
    changed = codes != codes[first][stretch]
    if changed.any():
        raise InvalidRecording(f"{column!r} changes within row {int(stretch[changed][0])} of the table; it is a signal")
    return _plain(of_row[first])
