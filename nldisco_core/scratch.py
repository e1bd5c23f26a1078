"""Arrays that may be larger than the memory: above a size they lie in a file that is gone when they are."""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nldisco_core.errors import RunError

__all__ = ["LARGEST_IN_MEMORY", "allocate"]

LARGEST_IN_MEMORY = 1 << 28
"""Bytes up to which arrays that belong together are held in memory."""


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
