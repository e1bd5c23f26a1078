"""What all baselines share: reading activity, instances, reconstruction from a dictionary, saving and loading."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse

from nldisco_core.binned import Binned
from nldisco_core.config import ModelConfig, parse
from nldisco_core.errors import IncompatibleData, NotFitted, SchemaTooNew
from nldisco_core.interfaces import Dictionary, FitReport, Monitor, ReconstructionBlock, Requirements
from nldisco_core.latents import CodeKind, Latents, LatentSpace

__all__ = ["Baseline", "Floats", "Learned"]

SCHEMA_VERSION = 1
BLOCK_ROWS = 4096

Floats = NDArray[np.float64]
C = TypeVar("C", bound=ModelConfig)


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """One fitted instance.

    Attributes
    ----------
    weights : arrays by name; every model has ``offset`` (n_units,), the activity that all-zero latents stand for
    iterations : steps of the solver, None for a closed form
    notes : what a reader of the results must know
    """

    weights: Mapping[str, Floats]
    iterations: int | None = None
    notes: tuple[str, ...] = ()


class Baseline(ABC, Generic[C]):
    """A latent model that reconstructs activity as ``offset + latents @ dictionary``.

    A subclass says how one instance is learned, how activity becomes latents and what the dictionary is. Training reads
    entries that were not observed as the unit's mean. `NotFitted` is raised before `fit`, `IncompatibleData` for other
    units than those fitted on and for activity that is not finite.
    """

    requirements: ClassVar[Requirements] = Requirements()
    name: ClassVar[str]
    config_class: ClassVar[type[ModelConfig]]

    def __init__(self, config: C) -> None:
        self.config = config
        self._weights: dict[str, NDArray[Any]] = {}
        self._unit_ids: tuple[str, ...] = ()
        self._code_kind: CodeKind = "signed"

    @abstractmethod
    def _learn(self, activity: Floats, seed: int) -> Learned:
        """Fit one instance on (n_bins, n_units) training activity."""

    @abstractmethod
    def _encode(self, activity: Floats) -> tuple[sparse.csc_array, ...] | NDArray[np.float32]:
        """Latents of (n_bins, n_units) activity, one matrix per instance; each row is computed by itself."""

    @abstractmethod
    def _atoms(self) -> Floats:
        """(n_instances, n_latents, n_units) dictionary."""

    def _kind_of_codes(self, activity: Floats) -> CodeKind:
        """Kind of the latents that training activity leads to; negative activity makes them signed."""
        return "signed" if (activity < 0).any() else "nonnegative"

    def _unobserved(self, mean: Floats) -> Floats:
        """(n_units,) activity that `transform` reads where a unit was not observed: its training mean."""
        return mean

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """Fit one instance per seed on all rows of `train`; `validation` is not used."""
        started = time.perf_counter()
        self._weights = {}
        self._unit_ids = tuple(train.units["id"])
        activity, n_missing = _complete(train, None)
        self._code_kind = self._kind_of_codes(activity)
        learned = []
        for done, seed in enumerate(self.config.seeds):
            if done and monitor.should_stop():
                break
            learned.append(self._learn(activity, seed))
            monitor.progress(done + 1, len(self.config.seeds), f"{self.name}, seed {seed}")
        self._weights = {key: np.stack([one.weights[key] for one in learned]) for key in learned[0].weights}
        self._weights["unobserved"] = self._unobserved(activity.mean(axis=0))
        stopped = len(learned) < len(self.config.seeds)
        return FitReport(
            history=_history(learned),
            stop_reason="stopped" if stopped else "finished",
            timings_s={"fit": time.perf_counter() - started},
            notes=tuple(_notes(learned, n_missing, len(self.config.seeds))),
        )

    def transform(self, data: Binned) -> Latents:
        """Latents of every bin, ``signed`` or ``nonnegative``; no bin's depend on the others given."""
        unobserved = self._weight("unobserved")
        if tuple(data.units["id"]) != self._unit_ids:
            raise IncompatibleData(_other_units(self.name, self._unit_ids, tuple(data.units["id"])))
        activity, _ = _complete(data, unobserved)
        if self._code_kind == "nonnegative" and (activity < 0).any():
            raise IncompatibleData(
                f"{self.name} was fitted on activity >= 0; found {activity.min():.3g}. Normalise both in the same way"
            )
        return Latents.of(
            LatentSpace(
                codes=self._encode(activity),
                session_ids=tuple(session.session_id for session in data.sessions),
                row_offsets=data.row_offsets,
                code_kind=self._code_kind,
            )
        )

    def reconstruct(self, latents: Latents) -> Iterator[ReconstructionBlock]:
        """``offset + latents @ dictionary`` in blocks of rows, in the unit the model was fitted on."""
        offset, atoms, space = self._weight("offset"), self._atoms(), latents.main
        if (space.n_instances, space.n_latents) != atoms.shape[:2]:
            raise IncompatibleData(
                f"{self.name} has {atoms.shape[0]} instances of {atoms.shape[1]} latents; these are "
                f"{space.n_instances} of {space.n_latents}. Give it the latents it made"
            )
        for instance in range(space.n_instances):
            codes = space.csr(instance) if space.is_sparse else space.dense(instance)
            for start in range(0, space.n_rows, BLOCK_ROWS):
                rows = slice(start, min(start + BLOCK_ROWS, space.n_rows))
                values = (codes[rows] @ atoms[instance] + offset[instance]).astype(np.float32)
                yield ReconstructionBlock(instance=instance, level=0, rows=rows, values=values)

    def dictionary(self) -> Dictionary:
        """What each latent adds to each unit when it is one."""
        return Dictionary(values=self._atoms().astype(np.float32), unit_ids=(self._unit_ids,))

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``weights.safetensors`` into an existing folder."""
        self._weight("offset")
        content = {
            "schema_version": SCHEMA_VERSION,
            "model": self.name,
            "config": self.config.model_dump(mode="json"),
            "unit_ids": self._unit_ids,
            "code_kind": self._code_kind,
        }
        (folder / "config.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
        save_file(
            {key: np.ascontiguousarray(value) for key, value in self._weights.items()}, folder / "weights.safetensors"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model as it was saved; `SchemaTooNew` where a newer version of the toolkit wrote it."""
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if content["schema_version"] > SCHEMA_VERSION:
            raise SchemaTooNew(
                f"{folder} has schema {content['schema_version']}; this version reads up to {SCHEMA_VERSION}. "
                "Upgrade nldisco-core"
            )
        model = cls(cast(C, parse(cls.config_class, content["config"], where=str(folder / "config.json"))))
        model._unit_ids = tuple(content["unit_ids"])
        model._code_kind = content["code_kind"]
        model._weights = load_file(folder / "weights.safetensors")
        return model

    def _weight(self, name: str) -> Floats:
        if not self._weights:
            raise NotFitted(f"{self.name} has not been fitted; call fit() on training bins first")
        return cast(Floats, self._weights[name])


