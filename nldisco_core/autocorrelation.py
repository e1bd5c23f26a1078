"""How long a variable remembers itself, the stretches of a session that are long beside that, and slow drift."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from nldisco_core.binned import Binned, Covariate
from nldisco_core.errors import DataError

__all__ = [
    "BLOCK_TIMES",
    "autocorrelation_time",
    "detrended",
    "effective_shifts",
    "stretches",
    "trajectory",
    "trend_share",
]

BLOCK_TIMES = 20
N_STRETCHES = (32, 16, 8, 4, 2)
N_SLOW = 4
"""Half waves through a session, up to two whole ones, that count as drift."""


def autocorrelation_time(values: NDArray[np.float64]) -> float:
    """Autocorrelation time of a series, in samples.

    ``tau = 1 + 2 sum_k rho(k)**2`` over the lags before the autocorrelation first reaches zero, the channels'
    covariances added before dividing: the correlation of two independent series that are both like this one varies as
    it would over n / tau independent samples (Bartlett, Suppl. J. R. Stat. Soc. 8, 27, 1946). For an exponential
    decay it is the time to 1/e. A constant series has its own length, an empty one 1.

    Parameters
    ----------
    values : (n_samples,) or (n_samples, n_channels), no NaN; angles as cosine and sine, categories as indicator columns
    """
    series = np.asarray(values, dtype=np.float64)
    series = series[:, None] if series.ndim == 1 else series
    n_samples = len(series)
    if n_samples == 0:
        return 1.0
    n_padded = fft.next_fast_len(2 * n_samples, real=True)
    power = np.zeros(n_padded // 2 + 1)
    for channel in series.T:  # one by one: a variable may have hundreds of categories
        power += np.square(np.abs(fft.rfft(channel - channel.mean(), n=n_padded)))
    covariance = fft.irfft(power, n=n_padded)[:n_samples]
    if not covariance[0] > 1e-12 * np.square(series).sum():
        return float(n_samples)
    rho = covariance[1:] / covariance[0]
    until = int(np.argmax(rho <= 0)) if (rho <= 0).any() else len(rho)
    return float(1 + 2 * np.square(rho[:until]).sum())


def effective_shifts(values: NDArray[np.float64]) -> float:
    """Independent shifts in a circle that a series offers.

    ``n_samples / tau``, tau its `autocorrelation_time`; values as there.
    """
    return len(values) / autocorrelation_time(values)


def trend_share(series: NDArray[np.float64]) -> float:
    """Share of the variance of a series that a straight line in time explains."""
    centred = series - series.mean(axis=0)
    time = np.arange(len(series)) - (len(series) - 1) / 2
    variance = np.square(time).sum() * np.square(centred).sum()
    return float(np.square(time @ centred).sum() / variance) if variance > 0 else 0.0


def detrended(covariate: Covariate, data: Binned) -> Covariate:
    """A linear variable less its slow drift, session by session.

    Drift is a straight line and the first `N_SLOW` cosines of the discrete cosine transform (least squares) over the
    bins where the variable is defined, laid end to end as `nldisco_core.nulls.circular_shift` takes them. The mean of
    each session stays, so that values keep their meaning.

    Raises
    ------
    DataError
        The variable is not linear.
    """
    if covariate.kind != "linear":
        raise DataError(f"{covariate.name!r} is {covariate.kind}; drift can be removed from linear variables only")
    values = np.array(covariate.values, dtype=np.float64)
    for start, stop in pairwise(data.row_offsets.tolist()):
        rows = np.flatnonzero(covariate.defined[start:stop]) + start
        if len(rows) > N_SLOW + 1:
            drift = _drift(len(rows))
            values[rows] -= drift @ (drift.T @ values[rows])
    return replace(covariate, values=values)


def _drift(n_samples: int) -> NDArray[np.float64]:
    """(n_samples, 1 + N_SLOW) a straight line and the slowest cosines over so many samples, orthonormal, mean zero."""
    turn = np.pi * (np.arange(n_samples) + 0.5) / n_samples
    waves = np.column_stack([turn, np.cos(np.outer(turn, np.arange(1, N_SLOW + 1)))])
    return np.linalg.qr(waves - waves.mean(axis=0))[0]


def stretches(series: NDArray[np.float64]) -> tuple[list[slice], float]:
    """Equal stretches of a series that are long beside its autocorrelation time there, and that time."""
    n = len(series)
    for n_blocks in N_STRETCHES:
        if n < n_blocks * BLOCK_TIMES:
            continue
        slices = [slice(n * block // n_blocks, n * (block + 1) // n_blocks) for block in range(n_blocks)]
        level = np.concatenate([series[part] - series[part].mean(axis=0) for part in slices])
        tau = autocorrelation_time(level)
        if n / n_blocks >= BLOCK_TIMES * tau:
            return slices, tau
    return [slice(0, n)], autocorrelation_time(series)


def trajectory(covariate: Covariate) -> NDArray[np.float64]:
    """(n_bins, n_channels) the variable as numbers whose covariance means something."""
    if covariate.kind == "circular":
        angle = 2 * np.pi * covariate.values / (covariate.period or 1.0)
        return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
    if covariate.kind == "discrete":
        values = covariate.values[:, 0]
        return np.where(np.isnan(values)[:, None], np.nan, values[:, None] == np.unique(values[~np.isnan(values)]))
    return covariate.values
