"""Mean activation of one latent in each condition of a variable: what tuning curves, polar plots and rate maps draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nldisco_core.tuning import Conditions, circular_conditions, conditions

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_explorer.readings import Activations

__all__ = ["Curve", "cut", "mean_activation"]

N_CIRCULAR = 60
N_QUANTILES = 20
N_POSITION = 24


def cut(covariate: Covariate) -> Conditions:
    """The conditions a variable is drawn in: 60 directions, 20 quantiles, a grid of 24 cells a side, or its labels."""
    if covariate.kind == "circular":
        return circular_conditions(covariate, N_CIRCULAR, start=-(covariate.period or 1.0) / 2)
    return conditions(covariate, n_quantiles=N_QUANTILES, n_position=N_POSITION)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Mean activation of one latent in each condition.

    Attributes
    ----------
    mean : `Conditions.grid`, mean activation, silent bins counted as zero; NaN where the animal never was
    occupancy_s : `Conditions.grid`, time spent (s)
    """

    mean: NDArray[np.float64]
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


def mean_activation(chosen: Conditions, active: Activations, *, bin_s: float, mask: NDArray[np.bool_]) -> Curve:
    """Summed activation over occupancy; for directions and positions both are smoothed before the division.

    The Gaussian has sigma 1 condition round the circle, 1.5 cells on a map. Conditions never visited are NaN.

    Parameters
    ----------
    mask : (n_bins,) bins of time that count, if the model speaks of them
    """
    codes = np.where(mask & active.defined, chosen.codes, -1)
    where = codes[active.rows]
    n_bins = np.bincount(codes[codes >= 0], minlength=chosen.n_conditions).astype(np.float64).reshape(chosen.grid)
    summed = np.bincount(where[where >= 0], weights=active.values[where >= 0], minlength=chosen.n_conditions)
    total = summed.astype(np.float64).reshape(chosen.grid)
    mean = np.full(chosen.grid, np.nan)
    np.divide(_smooth(chosen, total), _smooth(chosen, n_bins), out=mean, where=n_bins > 0)
    return Curve(mean=mean, occupancy_s=n_bins * bin_s)


def _smooth(chosen: Conditions, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if chosen.kind == "circular":
        return np.asarray(gaussian_filter1d(values, 1.0, mode="wrap"))
    if chosen.kind == "position":
        return np.asarray(gaussian_filter(values, 1.5, mode="constant"))
    return values
