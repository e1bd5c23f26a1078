"""Columns of tables read from HDF5 directly: plain, of text, and with several values per row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording

__all__ = ["column", "offsets", "ragged", "texts_of"]


def column(group: h5py.Group, name: str, *, kind: str = "biuf") -> NDArray[Any]:
    """One number per row.

    Parameters
    ----------
    kind : kinds of numpy numbers that are expected; integers pass for floats

    Raises
    ------
    InvalidRecording
        It is no column of such numbers.
    """
    values = _dataset(group, name)
    allowed = kind + ("iu" if "f" in kind else "")
    if values.ndim != 1 or values.dtype.kind not in allowed:
        raise InvalidRecording(f"{_where(group, name)} holds {values.dtype} of shape {values.shape}; expected numbers")
    return np.asarray(values[:])


def texts_of(group: h5py.Group, name: str) -> NDArray[np.object_]:
    """One text per row; bytes that are no UTF-8 are shown as such."""
    values = _dataset(group, name)
    if values.ndim != 1 or values.dtype.kind not in "OS":
        raise InvalidRecording(f"{_where(group, name)} holds {values.dtype} of shape {values.shape}; expected texts")
    read = [
        value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value) for value in values[:]
    ]
    return np.array(read, dtype=object)


def ragged(
    group: h5py.Group, name: str, width: int, *, convert: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray
) -> tuple[NDArray[Any], ...]:
    """Per row an array (n_values, width), whether the file keeps them flat, in rows, or in rows of rows."""
    values = convert(np.asarray(_dataset(group, name)[:]))
    bounds = offsets(group, f"{name}_index", len(values))
    if f"{name}_index_index" in group:
        bounds = bounds[offsets(group, f"{name}_index_index", len(bounds) - 1)]
    parts = np.split(values, bounds[1:-1])
    if any(part.size % width for part in parts) or values.dtype.kind not in "iuf":
        raise InvalidRecording(f"{_where(group, name)} cannot be cut into rows of {width} numbers")
    return tuple(part.reshape(-1, width) for part in parts)


def offsets(group: h5py.Group, name: str, n_values: int) -> NDArray[np.int64]:
    """(n_rows + 1,) where each row's values start, from the ends that the file keeps."""
    ends = column(group, name, kind="iu").astype(np.int64)
    found = np.concatenate([[0], ends])
    if (np.diff(found) < 0).any() or found[-1] != n_values:
        raise InvalidRecording(
            f"{_where(group, name)} does not cut the {n_values} values into rows (it ends at {found[-1]}); "
            "the file may be damaged"
        )
    return found


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    found = group.get(name)
    if not isinstance(found, h5py.Dataset):
        raise InvalidRecording(f"{_where(group, name)} is not there; expected a column")
    return found


def _where(group: h5py.Group, name: str) -> str:
    return f"{group.name}/{name}".lstrip("/")
