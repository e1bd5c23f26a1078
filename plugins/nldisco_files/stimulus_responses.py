"""Tables of stimulus responses: a row per neuron and presentation, with ``neuron``, ``stimulus``, ``0s``, ``1s``, …"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_core.session import IntervalTable, Traces
from nldisco_files.arrays import naming, numbers, texts
from nldisco_files.config import Layout
from nldisco_files.parts import Activity, unit_table
from nldisco_files.source import Source

__all__ = ["is_stimulus_responses", "response_activity", "response_times_s"]

GAP_S = 10.0
"""Put between presentations, whose true distance the table does not say, so that nothing joins them."""
_TIME = re.compile(r"(\d+(?:\.\d+)?) ?s")


def is_stimulus_responses(path: Path) -> bool:
    """True for a CSV or TSV file whose header has ``neuron``, ``stimulus`` and columns such as ``0s``."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return False
    try:
        names = _header(path)
    except UnicodeDecodeError:  # the reader of arrays says so
        return False
    return {"neuron", "stimulus"} <= set(names) and any(_TIME.fullmatch(name) for name in names)


def response_times_s(path: Path, layout: Layout) -> NDArray[np.float64]:
    """(n_samples,) time of each column since the stimulus began (s): its name, or its place at `layout.sample_hz`."""
    times_s = np.array([float(match[1]) for match in map(_TIME.fullmatch, _header(path)) if match])
    if layout.sample_hz is not None:
        return np.arange(len(times_s)) / layout.sample_hz
    return times_s


def response_activity(source: Source, layout: Layout) -> Activity:
    """Traces of all neurons, presentation after presentation, `GAP_S` apart, and the table that says which is which.

    The k-th row of a neuron with some stimulus is that stimulus's k-th presentation, or the one that the column
    `layout.presentation` numbers. Presentations stand in the order in which the file first shows them; how long passed
    between them the table does not say. A neuron without a row for one is unknown there, not silent.

    Raises
    ------
    InvalidRecording
        Columns that are neither, a neuron or stimulus without name, unevenly spaced columns, or neurons that have
        different numbers of rows for a stimulus where no column numbers them.
    """
    with naming(source.path):
        frame = pd.DataFrame(dict(source.own()))
        samples = [name for name in frame.columns if _TIME.fullmatch(name)]
        times_s = _even(response_times_s(source.path, layout))
        rows, warnings = _rows(frame, samples, layout.presentation)
        values = np.column_stack([numbers(frame[name].to_numpy(), f"column {name!r}") for name in samples])
        if not np.isfinite(values).any():
            raise InvalidRecording("holds no finite response; nothing to analyse")
        return _laid_out(rows, values, times_s, layout, warnings)


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        return [name.strip() for name in next(csv.reader(file, delimiter=separator), [])]


