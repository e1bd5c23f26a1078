"""The decoding mapper: how well each variable is read from all latents of an instance on held-out bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nldisco_core.binned import SPLITS, Binned, Covariate
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.latents import Latents, LatentSpace
from nldisco_core.mapping import MapperResult, mapping_table
from nldisco_core.nulls import choose_null, p_values
from nldisco_core.tuning import one_per_channel
from nldisco_decoding import decoders
from nldisco_decoding.config import DecodingConfig

__all__ = ["Decoding"]

N_LOGISTIC_SHIFTS = 9


class Decoding:
    """Decodes variables from all latents of an instance together, fitted on train, scored on the other splits.

    - circular: kNN of (sine, cosine): ``r2`` and ``median_error_deg``
    - linear, position: kNN and ridge: ``r2``
    - discrete: kNN (most frequent class) and logistic regression: ``balanced_accuracy``

    One row per (instance, variable, split, ``method``), latent null. Distances are euclidean on the activations as
    they are: their scale is part of the code, and giving every latent the same spread lets rare and noisy ones speak
    as loud as the rest. ``p`` and ``null_mean`` come from the same decoder on the variable relabelled by the null
    that suits it, train and held-out bins alike; logistic regression, which has to be fitted anew, is tried on the
    first nine relabellings only.
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
        features = [_Features(space, instance) for instance in range(space.n_instances)]
        rows: list[dict[str, Any]] = []
        notes: list[str] = []
        names = data.covariate_names if self.config.variables is None else self.config.variables
        for covariate in (part for name in names for part in one_per_channel(data.covariate(name))):
            try:
                task = _Task.of(covariate, space, data, self.config, seed)
            except DataError as error:
                notes.append(f"{covariate.name} is left out: {error}")
                continue
            notes.extend(f"{covariate.name}: {note}" for note in task.notes)
            for instance, held in enumerate(features):
                found, missed = task.decode(held)
                rows.extend({"instance": instance, "variable": covariate.name, **row} for row in found)
                notes.extend(f"{covariate.name}, instance {instance}: {note}" for note in missed)
        table = pd.DataFrame(rows, columns=_COLUMNS).assign(label_use=space.label_use)
        return MapperResult(table=mapping_table(table.to_dict("series")), notes=tuple(notes))


_COLUMNS = [
    *("instance", "variable", "split", "statistic", "method", "r2", "median_error_deg", "balanced_accuracy"),
    *("score", "null_mean", "p", "n_train", "n_held_out"),
]


