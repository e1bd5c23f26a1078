"""Which few latents tell most of a variable together, chosen on training bins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pursued"]


def pursued(features: NDArray[np.float64], codes: NDArray[np.int64], n_chosen: int) -> NDArray[np.int64]:
    """(at most `n_chosen`,) columns in the order they are taken, none that is constant or adds nothing.

    Simultaneous orthogonal matching pursuit (Tropp, Gilbert & Strauss, Signal Process. 86, 572, 2006) of the indicators
    of all conditions, each divided by its standard deviation: the next column is the one whose part that is orthogonal
    to those taken explains most of what is left of them.

    Parameters
    ----------
    features : (n_bins, n_columns)
    codes : (n_bins,) condition of each bin, counted from 0
    """
    indicator = (codes[:, None] == np.unique(codes)).astype(np.float64)
    spread = indicator.std(axis=0)
    left = (indicator - indicator.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    rest = features - features.mean(axis=0)
    size = np.square(rest).sum(axis=0)
    remaining, shared = size.copy(), rest.T @ left
    taken: list[int] = []
    basis: list[NDArray[np.float64]] = []
    while len(taken) < min(n_chosen, features.shape[1]):
        usable = remaining > 1e-9 * size
        gain = np.where(usable, np.square(shared).sum(axis=1) / np.where(usable, remaining, 1), -1.0)
        best = int(np.argmax(gain))
        if not gain[best] > 0:
            break
        direction = rest[:, best].copy()
        for known in basis:
            direction -= known * (known @ rest[:, best])
        direction /= np.linalg.norm(direction)
        along = direction @ rest
        shared -= np.outer(along, direction @ left)
        remaining -= np.square(along)
        taken.append(best)
        basis.append(direction)
    return np.array(taken, dtype=np.int64)
