"""What an NWB file holds, piece by piece, and how tables give their columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdmf.common import DynamicTable, DynamicTableRegion, VectorIndex
from numpy.typing import NDArray
from pynwb import NWBFile
from pynwb.core import MultiContainerInterface

__all__ = ["Piece", "blank", "pieces", "plain_array", "scalar_columns", "texts"]

_BLANK = {"", "none", "nan", "n/a", "na", "null", "unknown", "unspecified", "not specified"}


@dataclass(frozen=True, eq=False)
class Piece:
    """A time series or table, the container it lies in (None where it lies bare) and the name of its module."""

    item: Any
    container: Any
    module: str

    @property
    def name(self) -> str:
        """Its own name, or its container's where its own is just the name of its type."""
        generic = self.container is not None and self.item.name == self.item.neurodata_type
        return str(self.container.name if generic else self.item.name)


def pieces(nwb: NWBFile) -> Iterator[Piece]:
    """Everything in the acquisition and the processing modules, containers opened, ordered by name."""
    modules = {"acquisition": nwb.acquisition}
    modules.update((name, nwb.processing[name].data_interfaces) for name in sorted(nwb.processing))
    for module, held in modules.items():
        for name in sorted(held):
            item = held[name]
            if isinstance(item, MultiContainerInterface):
                for child in sorted(item.children, key=lambda child: str(child.name)):
                    yield Piece(child, item, module)
            else:
                yield Piece(item, None, module)


def scalar_columns(
    table: DynamicTable, *, leave: Collection[str] = ()
) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The columns of a table that hold one number, truth value or text per row, and the names of the others.

    Columns named in `leave` are in neither. References to other objects are given as the objects' names.
    """
    columns: dict[str, NDArray[Any]] = {}
    others = []
    for name in table.colnames:
        column = table[name]
        if name in leave:
            continue
        ragged = isinstance(column, VectorIndex | DynamicTableRegion) or len(np.shape(column.data)) != 1
        values = None if ragged else plain_array(column.data)
        if values is None:
            others.append(name)
        else:
            columns[name] = values
    return columns, tuple(others)


def plain_array(data: Any) -> NDArray[Any] | None:
    """A one-dimensional column as numbers, truth values or texts; None where it holds anything else."""
    values = np.asarray(data[:])
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind not in "OSU":
        return None
    plain = [getattr(value, "name", value.decode() if isinstance(value, bytes) else value) for value in values]
    return np.array(plain, dtype=object) if all(isinstance(value, str) for value in plain) else None


def texts(values: NDArray[Any]) -> list[str]:
    """Texts with what says nothing (``unknown``, ``n/a``, …) made empty."""
    return ["" if blank(value) else str(value) for value in values]


def blank(value: object) -> bool:
    """True for a text that says nothing."""
    return str(value).strip().lower() in _BLANK
