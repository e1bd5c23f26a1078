"""Settings of the baselines, and how each is matched to the model it controls."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nldisco_core.config import ModelConfig

__all__ = [
    "FactorAnalysisConfig",
    "ICAConfig",
    "LearnedDictionaryConfig",
    "NMFConfig",
    "NMFOMPConfig",
    "PCAConfig",
    "RawUnitsConfig",
    "UnitsOMPConfig",
]


class PCAConfig(ModelConfig):
    """Principal component analysis; `n_latents` left out means 16, or all units where there are fewer.

    It draws nothing at random: every seed gives the same instance.
    """

    n_latents: int | None = Field(default=None, ge=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """As many components as the reference has latents, and no more than there are units."""
        return _with_defaults(self, n_latents=min(n_latents, n_units))


class FactorAnalysisConfig(PCAConfig):
    """Factor analysis by maximum likelihood; every seed gives the same instance."""

    max_iter: int = Field(default=1000, ge=1)


class ICAConfig(PCAConfig):
    """FastICA; each seed starts from its own random unmixing."""

    max_iter: int = Field(default=500, ge=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """As many components as the reference has latents, no more than there are units; its seeds."""
        return _with_defaults(self, n_latents=min(n_latents, n_units), seeds=reference.seeds)


class NMFConfig(ModelConfig):
    """Non-negative matrix factorisation; each seed starts from its own random factors."""

    n_latents: int | None = Field(default=None, ge=1)
    max_iter: int = Field(default=500, ge=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """As many atoms and the same seeds as the reference."""
        return _with_defaults(self, n_latents=n_latents, seeds=reference.seeds)


class NMFOMPConfig(NMFConfig):
    """NMF atoms of which at most `k` speak in each bin; each seed starts from its own random factors."""

    k: int = Field(default=2, ge=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """As many atoms, the same seeds and the mean number of active latents of the reference, rounded."""
        return _with_defaults(self, n_latents=n_latents, k=max(1, round(l0)), seeds=reference.seeds)


class LearnedDictionaryConfig(ModelConfig):
    """A learned dictionary; each seed starts from its own bins.

    Attributes
    ----------
    k : atoms that speak in each bin, at most
    alpha : L1 penalty while learning, for bins whose root mean square length is 1
    epochs : passes over the training bins
    """

    n_latents: int | None = Field(default=None, ge=1)
    k: int = Field(default=2, ge=1)
    alpha: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    epochs: int = Field(default=5, ge=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """As many atoms, the same seeds and the mean number of active latents of the reference, rounded."""
        return _with_defaults(self, n_latents=n_latents, k=max(1, round(l0)), seeds=reference.seeds)


class UnitsOMPConfig(ModelConfig):
    """Matching pursuit on the units: at most `k` of them speak in each bin; every seed gives the same instance."""

    k: int = Field(default=2, ge=1)

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> ModelConfig:
        """The mean number of active latents of the reference, rounded, at least one."""
        return _with_defaults(self, k=max(1, round(l0)))


class RawUnitsConfig(ModelConfig):
    """The units themselves; every seed gives the same instance."""


def _with_defaults(config: ModelConfig, **matched: Any) -> ModelConfig:
    """The configuration with those of the matched fields that nobody has set."""
    return config.model_copy(
        update={key: value for key, value in matched.items() if key not in config.model_fields_set}
    )
