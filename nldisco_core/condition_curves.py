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

__all__ = ["LEAST_S", "Curve", "Selectivity", "Visits", "blocks_of", "cut", "drawn_as"]

N_CIRCULAR = 60
N_QUANTILES = 20
N_POSITION = 24

SIGMA_DIRECTIONS, SIGMA_CELLS = 1.0, 1.5
LEAST_S = 0.1
"""Directions and cells of a map in which the animal spent less time (s) are left empty."""

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
    mean : `Conditions.grid`, what is drawn, silent bins counted as zero; NaN where the animal never was, of directions
        and positions where it was for less than `LEAST_S`
    low, high : `Conditions.grid`, 95 % interval of the mean; NaN where it is not known, and for maps
    unsmoothed : `Conditions.grid`, the mean before smoothing, which mappers score and numbers are read off
    occupancy_s : `Conditions.grid`, time spent (s)
    peak_low, peak_high : 95 % interval of `largest`, as if its condition had been chosen beforehand; NaN where unknown
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    unsmoothed: NDArray[np.float64]
    occupancy_s: NDArray[np.float64]
    peak_low: float = float("nan")
    peak_high: float = float("nan")

    @property
    def top(self) -> float:
        """Largest mean that is drawn, 1 for a silent latent, so that axes have an extent."""
        largest = float(np.nanmax(self.mean)) if np.isfinite(self.mean).any() else 0.0
        return largest if largest > 0 else 1.0

    @property
    def peak(self) -> int | None:
        """Flat index of the largest mean before smoothing of all drawn conditions, None where nothing is above zero."""
        return _peak(self.unsmoothed, self.mean)

    @property
    def largest(self) -> float:
        """The mean before smoothing at the peak, NaN without one."""
        return float("nan") if self.peak is None else float(self.unsmoothed.flat[self.peak])


@dataclass(frozen=True, kw_only=True, eq=False)
class Selectivity:
    """How much of its activity a latent keeps for each condition, each (n_conditions,) and NaN where not defined.

    Attributes
    ----------
    value : ``coverage / (coverage + 1 - specificity)``, as mappers score it
    low, high : its 95 % interval; NaN for what is visited, or a latent that is active, in one block of time alone
    """

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def drawn_as(chosen: Conditions) -> str:
    """How means of directions and positions are smoothed and where they are left out; empty for all other kinds."""
    if chosen.kind == "circular":
        sigma, each = f"{SIGMA_DIRECTIONS * 360 / chosen.n_conditions:g}°", "directions"
    elif chosen.kind == "position":
        sigma, each = f"{SIGMA_CELLS:g} of {' x '.join(map(str, chosen.grid))} cells", "cells"
    else:
        return ""
    return (
        f"Drawn smoothed (Gaussian, sigma {sigma}), {each} with under {LEAST_S:g} s left empty; "
        "numbers are of the unsmoothed means."
    )


