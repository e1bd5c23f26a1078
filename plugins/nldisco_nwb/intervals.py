"""Interval tables (trials, epochs, stimuli, behaviour epochs) and session-wide events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from hdmf.common import VectorIndex
from numpy.typing import NDArray
from pynwb.behavior import BehavioralEvents
from pynwb.epoch import TimeIntervals
from pynwb.misc import IntervalSeries

from nldisco_core.recording_checks import sound_intervals
from nldisco_core.session import IntervalTable
from nldisco_nwb.contents import pieces, plain_array, scalar_columns
from nldisco_nwb.opening import OpenFile

__all__ = ["event_times", "interval_tables"]

_BOUNDS = ("start_time", "stop_time")
_LABELS = ("tags", "epoch_name", "name", "state")


def interval_tables(opened: OpenFile) -> tuple[dict[str, IntervalTable], tuple[str, ...]]:
    """Every usable interval table by name, and a sentence for whatever was dropped.

    Columns that end in ``_time`` and lie inside their rows become events, named with ``_s``. Rows without finite,
    ordered bounds are dropped; rows out of order are sorted; columns with several values per row are left out.
    """
    tables: dict[str, IntervalTable] = {}
    warnings: list[str] = []
    for name, item in _sources(opened):
        frame, complaints = _frame(item) if isinstance(item, TimeIntervals) else _states(item)
        table = None
        if len(frame):
            frame, more = sound_intervals(frame)
            frame, events, also = _with_events(frame)
            complaints = [*complaints, *more, *also]
            table = IntervalTable(_with_label(frame, needed=name == "epochs"), events=events) if len(frame) else None
        if table is None:
            complaints = [*complaints, "has no rows; left out"]
        else:
            tables[name] = table
        warnings += [f"interval table {name!r}: {complaint}" for complaint in complaints]
    return tables, tuple(warnings)


def event_times(opened: OpenFile) -> dict[str, NDArray[np.float64]]:
    """Finite times (s) of behavioural events by name, sorted."""
    found = {}
    for piece in pieces(opened.nwb):
        if isinstance(piece.container, BehavioralEvents) and piece.item.timestamps is not None:
            times = np.asarray(piece.item.timestamps[:], dtype=np.float64)
            found[piece.name] = np.sort(times[np.isfinite(times)])
    return found


def _sources(opened: OpenFile) -> Iterator[tuple[str, Any]]:
    nwb = opened.nwb
    named = {"epochs": nwb.epochs, "trials": nwb.trials, "invalid_times": nwb.invalid_times, **(nwb.intervals or {})}
    taken = {name for name, table in named.items() if table is not None}
    yield from ((name, named[name]) for name in sorted(taken))
    for piece in pieces(nwb):
        if isinstance(piece.item, TimeIntervals | IntervalSeries):
            name = piece.name if piece.name not in taken else f"{piece.module}_{piece.name}"
            taken.add(name)
            yield name, piece.item


def _frame(table: TimeIntervals) -> tuple[pd.DataFrame, list[str]]:
    columns, others = scalar_columns(table)
    if "tags" in others and isinstance(table["tags"], VectorIndex):
        columns["tags"] = _joined(table["tags"])
        others = tuple(name for name in others if name != "tags")
    complaints = [f"several values per row in {', '.join(others)}; left out"] if others else []
    bounds = {f"{bound}_s": np.asarray(columns.pop(f"{bound}_time"), dtype=np.float64) for bound in ("start", "stop")}
    return pd.DataFrame({**bounds, **columns}), complaints


def _joined(column: VectorIndex) -> NDArray[Any]:
    tags = plain_array(column.target.data)
    parts = [] if tags is None else np.split(tags, np.asarray(column.data[:], dtype=np.int64)[:-1])
    return np.array([", ".join(part) for part in parts], dtype=object)


def _states(series: IntervalSeries) -> tuple[pd.DataFrame, list[str]]:
    """Intervals of a series that marks starts with +k and stops with -k; k is the label where there are several."""
    marks, times = np.asarray(series.data[:], dtype=np.int64), np.asarray(series.timestamps[:], dtype=np.float64)
    rows, complaints = [], []
    kinds = np.unique(np.abs(marks[marks != 0]))
    for kind in kinds:
        starts, stops = times[marks == kind], times[marks == -kind]
        if len(starts) != len(stops):
            complaints.append(f"{len(starts)} starts for {len(stops)} stops of state {kind}; the surplus is dropped")
        n_rows = min(len(starts), len(stops))
        rows.append(pd.DataFrame({"start_s": starts[:n_rows], "stop_s": stops[:n_rows], "label": str(kind)}))
    frame = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"start_s": [], "stop_s": [], "label": []})
    return (frame if len(kinds) > 1 else frame.drop(columns="label")), complaints


def _with_events(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    events, aside, complaints = [], [], []
    start, stop = frame["start_s"].to_numpy(), frame["stop_s"].to_numpy()
    for name in [column for column in frame.columns if column.endswith("_time") and frame[column].dtype.kind == "f"]:
        times = frame[name].to_numpy(dtype=np.float64)
        stated, inside = np.isfinite(times), (times >= start) & (times <= stop)
        if not stated.any() or inside.sum() * 2 <= stated.sum():
            aside.append(name)
            continue
        if (stated & ~inside).any():
            complaints.append(f"{np.count_nonzero(stated & ~inside)} times of {name} lie outside their row; set to NaN")
        event = f"{name.removesuffix('_time')}_s"
        frame = frame.assign(**{name: np.where(inside, times, np.nan)}).rename(columns={name: event})
        events.append(event)
    if aside:
        complaints.append(f"{', '.join(aside)} mostly outside the rows; kept as plain columns, not as events")
    return frame, tuple(events), complaints


def _with_label(frame: pd.DataFrame, *, needed: bool) -> pd.DataFrame:
    if "label" in frame.columns:
        return frame
    named = [name for name in _LABELS if name in frame.columns and not pd.api.types.is_numeric_dtype(frame[name])]
    if named:
        return frame.rename(columns={named[0]: "label"})
    return frame.assign(label=[str(row) for row in range(len(frame))]) if needed else frame