def _even(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = np.diff(times_s)
    if len(times_s) < 2 or (steps <= 0).any() or np.ptp(steps) > 0.01 * np.median(steps):
        raise InvalidRecording(
            f"{len(times_s)} columns of time that are not evenly spaced; name them 0s, 1s, …, or set layout.sample_hz"
        )
    return times_s


def _rows(frame: pd.DataFrame, samples: Sequence[str], presentation: str | None) -> tuple[pd.DataFrame, list[str]]:
    """Neuron, stimulus, number of the presentation and further columns of each row."""
    rows = frame.drop(columns=list(samples))
    for column in ("neuron", "stimulus"):
        named = texts(rows[column].to_numpy())
        if "" in named:
            raise InvalidRecording(f"row {named.index('')} has no {column}; name it or remove the row")
        rows[column] = named
    if not len(rows):
        raise InvalidRecording("has a header and no rows; nothing to analyse")
    if presentation is None:
        rows["presentation"] = rows.groupby(["neuron", "stimulus"]).cumcount()
        return rows, _check_complete(rows)
    if presentation not in rows:
        raise InvalidRecording(f"has no column {presentation!r}; layout.presentation names {', '.join(rows.columns)}")
    rows = rows.assign(presentation=rows[presentation])
    repeated = rows.duplicated(["neuron", "stimulus", "presentation"])
    if repeated.any():
        row = rows[repeated].iloc[0]
        raise InvalidRecording(
            f"neuron {row['neuron']!r} has presentation {row['presentation']} of {row['stimulus']!r} more than once"
        )
    return rows, []


def _check_complete(rows: pd.DataFrame) -> list[str]:
    counts = rows.groupby(["neuron", "stimulus"]).size().unstack(fill_value=0)
    most = counts.max()
    uneven = [stimulus for stimulus in counts.columns if most[stimulus] > max(counts[stimulus].min(), 1)]
    if uneven:
        low, high = counts[uneven[0]].min(), most[uneven[0]]
        raise InvalidRecording(
            f"neurons have {low} to {high} rows for stimulus {uneven[0]!r} and nothing says which presentation each "
            "is; set layout.presentation to a column that numbers them"
        )
    missing = int((counts == 0).to_numpy().sum())
    return [f"{missing} of {counts.size} pairs of neuron and stimulus have no row; unknown there"] if missing else []


def _laid_out(
    rows: pd.DataFrame, values: NDArray[np.float64], times_s: NDArray[np.float64], layout: Layout, warnings: list[str]
) -> Activity:
    neurons = pd.unique(rows["neuron"]).tolist()
    trial_of_row, trials = pd.factorize(pd.MultiIndex.from_frame(rows[["stimulus", "presentation"]]))
    unit_of_row = pd.Categorical(rows["neuron"], categories=neurons).codes
    cube = np.full((len(trials), len(times_s), len(neurons)), np.nan)
    cube[trial_of_row, :, unit_of_row] = values
    period_s = float(np.median(np.diff(times_s)))
    starts_s = np.arange(len(trials)) * (times_s[-1] + period_s + GAP_S)
    known = np.isfinite(cube).any(axis=2)
    n_known = np.array([int(np.flatnonzero(row)[-1]) + 1 if row.any() else 0 for row in known])
    inside = np.arange(len(times_s)) < n_known[:, None]
    times = (starts_s[:, None] + times_s)[inside]
    of_unit, of_trial = _further_columns(rows, trial_of_row, unit_of_row)
    bounds = {"start_s": starts_s + times_s[0], "stop_s": starts_s + times_s[0] + n_known * period_s}
    labels = {"stimulus": trials.get_level_values(0), "presentation": trials.get_level_values(1).astype(str)}
    table = pd.DataFrame({**bounds, **labels, **of_trial})[n_known > 0]
    note = f"{len(table)} presentations laid out {GAP_S:g} s apart in the order of the file; their times are unknown"
    return Activity(
        units=unit_table(neurons, of_unit, area=layout.area),
        span_s=(float(times[0]), float(times[-1]) + period_s),
        traces=Traces(times_s=times, source=cube[inside], physical_unit=layout.physical_unit),
        row_times_s=times,
        row_s=period_s,
        used=frozenset(rows.columns),
        intervals={"trials": IntervalTable(table)},
        warnings=(*warnings, note),
    )


def _further_columns(
    rows: pd.DataFrame, trial_of_row: NDArray[np.int64], unit_of_row: NDArray[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Columns beyond neuron, stimulus and presentation: constant per neuron, or constant per presentation."""
    of_unit: dict[str, Any] = {}
    of_trial: dict[str, Any] = {}
    for column in [name for name in rows.columns if name not in ("neuron", "stimulus", "presentation")]:
        values = rows[column].astype(object).where(rows[column].notna(), "")
        for key, held in ((unit_of_row, of_unit), (trial_of_row, of_trial)):
            grouped = values.groupby(np.asarray(key))
            if (grouped.transform("first") == values).all():
                held[column] = grouped.first().to_numpy()
                break
        else:
            raise InvalidRecording(
                f"column {column!r} differs within a neuron and within a presentation; remove it, or set "
                "layout.presentation to the column that numbers presentations (one file per animal)"
            )
    return of_unit, of_trial
