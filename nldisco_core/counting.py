"""Active bins counted by condition, all latents at once: as labelled, relabelled by a null, or resampled.

Active bins come as rows ordered by column, a *column* being one latent of one instance; ``starts[c]:starts[c + 1]`` are
those of column c. Importing this module imports numba; compiled code is cached beside it or in the user's cache folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["compiled", "count_active", "count_relabelled", "count_resampled"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a loop without the interpreter's lock; sums keep their order."""
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        made: F = numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no folder that a cache can be written to
        made = numba.njit(**settings)(function)
    return made


@compiled
def count_active(
    starts: NDArray[np.int64], rows: NDArray[np.int32], codes: NDArray[np.int32], n_conditions: int
) -> NDArray[np.int64]:
    """(n_columns, n_conditions) active bins in each condition.

    Parameters
    ----------
    starts, rows : (n_columns + 1,) and (n_active,), see the module
    codes : (n_rows,) condition of each row, -1 for none
    """
    n_columns = len(starts) - 1
    counts = np.zeros((n_columns, n_conditions), dtype=np.int64)
    for column in range(n_columns):
        for entry in range(starts[column], starts[column + 1]):
            code = codes[rows[entry]]
            if code >= 0:
                counts[column, code] += 1
    return counts


@compiled
def count_relabelled(
    starts: NDArray[np.int64], rows: NDArray[np.int32], cells: NDArray[np.uint16], n_cells: int
) -> NDArray[np.int32]:
    """(n_columns, n_cells) active bins in each cell, every row lying in several cells at once.

    With a cell for each condition of each of some labellings, it counts them all in one pass.

    Parameters
    ----------
    starts, rows : (n_columns + 1,) and (n_active,), see the module
    cells : (n_rows, n_labellings) cells of each row; unsigned, so that no index has to be checked for its sign
    """
    n_columns, n_labellings = len(starts) - 1, cells.shape[1]
    counts = np.zeros((n_columns, n_cells), dtype=np.int32)
    for column in range(n_columns):
        of_column = counts[column]
        for entry in range(np.uint64(starts[column]), np.uint64(starts[column + 1])):
            row = np.uint64(rows[entry])
            for labelling in range(np.uint64(n_labellings)):
                of_column[cells[row, labelling]] += 1
    return counts


@compiled
def count_resampled(
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    codes: NDArray[np.int32],
    block: NDArray[np.int32],
    times: NDArray[np.int32],
    n_conditions: int,
) -> NDArray[np.int64]:
    """(n_draws, n_columns, n_conditions) active bins in each condition when blocks of rows are drawn again.

    Parameters
    ----------
    starts, rows, codes : as for `count_active`
    block : (n_rows,) block of each row; rows without a condition may have any
    times : (n_blocks, n_draws) how often each block was drawn
    """
    n_columns, n_draws = len(starts) - 1, times.shape[1]
    counts = np.zeros((n_draws, n_columns, n_conditions), dtype=np.int64)
    column_counts = np.zeros((n_draws, n_conditions), dtype=np.int64)
    for column in range(n_columns):
        column_counts[:] = 0
        for entry in range(starts[column], starts[column + 1]):
            code = codes[rows[entry]]
            if code >= 0:
                for draw in range(n_draws):
                    column_counts[draw, code] += times[block[rows[entry]], draw]
        counts[:, column] = column_counts
    return counts
