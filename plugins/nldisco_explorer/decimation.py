"""Long recordings made as short as a screen is wide: extremes of traces, and columns of time for rasters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "Pyramid", "columns", "decimated", "stretches"]

Floats = NDArray[np.float64]
BLOCK = 8


def stretches(start_ns: NDArray[np.int64], bin_ns: int) -> NDArray[np.int64]:
    """(n_bins,) number of the stretch without a gap in time that each bin lies in."""
    return np.concatenate([[0], np.cumsum(np.diff(start_ns) != bin_ns)])[: len(start_ns)]


def decimated(
    times_s: Floats, values: NDArray[Any], stretch: NDArray[np.int64], n_points: int
) -> tuple[Floats, NDArray[Any]]:
    """At most about `n_points` points that keep the extremes: least and largest value of each run of bins, in order.

    A NaN stands wherever two neighbouring points lie in different stretches, so that no line crosses a gap.

    Parameters
    ----------
    times_s, values, stretch : (n_bins,)
    """
    if len(values) > n_points:
        size = -(-len(values) // (n_points // 2))
        padded = np.pad(values, (0, -len(values) % size), mode="edge").reshape(-1, size)
        low = np.where(np.isnan(padded), np.inf, padded).argmin(axis=1)
        high = np.where(np.isnan(padded), -np.inf, padded).argmax(axis=1)
        picked = np.sort(np.stack([low, high], axis=1), axis=1) + np.arange(len(padded))[:, None] * size
        picked = np.unique(np.minimum(picked.ravel(), len(values) - 1))
        times_s, values, stretch = times_s[picked], values[picked], stretch[picked]
    after = np.flatnonzero(stretch[1:] != stretch[:-1]) + 1
    if not len(after):
        return times_s, values.astype(np.float64)
    return np.insert(times_s, after, times_s[after]), np.insert(values.astype(np.float64), after, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Equal spans of time, and the bins in each.

    Attributes
    ----------
    start_s, stop_s : from where to where they reach together (s)
    first : (n_columns + 1,) index of the first bin that starts in each column or later
    """

    start_s: float
    stop_s: float
    first: NDArray[np.int64]

    @property
    def held(self) -> NDArray[np.bool_]:
        """(n_columns,) columns in which a bin starts."""
        return np.asarray(np.diff(self.first) > 0)


def columns(start_ns: NDArray[np.int64], bin_ns: int, low_s: float, high_s: float, most: int) -> Columns:
    """Columns over a window, at most so many, none shorter than a bin; borders lie on borders of bins."""
    anchor = int(start_ns[np.clip(np.searchsorted(start_ns, low_s * 1e9), 0, len(start_ns) - 1)])
    first_ns = anchor - -(-(anchor - low_s * 1e9) // bin_ns) * bin_ns
    n_bins = max(int(np.ceil((high_s * 1e9 - first_ns) / bin_ns)), 1)
    per_column = -(-n_bins // most)
    edges = first_ns + np.arange(-(-n_bins // per_column) + 1) * float(per_column * bin_ns)
    # Half a bin before the border, so that a start that is a nanosecond early counts.
    first = np.searchsorted(start_ns, edges - bin_ns / 2)
    return Columns(start_s=float(edges[0]) * 1e-9, stop_s=float(edges[-1]) * 1e-9, first=first)


class Pyramid:
    """Sums of many columns of activity over spans of time, from sums over eight bins where the spans are long.

    Parameters
    ----------
    activity : (n_bins, n_units)
    """

    def __init__(self, activity: NDArray[Any]) -> None:
        self._activity = activity
        self._blocks: NDArray[np.float32] | None = None

    def means(self, over: Columns) -> NDArray[np.float32]:
        """(n_columns, n_units) mean over the bins of each column; NaN in columns without any.

        Borders of columns of 64 bins and more are rounded to eight bins.
        """
        per_column = np.diff(over.first).max(initial=0)
        if per_column < 8 * BLOCK:
            return _means(self._activity, over.first, 1)
        if self._blocks is None:
            self._blocks = _block_sums(self._activity)
        return _means(self._blocks, np.rint(over.first / BLOCK).astype(np.int64), BLOCK)


def _block_sums(activity: NDArray[Any]) -> NDArray[np.float32]:
    """(n_blocks, n_units) sums over eight bins; a last block that is not whole is left out."""
    n_blocks, n_units = len(activity) // BLOCK, activity.shape[1]
    sums = np.empty((n_blocks, n_units), dtype=np.float32)
    for first in range(0, n_blocks, 1024):
        part = activity[first * BLOCK : min(first + 1024, n_blocks) * BLOCK]
        sums[first : first + 1024] = part.reshape(-1, BLOCK, n_units).sum(axis=1, dtype=np.float32)
    return sums


def _means(values: NDArray[Any], first: NDArray[np.int64], n_bins_each: int) -> NDArray[np.float32]:
    first = np.minimum(first, len(values))
    n_held = np.diff(first)
    means = np.full((len(n_held), values.shape[1]), np.nan, dtype=np.float32)
    held = np.flatnonzero(n_held)
    if len(held):
        part = values[first[0] : first[-1]]
        sums = np.add.reduceat(part, first[held] - first[0], axis=0, dtype=np.float32)
        means[held] = sums / (n_held[held, None] * n_bins_each)
    return means
