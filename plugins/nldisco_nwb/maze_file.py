"""One recording of MC_Maze as its file holds it: trials, units, spikes, and where the positions lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_nwb.columns import column, offsets, texts_of
from nldisco_nwb.maze_trials import MazeTrials, read_trials

__all__ = ["MazeFile", "PositionSource", "read_brainsets", "read_nwb"]

PLAUSIBLE_MM = 2000.0
"""A typical position beyond this is taken for millimetres whose unit the file states wrongly."""

_MM = {"m": 1000.0, "meter": 1000.0, "meters": 1000.0, "metre": 1000.0, "metres": 1000.0, "cm": 10.0, "mm": 1.0}
_NWB_POSITIONS = {
    "hand": ("Position/Hand", "hand_pos"),
    "cursor": ("Position/Cursor", "cursor_pos"),
    "eye": ("Position/Eye", "eye_pos"),
}
_ARRAYS = {"1": "PMd", "2": "M1"}
_LOOKED_AT = 2000  # samples

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PositionSource:
    """A position in a file, not read yet.

    Attributes
    ----------
    times : dataset (n_samples,) s
    values : dataset (n_samples, 2 or more), of which x and y are used
    to_mm : factor to millimetres
    """

    times: h5py.Dataset
    values: h5py.Dataset
    to_mm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MazeFile:
    """What a file holds, on the file's own clock.

    Attributes
    ----------
    path : for messages
    units : id, region, kind and further columns
    spikes : (n_spikes,) s, unit after unit, an HDF5 dataset or an array
    spike_offsets : (n_units + 1,)
    observed : (n_rows, 2) s, unit after unit, and (n_units + 1,) offsets; None where the file does not say
    positions : by name, ``hand``, ``cursor``, ``eye``, those that there are
    notes : what had to be made of it
    """

    path: Path
    trials: MazeTrials
    units: pd.DataFrame
    spikes: Any
    spike_offsets: NDArray[np.int64]
    observed: tuple[Floats, NDArray[np.int64]] | None
    positions: Mapping[str, PositionSource]
    notes: tuple[str, ...]


def read_nwb(path: Path, file: h5py.File) -> MazeFile:
    """A file of DANDI 000070 or of the Neural Latents Benchmark; reads its tables and no spike, signal or LFP.

    Raises
    ------
    InvalidRecording
        It has no trials or units, or they are not as expected.
    """
    trials = read_trials(_group(file, "intervals/trials"))
    units = _group(file, "units")
    ids = column(units, "id", kind="iu")
    if "spike_times" not in units or len(ids) == 0:
        raise InvalidRecording("units: no spike_times; expected a unit table with spikes")
    spikes = units["spike_times"]
    if spikes.ndim != 1 or spikes.dtype.kind != "f":
        raise InvalidRecording(f"units/spike_times holds {spikes.dtype} of shape {spikes.shape}; expected seconds")
    spike_offsets = _per_unit(units, "spike_times_index", spikes.shape[0], len(ids))
    observed = None
    if "obs_intervals" in units and "obs_intervals_index" in units:
        rows = np.asarray(units["obs_intervals"][:], dtype=np.float64).reshape(-1, 2)
        observed = rows, _per_unit(units, "obs_intervals_index", len(rows), len(ids))
    positions, notes = _nwb_positions(file)
    return MazeFile(
        path=path,
        trials=trials,
        units=_unit_table(file, units, ids),
        spikes=spikes,
        spike_offsets=spike_offsets,
        observed=observed,
        positions=positions,
        notes=(*trials.notes, *notes),
    )


def read_brainsets(path: Path, file: h5py.File) -> MazeFile:
    """A file that brainsets made of 000070; its spikes, kept in the order of time, are read and put unit by unit."""
    trials = read_trials(_group(file, "trials"))
    names = texts_of(_group(file, "units"), "id")
    spikes = _group(file, "spikes")
    times, unit = column(spikes, "timestamps", kind="f"), column(spikes, "unit_index", kind="iu").astype(np.int64)
    if len(times) != len(unit) or (len(unit) and not (unit.min() >= 0 and unit.max() < len(names))):
        raise InvalidRecording(f"spikes: {len(unit)} unit_index for {len(times)} timestamps of {len(names)} units")
    order = np.argsort(unit, kind="stable")
    domain = spikes.get("domain")
    observed = None
    if isinstance(domain, h5py.Group):
        rows = np.column_stack([column(domain, "start", kind="f"), column(domain, "end", kind="f")])
        observed = np.tile(rows, (len(names), 1)), np.arange(len(names) + 1) * len(rows)
    region = [_region(_ARRAYS["1" if name.startswith("group_1/") else "2"]) for name in names]
    positions = {}
    for name, key in (("hand", "pos_2d"), ("cursor", "pos"), ("eye", "pos")):
        source = file.get(name)
        value = None if source is None else next((source[k] for k in (key, "pos", "pos_2d") if k in source), None)
        if value is not None:
            positions[name] = PositionSource(times=source["timestamps"], values=value, to_mm=1.0)
    return MazeFile(
        path=path,
        trials=trials,
        units=pd.DataFrame({"id": list(names), "region": region, "kind": ""}),
        spikes=times[order].astype(np.float64),
        spike_offsets=np.searchsorted(unit[order], np.arange(len(names) + 1)).astype(np.int64),
        observed=observed,
        positions=positions,
        notes=trials.notes,
    )


def _group(file: h5py.File, name: str) -> h5py.Group:
    found = file.get(name)
    if not isinstance(found, h5py.Group):
        raise InvalidRecording(f"{name} is not there; expected a recording of MC_Maze (for other NWB files use 'nwb')")
    return found


def _per_unit(units: h5py.Group, name: str, n_values: int, n_units: int) -> NDArray[np.int64]:
    found = offsets(units, name, n_values)
    if len(found) != n_units + 1:
        raise InvalidRecording(f"units/{name} has {len(found) - 1} rows for {n_units} units; expected as many")
    return found


def _unit_table(file: h5py.File, units: h5py.Group, ids: NDArray[Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"id": [str(unit) for unit in ids], "region": _regions(file, units, len(ids)), "kind": ""})
    if "heldout" in units:
        frame["heldout"] = np.asarray(units["heldout"][:]).astype(bool)
    return frame


def _regions(file: h5py.File, units: h5py.Group, n_units: int) -> list[str]:
    """Region of each unit by its first electrode, else by its array, else ""."""
    locations = file.get("general/extracellular_ephys/electrodes/location")
    if "electrodes" in units and isinstance(locations, h5py.Dataset):
        rows = np.asarray(units["electrodes"][:], dtype=np.int64)
        if "electrodes_index" in units:
            rows = rows[np.concatenate([[0], units["electrodes_index"][:-1]]).astype(np.int64)]
        places = texts_of(locations.parent, "location")
        if len(rows) == n_units and len(rows) and rows.min() >= 0 and rows.max() < len(places):
            found = [_region(str(places[row])) for row in rows]
            if any(found):
                return found
    if "electrode_group" in units:
        return [
            _ARRAYS.get(str(file[reference].name).rsplit("/", 1)[-1], "") for reference in units["electrode_group"][:]
        ]
    return [""] * n_units


def _region(location: str) -> str:
    said = location.strip().lower()
    if "pmd" in said or "premotor" in said:
        return "PMd"
    if "m1" in said or "primary motor" in said:
        return "M1"
    return "" if said in ("", "unknown", "none", "n/a") else location


def _nwb_positions(file: h5py.File) -> tuple[dict[str, PositionSource], list[str]]:
    found: dict[str, PositionSource] = {}
    notes: list[str] = []
    behaviour = file.get("processing/behavior")
    for name, places in _NWB_POSITIONS.items():
        series = next((behaviour[place] for place in places if behaviour is not None and place in behaviour), None)
        if series is None:
            continue
        times, values = series.get("timestamps"), series.get("data")
        if times is None or values is None or values.ndim != 2 or values.shape[1] < 2 or len(times) != len(values):
            notes.append(f"signal {name!r}: no timestamp for each sample of x and y; left out")
            continue
        to_mm, note = _to_mm(values)
        notes += [f"signal {name!r}: {note}"] if note else []
        found[name] = PositionSource(times=times, values=values, to_mm=to_mm)
    return found, notes


def _to_mm(values: h5py.Dataset) -> tuple[float, str]:
    unit = values.attrs.get("unit", "")
    unit = unit.decode() if isinstance(unit, bytes) else str(unit)
    conversion = float(values.attrs.get("conversion", 1.0))
    factor = conversion * _MM.get(unit.strip().lower(), 1.0)
    if factor <= 1.0:
        return factor, ""
    typical = np.abs(np.asarray(values[:_LOOKED_AT, :2], dtype=np.float64))
    typical = typical[np.isfinite(typical)]
    if len(typical) and np.median(typical) * factor > PLAUSIBLE_MM >= np.median(typical):
        return 1.0, f"the stated unit ({unit}) would put it metres away; taken as mm"
    return factor, ""
