"""What few latents tell: the best of them together, each by itself, and random subsets of growing size.

These take at most `MOST_ROWS` bins of each split, evenly spread: they are many, and compared with each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_decoding import decoders
from nldisco_decoding.choice import pursued
from nldisco_decoding.single import neighbour_means
from nldisco_decoding.task import Features, Task

__all__ = ["Dropping", "dropping", "few_latents", "latent_scores"]

MOST_ROWS = 2_000


def few_latents(task: Task, features: Features) -> Iterator[dict[str, Any]]:
    """Rows of the mapping table for each number of latents in `DecodingConfig.few` that there are more of."""
    part = task.thinned(MOST_ROWS)
    train, held_out = features.at(part.train), features.at(part.held_out)
    wanted = [n for n in sorted(set(task.config.few)) if n < train.shape[1]]
    order = pursued(train, part.codes, max(wanted, default=0))
    for n_latents in wanted:
        taken = order[:n_latents]
        if len(taken) < n_latents:
            break
        for method, predicted in _predicted(part, train[:, taken], held_out[:, taken]):
            for split, rows in part.splits.items():
                if rows.start == rows.stop:
                    continue
                name, score = _score(part, part.truth[0, rows], predicted[rows])
                row = {
                    "split": split,
                    "statistic": f"{method} {name.replace('_', ' ')}, {n_latents} latents",
                    "method": f"{method}, {n_latents} latents",
                    name: score,
                    "score": score,
                    "n_features": n_latents,
                    "chosen_latents": " ".join(map(str, taken)),
                    "n_train": len(part.train),
                    "n_held_out": rows.stop - rows.start,
                }
                if part.kind == "circular":
                    row["median_error_deg"] = decoders.median_angular_error_deg(part.truth[0, rows], predicted[rows])
                yield row


def latent_scores(task: Task, features: Features) -> NDArray[np.float64]:
    """(n_latents,) R², or balanced accuracy, of each latent by itself on the last split; NaN where it never varies.

    By the training bins of nearest activation (`nldisco_decoding.single`); classes weigh the same however frequent.
    """
    part = task.thinned(MOST_ROWS)
    last = part.last
    train, held_out = features.at(part.train), features.at(part.held_out)[last]
    truth, targets = part.truth[0, last], part.fitted[0]
    classes = np.unique(targets)
    if part.kind == "discrete":
        targets = (targets == classes).astype(np.float64)
        targets = targets / targets.mean(axis=0)
    found = np.full(train.shape[1], np.nan)
    for latent in np.flatnonzero(np.ptp(train, axis=0)):
        predicted = neighbour_means(train[:, latent], targets, held_out[:, latent], part.config.n_neighbours)
        if part.kind == "discrete":
            predicted = classes[predicted.argmax(axis=1)][:, None]
        found[latent] = _score(part, truth, predicted)[1]
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Dropping:
    """How decoding grows with the number of latents.

    Attributes
    ----------
    n_latents : (n_sizes,) latents of a subset: 1, 2, 4, … and all
    mean, sd : (n_sizes,) kNN score on the last split over random subsets of that size, and its standard deviation
    """

    n_latents: tuple[int, ...]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


def dropping(task: Task, features: Features, instance: int) -> Dropping:
    """Scores of `DecodingConfig.n_subsets` random subsets of each size; of all latents there is one."""
    part = task.thinned(MOST_ROWS)
    last = part.last
    train, held_out = features.at(part.train), features.at(part.held_out)[last]
    n_all = train.shape[1]
    sizes = (*(1 << power for power in range(n_all.bit_length()) if 1 << power < n_all), n_all)
    rng = np.random.default_rng([task.seed, instance])
    scores = [
        [
            _score(part, part.truth[0, last], next(_predicted(part, train[:, taken], held_out[:, taken]))[1])[1]
            for taken in (rng.permutation(n_all)[:size] for _ in range(task.config.n_subsets if size < n_all else 1))
        ]
        for size in sizes
    ]
    return Dropping(
        n_latents=sizes, mean=np.array([np.mean(of) for of in scores]), sd=np.array([np.std(of) for of in scores])
    )


def _predicted(
    part: Task, train: NDArray[np.float64], held_out: NDArray[np.float64]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each method with its (n_held_out, n_targets) predictions, kNN first."""
    near = decoders.nearest(train, held_out, part.config.n_neighbours)
    if part.kind == "discrete":
        yield "knn", decoders.knn_vote(near, part.fitted[..., 0])[0][:, None]
        yield "logistic", decoders.logistic(train, part.fitted[0, :, 0], held_out)[0][:, None]
    else:
        yield "knn", decoders.knn_mean(near, part.fitted)[0]


def _score(part: Task, truth: NDArray[Any], predicted: NDArray[Any]) -> tuple[str, float]:
    if part.kind == "discrete":
        return "balanced_accuracy", decoders.balanced_accuracy(truth, predicted)
    return "r2", decoders.r2(truth, predicted)