class _Features:
    """Activations of one instance, and the neighbours found so far: variables defined on the same bins share them."""

    def __init__(self, space: LatentSpace, instance: int) -> None:
        self._codes = space.csr(instance) if space.is_sparse else space.dense(instance)
        self._neighbours: dict[tuple[bytes, bytes], NDArray[np.int64]] = {}

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n_rows, n_latents) activations, dense."""
        chosen = self._codes[rows]
        return np.asarray(chosen if isinstance(chosen, np.ndarray) else chosen.toarray(), dtype=np.float64)

    def neighbours(self, train: NDArray[np.int64], held_out: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """(n_held_out, n) places in `train` of the nearest training bins."""
        key = (train.tobytes(), held_out.tobytes())
        if key not in self._neighbours:
            self._neighbours[key] = decoders.nearest(self.at(train), self.at(held_out), n)
        return self._neighbours[key]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """One variable on the bins used.

    Attributes
    ----------
    train, held_out : rows of the training bins, and of those of the other splits one after the other
    splits : where each other split lies in `held_out`
    fitted, truth : (n_versions, n_bins, n_targets) the variable on them, as it was and then relabelled; for a discrete
        variable the one target is a class
    """

    kind: str
    n_neighbours: int
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    splits: Mapping[str, slice]
    fitted: NDArray[Any]
    truth: NDArray[Any]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, covariate: Covariate, space: LatentSpace, data: Binned, config: DecodingConfig, seed: int) -> _Task:
        usable = covariate.defined if space.defined is None else covariate.defined & space.defined
        order = _by_session_id(data)
        by_split = {
            split: _spread(order[(usable & (data.split == code))[order]], config.max_rows)
            for code, split in enumerate(SPLITS)
        }
        train = by_split.pop("train")
        held_out = np.concatenate(list(by_split.values()))
        if not len(train) or not len(held_out):
            raise DataError(f"defined on {len(train)} train bins and {len(held_out)} others; both are needed")
        target = _target(covariate)
        if (target[train] == target[train[0]]).all():
            raise DataError(f"constant over the {len(train)} train bins")
        tested = np.isin(np.arange(data.n_bins), held_out)
        null = choose_null(covariate, data, usable=usable, tested=tested, seed=seed)
        refused = config.n_shifts > 0 and null.refusal is not None
        sources = [np.arange(data.n_bins), *null.sources(0 if refused else config.n_shifts)]
        stops = np.cumsum([0, *(len(rows) for rows in by_split.values())]).tolist()
        return cls(
            kind=covariate.kind,
            n_neighbours=config.n_neighbours,
            train=train,
            held_out=held_out,
            splits={split: slice(*bounds) for split, bounds in zip(by_split, pairwise(stops), strict=True)},
            fitted=np.stack([target[source[train]] for source in sources]),
            truth=np.stack([target[source[held_out]] for source in sources]),
            notes=(f"no p values: {null.refusal}",) if refused else (),
        )

    def decode(self, features: _Features) -> tuple[list[dict[str, Any]], list[str]]:
        """A row per held-out split and method, and what a reader must know of them."""
        if not np.ptp(features.at(self.train), axis=0).any():
            return [], ["left out: the latents do not vary over the train bins"]
        if self.kind == "discrete":
            return self._classes(features)
        return list(self._values(features)), []

    def _values(self, features: _Features) -> Iterator[dict[str, Any]]:
        near = features.neighbours(self.train, self.held_out, self.n_neighbours)
        predicted = decoders.knn_mean(near, self.fitted)
        for row, part in self._judged("knn", "r2", predicted, decoders.r2):
            if self.kind == "circular":
                row["median_error_deg"] = decoders.median_angular_error_deg(self.truth[0, part], predicted[0, part])
            yield row
        if self.kind != "circular":
            predicted = decoders.ridge(features.at(self.train), self.fitted, features.at(self.held_out))
            yield from (row for row, _ in self._judged("ridge", "r2", predicted, decoders.r2))

    def _classes(self, features: _Features) -> tuple[list[dict[str, Any]], list[str]]:
        near = features.neighbours(self.train, self.held_out, self.n_neighbours)
        votes = decoders.knn_vote(near, self.fitted[..., 0])[..., None]
        train, held_out = features.at(self.train), features.at(self.held_out)
        guesses = [decoders.logistic(train, v[:, 0], held_out) for v in self.fitted[: N_LOGISTIC_SHIFTS + 1]]
        guessed = np.stack([classes for classes, _ in guesses])[..., None]
        rows = [
            row
            for method, predicted in (("knn", votes), ("logistic", guessed))
            for row, _ in self._judged(method, "balanced_accuracy", predicted, decoders.balanced_accuracy)
        ]
        return rows, [] if guesses[0][1] else ["logistic regression did not converge"]

    def _judged(
        self, method: str, name: str, predicted: NDArray[Any], judge: Callable[[NDArray[Any], NDArray[Any]], float]
    ) -> Iterator[tuple[dict[str, Any], slice]]:
        """For each split the score of the variable as it was, and its chance among those of the relabelled versions."""
        for split, part in self.splits.items():
            if part.start == part.stop:
                continue
            scores = np.array([judge(*pair) for pair in zip(self.truth[:, part], predicted[:, part], strict=False)])
            row = {
                "split": split,
                "statistic": f"{method} {name.replace('_', ' ')}",
                "method": method,
                name: scores[0],
                "score": scores[0],
                "n_train": len(self.train),
                "n_held_out": part.stop - part.start,
            }
            by_chance = scores[1:][~np.isnan(scores[1:])]
            if len(by_chance):
                row |= {"p": p_values(scores[:1], by_chance[:, None])[0], "null_mean": by_chance.mean()}
            yield row, part


def _by_session_id(data: Binned) -> NDArray[np.int64]:
    """All rows in the order of their sessions' ids: among equally near neighbours the first ones are taken."""
    rank = np.argsort(np.argsort([session.session_id for session in data.sessions]))
    return np.argsort(rank[data.session_of_bin], kind="stable")


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly spread."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _target(covariate: Covariate) -> NDArray[Any]:
    """(n_bins, n_targets) what is decoded: sine and cosine, the values, or the class (0 where not defined)."""
    if covariate.kind == "circular":
        angle = covariate.values[:, 0] * 2 * np.pi / (covariate.period or 1.0)
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
    if covariate.kind == "discrete":
        return np.nan_to_num(covariate.values).astype(np.int64)
    return covariate.values
