"""What one latent tells by itself: nearest neighbours in one dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["neighbour_means"]


def neighbour_means(
    train: NDArray[np.float64], targets: NDArray[np.float64], held_out: NDArray[np.float64], n_neighbours: int
) -> NDArray[np.float64]:
    """(n_held_out, n_targets) mean target of the training bins of nearest activation.

    All bins that share an activation count together, so that silent bins say what the silence of a latent means and
    not what some of them happened to hold.

    Parameters
    ----------
    train, held_out : (n_train,) and (n_held_out,) activations of one latent
    targets : (n_train, n_targets)
    """
    order = np.argsort(train, kind="stable")
    sorted_ = train[order]
    k = min(n_neighbours, len(train))
    sums = np.concatenate([np.zeros((1, targets.shape[1])), np.cumsum(targets[order], axis=0)])
    asked, place = np.unique(held_out, return_inverse=True)
    first = _window(sorted_, asked, k)
    low = np.searchsorted(sorted_, sorted_[first], side="left")
    high = np.searchsorted(sorted_, sorted_[first + k - 1], side="right")
    means = (sums[high] - sums[low]) / (high - low)[:, None]
    return np.asarray(means[place])


def _window(sorted_: NDArray[np.float64], asked: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """(n_asked,) where the k nearest of the sorted values begin, by bisection: the nearest lie side by side."""
    begin = np.searchsorted(sorted_, asked)
    low, high = np.maximum(begin - k, 0), np.minimum(begin, len(sorted_) - k)
    while (low < high).any():
        middle = (low + high) // 2
        right = asked - sorted_[middle] > sorted_[np.minimum(middle + k, len(sorted_) - 1)] - asked
        right &= low < high
        low = np.where(right, middle + 1, low)
        high = np.where(right, high, np.where(low < high, middle, high))
    return np.asarray(low, dtype=np.int64)
