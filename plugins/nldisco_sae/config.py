"""Settings of the sparse autoencoders and of their controls."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from nldisco_core.config import ModelConfig

__all__ = [
    "LevelsConfig",
    "MatryoshkaConfig",
    "RandomEncoderConfig",
    "SparseCodeConfig",
    "TrainingConfig",
    "UnitShuffledConfig",
]

MAX_LEVELS = 8  # a level mask is one byte
BUILT_IN_LOSSES = ("mse", "msle", "poisson")
COUNT_OUTPUTS = ("exp", "softplus")


class SparseCodeConfig(ModelConfig):
    """What every model of sparse, non-negative codes has, trained or not.

    Attributes
    ----------
    output : what the decoder ends with; ``exp`` makes latents multiply rates, and extrapolates steeply where
        ``softplus`` does not
    batch_size : bins per batch; batch-top-k shares its budget of active latents over them
    device : ``auto`` takes a CUDA device where there is one
    """

    sparsifier: ClassVar[str]  # "module:Sparsifier" that is made with this config

    output: Literal["identity", "relu", "softplus", "exp"] = "identity"
    batch_size: int = Field(default=256, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("seeds must differ: two equal ones would be the same instance twice")
        return seeds

    @property
    @abstractmethod
    def level_sizes(self) -> tuple[int, ...]:
        """Latents of each level, ascending; the last level holds all."""

    @property
    def n_instances(self) -> int:
        """Replicas that stand side by side, one per seed."""
        return len(self.seeds)


class LevelsConfig(SparseCodeConfig):
    """Levels of latents with a batch-top-k.

    Attributes
    ----------
    levels : latents of each level and how many of them are active per bin on average (k, which need not be whole),
        ``{8: 1, 16: 2}``; the last level holds all latents
    selection : ``per-level`` gives each level a batch-top-k of its own; ``nested`` makes one selection of the deepest
        level's size, whose prefixes are the levels (the k of shallower levels is then not used)
    inference : ``threshold`` (calibrated after training) or ``sample-topk`` (k rounded up); neither depends on which
        bins are given
    """

    sparsifier: ClassVar[str] = "nldisco_sae.batch_topk:BatchTopK"

    levels: dict[int, float] = Field(default={8: 1.0, 16: 2.0}, min_length=1, max_length=MAX_LEVELS)
    selection: Literal["per-level", "nested"] = "per-level"
    inference: Literal["threshold", "sample-topk"] = "threshold"

    @field_validator("levels")
    @classmethod
    def _levels_ascend(cls, levels: dict[int, float]) -> dict[int, float]:
        for size, k in levels.items():
            if size < 1 or not 0 < k <= size:
                raise ValueError(
                    f"level of {size} latents with k {k}; expected at least 1 latent, and k above 0 and at most {size}"
                )
        return dict(sorted(levels.items()))

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Latents of each level, ascending."""
        return tuple(self.levels)

    @property
    def budgets(self) -> tuple[float, ...]:
        """Active latents per bin and level; with nested selection only the last one rules."""
        return tuple(self.levels.values())

    @property
    def n_latents(self) -> int:
        """Latents of the deepest level."""
        return self.level_sizes[-1]


