"""Rate maps of many latents at once: a position cut into square pixels, activation over occupancy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from nldisco_core.binned import Covariate
from nldisco_core.errors import DataError
from nldisco_core.tuning import Conditions, condition_means

__all__ = ["RateMaps", "pixels", "rate_maps"]


@dataclass(frozen=True, kw_only=True, eq=False)
class RateMaps:
    """Mean activation over a position.

    Attributes
    ----------
    rate : (n_columns, ny, nx) mean activation, silent bins counted; NaN where the animal never was. ny is 1 on a line
    n_bins : (ny, nx) bins of time spent in each pixel, counted from zero
    """

    rate: NDArray[np.float64]
    n_bins: NDArray[np.int64]


def pixels(covariate: Covariate, n_pixels: int, rows: NDArray[np.bool_]) -> Conditions:
    """A position cut into squares of one size, `n_pixels` along the longest side of the range on the chosen rows.

    Positions beyond the range, which only other rows can have, belong to the outermost pixels.

    Raises
    ------
    DataError
        The position has more than two channels, is nowhere defined on these rows, or never changes on them.
    """
    if len(covariate.channels) > 2:
        raise DataError(f"a position of {len(covariate.channels)} channels; maps are drawn of one or two")
    seen = covariate.values[rows & covariate.defined]
    if not len(seen):
        raise DataError("it is not defined on any of the rows; nothing to map")
    low, high = seen.min(axis=0), seen.max(axis=0)
    width = float((high - low).max()) / n_pixels
    if not width > 0:
        raise DataError(f"it never changes (always {low.tolist()}); nothing to map")
    counts = [max(int(np.ceil(extent / width - 1e-9)), 1) for extent in high - low]
    starts = [(a + b - n * width) / 2 for a, b, n in zip(low, high, counts, strict=True)]
    edges = tuple(start + width * np.arange(n + 1) for start, n in zip(starts, counts, strict=True))
    inside = [
        np.clip(np.searchsorted(border, column, side="right") - 1, 0, n - 1)
        for border, column, n in zip(edges, covariate.values.T, counts, strict=True)
    ]
    axes = np.meshgrid(*((border[:-1] + border[1:]) / 2 for border in edges), indexing="ij")
    centres = np.stack(axes, axis=-1).reshape(-1, len(edges))
    return Conditions(
        variable=covariate.name,
        kind="position",
        codes=np.where(covariate.defined, np.ravel_multi_index(inside, counts), -1).astype(np.int32),
        labels=tuple(", ".join(f"{value:.6g}" for value in centre) for centre in centres),
        centres=centres,
        edges=edges,
    )


def rate_maps(
    activations: sparse.csc_array, chosen: Conditions, rows: NDArray[np.bool_], *, smooth_pixels: float
) -> RateMaps:
    """Rate map of each column of (n_rows, n_columns) activations.

    Sum of the activation over occupancy, both smoothed before the division (Gaussian, sigma in pixels; nothing lies
    beyond the border), so that the time spent weighs each pixel.
    """
    means = condition_means(activations, chosen, rows)
    total = _planes(np.nan_to_num(means.mean) * means.n_bins, chosen)
    n_bins = _planes(means.n_bins[None], chosen)[0]
    visited = np.broadcast_to(n_bins > 0, total.shape)
    occupancy = _smoothed(n_bins[None].astype(np.float64), smooth_pixels)
    rate = np.full(total.shape, np.nan)
    np.divide(_smoothed(total, smooth_pixels), occupancy, out=rate, where=visited)
    return RateMaps(rate=rate, n_bins=n_bins.astype(np.int64))


def _planes(values: NDArray[np.float64] | NDArray[np.int64], chosen: Conditions) -> NDArray[np.float64]:
    """(n_columns, n_pixels) as (n_columns, ny, nx)."""
    nx, ny = chosen.grid if len(chosen.grid) == 2 else (chosen.grid[0], 1)
    return np.asarray(values, dtype=np.float64).reshape(-1, nx, ny).swapaxes(1, 2)


def _smoothed(planes: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Each plane smoothed, as a product with the Gaussian's matrix along either axis: many small planes at once."""
    if sigma == 0:
        return planes
    along_y, along_x = (
        ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="constant") for size in planes.shape[1:]
    )
    return np.asarray(along_y @ planes @ along_x.T)
