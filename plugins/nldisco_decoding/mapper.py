"""The decoding mapper: how well each variable is read from the latents of an instance on held-out bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import Binned
from nldisco_core.columns import lacking
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.latents import Latents
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.nulls import p_values
from nldisco_core.tuning import one_per_channel
from nldisco_decoding import decoders
from nldisco_decoding.config import DecodingConfig
from nldisco_decoding.few import dropping, few_latents, latent_scores
from nldisco_decoding.task import Features, Task

__all__ = ["Decoding"]

N_LOGISTIC_SHIFTS = 9


class Decoding:
    """Decodes variables from the latents of an instance, fitted on train, scored on the other splits.

    - circular: kNN of (sine, cosine): ``r2`` and ``median_error_deg``
    - linear, position: kNN and ridge: ``r2``
    - discrete: kNN (most frequent class) and logistic regression: ``balanced_accuracy``

    One row per (instance, variable, split, ``method``), latent null; ``score`` is the R² or the balanced accuracy.
    Distances are euclidean on the activations as they are: their scale is part of the code, and giving every latent
    the same spread lets rare and noisy ones speak as loud as the rest. ``p`` and ``null_mean`` come from the same
    decoder on the variable relabelled by the null that suits it, train and held-out bins alike; logistic regression,
    which has to be fitted anew, is tried on the first nine relabellings only.

    Rows of a few latents, ``knn, 5 latents``, speak of the best that few chosen on train (`nldisco_decoding.choice`),
    without p. Mapped beside the controls ``raw-units`` and ``pca`` they compare k latents with k units and k
    components.

    Arrays: ``<variable>/latent_score`` (n_instances, n_latents) of each latent by itself on the last split: that of a
    position against that of a direction tells which latents know which. With `n_subsets` also ``dropping_n``
    (n_sizes,), ``dropping_mean`` and ``dropping_sd`` (n_instances, n_sizes): the score from so many latents drawn at
    random.
    """

    def __init__(self, config: DecodingConfig) -> None:
        self.config = config

    def map(self, latents: Latents, data: Binned, *, seed: int) -> MapperResult:
        """Held-out decoding from the space ``latents``.

        Raises
        ------
        DataError
            An unknown variable, or no bins in the train split or in any other.
        IncompatibleData
            Latents whose rows are not the bins of the data.
        """
        space = latents.main
        if space.row_kind != "bin" or space.n_rows != data.n_bins:
            raise IncompatibleData(
                f"latents of {space.n_rows} {space.row_kind}s for {data.n_bins} bins; decode the bins they were made of"
            )
        features = [Features(space, instance) for instance in range(space.n_instances)]
        rows: list[dict[str, Any]] = []
        names = data.covariate_names if self.config.variables is None else self.config.variables
        notes = lacking(data, names)
        arrays: dict[str, NDArray[np.float64]] = {}
        for covariate in (part for name in names for part in one_per_channel(data.covariate(name))):
            try:
                task = Task.of(covariate, space, data, self.config, seed)
            except DataError as error:
                notes.append(f"{covariate.name} is left out: {error}")
                continue
            notes.extend(f"{covariate.name}: {note}" for note in task.notes)
            for instance, held in enumerate(features):
                found, missed = _decode(task, held)
                rows.extend({"instance": instance, "variable": covariate.name, **row} for row in found)
                notes.extend(f"{covariate.name}, instance {instance}: {note}" for note in missed)
            arrays |= {f"{covariate.name}/{key}": values for key, values in _arrays(task, features).items()}
        table = pd.DataFrame(rows, columns=_COLUMNS).assign(label_use=space.label_use)
        table["chosen_latents"] = table["chosen_latents"].astype("string")
        return MapperResult(table=mapping_table(table.to_dict("series")), arrays=arrays, notes=tuple(notes))


_COLUMNS = [
    *("instance", "variable", "split", "statistic", "method", "r2", "median_error_deg", "balanced_accuracy"),
    *("score", "null_mean", "p", "n_features", "chosen_latents", "n_train", "n_held_out"),
]


def _arrays(task: Task, features: list[Features]) -> dict[str, NDArray[np.float64]]:
    found = {"latent_score": np.stack([latent_scores(task, held) for held in features])}
    if task.config.n_subsets:
        curves = [dropping(task, held, instance) for instance, held in enumerate(features)]
        found["dropping_n"] = np.array(curves[0].n_latents, dtype=np.float64)
        found["dropping_mean"] = np.stack([curve.mean for curve in curves])
        found["dropping_sd"] = np.stack([curve.sd for curve in curves])
    return found


def _decode(task: Task, features: Features) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per held-out split and method, and what a reader must know of them."""
    if not np.ptp(features.at(task.train), axis=0).any():
        return [], ["left out: the latents do not vary over the train bins"]
    found, notes = _classes(task, features) if task.kind == "discrete" else (list(_values(task, features)), [])
    return [*({**row, "n_features": features.n_latents} for row in found), *few_latents(task, features)], notes


def _values(task: Task, features: Features) -> Iterator[dict[str, Any]]:
    near = features.neighbours(task.train, task.held_out, task.config.n_neighbours)
    predicted = decoders.knn_mean(near, task.fitted)
    for row, part in _judged(task, "knn", "r2", predicted, decoders.r2):
        if task.kind == "circular":
            row["median_error_deg"] = decoders.median_angular_error_deg(task.truth[0, part], predicted[0, part])
        yield row
    if task.kind != "circular":
        predicted = decoders.ridge(features.at(task.train), task.fitted, features.at(task.held_out))
        yield from (row for row, _ in _judged(task, "ridge", "r2", predicted, decoders.r2))


def _classes(task: Task, features: Features) -> tuple[list[dict[str, Any]], list[str]]:
    near = features.neighbours(task.train, task.held_out, task.config.n_neighbours)
    votes = decoders.knn_vote(near, task.fitted[..., 0])[..., None]
    train, held_out = features.at(task.train), features.at(task.held_out)
    guesses = [decoders.logistic(train, v[:, 0], held_out) for v in task.fitted[: N_LOGISTIC_SHIFTS + 1]]
    guessed = np.stack([classes for classes, _ in guesses])[..., None]
    rows = [
        row
        for method, predicted in (("knn", votes), ("logistic", guessed))
        for row, _ in _judged(task, method, "balanced_accuracy", predicted, decoders.balanced_accuracy)
    ]
    return rows, [] if guesses[0][1] else ["logistic regression did not converge"]


def _judged(
    task: Task, method: str, name: str, predicted: NDArray[Any], judge: Callable[[NDArray[Any], NDArray[Any]], float]
) -> Iterator[tuple[dict[str, Any], slice]]:
    """For each split the score of the variable as it was, and its chance among those of the relabelled versions."""
    for split, part in task.splits.items():
        if part.start == part.stop:
            continue
        scores = np.array([judge(*pair) for pair in zip(task.truth[:, part], predicted[:, part], strict=False)])
        row = {
            "split": split,
            "statistic": f"{method} {name.replace('_', ' ')}",
            "method": method,
            name: scores[0],
            "score": scores[0],
            "n_train": len(task.train),
            "n_held_out": part.stop - part.start,
        }
        by_chance = scores[1:][~np.isnan(scores[1:])]
        if len(by_chance):
            row |= {"p": p_values(scores[:1], by_chance[:, None])[0], "null_mean": by_chance.mean()}
        yield row, part
