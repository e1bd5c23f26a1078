"""A latent model that learns nothing: a control for those that claim to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from safetensors.numpy import load_file, save_file

from nldisco_core.binned import Binned
from nldisco_core.config import ModelConfig, parse
from nldisco_core.errors import IncompatibleData, NotFitted
from nldisco_core.interfaces import Dictionary, FitReport, Monitor, Requirements
from nldisco_core.latents import Latents, LatentSpace


class RandomProjectionConfig(ModelConfig):
    """Number of latents; the seeds, one per instance, come with `ModelConfig`."""

    n_latents: int = Field(default=8, ge=1)


class RandomProjection:
    """Latents ``max(0, activity @ weights)`` with weights drawn from a normal distribution."""

    requirements: ClassVar[Requirements] = Requirements()

    def __init__(self, config: RandomProjectionConfig) -> None:
        self.config = config
        self._unit_ids: tuple[str, ...] = ()
        self._weights: NDArray[np.float32] | None = None

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """Draw the weights of each instance from its seed."""
        self._unit_ids = tuple(train.units["id"])
        shape = (len(self._unit_ids), self.config.n_latents)
        draws = [np.random.default_rng(seed).standard_normal(shape, dtype=np.float32) for seed in self.config.seeds]
        self._weights = np.stack(draws)
        return FitReport(history=pd.DataFrame(columns=["step", "instance", "name", "value"]))

    def transform(self, data: Binned) -> Latents:
        """(n_instances, n_bins, n_latents) activations."""
        weights = self._fitted()
        found = tuple(data.units["id"])
        if found != self._unit_ids:
            raise IncompatibleData(f"fitted on units {self._unit_ids}, these are {found}; fit the model anew")
        space = LatentSpace(
            codes=np.maximum(data.activity.astype(np.float32) @ weights, 0),
            session_ids=tuple(session.session_id for session in data.sessions),
            row_offsets=data.row_offsets,
            code_kind="nonnegative",
        )
        return Latents.of(space)

    def dictionary(self) -> Dictionary:
        """The weights: which units each latent points at."""
        return Dictionary(values=self._fitted().transpose(0, 2, 1), unit_ids=(self._unit_ids,))

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``weights.safetensors``."""
        about: dict[str, Any] = {"config": self.config.model_dump(mode="json"), "unit_ids": self._unit_ids}
        save_file({"weights": self._fitted()}, folder / "weights.safetensors")
        (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model as it was saved."""
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = cls(parse(RandomProjectionConfig, about["config"], where=str(folder)))
        model._unit_ids = tuple(about["unit_ids"])
        model._weights = load_file(folder / "weights.safetensors")["weights"]
        return model

    def _fitted(self) -> NDArray[np.float32]:
        if self._weights is None:
            raise NotFitted("example-projection has no weights yet; call fit first")
        return self._weights
