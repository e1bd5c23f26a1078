"""Grid scores: the autocorrelogram of a map, and how it repeats when it is turned by 60 degrees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, sparse

__all__ = ["autocorrelograms", "grid_score"]

MIN_OVERLAP = 20
MIN_VARIANCE = 1e-4
WIDTH = 3
ALIKE, UNLIKE = (60, 120), (30, 90, 150)
CHUNK = 128


def autocorrelograms(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns, 2 ny - 1, 2 nx - 1) Pearson r of each map with itself moved by so many pixels, from -(n - 1) on.

    Over the pixels visited in both (Sargolini et al., Science 312, 758, 2006), by Fourier transforms. NaN for fewer
    than 20 of them, and where either part has less than a ten-thousandth of the map's variance.

    Parameters
    ----------
    rate : (n_columns, ny, nx), NaN where unvisited in all columns
    """
    ny, nx = rate.shape[1:]
    mask = np.asarray(np.isfinite(rate).all(axis=0))
    values = _standardised(rate, mask)
    size = tuple(fft.next_fast_len(2 * n - 1, real=True) for n in (ny, nx))
    m, x, xx = (fft.rfft2(part, size) for part in (mask.astype(np.float64), values, np.square(values)))

    def correlated(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Sum of a(i) b(i + move) over the moves from -(n - 1) to n - 1."""
        moved = fft.irfft2(np.conj(a) * b, size)
        return np.asarray(np.roll(moved, (ny - 1, nx - 1), axis=(-2, -1))[..., : 2 * ny - 1, : 2 * nx - 1])

    n = np.maximum(np.round(correlated(m, m)), 0)
    second, second_square = correlated(m, x), correlated(m, xx)
    first, first_square = second[:, ::-1, ::-1], second_square[:, ::-1, ::-1]
    each = np.maximum(n, 1)
    covariance = correlated(x, x) / each - first * second / each**2
    variances = (first_square / each - (first / each) ** 2, second_square / each - (second / each) ** 2)
    usable = (n >= MIN_OVERLAP) & (variances[0] > MIN_VARIANCE) & (variances[1] > MIN_VARIANCE)
    scale = np.sqrt(np.where(usable, variances[0] * variances[1], 1))
    return np.where(usable, covariance / scale, np.nan)


def _standardised(rate: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Maps of mean 0 and variance 1 over the visited pixels, 0 elsewhere; a flat map is 0 everywhere."""
    values = np.zeros(rate.shape)
    seen = rate[:, mask]
    if not seen.size:
        return values
    centred = seen - seen.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    varies = spread > 1e-12 * np.abs(seen).max(axis=1, keepdims=True)
    values[:, mask] = np.divide(centred, spread, out=np.zeros_like(centred), where=varies)
    return values


def grid_score(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) ``min(r at 60, 120 degrees) - max(r at 30, 90, 150 degrees)`` of the autocorrelogram's ring.

    r is Pearson's, between the autocorrelogram and itself turned (bilinear interpolation), over a ring that leaves the
    central peak out: it begins at the first distance (whole pixels) where the mean correlation falls to zero or stops
    falling. The score is the largest over the outer radii that leave it at least 3 pixels wide and inside the
    autocorrelogram, as in Langston et al., Science 328, 1576 (2010). Between -2 and 2; NaN where no ring is left with
    20 pixels to compare.

    Parameters
    ----------
    rate : (n_columns, ny, nx) on square pixels, NaN where unvisited in all columns
    """
    if min(rate.shape[1:]) < WIDTH + 1:
        return np.full(len(rate), np.nan)
    parts = [_ring_scores(autocorrelograms(rate[i : i + CHUNK])) for i in range(0, len(rate), CHUNK)]
    return np.concatenate(parts) if parts else np.empty(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rings:
    """Pixels of an autocorrelogram by their distance from its middle.

    Attributes
    ----------
    member : (n_rings, n_pixels) 1 where a pixel lies at that distance, in whole pixels
    turned : by angle (degrees) the (n_pixels, n_pixels) weights that turn a flattened autocorrelogram
    """

    member: sparse.csr_array
    turned: dict[int, sparse.csr_array]


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> _Rings:
    y, x = (np.arange(n) - n // 2 for n in (height, width))
    dy, dx = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    ring = np.round(np.hypot(dy, dx)).astype(np.int64)
    n_rings = min(height, width) // 2 + 1
    inside = np.flatnonzero(ring < n_rings)
    member = sparse.csr_array((np.ones(len(inside)), (ring[inside], inside)), shape=(n_rings, len(ring)))
    turned = {angle: _turned(angle, dy, dx, inside, (height, width)) for angle in (*ALIKE, *UNLIKE)}
    return _Rings(member=member, turned=turned)


def _turned(
    angle: int, dy: NDArray[np.int64], dx: NDArray[np.int64], inside: NDArray[np.int64], shape: tuple[int, int]
) -> sparse.csr_array:
    """Bilinear weights of the four pixels around each turned pixel; those beyond the border have none."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    y = c * dy[inside] - s * dx[inside] + shape[0] // 2
    x = s * dy[inside] + c * dx[inside] + shape[1] // 2
    low_y, low_x = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
    weights = sparse.csr_array((shape[0] * shape[1],) * 2)
    for step_y in (0, 1):
        for step_x in (0, 1):
            at_y, at_x = low_y + step_y, low_x + step_x
            weight = (1 - np.abs(y - at_y)) * (1 - np.abs(x - at_x))
            kept = (at_y >= 0) & (at_y < shape[0]) & (at_x >= 0) & (at_x < shape[1]) & (weight > 0)
            target = at_y[kept] * shape[1] + at_x[kept]
            weights = weights + sparse.csr_array((weight[kept], (inside[kept], target)), shape=weights.shape)
    return weights


def _ring_scores(correlogram: NDArray[np.float64]) -> NDArray[np.float64]:
    rings = _rings(*correlogram.shape[1:])
    flat = np.ascontiguousarray(correlogram.reshape(len(correlogram), -1).T)
    known = np.isfinite(flat).astype(np.float64)
    values = np.nan_to_num(flat)
    begins = _ring_begins(rings.member @ values, rings.member @ known)
    alike = np.min([_turned_r(values, known, begins, rings, angle) for angle in ALIKE], axis=0)
    unlike = np.max([_turned_r(values, known, begins, rings, angle) for angle in UNLIKE], axis=0)
    ends = np.arange(rings.member.shape[0])[:, None]
    wide = (ends >= begins + WIDTH - 1) & (begins > 0)
    score = np.where(wide, alike - unlike, np.nan)
    best = np.where(np.isnan(score), -np.inf, score).max(axis=0)
    return np.where(np.isfinite(best), best, np.nan)


def _ring_begins(total: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n_columns,) first ring beyond the central peak, 0 where there is none.

    Parameters
    ----------
    total, count : (n_rings, n_columns) sum and number of the correlations at each distance
    """
    profile = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    following = np.concatenate([profile[1:], np.full((1, profile.shape[1]), np.nan)])
    over = (profile <= 0) | (profile <= following)
    over[0] = False
    return np.asarray(over.argmax(axis=0), dtype=np.int64)


def _turned_r(
    values: NDArray[np.float64], known: NDArray[np.float64], begins: NDArray[np.int64], rings: _Rings, angle: int
) -> NDArray[np.float64]:
    """(n_rings, n_columns) Pearson r with the turned self, from the ring where it begins to each outer ring.

    Parameters
    ----------
    values, known : (n_pixels, n_columns) correlations, 0 where unknown, and 1 where known
    """
    turn = rings.turned[angle]
    both = known * (turn @ known > 1 - 1e-9)
    a, b = values * both, (turn @ values) * both
    before = np.maximum(begins - 1, 0)[None]

    def summed(part: NDArray[np.float64]) -> NDArray[np.float64]:
        cumulative = np.cumsum(rings.member @ part, axis=0)
        return np.asarray(cumulative - np.take_along_axis(cumulative, before, axis=0))

    n = summed(both)
    each = np.maximum(n, 1)
    mean_a, mean_b = summed(a) / each, summed(b) / each
    covariance = summed(a * b) / each - mean_a * mean_b
    variance_a, variance_b = summed(a * a) / each - mean_a**2, summed(b * b) / each - mean_b**2
    usable = (n >= MIN_OVERLAP) & (np.minimum(variance_a, variance_b) > MIN_VARIANCE**2)
    return np.where(usable, covariance / np.sqrt(np.where(usable, variance_a * variance_b, 1)), np.nan)
