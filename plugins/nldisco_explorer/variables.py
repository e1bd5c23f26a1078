"""Bins of a variable, and the mean activation in each: tuning curves, polar curves and rate maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from nldisco_core.session import SignalKind

if TYPE_CHECKING:
    from nldisco_core.binned import Covariate
    from nldisco_explorer.readings import Activations

__all__ = ["N_CIRCULAR", "Curve", "VariableBins", "mean_activation", "variable_bins"]

N_CIRCULAR = 60
N_LINEAR = 24
N_MAP = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class VariableBins:
    """A variable cut into bins, the same for every latent.

    Attributes
    ----------
    name, kind : of the variable
    physical_unit : of `centres`; circular variables are in degrees
    bin_of : (n_bins,) int64, bin of the variable in each bin of time, -1 where it is not defined
    shape : (n_conditions,), or (n_y, n_x) for a position
    centres : one array of bin centres per axis of `shape` (y, then x); codes for a discrete variable
    labels : label of each condition of a discrete variable
    """

    name: str
    kind: SignalKind
    physical_unit: str
    bin_of: NDArray[np.int64]
    shape: tuple[int, ...]
    centres: tuple[NDArray[np.float64], ...]
    labels: tuple[str, ...] = ()

    @property
    def n_conditions(self) -> int:
        return int(np.prod(self.shape))


def variable_bins(covariate: Covariate) -> VariableBins:
    """Cut a variable into bins.

    A circular variable gets 60 equal bins from -180 to 180 degrees; a linear one 24 equal bins between its 0.5th and 99.5th
    percentile, the outermost of which hold what lies beyond; a position a grid with 24 square bins along its longer side;
    a discrete one a bin per label.
    """
    values, defined = covariate.values, covariate.defined
    bin_of = np.full(len(values), -1, dtype=np.int64)
    if covariate.kind == "circular":
        turns = (values[defined, 0] / (covariate.period or 1.0) + 0.5) % 1.0
        bin_of[defined] = np.minimum((turns * N_CIRCULAR).astype(np.int64), N_CIRCULAR - 1)
        centres = ((np.arange(N_CIRCULAR) + 0.5) / N_CIRCULAR * 360 - 180,)
        return _bins(covariate, bin_of, (N_CIRCULAR,), centres, unit="°")
    if covariate.kind == "discrete":
        labels = covariate.categories or ()
        bin_of[defined] = values[defined, 0].astype(np.int64)
        return _bins(covariate, bin_of, (len(labels),), (np.arange(len(labels), dtype=np.float64),), labels=labels)
    if covariate.kind == "position" and values.shape[1] >= 2:
        spans = np.ptp(values[defined, :2], axis=0) if defined.any() else np.ones(2)
        side = max(float(spans.max()) / N_MAP, 1e-12)
        low = values[defined, :2].min(axis=0) if defined.any() else np.zeros(2)
        n_x, n_y = (max(int(np.ceil(span / side)), 1) for span in spans)
        column, row = (np.clip(((values[defined, axis] - low[axis]) / side).astype(np.int64), 0, n - 1) for axis, n in ((0, n_x), (1, n_y)))
        bin_of[defined] = row * n_x + column
        return _bins(covariate, bin_of, (n_y, n_x), tuple(low[axis] + (np.arange(n) + 0.5) * side for axis, n in ((1, n_y), (0, n_x))))
    low_edge, high_edge = np.percentile(values[defined, 0], [0.5, 99.5]) if defined.any() else (0.0, 1.0)
    width = max((high_edge - low_edge) / N_LINEAR, 1e-12)
    bin_of[defined] = np.clip(((values[defined, 0] - low_edge) / width).astype(np.int64), 0, N_LINEAR - 1)
    return _bins(covariate, bin_of, (N_LINEAR,), (low_edge + (np.arange(N_LINEAR) + 0.5) * width,))


def _bins(
    covariate: Covariate,
    bin_of: NDArray[np.int64],
    shape: tuple[int, ...],
    centres: tuple[NDArray[np.float64], ...],
    *,
    labels: tuple[str, ...] = (),
    unit: str | None = None,
) -> VariableBins:
    return VariableBins(
        name=covariate.name,
        kind=covariate.kind,
        physical_unit=unit or covariate.physical_unit or "",
        bin_of=bin_of,
        shape=shape,
        centres=centres,
        labels=labels,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Mean activation of one latent in each bin of a variable.

    Attributes
    ----------
    mean : `VariableBins.shape`, mean activation, silent bins counted as zero; NaN where the animal never was
    occupancy_s : `VariableBins.shape`, time spent (s)
    """

    mean: NDArray[np.float64]
    occupancy_s: NDArray[np.float64]


def mean_activation(bins: VariableBins, active: Activations, *, bin_s: float, mask: NDArray[np.bool_]) -> Curve:
    """Mean activation per bin: summed activation over occupied bins, both smoothed before the division where bins are ordered.

    The Gaussian has sigma 1 bin (1.5 bins for a map; it wraps for a circular variable). Bins without occupancy are NaN.

    Parameters
    ----------
    mask : (n_bins,) bins of time that count
    """
    counted = np.where(mask & active.defined, bins.bin_of, -1)
    visited = np.bincount(counted[counted >= 0], minlength=bins.n_conditions).astype(np.float64)
    where = counted[active.rows]
    total = np.bincount(where[where >= 0], weights=active.values[where >= 0], minlength=bins.n_conditions)
    visited, total = visited.reshape(bins.shape), total.reshape(bins.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(visited > 0, _smooth(bins, total) / _smooth(bins, visited), np.nan)
    return Curve(mean=mean, occupancy_s=visited * bin_s)


def _smooth(bins: VariableBins, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if bins.kind == "discrete":
        return values
    if bins.kind == "position" and len(bins.shape) == 2:
        return np.asarray(gaussian_filter(values, 1.5, mode="constant"))
    return np.asarray(gaussian_filter1d(values, 1.0, mode="wrap" if bins.kind == "circular" else "nearest"))
