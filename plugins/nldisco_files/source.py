"""The arrays that a layout names: in the recording's own file and in others beside it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording, unknown_name
from nldisco_files.arrays import ARRAY_SUFFIXES, Array, naming, numbers, read_arrays
from nldisco_files.config import Layout, Reference, TimeUnit

__all__ = ["Source", "file_of", "files_named", "references"]

_SECONDS: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Source:
    """Arrays by reference: ``name`` in the main file, ``file.csv:name`` or ``file.npy`` in another of its folder.

    Parameters
    ----------
    path : the recording's file, or its folder, which has no main file
    layout : for the unit of its times
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self._folder = path if path.is_dir() else path.parent
        self._files: dict[str, Mapping[str, Array]] = {}

    def own(self) -> Mapping[str, Array]:
        """Arrays of the main file; none for a folder or a file of another kind."""
        return self.file(self.path.name) if self._has_arrays else {}

    def file(self, name: str) -> Mapping[str, Array]:
        """Arrays of one file of the folder by name."""
        if name not in self._files:
            self._files[name] = read_arrays(self._folder / name)
        return self._files[name]

    def array(self, reference: str, field: str) -> Array:
        """One array; `InvalidRecording` names the layout's field and the nearest names where it is not there."""
        found = self.arrays(reference, field)
        if len(found) > 1:
            raise InvalidRecording(
                f"{self.path.name}: layout.{field}: {reference!r} names {len(found)} arrays; expected one"
            )
        return next(iter(found.values()))

    def arrays(self, reference: Reference, field: str) -> dict[str, Array]:
        """Every array that a reference or pattern names, by name within its file."""
        found: dict[str, Array] = {}
        for one in (reference,) if isinstance(reference, str) else reference:
            held, wanted, where = self._held(one)
            names = [wanted] if wanted in held else [name for name in held if fnmatchcase(name, wanted)]
            if not names:
                raise InvalidRecording(f"{where}: layout.{field}: {unknown_name('array', wanted, held)}")
            found |= {name: held[name] for name in names}
        return found

    def number_array(self, reference: str, field: str) -> NDArray[np.float64]:
        """One array as float64, in one dimension; names file and array where it holds anything else."""
        values = self.array(reference, field)
        with naming(self.path):
            read = np.squeeze(numbers(values, repr(reference)))
            if read.ndim > 1:
                raise InvalidRecording(f"{reference!r} has shape {read.shape}; layout.{field} expects one dimension")
            return np.atleast_1d(read)

    def seconds(self, reference: str, field: str, unit: TimeUnit | None = None) -> NDArray[np.float64]:
        """(n,) times (s), from whatever unit the layout states."""
        return self.number_array(reference, field) * self.scale_s(unit)

    def scale_s(self, unit: TimeUnit | None = None) -> float:
        """Length (s) of the unit of time."""
        unit = unit or self.layout.time_unit
        if unit != "samples":
            return _SECONDS[unit]
        if self.layout.sample_hz is None:
            raise InvalidRecording(f"{self.path.name}: times are in samples; set layout.sample_hz")
        return 1.0 / self.layout.sample_hz

    @property
    def _has_arrays(self) -> bool:
        return self.path.is_file() and self.path.suffix.lower() in ARRAY_SUFFIXES

    def _held(self, reference: str) -> tuple[Mapping[str, Array], str, str]:
        name, array = file_of(reference)
        if name is None:
            if not self._has_arrays:
                raise InvalidRecording(
                    f"{self.path.name}: {reference!r} names no file; expected 'file.csv:column' or 'file.npy'"
                )
            return self.own(), array, self.path.name
        return self.file(name), array, name


def file_of(reference: str) -> tuple[str | None, str]:
    """The file a reference names (None: the recording's own) and the array in it."""
    file, colon, array = reference.partition(":")
    if Path(file).suffix.lower() not in ARRAY_SUFFIXES:
        return None, reference
    return (file, array) if colon else (file, Path(file).stem)


def files_named(layout: Layout) -> frozenset[str]:
    """Names of the files beside the recording that a layout reads from."""
    tables = {table.table for table in layout.intervals.values() if table.table is not None}
    others = {file for file, _ in map(file_of, references(layout)) if file is not None}
    return frozenset(tables | others)


def references(layout: Layout) -> list[str]:
    """Every reference to an array that a layout holds."""
    stated = [layout.spike_times, layout.spike_units, layout.counts, layout.rates, layout.traces, layout.times]
    stated += [*layout.units.values(), *layout.events.values()]
    if layout.observed is not None:
        stated += [layout.observed.start, layout.observed.stop, layout.observed.unit]
    for signal in layout.signals.values():
        stated += [signal.values, signal.times]
    for table in layout.intervals.values():
        stated += [table.start, table.stop, table.label]
        stated += [] if table.table is not None else [*(table.columns or ()), *table.events]
    flat: list[str] = []
    for reference in stated:
        flat += [] if reference is None else [reference] if isinstance(reference, str) else reference
    return flat