def _complete(data: Binned, unobserved: Floats | None) -> tuple[Floats, int]:
    """Activity with unobserved entries at these values (None: the unit's mean in `data`), and their number."""
    activity = np.array(data.activity, dtype=np.float64)
    if not np.isfinite(activity).all():
        raise IncompatibleData(
            f"{np.count_nonzero(~np.isfinite(activity))} entries of the activity are NaN or infinite. "
            "Mark what was not recorded as unobserved"
        )
    seen = data.observed
    if seen is None:
        return activity, 0
    if unobserved is None:
        unobserved = (activity * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    activity[~seen] = np.broadcast_to(unobserved, activity.shape)[~seen]
    return activity, int(np.count_nonzero(~seen))


def _other_units(name: str, fitted: tuple[str, ...], found: tuple[str, ...]) -> str:
    if len(fitted) != len(found):
        return (
            f"{name} was fitted on {len(fitted)} units; this data has {len(found)}. Use the recording it was fitted on"
        )
    first = next(index for index, pair in enumerate(zip(fitted, found, strict=True)) if pair[0] != pair[1])
    return (
        f"{name} was fitted on other units: unit {first} was {fitted[first]!r} and is {found[first]!r}. "
        "Use the same units in the same order"
    )


def _history(learned: list[Learned]) -> pd.DataFrame:
    """Solver steps of each instance that took any."""
    steps = [(one.iterations, index) for index, one in enumerate(learned) if one.iterations is not None]
    return pd.DataFrame(
        {
            "step": pd.Series([step for step, _ in steps], dtype="int64"),
            "instance": pd.Series([index for _, index in steps], dtype="Int64"),
            "name": pd.Series(["iterations"] * len(steps), dtype="string"),
            "value": pd.Series([step for step, _ in steps], dtype="float64"),
        }
    )


def _notes(learned: list[Learned], n_missing: int, n_seeds: int) -> Iterator[str]:
    for index, one in enumerate(learned):
        yield from (f"instance {index}: {note}" for note in one.notes)
    if n_missing:
        yield f"{n_missing} unobserved entries were read as the unit's mean"
    if len(learned) < n_seeds:
        yield f"stopped after {len(learned)} of {n_seeds} instances"
