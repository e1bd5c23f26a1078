"""Recordings laid out as named arrays or columns: spikes, binned counts and rates, continuous traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_core.session import ActivityKind
from nldisco_files.arrays import Array, naming, numbers, texts
from nldisco_files.config import Layout, Reference
from nldisco_files.parts import Activity, by_unit, prebinned, spiking, traced, unit_table
from nldisco_files.source import Source, references
from nldisco_files.stretches import equal_stretches

__all__ = ["array_activity", "unit_columns"]

_KINDS: Mapping[str, ActivityKind] = {"counts": "counts", "rates": "rate", "traces": "continuous"}


def array_activity(source: Source, layout: Layout) -> Activity:
    """The activity that the layout names.

    Raises
    ------
    InvalidRecording
        The layout names no activity or several, an array is not there, or sizes disagree; says what to set.
    """
    stated = [field for field in ("spike_times", *_KINDS) if getattr(layout, field) is not None]
    if len(stated) != 1:
        raise InvalidRecording(_what_to_state(source, stated))
    used = frozenset(references(layout))
    if stated == ["spike_times"]:
        return _spikes(source, layout, used)
    return _matrix_activity(source, layout, stated[0], used)


def unit_columns(source: Source, layout: Layout, n_units: int) -> dict[str, Any]:
    """One array per column that the layout states of the units; texts for id, region and kind."""
    columns: dict[str, Any] = {}
    for column, reference in layout.units.items():
        values = np.atleast_1d(np.squeeze(source.array(reference, f"units.{column}")))
        if values.shape != (n_units,):
            raise InvalidRecording(
                f"{source.path.name}: {reference!r} has shape {values.shape}; layout.units.{column} expects one value "
                f"for each of {n_units} units"
            )
        columns[column] = texts(values) if column in ("id", "region", "kind") else values
    return columns


def _what_to_state(source: Source, stated: Sequence[str]) -> str:
    if stated:
        return f"{source.path.name}: the layout names {' and '.join(stated)}; state one of them"
    held = [f"{name} {'x'.join(map(str, np.shape(values))) or 'scalar'}" for name, values in _listed(source)]
    return (
        f"{source.path.name}: holds {', '.join(held) or 'no array of its own'}; nothing says which is the activity. "
        "Write recording.toml beside it (or set dataset.layout) with spike_times and spike_units, or one of counts, "
        "rates and traces with times, bin_s or sample_hz"
    )


def _listed(source: Source) -> list[tuple[str, Array]]:
    own = source.own()
    return [(name, own[name]) for name in list(own)[:12]]


def _spikes(source: Source, layout: Layout, used: frozenset[str]) -> Activity:
    assert layout.spike_times is not None  # the caller looked
    found = source.arrays(layout.spike_times, "spike_times")
    with naming(source.path):
        if layout.spike_units is not None:
            ids, trains = _by_unit(source, layout, next(iter(found.values())))
        else:
            ids, trains = _per_unit(source, found)
        columns = unit_columns(source, layout, len(ids))
        named = columns.pop("id", ids)
        units = unit_table(named, columns, area=layout.area)
        return spiking(units, trains, span_s=layout.span_s, used=used | frozenset(found))


def _per_unit(source: Source, found: Mapping[str, Array]) -> tuple[list[str], list[NDArray[np.float64]]]:
    """One array per unit, or one array of cells with a train in each."""
    if len(found) == 1:
        name, values = next(iter(found.items()))
        if values.dtype != object and np.squeeze(values).ndim < 2:
            raise InvalidRecording(
                f"{name!r} holds {values.size} spike times and nothing says of which units; set layout.spike_units"
            )
        found = {str(row): np.asarray(cell) for row, cell in enumerate(values)}
    scale = source.scale_s()
    return list(found), [numbers(np.ravel(cell), f"unit {name!r}") * scale for name, cell in found.items()]


def _by_unit(source: Source, layout: Layout, times: Array) -> tuple[list[str], list[NDArray[np.float64]]]:
    """Trains of all units from one array of times and one that says whose each spike is."""
    assert layout.spike_units is not None  # the caller looked
    times_s = np.ravel(numbers(times, "spike_times")) * source.scale_s()
    whose = np.ravel(source.array(layout.spike_units, "spike_units"))
    if len(times_s) != len(whose):
        raise InvalidRecording(f"{len(times_s)} spike times for {len(whose)} entries of spike_units; expected as many")
    if pd.isna(whose).any():
        raise InvalidRecording(f"spike_units: {int(pd.isna(whose).sum())} spikes belong to no unit (NaN); drop them")
    labels, trains = by_unit(times_s, whose)
    if "id" not in layout.units:
        return texts(labels), trains
    ids = texts(np.ravel(source.array(layout.units["id"], "units.id")))
    held = dict(zip(_rows_of_table(ids, labels), trains, strict=True))
    return ids, [held.get(row, np.empty(0)) for row in range(len(ids))]


def _rows_of_table(ids: list[str], labels: Array) -> list[int]:
    """Row of the unit table that each label speaks of, by id or, where no label is an id, by row number."""
    said = texts(labels)
    if set(said) <= set(ids):
        return [ids.index(name) for name in said]
    if labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < len(ids) and not set(said) & set(ids):
        return [int(label) for label in labels]
    stray = sorted(set(said) - set(ids))
    raise InvalidRecording(
        f"spike_units: {', '.join(map(repr, stray[:5]))} not among the {len(ids)} ids of layout.units.id"
    )


def _matrix_activity(source: Source, layout: Layout, field: str, used: frozenset[str]) -> Activity:
    reference: Reference = getattr(layout, field)
    found = source.arrays(reference, field)
    times = None if layout.times is None else source.seconds(layout.times, "times")
    with naming(source.path):
        matrix, ids = _matrix(found, field)
        n_named = None if "id" not in layout.units else np.size(source.array(layout.units["id"], "units.id"))
        matrix = _rows_first(matrix, layout, field, None if times is None else len(times), n_named)
        ids = ids if len(ids) == matrix.shape[1] else [str(unit) for unit in range(matrix.shape[1])]
        columns = unit_columns(source, layout, len(ids))
        units = unit_table(columns.pop("id", ids), columns, area=layout.area)
        times_s, row_s = _row_times(layout, times, len(matrix), field)
        times_s = _with_gaps(source, layout, times_s)
        used |= frozenset(found)
        if field == "traces":
            return traced(units, times_s, matrix, physical_unit=layout.physical_unit, used=used)
        return prebinned(units, times_s, row_s, matrix, _KINDS[field], used=used)


def _matrix(found: Mapping[str, Array], field: str) -> tuple[Array, list[str]]:
    if len(found) == 1:
        name, values = next(iter(found.items()))
        matrix = values if values.dtype.kind in "biuf" else numbers(values, repr(name))
        matrix = matrix[:, None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2:
            raise InvalidRecording(f"{name!r} has shape {values.shape}; layout.{field} expects bins x units")
        return matrix, [name] if matrix.shape[1] == 1 else []
    lengths = {len(np.ravel(values)) for values in found.values()}
    if len(lengths) > 1:
        raise InvalidRecording(f"columns of layout.{field} have {' and '.join(map(str, sorted(lengths)))} rows")
    whole = all(values.dtype.kind in "biu" for values in found.values())
    columns = [np.ravel(values) if whole else numbers(np.ravel(values), repr(name)) for name, values in found.items()]
    return np.column_stack(columns), list(found)


def _rows_first(matrix: Array, layout: Layout, field: str, n_rows: int | None, n_units: int | None) -> Array:
    """(n_rows, n_units), by what the layout states or by the sizes that are known."""
    if 0 in matrix.shape:
        raise InvalidRecording(f"layout.{field} is {matrix.shape[0]} x {matrix.shape[1]}: empty")
    turned = layout.units_first
    if turned is None:
        fits = [n_rows in (None, matrix.shape[axis]) and n_units in (None, matrix.shape[1 - axis]) for axis in (0, 1)]
        known = n_rows is not None or n_units is not None
        if known and not any(fits):
            raise InvalidRecording(
                f"layout.{field} is {matrix.shape[0]} x {matrix.shape[1]}, for {n_rows or 'any number of'} times and "
                f"{n_units or 'any number of'} unit ids; expected sizes that agree"
            )
        turned = known and not fits[0]
        if not known and matrix.shape[1] > matrix.shape[0]:
            raise InvalidRecording(
                f"layout.{field} is {matrix.shape[0]} x {matrix.shape[1]} and nothing says which axis is time; set "
                "layout.units_first to true or false"
            )
    matrix = matrix.T if turned else matrix
    if n_rows not in (None, len(matrix)):
        raise InvalidRecording(f"{n_rows} times for {len(matrix)} rows of layout.{field}; expected as many")
    return matrix


def _usual_step_s(times_s: NDArray[np.float64]) -> float | None:
    """Median step (s) between times that increase, None where none does."""
    steps = np.diff(times_s[np.isfinite(times_s)])
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else None


def _row_times(
    layout: Layout, times_s: NDArray[np.float64] | None, n_rows: int, field: str
) -> tuple[NDArray[np.float64], float]:
    """(n_rows,) start of each row (s), and its width (s)."""
    width = layout.bin_s or (layout.sample_hz and 1 / layout.sample_hz)
    if times_s is not None:
        width = width or _usual_step_s(times_s)
        if not width:
            raise InvalidRecording("the times of the rows do not increase; correct them, or set layout.bin_s instead")
        return times_s, float(width)
    if not width:
        raise InvalidRecording(
            f"nothing says when the {n_rows} rows of layout.{field} were taken; set layout.times to their array, or "
            "layout.bin_s or sample_hz"
        )
    return layout.start_s + np.arange(n_rows, dtype=np.float64) * float(width), float(width)


def _with_gaps(source: Source, layout: Layout, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    if layout.trial_gap_s is None:
        return times_s
    labels = [table.label for table in layout.intervals.values() if table.label is not None]
    if not labels:
        raise InvalidRecording("layout.trial_gap_s needs an interval table with a label for each row")
    values = source.array(labels[0], "intervals.label")
    if len(values) != len(times_s):
        raise InvalidRecording(f"{labels[0]!r} has {len(values)} values for {len(times_s)} rows of activity")
    return times_s + equal_stretches(values) * layout.trial_gap_s
