"""The plane of a map, and the part of it that an animal visited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["plane_of", "visited_part"]

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


def plane_of(mean: Floats, spent_s: Floats, edges: tuple[Floats, ...]) -> tuple[tuple[int, ...], Floats, Floats]:
    """A map in one, two or three dimensions as one over a plane: of three, the two that reach farthest.

    Parameters
    ----------
    mean : (n_cells,) mean of each cell, NaN where none is known
    spent_s : (n_cells,) time spent in each (s)
    edges : (n + 1,) borders of the cells along each dimension

    Returns
    -------
    tuple
        The dimensions kept; mean (n_x, n_y), over the others weighted by time; time spent (s), summed over the others,
        NaN where the animal never was. A map in one dimension is one cell high.
    """
    shape = tuple(len(border) - 1 for border in edges)
    kept = tuple(sorted(sorted(range(len(edges)), key=lambda axis: -float(np.ptp(edges[axis])))[:2]))
    others = tuple(axis for axis in range(len(edges)) if axis not in kept)
    values, weight = mean.reshape(shape), spent_s.reshape(shape)
    known = np.where(np.isfinite(values), weight, 0.0)
    total = known.sum(axis=others)
    summed = (np.nan_to_num(values) * known).sum(axis=others)
    flat = np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0) if others else values
    spent = weight.sum(axis=others)
    size = (flat.shape[0], -1)
    return kept, flat.reshape(size), np.where(spent > 0, spent, np.nan).reshape(size)
