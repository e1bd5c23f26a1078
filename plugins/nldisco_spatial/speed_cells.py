"""Speed scores: does activity rise or fall with how fast the animal moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["speed_score"]


def speed_score(activations: sparse.csc_array, speed: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_columns,) Pearson r of the activation in each bin with the speed, as Kropff et al., Nature 523, 419 (2015).

    Silent bins count as zero, bins without a speed are left out. NaN for a column that is never active there or
    always alike, and for a speed that never changes.

    Parameters
    ----------
    activations : (n_rows, n_columns)
    speed : (n_rows,), NaN where not defined
    """
    defined = np.isfinite(speed)
    n = max(int(defined.sum()), 1)
    known = defined.astype(np.float64)
    centred = np.where(defined, speed - (np.nanmean(speed) if defined.any() else 0), 0)
    variance = np.square(centred).mean() * len(speed) / n if len(speed) else 0.0
    transposed = activations.T
    squares = sparse.csr_array((np.square(transposed.data), transposed.indices, transposed.indptr), transposed.shape)
    mean, mean_square = transposed @ known / n, squares @ known / n
    spread = mean_square - np.square(mean)
    covariance = (transposed @ centred) / n - mean * centred.sum() / n
    varies = (spread > 1e-12 * mean_square) & (variance > 1e-24 * np.square(np.nan_to_num(speed)).max(initial=0))
    r = np.full(len(mean), np.nan)
    np.divide(covariance, np.sqrt(np.maximum(spread * variance, 0)), out=r, where=varies)
    return r
