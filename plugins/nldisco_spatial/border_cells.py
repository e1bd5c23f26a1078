"""Border scores: does a firing field follow a wall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["border_score"]

FIELD_LEVEL = 0.3
MIN_FIELD_SHARE = 0.02


def border_score(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) ``(c_M - d_m) / (c_M + d_m)``: 1 for a field along a whole wall, below 0 for one in the middle.

    c_M is the largest share of one wall that one field touches; d_m is the mean distance of the pixels of all fields
    to their nearest wall, weighted by their rate, over half the shorter side (Solstad et al., Science 322, 1865, 2008).
    A field is a group of pixels that share an edge, above 0.3 of the map's largest rate and of at least 2 % of the
    visited pixels (200 cm² of a box of 1 m²). The walls are the four sides of the map. NaN without a field, and for a
    map narrower than three pixels.

    Parameters
    ----------
    rate : (n_columns, ny, nx) on square pixels, NaN where unvisited
    """
    n_columns, ny, nx = rate.shape
    if min(ny, nx) < 3 or not n_columns:
        return np.full(n_columns, np.nan)
    rates = np.nan_to_num(rate)
    field = _fields(rates, np.isfinite(rate).sum(axis=(1, 2)))
    y, x = np.arange(ny)[:, None] + 0.5, np.arange(nx) + 0.5
    distance = np.minimum(np.minimum(y, ny - y), np.minimum(x, nx - x)) / (min(ny, nx) / 2)
    weight = np.where(field > 0, rates, 0)
    total = weight.sum(axis=(1, 2))
    d_m = np.divide((weight * distance).sum(axis=(1, 2)), total, out=np.full(n_columns, np.nan), where=total > 0)
    c_M = np.max([_touched(wall) for wall in (field[:, 0], field[:, -1], field[:, :, 0], field[:, :, -1])], axis=0)
    return np.asarray((c_M - d_m) / (c_M + d_m))


def _fields(rates: NDArray[np.float64], n_visited: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_columns, ny, nx) number of the field of each pixel, 0 for none; no number occurs in two columns."""
    cross = np.zeros((3, 3, 3), dtype=bool)
    cross[1] = ndimage.generate_binary_structure(2, 1)
    above = rates > FIELD_LEVEL * rates.max(axis=(1, 2), keepdims=True)
    field = np.asarray(ndimage.label(above, structure=cross)[0], dtype=np.int64)
    large = np.bincount(field.ravel())[field] >= MIN_FIELD_SHARE * n_visited[:, None, None]
    return np.where(large, field, 0)


def _touched(wall: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_columns,) largest share of a wall's (n_columns, n_pixels) pixels that lie in one field."""
    pairs = wall[:, :, None] == wall[:, None, :]
    return np.asarray((pairs.sum(axis=2) * (wall > 0)).max(axis=1) / wall.shape[1])
