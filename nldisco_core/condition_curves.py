"""Means of one latent, or of any signal, in each condition of a variable: what curves, polar plots and maps draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nldisco_core.tuning import Conditions, circular_conditions, conditions

if TYPE_CHECKING:
    from nldisco_core.binned import Binned, Covariate

__all__ = ["Curve", "Visits", "blocks_of", "cut"]

N_CIRCULAR = 60
N_QUANTILES = 20
N_POSITION = 24

N_DRAWS = 200
N_BLOCKS = 200
LEAST_BLOCK_S = 10.0
INTERVAL = (0.025, 0.975)


def cut(covariate: Covariate) -> Conditions:
    """The conditions a variable is drawn in: 60 directions, 20 quantiles, a grid of 24 cells a side, or its labels."""
    if covariate.kind == "circular":
        return circular_conditions(covariate, N_CIRCULAR, start=-(covariate.period or 1.0) / 2)
    return conditions(covariate, n_quantiles=N_QUANTILES, n_position=N_POSITION)


def blocks_of(data: Binned) -> NDArray[np.int32]:
    """(n_bins,) stretch of time each bin lies in: about 200 in all, of ten seconds or more, none in two sessions."""
    size = max(round(LEAST_BLOCK_S / data.bin_s), -(-data.n_bins // N_BLOCKS), 1)
    within = np.concatenate([np.arange(session.n_bins) // size for session in data.sessions])
    first = np.cumsum([0, *(-(-session.n_bins // size) for session in data.sessions[:-1])])
    return np.asarray(within + first[data.session_of_bin], dtype=np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Mean in each condition.

    Attributes
    ----------
    mean : `Conditions.grid`, silent bins counted as zero; NaN where the animal never was
    low, high : `Conditions.grid`, 95 % interval of the mean; NaN where it is not known, and for maps
    unsmoothed : `Conditions.grid`, the mean before smoothing, which mappers score
    occupancy_s : `Conditions.grid`, time spent (s)
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    unsmoothed: NDArray[np.float64]
    occupancy_s: NDArray[np.float64]

    @property
    def top(self) -> float:
        """Largest mean, 1 for a silent latent, so that axes have an extent."""
        largest = float(np.nanmax(self.mean)) if np.isfinite(self.mean).any() else 0.0
        return largest if largest > 0 else 1.0

    @property
    def peak(self) -> int | None:
        """Flat index of the largest mean, None where nothing is above zero."""
        return int(np.nanargmax(self.mean)) if np.nansum(self.mean) > 0 else None


class Visits:
    """The bins in which a variable is in each of its conditions, ready for many means.

    Directions and positions are smoothed, sums and occupancy alike and before they are divided: the Gaussian has sigma
    1 condition round the circle, 1.5 cells on a map. Intervals are percentiles of the same mean over 200 resamplings of
    blocks of time with replacement, which keep together what is correlated in time (block bootstrap; Kunsch, Annals of
    Statistics, 1989). A condition that some resamplings never visit is judged by the others.

    Parameters
    ----------
    chosen : the variable cut into conditions
    mask : (n_bins,) bins that count
    blocks : (n_bins,) block of time of each bin, see `blocks_of`
    """

    def __init__(self, chosen: Conditions, *, mask: NDArray[np.bool_], blocks: NDArray[np.int32], bin_s: float) -> None:
        self._chosen, self._bin_s = chosen, bin_s
        self._shape = (int(blocks.max(initial=0)) + 1, chosen.n_conditions)
        cell = blocks.astype(np.int64) * chosen.n_conditions + chosen.codes
        self._cell = np.where(mask & (chosen.codes >= 0), cell, -1).astype(np.int32)
        self._n_bins = self._sums(self._cell, None)

    def _sums(self, cell: NDArray[np.int32], values: NDArray[Any] | None) -> NDArray[np.float64]:
        """(n_blocks, n_conditions) sums of the values in these cells, or numbers of them."""
        counted = cell >= 0
        weights = None if values is None else values[counted]
        summed = np.bincount(cell[counted], weights=weights, minlength=self._shape[0] * self._shape[1])
        return summed.astype(np.float64).reshape(self._shape)

    @cached_property
    def _drawn(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n_draws, n_blocks) how often each block is drawn, and (n_draws, n_conditions) the bins that makes."""
        present = np.flatnonzero(self._n_bins.any(axis=1))
        times = np.zeros((N_DRAWS, self._shape[0]))
        times[:, present] = _draws(len(present))
        return times, times @ self._n_bins

    def of_latent(self, rows: NDArray[Any], values: NDArray[Any]) -> Curve:
        """Mean activation of a latent that is active in these rows, zero in all others."""
        return self._curve(self._sums(self._cell[rows], values))

    def of_signal(self, values: NDArray[Any]) -> Curve:
        """Mean of a signal of (n_bins,) values."""
        return self._curve(self._sums(self._cell, values))

    def _curve(self, summed: NDArray[np.float64]) -> Curve:
        grid, n_bins = self._chosen.grid, self._n_bins.sum(axis=0)
        total = summed.sum(axis=0)
        mean, unsmoothed = self._mean(total, n_bins), _quotient(total, n_bins)
        low, high = np.full((2, *mean.shape), np.nan)
        if self._chosen.kind != "position":
            times, occupied = self._drawn
            low, high = _interval(self._mean(times @ summed, occupied))
            low, high = (np.where(n_bins > 0, bound, np.nan) for bound in (low, high))
        mean = np.where(n_bins > 0, mean, np.nan)
        return Curve(
            mean=mean.reshape(grid),
            low=low.reshape(grid),
            high=high.reshape(grid),
            unsmoothed=unsmoothed.reshape(grid),
            occupancy_s=n_bins.reshape(grid) * self._bin_s,
        )

    def _mean(self, summed: NDArray[np.float64], n_bins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over occupancy, both (..., n_conditions)."""
        return _quotient(self._smooth(summed), self._smooth(n_bins))

    def _smooth(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._chosen.kind == "circular":
            return np.asarray(gaussian_filter1d(values, 1.0, axis=-1, mode="wrap"))
        if self._chosen.kind == "position":
            return np.asarray(gaussian_filter(values.reshape(self._chosen.grid), 1.5, mode="constant")).ravel()
        return values


def _quotient(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))


@lru_cache(maxsize=32)
def _draws(n_blocks: int) -> NDArray[np.int64]:
    """(n_draws, n_blocks) how often each block is drawn."""
    even = np.full(n_blocks, 1 / max(n_blocks, 1))
    return np.random.default_rng(0).multinomial(n_blocks, even, size=N_DRAWS)


def _interval(drawn: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentiles 2.5 and 97.5 of what is defined of each column."""
    ordered = np.sort(drawn, axis=0)  # what is not defined comes last
    last = np.maximum((~np.isnan(ordered)).sum(axis=0) - 1, 0)
    columns = np.arange(ordered.shape[1])
    low, high = (ordered[np.rint(share * last).astype(np.int64), columns] for share in INTERVAL)
    return low, high
