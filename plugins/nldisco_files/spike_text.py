"""Spike times as text: a file per unit, a line per unit, or a line per spike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_files.arrays import naming, reading
from nldisco_files.config import Layout
from nldisco_files.parts import Activity, by_unit, spiking, unit_table
from nldisco_files.source import Source

__all__ = ["TEXT_SUFFIXES", "is_spike_text", "text_activity"]

TEXT_SUFFIXES = frozenset({".txt", ".dat", ".res"})


def is_spike_text(path: Path) -> bool:
    """True for a text file, and for a folder of several, each with one number a line: a unit each."""
    if path.is_dir():
        files = _files(path)
        return len(files) > 0 and all(_is_single_column(file) for file in files)
    return path.is_file() and path.suffix.lower() in TEXT_SUFFIXES


def text_activity(source: Source, layout: Layout) -> Activity:
    """Units of a text file or a folder of them.

    Numbers stand between blanks, commas or semicolons; ``#`` opens a remark. A folder holds a unit per file, named
    after it. In one file a line holds all spikes of a unit, or, with `layout.text_rows` as ``spike``, time and unit of
    one spike; a file of one number a line is one unit.

    Raises
    ------
    InvalidRecording
        Text that is no numbers (names the line), or a file of two numbers a line that may be either.
    """
    with naming(source.path):
        if source.path.is_dir():
            trains = {file.stem: np.concatenate([*_lines(file), np.empty(0)]) for file in _files(source.path)}
        else:
            trains = _units_of(source.path, layout.text_rows)
        scale = source.scale_s()
        units = unit_table(list(trains), area=layout.area)
        return spiking(units, [train * scale for train in trains.values()], span_s=layout.span_s)


def _units_of(path: Path, rows: str | None) -> dict[str, NDArray[np.float64]]:
    lines = _lines(path)
    lengths = {len(line) for line in lines}
    if not lines:
        raise InvalidRecording("is empty; expected spike times")
    if lengths == {2} and rows is None:
        raise InvalidRecording(
            "every line holds two numbers: two spikes of a unit, or time and unit of a spike; "
            "set layout.text_rows to 'unit' or 'spike'"
        )
    if rows == "spike":
        if lengths != {2}:
            raise InvalidRecording("lines of different lengths; with text_rows 'spike' each holds a time and a unit")
        times, whose = np.array(lines).T
        units, trains = by_unit(times, whose)
        return {f"{unit:g}": train for unit, train in zip(units, trains, strict=True)}
    if lengths == {1} and rows is None:
        return {path.stem: np.concatenate(lines)}
    return {str(unit): line for unit, line in enumerate(lines)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in TEXT_SUFFIXES and file.is_file())


def _is_single_column(path: Path) -> bool:
    with path.open("rb") as file:
        return all(len(_split(line)) <= 1 for line in file.read(1 << 16).decode("utf-8", "replace").splitlines())


def _split(line: str) -> list[str]:
    return line.partition("#")[0].replace(",", " ").replace(";", " ").split()


def _lines(path: Path) -> list[NDArray[np.float64]]:
    """The numbers of each line that holds any."""
    with reading(path):
        read = []
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            words = _split(line)
            try:
                read.append(np.array(words, dtype=np.float64))
            except ValueError as error:
                raise InvalidRecording(f"line {number} holds {line.strip()[:40]!r}; expected spike times") from error
        return [line for line in read if len(line)]
