"""The part of a map that an animal visited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["visited_part"]

Floats = NDArray[np.float64]


def visited_part(maps: Floats, edges: tuple[Floats, ...]) -> tuple[Floats, tuple[Floats, Floats]]:
    """Maps and borders of their cells, from the first visited column and row to the last; all where none was.

    Parameters
    ----------
    maps : (..., n_x, n_y), NaN where the animal never was
    edges : (n_x + 1,) and (n_y + 1,) borders of the cells
    """
    visited = np.argwhere(np.isfinite(maps).reshape(-1, *maps.shape[-2:]).any(axis=0))
    across, up = _span(visited[:, 0], maps.shape[-2]), _span(visited[:, 1], maps.shape[-1])
    xs, ys = edges
    return maps[..., across, up], (xs[across.start : across.stop + 1], ys[up.start : up.stop + 1])


def _span(at: NDArray[np.int64], n: int) -> slice:
    return slice(int(at.min()), int(at.max()) + 1) if len(at) else slice(0, n)
