"""Settings of the sparse autoencoders whose latents are all of one level."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from nldisco_sae.config import TrainingConfig

__all__ = ["BatchTopKConfig", "GatedConfig", "JumpReLUConfig", "SingleLevelConfig", "TopKConfig", "VanillaConfig"]

K = TypeVar("K", bound="SingleLevelConfig")


class SingleLevelConfig(TrainingConfig):
    """An autoencoder whose latents are all of one level."""

    n_latents: int = Field(default=16, ge=1)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """All latents."""
        return (self.n_latents,)


class BatchTopKConfig(SingleLevelConfig):
    """Batch-top-k.

    Attributes
    ----------
    k : active latents per bin on average, which need not be whole
    inference : as in `LevelsConfig`
    """

    sparsifier: ClassVar[str] = "nldisco_sae.batch_topk:BatchTopK"
    selection: ClassVar[Literal["per-level"]] = "per-level"

    k: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    inference: Literal["threshold", "sample-topk"] = "threshold"

    @model_validator(mode="after")
    def _k_fits(self) -> Self:
        return _require_k(self, self.k)

    @property
    def levels(self) -> dict[int, float]:
        """The one level and its k."""
        return {self.n_latents: self.k}


class TopKConfig(SingleLevelConfig):
    """Top-k; `k` latents are active in each bin."""

    sparsifier: ClassVar[str] = "nldisco_sae.topk:TopK"

    k: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _k_fits(self) -> Self:
        return _require_k(self, self.k)


class VanillaConfig(SingleLevelConfig):
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

    sparsity: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    penalty: Literal["weighted", "plain", "mean"] = "weighted"
    layers: Literal["dictionary", "linear"] = "dictionary"


class JumpReLUConfig(SingleLevelConfig):
    """JumpReLU with an L0 penalty.

    Attributes
    ----------
    sparsity : weight of the penalty, which is the number of active latents, beside the relative reconstruction loss
    bandwidth : width of the kernel that estimates gradients of thresholds, and the thresholds at the start, both as
        shares of the root-mean-square norm of the centred data
    """

    sparsifier: ClassVar[str] = "nldisco_sae.jumprelu:JumpReLU"

    sparsity: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    bandwidth: float = Field(default=0.3, gt=0, allow_inf_nan=False)


class GatedConfig(SingleLevelConfig):
    """Gates and magnitudes; `sparsity` is the weight of the L1 penalty on what opens the gates."""

    sparsifier: ClassVar[str] = "nldisco_sae.gated:Gated"

    sparsity: float = Field(default=0.2, ge=0, allow_inf_nan=False)


def _require_k(config: K, k: float) -> K:
    if k > config.n_latents:
        raise ValueError(f"k {k:g} of {config.n_latents} latents; expected at most {config.n_latents}")
    return config
