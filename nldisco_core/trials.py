"""Trials on the bins of a grid: which trial holds a bin, what the trial table and the events say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import NO_TRIAL, Covariate
from nldisco_core.grid import Grid, to_ns
from nldisco_core.session import IntervalTable

__all__ = ["assign_trials", "event_covariate", "phase_covariate", "trial_covariates", "under_free_names"]

MOST_CATEGORIES = 50


def assign_trials(table: IntervalTable, grid: Grid) -> tuple[NDArray[np.int32], int]:
    """(n_bins,) row of the trial that wholly holds each bin (-1: none), and how many bins lie in more than one trial.

    A bin ``[t, t + bin)`` belongs to a trial when it lies inside ``[start, stop)``; of overlapping trials the one that
    starts first has it.
    """
    trial = np.full(grid.n_bins, NO_TRIAL, dtype=np.int32)
    n_holding = np.zeros(grid.n_bins, dtype=np.int32)
    ranges = grid.rows_inside(to_ns(table.bounds_s)).tolist()
    for row, (first, stop) in reversed(list(enumerate(ranges))):
        trial[first:stop] = row
        n_holding[first:stop] += 1
    return trial, int((n_holding > 1).sum())


def trial_covariates(table: IntervalTable, trial: NDArray[np.int32]) -> tuple[list[Covariate], list[str]]:
    """One variable, constant within a trial, for each further column of the trial table, and warnings.

    Text, truth values and integers of at most 50 values, and columns that are declared categorical, become discrete,
    with their sorted values as labels; other numbers become linear, or circular where the table states a period.
    Columns of lists or other objects are left out; so, with a warning, is text of more values.
    """
    covariates, warnings = [], []
    for name, column in table.frame.items():
        if name in ("start_s", "stop_s", *table.events):
            continue
        values = column.astype(object)
        missing = values.isna().to_numpy(dtype=bool)
        kind = pd.api.types.infer_dtype(values[~missing], skipna=False)
        distinct = sorted(set(values[~missing])) if kind in ("string", "boolean", "integer") else []
        period = table.periods.get(str(name))
        declared = isinstance(column.dtype, pd.CategoricalDtype)
        if distinct and period is None and (declared or len(distinct) <= MOST_CATEGORIES):
            code_of = {value: float(code) for code, value in enumerate(distinct)}
            of_trial = values.map(code_of).to_numpy(dtype=np.float64, na_value=np.nan)
            categories = tuple(str(value) for value in distinct)
        elif kind in ("integer", "floating", "mixed-integer-float"):
            of_trial, categories = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan), None
        else:
            if kind == "string":
                warnings.append(f"trial column {name!r} left out: text of {len(distinct)} different values")
            continue
        covariates.append(
            Covariate(
                name=str(name),
                values=np.where(trial == NO_TRIAL, np.nan, of_trial[trial]),
                kind="circular" if period is not None else "linear" if categories is None else "discrete",
                source="trial",
                period=period,
                physical_unit=table.physical_units.get(str(name)),
                categories=categories,
            )
        )
    return covariates, warnings


def event_covariate(
    table: IntervalTable | None, events: Mapping[str, NDArray[np.float64]], grid: Grid
) -> tuple[Covariate | None, list[str]]:
    """Label of the first event whose time falls in each bin, NaN in bins without one; None where there are no events.

    Events are those of the trial table and those of the session; a label is the event's name without ``_s`` or
    ``_time``. A warning counts the events that share a bin with an earlier one of another label. The bin of an event
    follows from its time alone, whatever its place among the events of its trial.
    """
    columns = [] if table is None else [(name, table.frame[name].to_numpy(np.float64)) for name in table.events]
    named = [(_label(name), np.asarray(times, dtype=np.float64)) for name, times in (*columns, *events.items())]
    if not named:
        return None, []
    labels = tuple(dict.fromkeys(label for label, _ in named))
    times_s = np.concatenate([times for _, times in named])
    codes = np.concatenate([np.full(len(times), labels.index(label)) for label, times in named])
    order = np.argsort(times_s, kind="stable")
    order = order[np.isfinite(times_s[order])]
    rows = grid.rows_of(to_ns(times_s[order]))
    rows, codes = rows[rows >= 0], codes[order][rows >= 0]
    having, first = np.unique(rows, return_index=True)
    values = np.full(grid.n_bins, np.nan)
    values[having] = codes[first]
    lost = codes[codes != values[rows]]
    warnings = []
    if len(lost):
        counts = ", ".join(f"{labels[code]} {n}" for code, n in zip(*np.unique(lost, return_counts=True), strict=True))
        warnings.append(f"{len(lost)} events share a bin with an earlier one and are left out of 'event': {counts}")
    return Covariate(name="event", values=values, kind="discrete", source="event", categories=labels), warnings


def phase_covariate(table: IntervalTable, trial: NDArray[np.int32], grid: Grid) -> Covariate | None:
    """Interval between consecutive events of its trial that holds each bin's centre; None where there are no events.

    Labels run from ``start -> <first event>`` to ``<last event> -> end``. Events that a trial lacks (NaN) or that lie
    outside it are skipped. NaN outside trials.
    """
    if not table.events:
        return None
    names = [_label(name) for name in table.events]
    bounds = table.bounds_s
    times_s = table.frame[list(table.events)].to_numpy(dtype=np.float64)
    never = np.isnan(times_s) | (times_s < bounds[:, :1]) | (times_s > bounds[:, 1:])
    times_ns = np.where(never, np.iinfo(np.int64).max, to_ns(np.where(never, 0.0, times_s)))
    # Each trial as a chain of points: 0 its start, i + 1 event i, the last its end, repeated for the events it lacks.
    n_events, n_points = len(names), len(names) + 2
    happened = np.arange(n_events) < (~never).sum(axis=1, keepdims=True)
    in_order = np.where(happened, np.argsort(times_ns, axis=1, kind="stable") + 1, n_points - 1)
    chain = np.pad(np.pad(in_order, ((0, 0), (1, 0))), ((0, 0), (0, 1)), constant_values=n_points - 1)
    rows = np.flatnonzero(trial != NO_TRIAL)
    n_past = (times_ns[trial[rows]] <= grid.centre_ns[rows, None]).sum(axis=1)
    begin, finish = chain[trial[rows], n_past], chain[trial[rows], n_past + 1]
    pairs, code = np.unique(begin * n_points + finish, return_inverse=True)
    points = ("start", *names, "end")
    values = np.full(grid.n_bins, np.nan)
    values[rows] = code
    labels = tuple(f"{points[pair // n_points]} -> {points[pair % n_points]}" for pair in pairs)
    return Covariate(name="phase", values=values, kind="discrete", source="phase", categories=labels)


def under_free_names(covariates: list[Covariate], taken: Mapping[str, Covariate]) -> Iterator[Covariate]:
    """The covariates, with ``trial_`` before each name that is already taken."""
    names = set(taken)
    for covariate in covariates:
        name = covariate.name
        while name in names:
            name = f"trial_{name}"
        names.add(name)
        yield covariate if name == covariate.name else replace(covariate, name=name)


def _label(event: str) -> str:
    return event.removesuffix("_s").removesuffix("_time")