class Visits:
    """The bins in which a variable is in each of its conditions, ready for many means.

    Directions and positions are smoothed, sums and occupancy alike and before they are divided: the Gaussian has sigma
    1 condition round the circle, 1.5 cells on a map. Those in which the animal was for less than `LEAST_S` are not
    drawn, as `drawn_as` tells the reader. Intervals are percentiles of the same mean over 200 resamplings of
    blocks of time with replacement, which keep together what is correlated in time (block bootstrap; Kunsch, Annals of
    Statistics, 1989). A condition that some resamplings never visit is judged by the others;
    one that was visited in a single block has no interval, for every resampling would give the same.

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
        self._occupied = self._n_bins.sum(axis=0)
        self._varies = (self._n_bins > 0).sum(axis=0) > 1
        least_s = LEAST_S if chosen.kind in ("circular", "position") else 0.0
        self._is_drawn = (self._occupied > 0) & (self._occupied * bin_s > least_s - 1e-9)

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

    def mean_of_latent(self, rows: NDArray[Any], values: NDArray[Any]) -> Curve:
        """The same without any interval, for many latents at once."""
        cell = self._cell[rows]
        counted = cell >= 0
        n_conditions = self._shape[1]
        total = np.bincount(cell[counted] % n_conditions, weights=values[counted], minlength=n_conditions)
        mean, unsmoothed = self._means(total.astype(np.float64))
        unknown = np.full(mean.shape, np.nan)
        return self._shaped(mean, unknown, unknown, unsmoothed)

    def of_signal(self, values: NDArray[Any]) -> Curve:
        """Mean of a signal of (n_bins,) values."""
        return self._curve(self._sums(self._cell, values))

    def selectivity(self, rows: NDArray[Any]) -> Selectivity:
        """Selectivity of a latent that is active in these rows, with the interval over the same blocks of time."""
        hits = self._sums(self._cell[rows], None)
        times, n_bins = self._drawn
        bounds = _interval(_selectivity(times @ hits, n_bins))
        is_known = self._varies & (np.count_nonzero(hits.any(axis=1)) > 1)
        low, high = (np.where(is_known, bound, np.nan) for bound in bounds)
        return Selectivity(value=_selectivity(hits.sum(axis=0), self._occupied), low=low, high=high)

    def _curve(self, summed: NDArray[np.float64]) -> Curve:
        mean, unsmoothed = self._means(summed.sum(axis=0))
        times, occupied = self._drawn
        low, high = np.full((2, *mean.shape), np.nan)
        if self._chosen.kind != "position":
            low, high = _interval(self._mean(times @ summed, occupied))
            low, high = (np.where(np.isnan(mean) | ~self._varies, np.nan, bound) for bound in (low, high))
        peak = _peak(unsmoothed, mean)
        if peak is None or not self._varies[peak]:
            return self._shaped(mean, low, high, unsmoothed)
        at_peak = _quotient(times @ summed[:, [peak]], occupied[:, [peak]])
        (least,), (most,) = _interval(at_peak)
        return self._shaped(mean, low, high, unsmoothed, peak_low=float(least), peak_high=float(most))

    def _means(self, total: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What is drawn of (n_conditions,) sums, and their mean before smoothing."""
        drawn = np.where(self._is_drawn, self._mean(total, self._occupied), np.nan)
        return drawn, _quotient(total, self._occupied)

    def _shaped(
        self,
        mean: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        unsmoothed: NDArray[np.float64],
        **of_peak: float,
    ) -> Curve:
        """Values by condition on the grid of the conditions."""
        mean, low, high, unsmoothed = (each.reshape(self._chosen.grid) for each in (mean, low, high, unsmoothed))
        occupancy_s = self._occupied.reshape(self._chosen.grid) * self._bin_s
        return Curve(mean=mean, low=low, high=high, unsmoothed=unsmoothed, occupancy_s=occupancy_s, **of_peak)

    def _mean(self, summed: NDArray[np.float64], n_bins: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over occupancy, both (..., n_conditions)."""
        return _quotient(self._smooth(summed), self._smooth(n_bins))

    def _smooth(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._chosen.kind == "circular":
            return np.asarray(gaussian_filter1d(values, SIGMA_DIRECTIONS, axis=-1, mode="wrap"))
        if self._chosen.kind == "position":
            return np.asarray(gaussian_filter(values.reshape(self._chosen.grid), SIGMA_CELLS, mode="constant")).ravel()
        return values


def _peak(unsmoothed: NDArray[np.float64], drawn: NDArray[np.float64]) -> int | None:
    """Flat index of the largest of the unsmoothed means of drawn conditions, None where none is above zero."""
    shown = np.where(np.isnan(drawn), 0.0, np.nan_to_num(unsmoothed))
    return int(shown.argmax()) if shown.max(initial=0.0) > 0 else None


def _selectivity(n_active: NDArray[np.float64], n_bins: NDArray[np.float64]) -> NDArray[np.float64]:
    """``coverage / (coverage + 1 - specificity)`` of (..., n_conditions) active bins and bins."""
    all_active, all_bins = (each.sum(axis=-1, keepdims=True) for each in (n_active, n_bins))
    coverage, outside = _quotient(n_active, n_bins), _quotient(all_active - n_active, all_bins - n_bins)
    return _quotient(coverage, coverage + outside)


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
