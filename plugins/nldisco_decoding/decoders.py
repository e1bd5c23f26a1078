"""Decoders and their held-out scores."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = [
    "balanced_accuracy",
    "knn_mean",
    "knn_vote",
    "logistic",
    "median_angular_error_deg",
    "nearest",
    "r2",
    "ridge",
]

RIDGE_PENALTIES = np.logspace(-2, 6, 9)
N_FOLDS = 3


def nearest(train: NDArray[np.float64], held_out: NDArray[np.float64], n_neighbours: int) -> NDArray[np.int64]:
    """(n_held_out, k) training bins nearest to each held-out bin in euclidean distance, k at most the bins given."""
    search = NearestNeighbors(n_neighbors=min(n_neighbours, len(train)), algorithm="brute").fit(train)
    return np.asarray(search.kneighbors(held_out, return_distance=False), dtype=np.int64)


def knn_mean(neighbours: NDArray[np.int64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n_versions, n_held_out, n_targets) mean target of the neighbours.

    Parameters
    ----------
    targets : (n_versions, n_train, n_targets) the variable as it was, then relabelled
    """
    side_by_side = np.concatenate(targets, axis=1)
    sums = _adjacency(neighbours, len(side_by_side)) @ side_by_side
    means = (sums / neighbours.shape[1]).reshape(len(neighbours), len(targets), -1)
    return np.asarray(means.swapaxes(0, 1))


def knn_vote(neighbours: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n_versions, n_held_out) most frequent class of the neighbours, the lowest of equals.

    Parameters
    ----------
    classes : (n_versions, n_train) the variable as it was, then relabelled
    """
    adjacency = _adjacency(neighbours, classes.shape[1])
    present = np.unique(classes)
    most, winner = np.full((len(neighbours), len(classes)), -1.0), np.zeros((len(neighbours), len(classes)), np.int64)
    for value in present:
        votes = adjacency @ (classes == value).T.astype(np.float64)
        winner[votes > most] = value
        most = np.maximum(votes, most)
    return winner.T


def _adjacency(neighbours: NDArray[np.int64], n_train: int) -> sparse.csr_array:
    """(n_held_out, n_train) one where a training bin is a neighbour."""
    starts = np.arange(len(neighbours) + 1) * neighbours.shape[1]
    return sparse.csr_array((np.ones(neighbours.size), neighbours.ravel(), starts), shape=(len(neighbours), n_train))


def ridge(
    train: NDArray[np.float64], targets: NDArray[np.float64], held_out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n_versions, n_held_out, n_targets) linear predictions on standardised features.

    Parameters
    ----------
    targets : (n_versions, n_train, n_targets) the variable as it was, then relabelled. The penalty is chosen for the
        former, by leaving out one training bin at a time (generalised cross-validation), and serves all
    """
    chosen = make_pipeline(StandardScaler(), RidgeCV(RIDGE_PENALTIES)).fit(train, targets[0])
    model = make_pipeline(StandardScaler(), Ridge(alpha=chosen[-1].alpha_))
    side_by_side = np.concatenate(targets, axis=1)
    predicted = np.asarray(model.fit(train, side_by_side).predict(held_out)).reshape(len(held_out), len(targets), -1)
    return predicted.swapaxes(0, 1)


def logistic(
    train: NDArray[np.float64], classes: NDArray[np.int64], held_out: NDArray[np.float64]
) -> tuple[NDArray[np.int64], bool]:
    """(n_held_out,) class by logistic regression on standardised features, and whether it converged.

    Classes weigh the same however frequent they are; L2 penalty 1. Of two classes the second is called from the
    probability on that gave the largest balanced accuracy on training bins left out of the fit, in `N_FOLDS` folds.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        threshold = _threshold(model, train, classes)
        model.fit(train, classes)
    if threshold is None:
        predicted = model.predict(held_out)
    else:
        predicted = model.classes_[(model.predict_proba(held_out)[:, 1] >= threshold).astype(np.int64)]
    return np.asarray(predicted), not any(issubclass(w.category, ConvergenceWarning) for w in caught)


def _threshold(model: Pipeline, train: NDArray[np.float64], classes: NDArray[np.int64]) -> float | None:
    """Probability of the second of two classes from which it is called; None for more classes or too few bins."""
    present, n_bins = np.unique(classes, return_counts=True)
    if len(present) != 2 or n_bins.min() < N_FOLDS:
        return None
    left_out = cross_val_predict(model, train, classes, cv=StratifiedKFold(N_FOLDS), method="predict_proba")[:, 1]
    false, true, thresholds = roc_curve(classes, left_out, pos_label=present[1])
    return float(thresholds[int(np.argmax(true - false))])


def r2(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Share of the variance explained, ``1 - SSE/SST`` over all targets together (variance-weighted mean over targets).

    NaN for a constant truth.

    Parameters
    ----------
    truth, predicted : (n_bins, n_targets)
    """
    total = np.square(truth - truth.mean(axis=0)).sum()
    return float(1 - np.square(truth - predicted).sum() / total) if total > 0 else float("nan")


def median_angular_error_deg(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Median angle (deg) between (n_bins, 2) sines and cosines."""
    angles = [np.arctan2(values[:, 0], values[:, 1]) for values in (truth, predicted)]
    return float(np.rad2deg(np.median(np.abs(np.angle(np.exp(1j * (angles[1] - angles[0])))))))


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean over the classes that occur of the share of their bins that was recognised.

    Parameters
    ----------
    truth, predicted : (n_bins,) or (n_bins, 1) classes
    """
    n_bins = np.bincount(truth.ravel())
    recognised = np.bincount(truth[truth == predicted], minlength=len(n_bins))
    return float((recognised[n_bins > 0] / n_bins[n_bins > 0]).mean())
