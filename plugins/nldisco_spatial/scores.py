"""How much a map says: spatial information, sparsity and distance from a uniform map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["kl_from_uniform", "sparsity", "spatial_information"]


def spatial_information(rate: NDArray[np.float64], n_bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_columns,) bits that one event tells of the place: ``sum p_i (r_i / r) log2(r_i / r)``, ``r = sum p_i r_i``.

    Skaggs, McNaughton, Gothard & Markus, NIPS 5, 1030 (1993); for a latent, bits per unit of activation. Short
    recordings have more of it by chance. NaN for a silent map.

    Parameters
    ----------
    rate : (n_columns, …) non-negative, NaN where unvisited
    n_bins : (…) time spent, which gives the p_i
    """
    share = _shares(n_bins)
    rates = _flat(rate)
    mean = rates @ share
    relative = np.divide(rates, mean[:, None], out=np.full(rates.shape, np.nan), where=mean[:, None] > 0)
    return np.asarray(special.xlogy(relative, relative) @ share / np.log(2))


def sparsity(rate: NDArray[np.float64], n_bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_columns,) ``(sum p_i r_i)**2 / sum p_i r_i**2``: 1 for a flat map, small for one small field.

    Skaggs, McNaughton, Wilson & Barnes, Hippocampus 6, 149 (1996). NaN for a silent map. Parameters as in
    `spatial_information`.
    """
    share = _shares(n_bins)
    rates = _flat(rate)
    below = np.square(rates) @ share
    return np.asarray(np.divide(np.square(rates @ share), below, out=np.full(len(rates), np.nan), where=below > 0))


def kl_from_uniform(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) bits ``sum q_i log2(q_i n)`` over the n visited pixels, ``q_i = r_i / sum r``; NaN if silent.

    Unlike the spatial information it weighs every pixel alike, however long the animal was there.
    """
    visited = np.isfinite(rate).all(axis=0)
    rates = rate[:, visited]
    total = rates.sum(axis=1, keepdims=True)
    q = np.divide(rates, total, out=np.full(rates.shape, np.nan), where=total > 0)
    bits: NDArray[np.float64] = special.xlogy(q, q * rates.shape[1]).sum(axis=1) / np.log(2)
    return np.where(total[:, 0] > 0, bits, np.nan)


def _shares(n_bins: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(n_bins.ravel() / max(int(n_bins.sum()), 1), dtype=np.float64)


def _flat(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns, n_pixels), unvisited ones 0: their share is 0 as well."""
    return np.asarray(np.nan_to_num(rate.reshape(len(rate), -1)))
