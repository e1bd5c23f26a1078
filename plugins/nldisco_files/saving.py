"""Sessions written to a folder that the dataset `files` opens again, so that what is in memory can be run on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import RunError
from nldisco_core.session import Session, Signal
from nldisco_files.config import IntervalLayout, Layout, ObservedLayout, SignalLayout
from nldisco_files.recognition import LAYOUT_FILE

__all__ = ["write_recording"]

_ARRAYS = "recording.npz"


def write_recording(session: Session, folder: Path) -> Path:
    """Write a session as ``recording.npz``, a Parquet file per interval table, and ``recording.toml``.

    ``nldisco run --dataset files --path FOLDER`` and ``nldisco_core.run("files", path=folder)`` open it again:
    activity, units, signals, intervals, events and observed intervals, number for number.

    Raises
    ------
    RunError
        The folder exists already, or cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    layout = Layout(
        subject=session.subject,
        units=_units(session, arrays),
        signals={name: _signal(signal, arrays) for name, signal in session.signals.items()},
        intervals={
            name: IntervalLayout(table=_table_file(number), events=table.events)
            for number, (name, table) in enumerate(session.intervals.items())
        },
        events={name: _named(arrays, f"event:{name}", times) for name, times in session.events.items()},
        observed=_observed(session, arrays),
        **_activity(session, arrays),
    )
    try:
        folder.mkdir(parents=True)
        np.savez_compressed(folder / _ARRAYS, allow_pickle=False, **arrays)
        for number, table in enumerate(session.intervals.values()):
            table.frame.to_parquet(folder / _table_file(number))
        lines = _toml(layout.model_dump(mode="json", exclude_defaults=True))
        (folder / LAYOUT_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written ({error.strerror}); give a new folder on a disk with room"
        ) from error
    return folder


def _table_file(number: int) -> str:
    return f"intervals_{number}.parquet"


def _named(arrays: dict[str, NDArray[Any]], name: str, values: NDArray[Any]) -> str:
    """Keep an array; gives the reference to it."""
    arrays[name] = np.asarray(values, dtype=str) if values.dtype.kind in "OUT" else values
    return f"{_ARRAYS}:{name}"


def _activity(session: Session, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if session.spike_times is not None:
        for unit, train in enumerate(session.spike_times):
            arrays[f"spikes:{unit:06d}"] = train
        return {"spike_times": f"{_ARRAYS}:spikes:*", "span_s": session.span_s}
    if session.traces is not None:
        return {
            "traces": _named(arrays, "traces", session.traces.values()),
            "times": _named(arrays, "times", session.traces.times_s),
            "physical_unit": session.traces.physical_unit,
            "units_first": False,
        }
    assert session.prebinned is not None  # a session holds one of the three
    field = "rates" if session.prebinned.kind == "rate" else "counts"
    if session.prebinned.kind == "continuous":
        field = "traces"
    return {
        field: _named(arrays, field, session.prebinned.values()),
        "times": _named(arrays, "times", session.prebinned.start_s),
        "bin_s": session.prebinned.bin_s,
        "units_first": False,
    }


def _units(session: Session, arrays: dict[str, NDArray[Any]]) -> dict[str, str]:
    columns = {str(name): session.units[name].to_numpy() for name in session.units.columns}
    return {name: _named(arrays, f"unit:{name}", values) for name, values in columns.items()}


def _signal(signal: Signal, arrays: dict[str, NDArray[Any]]) -> SignalLayout:
    values: NDArray[Any] = signal.values
    if signal.categories is not None:
        codes = np.ravel(signal.values)
        labels = np.array([*signal.categories, ""], dtype=str)
        values = labels[np.where(np.isnan(codes), len(signal.categories), codes).astype(np.int64)]
    return SignalLayout(
        values=_named(arrays, f"signal:{signal.name}", values),
        times=_named(arrays, f"signal_times:{signal.name}", signal.times_s),
        kind=signal.kind,
        period=signal.period,
        physical_unit=signal.physical_unit,
    )


def _observed(session: Session, arrays: dict[str, NDArray[Any]]) -> ObservedLayout | None:
    if session.observed_s is None:
        return None
    rows = np.concatenate([*session.observed_s, np.empty((0, 2))])
    whose = np.repeat(session.units["id"].to_numpy(dtype=str), [len(intervals) for intervals in session.observed_s])
    return ObservedLayout(
        start=_named(arrays, "observed_start", rows[:, 0]),
        stop=_named(arrays, "observed_stop", rows[:, 1]),
        unit=_named(arrays, "observed_unit", whose),
    )


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Lines of a table without dates: values first, then tables; JSON's texts, numbers and lists are TOML's too."""
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{json.dumps(key, ensure_ascii=False)} = {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, json.dumps(key, ensure_ascii=False))
            yield f"\n[{'.'.join(inner)}]"
            yield from _toml(value, inner)
