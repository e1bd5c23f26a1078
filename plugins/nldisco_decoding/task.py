"""What is decoded: one variable on the bins used, as it was and relabelled, and the features it is read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import SPLITS, Binned, Covariate
from nldisco_core.errors import DataError
from nldisco_core.latents import LatentSpace
from nldisco_core.nulls import choose_null
from nldisco_core.tuning import conditions
from nldisco_decoding import decoders
from nldisco_decoding.config import DecodingConfig

__all__ = ["Features", "Task"]


class Features:
    """Activations of one instance, and the neighbours found so far: variables defined on the same bins share them."""

    def __init__(self, space: LatentSpace, instance: int) -> None:
        self._codes = space.csr(instance) if space.is_sparse else space.dense(instance)
        self._neighbours: dict[tuple[bytes, bytes], NDArray[np.int64]] = {}

    @property
    def n_latents(self) -> int:
        """Latents there are, dead ones included."""
        return int(self._codes.shape[1])

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
class Task:
    """One variable on the bins used.

    Attributes
    ----------
    seed : of what is drawn
    train, held_out : rows of the training bins, and of those of the other splits one after the other
    splits : where each other split lies in `held_out`
    fitted, truth : (n_versions, n_bins, n_targets) the variable on them, as it was and then relabelled; for a discrete
        variable the one target is a class
    codes : (n_train,) condition of each training bin
    """

    covariate: Covariate
    config: DecodingConfig
    seed: int
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    splits: Mapping[str, slice]
    fitted: NDArray[Any]
    truth: NDArray[Any]
    codes: NDArray[np.int64]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, covariate: Covariate, space: LatentSpace, data: Binned, config: DecodingConfig, seed: int) -> Task:
        """A variable on the bins where the latents speak of it; `DataError` says why it cannot be decoded."""
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
            covariate=covariate,
            config=config,
            seed=seed,
            train=train,
            held_out=held_out,
            splits={split: slice(*bounds) for split, bounds in zip(by_split, pairwise(stops), strict=True)},
            fitted=np.stack([target[source[train]] for source in sources]),
            truth=np.stack([target[source[held_out]] for source in sources]),
            codes=conditions(covariate, rows=np.isin(np.arange(data.n_bins), train)).codes[train].astype(np.int64),
            notes=(f"no p values: {null.refusal}",) if refused else (),
        )

    @property
    def kind(self) -> str:
        """Kind of the variable."""
        return self.covariate.kind

    @property
    def last(self) -> slice:
        """Where the last split that has bins lies among those held out."""
        return [part for part in self.splits.values() if part.stop > part.start][-1]

    def thinned(self, most: int) -> Task:
        """The variable as it was on at most so many training bins, and as many of each other split, evenly spread."""
        train = _spread(np.arange(len(self.train)), most)
        parts = {name: _spread(np.arange(part.start, part.stop), most) for name, part in self.splits.items()}
        held_out = np.concatenate(list(parts.values()))
        stops = np.cumsum([0, *(len(part) for part in parts.values())]).tolist()
        return replace(
            self,
            train=self.train[train],
            held_out=self.held_out[held_out],
            splits={name: slice(*bounds) for name, bounds in zip(parts, pairwise(stops), strict=True)},
            fitted=self.fitted[:1, train],
            truth=self.truth[:1, held_out],
            codes=self.codes[train],
        )


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
