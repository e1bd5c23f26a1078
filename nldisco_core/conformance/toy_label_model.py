"""A toy model whose latents look the true heading up: what the zero-input control is there to expose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy import sparse

from nldisco_core.binned import Binned
from nldisco_core.config import ModelConfig, parse
from nldisco_core.errors import IncompatibleData, NotFitted
from nldisco_core.interfaces import FitReport, Monitor, Requirements
from nldisco_core.latents import Latents, LatentSpace

__all__ = ["LookUp", "LookUpConfig"]


class LookUpConfig(ModelConfig):
    """How many latents share the circle, and how much a spike adds to them.

    Attributes
    ----------
    label : the circular variable that is looked up
    per_spike : share by which an activation grows with each spike in its bin
    """

    label: str = "heading"
    n_latents: int = 6
    per_spike: float = 0.02


class LookUp:
    """Latent i is active where the label it is given lies near ``2 pi i / n_latents``, more so with spikes."""

    requirements: ClassVar[Requirements] = Requirements(labels_at_transform="required")

    def __init__(self, config: LookUpConfig) -> None:
        self.config = config
        self._unit_ids: tuple[str, ...] | None = None

    @property
    def _preferred(self) -> NDArray[np.float64]:
        """(n_latents,) rad."""
        return np.arange(self.config.n_latents) * 2 * np.pi / self.config.n_latents

    def fit(self, train: Binned, *, validation: Binned | None, monitor: Monitor) -> FitReport:
        """Remember the units: there is nothing to learn."""
        self._unit_ids = tuple(train.units["id"])
        return FitReport(history=pd.DataFrame({"step": [], "instance": [], "name": [], "value": []}))

    def transform(self, data: Binned) -> Latents:
        """Activations by the label of each bin; a bin without one has none."""
        if self._unit_ids is None:
            raise NotFitted("look-up has not been fitted; call fit() first")
        if tuple(data.units["id"]) != self._unit_ids:
            raise IncompatibleData(f"look-up was fitted on units {self._unit_ids}; these are {tuple(data.units['id'])}")
        label = data.covariate(self.config.label).values[:, [0]]
        near = np.nan_to_num(np.maximum(np.cos(label - self._preferred) - 0.5, 0))
        spikes = np.asarray(data.activity, dtype=np.float64).sum(axis=1, keepdims=True)
        code = sparse.csc_array((near * (1 + self.config.per_spike * spikes)).astype(np.float32))
        return Latents.of(
            LatentSpace(
                codes=(code,) * len(self.config.seeds),
                session_ids=tuple(session.session_id for session in data.sessions),
                row_offsets=data.row_offsets,
                label_use="transform",
            )
        )

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``weights.safetensors``."""
        content = {"config": self.config.model_dump(mode="json"), "unit_ids": self._unit_ids}
        (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
        save_file({"preferred": self._preferred}, folder / "weights.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model as it was saved."""
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model = cls(parse(LookUpConfig, content["config"], where=str(folder / "config.json")))
        model._unit_ids = tuple(content["unit_ids"])
        return model
