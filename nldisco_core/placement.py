"""Where samples fall on a grid of bins, worked out once for everything that was sampled together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nldisco_core.grid import Grid, interval_of, run_starts

__all__ = ["EVERYWHERE_NS", "Placement", "place", "sampling_period_ns"]

EVERYWHERE_NS = np.array([[np.iinfo(np.int64).min, np.iinfo(np.int64).max]])
"""A support without limits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Samples on the bins of a grid.

    Attributes
    ----------
    n_bins : of the grid
    times_ns : (n_samples,) int64, ns, of the samples that were placed
    first : (n_runs,) first sample of each run of samples that lie in one bin, or in none
    row : (n_runs,) the bin of each run, -1 for none
    empty, nearest : bins without a sample for which one speaks, and that sample
    period_ns : sampling period, NaN for fewer than two samples
    """

    n_bins: int
    times_ns: NDArray[np.int64]
    first: NDArray[np.int64]
    row: NDArray[np.int64]
    empty: NDArray[np.int64]
    nearest: NDArray[np.int64]
    period_ns: float

    @cached_property
    def _of_bins(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Runs of samples that lie in a bin: which they are, their bins, and samples in each run of all."""
        held = np.flatnonzero(self.row >= 0)
        return held, self.row[held], np.diff(self.first, append=len(self.times_ns))

    @cached_property
    def mean_times_s(self) -> NDArray[np.float64]:
        """(n_bins,) mean time of each bin's samples (s), NaN where there are none."""
        return self.means(np.asarray(self.times_ns[:, None] * 1e-9, dtype=np.float64))[:, 0]

    def means(self, samples: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_bins, n_channels) mean over each bin of (n_samples, n_channels) samples, those not finite left out."""
        found = np.full((self.n_bins, samples.shape[1]), np.nan)
        if len(self.times_ns) == 0:
            return found
        held, rows, lengths = self._of_bins
        for channel in range(samples.shape[1]):
            values, counts = np.ascontiguousarray(samples[:, channel]), lengths
            with np.errstate(invalid="ignore", over="ignore"):
                totals = np.add.reduceat(values, self.first)
            if not np.isfinite(totals).all():  # a sample that is not finite shows in the total of its bin
                missing = ~np.isfinite(values)
                counts = lengths - np.add.reduceat(missing, self.first, dtype=np.int64)
                totals = np.add.reduceat(np.where(missing, 0.0, values), self.first)
            with np.errstate(invalid="ignore"):  # of a bin whose samples are all missing: 0 / 0 is NaN
                found[rows, channel] = totals[held] / counts[held]
        spoken = samples[self.nearest]
        found[self.empty] = np.where(np.isfinite(spoken), spoken, np.nan)
        return found


def place(times_ns: NDArray[np.int64], grid: Grid, support: NDArray[np.int64] = EVERYWHERE_NS) -> Placement:
    """Place sorted times on a grid.

    A bin without a sample is spoken for by the one nearest to its centre, if that lies within one sampling period and
    in the same support interval.
    """
    rows = grid.rows_of(times_ns)
    first = run_starts(rows)
    row = rows[first]
    holding = np.zeros(grid.n_bins, dtype=bool)
    holding[row[row >= 0]] = True
    empty = np.flatnonzero(~holding)
    nearest, period_ns = np.empty(0, dtype=np.int64), sampling_period_ns(times_ns)
    if len(times_ns) > 1 and len(empty):
        nearest, distance = _nearest(times_ns, grid.centre_ns[empty], support)
        near = distance <= period_ns
        empty, nearest = empty[near], nearest[near]
    else:
        empty = nearest
    return Placement(
        n_bins=grid.n_bins,
        times_ns=times_ns,
        first=first,
        row=row,
        empty=empty,
        nearest=nearest,
        period_ns=period_ns,
    )


def sampling_period_ns(times_ns: NDArray[np.int64]) -> float:
    """Median interval; where more than half of the intervals are equal, as is usual, without sorting them.

    NaN for fewer than two times.
    """
    if len(times_ns) < 2:
        return float("nan")
    steps = np.diff(times_ns)
    usual = np.sort(steps[:: max(len(steps) // 256, 1)])[min(len(steps), 256) // 2]
    below, up_to = np.count_nonzero(steps < usual), np.count_nonzero(steps <= usual)
    return float(usual) if 2 * below < len(steps) - 1 and len(steps) + 1 < 2 * up_to else float(np.median(steps))


def _nearest(
    times_ns: NDArray[np.int64], targets_ns: NDArray[np.int64], support: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index of the sample nearest to each target within its support interval, and its distance (ns, inf where none)."""
    following = np.searchsorted(times_ns, targets_ns)
    candidates = np.stack([following - 1, following]).clip(0, len(times_ns) - 1)
    distance = np.abs(times_ns[candidates] - targets_ns).astype(np.float64)
    interval = interval_of(targets_ns, support)
    of_candidate = interval_of(times_ns[candidates].ravel(), support).reshape(candidates.shape)
    distance[(of_candidate != interval) | (interval < 0)] = np.inf
    best = distance.argmin(axis=0)
    columns = np.arange(len(targets_ns))
    return candidates[best, columns], distance[best, columns]
