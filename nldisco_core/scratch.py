"""Arrays that may be larger than the memory: above a size they lie in a file that is gone when they are."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nldisco_core.errors import RunError

__all__ = ["LARGEST_IN_MEMORY", "allocate", "release", "rows_of"]

LARGEST_IN_MEMORY = 1 << 28
"""Bytes up to which arrays that belong together are held in memory."""

AT_ONCE = 1 << 24  # bytes that are copied before the memory behind them is released


def allocate(shape: tuple[int, ...], dtype: DTypeLike, *, together: int | None = None) -> NDArray[Any]:
    """An array to be filled, in memory or memory-mapped from a scratch file without a name.

    The file lies in the folder for temporary files (``TMPDIR``) and takes its whole size at once.

    Parameters
    ----------
    together : bytes of all arrays that will be held at the same time and decide where this one lies; its own if None

    Raises
    ------
    RunError
        No room for the file.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes == 0 or (n_bytes if together is None else together) <= LARGEST_IN_MEMORY:
        return np.empty(shape, dtype=dtype)
    try:
        with tempfile.TemporaryFile(prefix="nldisco-") as stream:
            if hasattr(os, "posix_fallocate"):  # writing to a mapped hole of a full disk would end the process
                os.posix_fallocate(stream.fileno(), 0, n_bytes)
            return np.memmap(stream, dtype=dtype, mode="w+", shape=shape)
    except OSError as error:
        raise RunError(
            f"{tempfile.gettempdir()} has no room for {n_bytes / 2**30:.1f} GiB of scratch data ({error.strerror}); "
            "free space or set TMPDIR to another disk"
        ) from error


def release(array: NDArray[Any]) -> None:
    """Let go of the memory behind what has been written to an array of `allocate` that lies in a file."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.flush()
        mapped.madvise(mmap.MADV_DONTNEED)


def rows_of(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The chosen rows of an array, in memory or in a file by their size."""
    taken = allocate((len(rows), *array.shape[1:]), array.dtype)
    at_once = max(1, AT_ONCE // max(1, array[:1].nbytes))
    for start in range(0, len(rows), at_once):
        taken[start : start + at_once] = array[rows[start : start + at_once]]
        release(taken)
    return taken
