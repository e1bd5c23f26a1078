"""The recorded units as latents: what any model has to add something to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from nldisco_baselines.baseline import Baseline, Floats, Learned
from nldisco_baselines.config import RawUnitsConfig
from nldisco_core.config import ModelConfig

__all__ = ["RawUnits"]


class RawUnits(Baseline[RawUnitsConfig]):
    """Latent i is unit i. Sparse where the activity is never negative, dense and signed where it is."""

    name: ClassVar[str] = "raw-units"
    config_class: ClassVar[type[ModelConfig]] = RawUnitsConfig

    def _learn(self, activity: Floats, seed: int) -> Learned:
        return Learned(weights={"offset": np.zeros(activity.shape[1])})

    def _unobserved(self, mean: Floats) -> Floats:
        return np.zeros_like(mean)

    def _encode(self, activity: Floats) -> tuple[sparse.csc_array, ...] | NDArray[np.float32]:
        n_instances = len(self._weight("offset"))
        values = activity.astype(np.float32)
        if self._code_kind == "signed":
            return np.broadcast_to(values, (n_instances, *values.shape))
        return (sparse.csc_array(values),) * n_instances

    def _atoms(self) -> Floats:
        n_instances, n_units = self._weight("offset").shape
        return np.tile(np.eye(n_units), (n_instances, 1, 1))
