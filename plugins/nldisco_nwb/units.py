"""The unit table, the spike trains behind it, and when each unit was observed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from hdmf.common import VectorIndex
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording, unknown_name
from nldisco_nwb.config import NWBConfig
from nldisco_nwb.contents import blank, scalar_columns, texts
from nldisco_nwb.opening import OpenFile
from nldisco_nwb.trains import FileSpikeTrains

__all__ = ["has_spikes", "observed_intervals", "spike_trains", "unit_table"]

_REGION_COLUMNS = ("location", "region", "area", "brain_area", "brain_region")
_KIND_COLUMNS = ("cell_type", "putative_cell_type", "neuron_type", "unit_type", "kind", "quality", "KSLabel")
_NOT_SCALAR = ("spike_times", "obs_intervals", "electrodes")


def has_spikes(opened: OpenFile) -> bool:
    """True for a file whose unit table has rows with spike times."""
    units = opened.nwb.units
    return units is not None and len(units) > 0 and "spike_times" in units.colnames


def spike_trains(opened: OpenFile) -> FileSpikeTrains:
    """The trains as they lie in the file; reads their offsets only."""
    column = opened.nwb.units["spike_times"]
    if not isinstance(column, VectorIndex):
        raise InvalidRecording("spike_times has no spike_times_index, so nobody knows which spike is whose")
    return FileSpikeTrains(column.target.data, _offsets(column), opened.path, opened)


def unit_table(opened: OpenFile, config: NWBConfig) -> pd.DataFrame:
    """One row per unit: id, region, kind, and every other column of the file that holds one value per unit.

    Raises
    ------
    InvalidRecording
        A column that the settings name is not there.
    """
    units = opened.nwb.units
    columns, _ = scalar_columns(units, leave=_NOT_SCALAR)
    ids = [str(unit) for unit in units.id[:]]
    if config.unit_region_column is not None:
        region = texts(_column(columns, config.unit_region_column))
    else:
        region = _first_telling(_regions(units, columns), len(ids))
    if config.unit_kind_column is not None:
        kind = texts(_column(columns, config.unit_kind_column))
    else:
        kind = _first_telling((texts(columns[name]) for name in _KIND_COLUMNS if _holds_text(columns, name)), len(ids))
    return pd.DataFrame({"id": ids, "region": region, "kind": kind, **_others(columns)})


def observed_intervals(opened: OpenFile) -> tuple[NDArray[np.float64], ...] | None:
    """Per unit the intervals (n_intervals, 2) in which it was recorded (s); None where the file does not say."""
    units = opened.nwb.units
    if "obs_intervals" not in units.colnames or not isinstance(units["obs_intervals"], VectorIndex):
        return None
    column = units["obs_intervals"]
    rows = np.asarray(column.target.data[:], dtype=np.float64).reshape(-1, 2)
    return tuple(np.split(rows, _offsets(column)[1:-1]))


def _offsets(column: VectorIndex) -> NDArray[np.int64]:
    return np.concatenate([[0], np.asarray(column.data[:], dtype=np.int64)])


def _column(columns: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in columns:
        raise InvalidRecording(unknown_name("unit column", name, columns))
    return columns[name]


def _holds_text(columns: dict[str, NDArray[Any]], name: str) -> bool:
    return name in columns and columns[name].dtype == object


def _first_telling(candidates: Iterator[list[str]], n_units: int) -> list[str]:
    return next((values for values in candidates if any(values)), [""] * n_units)


def _regions(units: Any, columns: dict[str, NDArray[Any]]) -> Iterator[list[str]]:
    if "electrodes" in units.colnames:
        yield _electrode_locations(units["electrodes"])
    yield from (texts(columns[name]) for name in _REGION_COLUMNS if _holds_text(columns, name))
    if "electrode_group" in units.colnames:
        yield texts(np.array([group.location for group in units["electrode_group"].data[:]], dtype=object))


def _electrode_locations(column: Any) -> list[str]:
    """Location of each unit's electrodes, joined by ``/`` where they lie in several."""
    region = column.target if isinstance(column, VectorIndex) else column
    rows = np.asarray(region.data[:], dtype=np.int64)
    columns, _ = scalar_columns(region.table, leave=set(region.table.colnames) - {"location"})
    if "location" not in columns:
        return []
    locations = np.array(texts(columns["location"]), dtype=object)[rows]
    per_unit = np.split(locations, _offsets(column)[1:-1]) if isinstance(column, VectorIndex) else locations[:, None]
    return ["/".join(dict.fromkeys(place for place in places if not blank(place))) for places in per_unit]


def _others(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: values for name, values in columns.items() if name not in ("id", "region", "kind")}
