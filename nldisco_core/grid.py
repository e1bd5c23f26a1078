"""The grid of bins of one session: half-open, in integer nanoseconds, in one or more stretches with gaps between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Grid", "interval_of", "run_starts", "to_ns", "union_ns"]


def to_ns(times_s: ArrayLike) -> NDArray[np.int64]:
    """Seconds as the nearest integer nanosecond; in floats an edge such as ``3 * 0.05`` falls one bin early."""
    return np.rint(np.asarray(times_s, dtype=np.float64) * 1e9).astype(np.int64)


def union_ns(intervals_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n_merged, 2) ns, ordered and disjoint: what (n_intervals, 2) intervals (s) cover together.

    Overlapping and touching intervals become one.
    """
    bounds = to_ns(intervals_s).reshape(-1, 2)
    bounds = bounds[np.argsort(bounds[:, 0], kind="stable")]
    reached = np.maximum.accumulate(bounds[:, 1])
    opens = np.concatenate([[True], bounds[1:, 0] > reached[:-1]])[: len(bounds)]
    closes = np.concatenate([opens[1:], [True]])[: len(bounds)]
    return np.column_stack([bounds[opens, 0], reached[closes]])


def interval_of(times_ns: NDArray[np.int64], intervals_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_times,) index of the disjoint, closed interval that holds each time, -1 for none."""
    if len(intervals_ns) == 0:
        return np.full(len(times_ns), -1, dtype=np.int64)
    index = np.searchsorted(intervals_ns[:, 0], times_ns, side="right").astype(np.int64) - 1
    return np.where((index >= 0) & (times_ns <= intervals_ns[index, 1]), index, -1)


def run_starts(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_runs,) where each run of equal values starts."""
    changes = np.ones(len(rows), dtype=bool)
    np.not_equal(rows[1:], rows[:-1], out=changes[1:])
    return np.flatnonzero(changes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Half-open bins ``[t, t + bin_ns)``, back to back within each stretch.

    Attributes
    ----------
    bin_ns : width of a bin (ns)
    stretch_start_ns : (n_stretches,) int64, ns, increasing; stretches do not overlap
    stretch_n_bins : (n_stretches,) int64, bins of each stretch
    """

    bin_ns: int
    stretch_start_ns: NDArray[np.int64]
    stretch_n_bins: NDArray[np.int64]

    @property
    def n_bins(self) -> int:
        """Bins of all stretches together."""
        return int(self.stretch_n_bins.sum())

    @cached_property
    def stretch(self) -> NDArray[np.int64]:
        """(n_bins,) stretch of each bin."""
        return np.repeat(np.arange(len(self.stretch_n_bins)), self.stretch_n_bins)

    @cached_property
    def start_ns(self) -> NDArray[np.int64]:
        """(n_bins,) start of each bin (ns)."""
        first_row = np.cumsum(self.stretch_n_bins) - self.stretch_n_bins
        origin_ns = self.stretch_start_ns - first_row * self.bin_ns
        return np.repeat(origin_ns, self.stretch_n_bins) + np.arange(self.n_bins) * self.bin_ns

    @property
    def centre_ns(self) -> NDArray[np.int64]:
        """(n_bins,) centre of each bin (ns)."""
        return self.start_ns + self.bin_ns // 2

    def rows_of(self, times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n_times,) row of the bin that holds each of the sorted times, -1 for none."""
        rows = np.full(len(times_ns), -1, dtype=np.int64)
        first_row = 0
        for start, n_bins in zip(self.stretch_start_ns.tolist(), self.stretch_n_bins.tolist(), strict=True):
            low, high = np.searchsorted(times_ns, [start, start + n_bins * self.bin_ns])
            rows[low:high] = (times_ns[low:high] - start) // self.bin_ns + first_row
            first_row += n_bins
        return rows

    def rows_inside(self, intervals_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n_intervals, 2) first and one past the last row of the bins wholly inside each ``[start, stop)``."""
        first = np.searchsorted(self.start_ns, intervals_ns[:, 0])
        last = np.searchsorted(self.start_ns, intervals_ns[:, 1] - self.bin_ns, side="right")
        return np.column_stack([first, np.maximum(first, last)])

    def part(self, first: int, stop: int) -> Grid:
        """The bins of the rows ``[first, stop)``, in the stretches they lie in."""
        ends = np.cumsum(self.stretch_n_bins)
        starts = ends - self.stretch_n_bins
        skipped = np.clip(first - starts, 0, self.stretch_n_bins)
        n_bins = np.clip(stop - starts, 0, self.stretch_n_bins) - skipped
        kept = n_bins > 0
        return Grid(
            bin_ns=self.bin_ns,
            stretch_start_ns=(self.stretch_start_ns + skipped * self.bin_ns)[kept],
            stretch_n_bins=n_bins[kept],
        )

    def covered(self, intervals_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n_bins,) True for bins wholly inside one of the intervals."""
        mask = np.zeros(self.n_bins, dtype=bool)
        for first, stop in self.rows_inside(intervals_ns).tolist():
            mask[first:stop] = True
        return mask
