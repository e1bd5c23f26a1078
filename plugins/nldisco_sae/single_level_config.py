"""Settings of the sparse autoencoders whose latents are all of one level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from nldisco_core.config import ModelConfig
from nldisco_core.errors import ConfigError
from nldisco_sae.config import Each, TrainingConfig, per_instance, require_above, sizes_to_try

__all__ = [
    "BatchTopKConfig",
    "GatedConfig",
    "JumpReLUConfig",
    "PenalisedConfig",
    "SingleLevelConfig",
    "TopKConfig",
    "VanillaConfig",
]

K = TypeVar("K", bound="SingleLevelConfig")


class SingleLevelConfig(TrainingConfig):
    """An autoencoder whose latents are all of one level.

    Attributes
    ----------
    n_latents : how many; ``auto`` leaves it, and k where there is one, to be chosen by the pipeline, see
        `nldisco_core.choosing`
    """

    n_latents: Annotated[int, Field(ge=1)] | Literal["auto"] = 16

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """All latents; `ConfigError` while the number is to be chosen."""
        if self.n_latents == "auto":
            raise ConfigError("n_latents is 'auto': `nldisco run` chooses it; give a number to fit a model by hand")
        return (self.n_latents,)

    def candidates(self, *, n_units: int) -> Mapping[str, ModelConfig]:
        """Each number of latents of `sizes_to_try`."""
        if self.n_latents != "auto":
            return {}
        sizes = dict.fromkeys(size for size, _ in sizes_to_try(n_units))
        return {f"{size} latents": self.model_copy(update={"n_latents": size}) for size in sizes}


class BatchTopKConfig(SingleLevelConfig):
    """Batch-top-k.

    Attributes
    ----------
    k : active latents per bin on average, which need not be whole, for all instances or each
    inference : as in `LevelsConfig`
    """

    sparsifier: ClassVar[str] = "nldisco_sae.batch_topk:BatchTopK"
    selection: ClassVar[Literal["per-level"]] = "per-level"
    swept: ClassVar[tuple[str, ...]] = ("lr", "k")

    k: Each = 2.0
    inference: Literal["threshold", "sample-topk"] = "threshold"

    @model_validator(mode="after")
    def _k_fits(self) -> Self:
        return _require_k(self, self.k)

    @property
    def levels(self) -> dict[int, Each]:
        """The one level and its k."""
        return {self.level_sizes[-1]: self.k}

    def candidates(self, *, n_units: int) -> Mapping[str, ModelConfig]:
        """Each pair of `sizes_to_try`."""
        return _with_k(self, n_units)


class TopKConfig(SingleLevelConfig):
    """Top-k; `k` latents are active in each bin, a whole number for all instances or each."""

    sparsifier: ClassVar[str] = "nldisco_sae.topk:TopK"
    swept: ClassVar[tuple[str, ...]] = ("lr", "k")

    k: Each = 2.0

    @model_validator(mode="after")
    def _k_fits(self) -> Self:
        if any(k != int(k) for k in per_instance(self.k, 1)):
            raise ValueError(f"k {self.k}; expected whole numbers: batch-topk-sae takes others")
        return _require_k(self, self.k)

    def candidates(self, *, n_units: int) -> Mapping[str, ModelConfig]:
        """Each pair of `sizes_to_try`."""
        return _with_k(self, n_units)


class PenalisedConfig(SingleLevelConfig):
    """An autoencoder that pays for activity; `sparsity` is the weight of that, for all instances or each."""

    swept: ClassVar[tuple[str, ...]] = ("lr", "sparsity")

    sparsity: Each

    @field_validator("sparsity")
    @classmethod
    def _sparsity_is_not_negative(cls, sparsity: Each) -> Each:
        if min(per_instance(sparsity, 1), default=0) < 0:
            raise ValueError("expected 0 or above")
        return sparsity

    @model_validator(mode="after")
    def _encoder_is_linear(self) -> Self:
        if self.encoder != "linear":
            raise ValueError(f"encoder {self.encoder!r} is for models with a top-k; choose encoder 'linear'")
        return self


class VanillaConfig(PenalisedConfig):
    """ReLU with an L1 penalty.

    Attributes
    ----------
    sparsity : weight of the penalty beside the reconstruction loss
    penalty : ``weighted`` is Σ a_i·‖W_dec,i‖ with decoder rows of any length, ``plain`` is Σ a_i, and ``mean`` the mean
        over all latents
    layers : ``dictionary`` starts tied, centres the input, keeps decoder rows at unit norm (but for ``weighted``) and
        makes `sparsity` and `lr` mean the same whatever the scale of the data; ``linear`` are two linear layers with
        bias as torch makes them, free in every way, with loss, penalty and rates as they come
    """

    sparsifier: ClassVar[str] = "nldisco_sae.vanilla:L1"

    sparsity: Each = 0.1
    penalty: Literal["weighted", "plain", "mean"] = "weighted"
    layers: Literal["dictionary", "linear"] = "dictionary"


class JumpReLUConfig(PenalisedConfig):
    """JumpReLU with an L0 penalty.

    Attributes
    ----------
    sparsity : weight of the penalty, which is the number of active latents, beside the relative reconstruction loss
    bandwidth : width of the kernel that estimates gradients of thresholds, and the thresholds at the start, both as
        shares of the root-mean-square norm of the centred data
    """

    sparsifier: ClassVar[str] = "nldisco_sae.jumprelu:JumpReLU"

    sparsity: Each = 0.02
    bandwidth: float = Field(default=0.3, gt=0, allow_inf_nan=False)


class GatedConfig(PenalisedConfig):
    """Gates and magnitudes; `sparsity` is the weight of the L1 penalty on what opens the gates."""

    sparsifier: ClassVar[str] = "nldisco_sae.gated:Gated"

    sparsity: Each = 0.2


def _with_k(config: SingleLevelConfig, n_units: int) -> Mapping[str, ModelConfig]:
    if config.n_latents != "auto":
        return {}
    return {
        f"{size} latents, k {k:g}": config.model_copy(update={"n_latents": size, "k": k})
        for size, k in sizes_to_try(n_units)
    }


def _require_k(config: K, each: Each) -> K:
    require_above(each, 0)
    largest = max(per_instance(each, 1))
    if config.n_latents != "auto" and largest > config.n_latents:
        raise ValueError(f"k {largest:g} of {config.n_latents} latents; expected at most {config.n_latents}")
    return config