class TrainingConfig(SparseCodeConfig):
    """How a sparse autoencoder is trained.

    Attributes
    ----------
    loss : ``mse``, ``msle`` (targets >= 0), ``poisson`` (spike counts; output ``exp`` or ``softplus``) or
        ``module:function`` of (prediction, target) that gives a loss per entry
    tau : factor on the predicted logarithm in ``msle``
    lr : peak learning rate of Adam
    warmup, hold, final_lr : the rate rises linearly over the first `warmup` share of all steps, stays until the share
        `hold`, then falls along a cosine to `final_lr` of its peak
    epochs : passes over the training bins
    patience : epochs without a better validation loss in any instance after which training ends, each instance with the
        parameters of its best epoch; None trains to the end
    dead_after : share of an epoch without activity at the deepest level after which a latent counts as dead
    aux_k : dead latents that reconstruct the residual of one bin; None takes half of each level
    aux_coefficient : weight of that auxiliary loss; 0 turns revival off
    grad_clip : largest norm of one instance's gradient, None for no limit
    engine : ``fast`` or ``reference`` to force how a step is computed on the CPU; ``auto`` takes the fast one where it
        applies (batch-top-k, ``mse``, output ``identity``, all observed) and training is long enough to gain by it
    """

    loss: str = "mse"
    tau: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    lr: float = Field(default=1e-2, gt=0, allow_inf_nan=False)
    warmup: float = Field(default=0.1, ge=0, le=1)
    hold: float = Field(default=0.5, ge=0, le=1)
    final_lr: float = Field(default=0.01, ge=0, le=1)
    epochs: int = Field(default=150, ge=1)
    patience: int | None = Field(default=None, ge=1)
    dead_after: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    aux_k: int | None = Field(default=None, ge=1)
    aux_coefficient: float = Field(default=1 / 32, ge=0, allow_inf_nan=False)
    grad_clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    engine: Literal["auto", "reference", "fast"] = "auto"

    @field_validator("loss")
    @classmethod
    def _loss_is_named(cls, loss: str) -> str:
        module, _, function = loss.partition(":")
        if loss not in BUILT_IN_LOSSES and not (module and function):
            raise ValueError(f"expected {', '.join(BUILT_IN_LOSSES)} or 'module:function'")
        return loss

    @model_validator(mode="after")
    def _schedule_and_output_fit(self) -> Self:
        if self.hold < self.warmup:
            raise ValueError(f"hold {self.hold:g} ends before warmup {self.warmup:g}")
        if self.loss == "poisson" and self.output not in COUNT_OUTPUTS:
            raise ValueError(
                f"loss 'poisson' needs a positive rate and output is {self.output!r}; "
                f"choose output {' or '.join(map(repr, COUNT_OUTPUTS))}"
            )
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each level's loss."""
        return (1.0,) * len(self.level_sizes)


class MatryoshkaConfig(LevelsConfig, TrainingConfig):
    """A Matryoshka sparse autoencoder.

    Attributes
    ----------
    level_weights : weight of each level's loss; None weighs all the same
    """

    level_weights: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _weights_fit_levels(self) -> Self:
        if self.level_weights is not None:
            if len(self.level_weights) != len(self.levels):
                raise ValueError(f"{len(self.level_weights)} level_weights for {len(self.levels)} levels")
            if min(self.level_weights) < 0 or not sum(self.level_weights) > 0:
                raise ValueError("level_weights must not be negative and not all zero")
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each level's loss."""
        return self.level_weights or super().weights


class RandomEncoderConfig(LevelsConfig):
    """The untrained architecture; unset fields are taken from the model it controls."""

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> RandomEncoderConfig:
        """As `ModelConfig.matched`: levels, selection and seeds of the reference, or one level of its size."""
        settings = _settings_of(reference, self, fields=tuple(LevelsConfig.model_fields))
        if not isinstance(reference, LevelsConfig) and "levels" not in self.model_fields_set:
            settings["levels"] = {n_latents: min(float(l0), n_latents) if l0 > 0 else 1.0}
        return self.model_copy(update=settings)


class UnitShuffledConfig(MatryoshkaConfig):
    """Training on units shifted independently in time; unset fields are taken from the model it controls."""

    def matched(self, *, reference: ModelConfig, n_latents: int, l0: float, n_units: int) -> UnitShuffledConfig:
        """As `ModelConfig.matched`: every setting of the reference, so that only the data differ."""
        settings = _settings_of(reference, self, fields=tuple(MatryoshkaConfig.model_fields))
        if not isinstance(reference, LevelsConfig) and "levels" not in self.model_fields_set:
            settings["levels"] = {n_latents: min(float(l0), n_latents) if l0 > 0 else 1.0}
        return self.model_copy(update=settings)


def _settings_of(reference: ModelConfig, control: ModelConfig, *, fields: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: getattr(reference, name)
        for name in fields
        if name in type(reference).model_fields and name not in control.model_fields_set
    }
