"""Settings of the sparse autoencoders and of their controls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from nldisco_core.config import ModelConfig

__all__ = [
    "Each",
    "LevelsConfig",
    "MatryoshkaConfig",
    "RandomEncoderConfig",
    "SparseCodeConfig",
    "TrainingConfig",
    "UnitShuffledConfig",
    "per_instance",
]

MAX_LEVELS = 8  # a level mask is one byte
BUILT_IN_LOSSES = ("mse", "msle", "poisson")
COUNT_OUTPUTS = ("exp", "softplus")

Each: TypeAlias = Annotated[
    Annotated[Annotated[float, Field(allow_inf_nan=False)], Tag("number")]
    | Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "number"),
]
"""A number for all instances, or a list with one for each."""


def per_instance(value: Each, n_instances: int) -> tuple[float, ...]:
    """The value of each instance.

    >>> per_instance(0.5, 2), per_instance((0.1, 0.2), 2)
    ((0.5, 0.5), (0.1, 0.2))
    """
    return value if isinstance(value, tuple) else (value,) * n_instances


class SparseCodeConfig(ModelConfig):
    """What every model of sparse, non-negative codes has, trained or not.

    Attributes
    ----------
    window : consecutive bins of an example, which belongs to the last of them
    target : what is predicted of a window, all its bins (``window``) or the ``last``
    target_lag : bins by which what is predicted is later than what is put in
    input_units, target_units : units that are put in and predicted, by column of the unit table, such as
        ``{region: [PMd]}``; None means all
    encoder : ``linear`` (one code for a window), or one code for each bin of it from bins up to that one:
        ``convolution`` (shift-equivariant) or ``transformer`` (causal attention). Codes for each bin are decoded by a
        transposed convolution as long as the window
    encoder_width, encoder_heads : features and attention heads of the transformer
    output : what the decoder ends with; ``exp`` makes latents multiply rates, and extrapolates steeply where
        ``softplus`` does not
    batch_size : examples per batch; batch-top-k shares its budget of active latents over them
    device : ``auto`` takes a CUDA device where there is one; ``mps`` is taken only when asked for
    """

    sparsifier: ClassVar[str]  # "module:Sparsifier" that is made with this config
    swept: ClassVar[tuple[str, ...]] = ()  # fields that may list a value for each instance, or tables of such

    window: int = Field(default=1, ge=1)
    target: Literal["window", "last"] = "window"
    target_lag: int = Field(default=0, ge=0)
    input_units: dict[str, tuple[str, ...]] | None = None
    target_units: dict[str, tuple[str, ...]] | None = None
    encoder: Literal["linear", "convolution", "transformer"] = "linear"
    encoder_width: int = Field(default=128, ge=1)
    encoder_heads: int = Field(default=4, ge=1)
    output: Literal["identity", "relu", "softplus", "exp"] = "identity"
    batch_size: int = Field(default=256, ge=1)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("seeds must differ: two equal ones would be the same instance twice")
        return seeds

    @model_validator(mode="after")
    def _encoder_fits(self) -> Self:
        if self.encoder != "linear" and self.target != "window":
            raise ValueError(f"encoder {self.encoder!r} predicts windows; leave target out, or choose encoder 'linear'")
        if self.encoder_width % self.encoder_heads:
            raise ValueError(f"encoder_width {self.encoder_width} is no multiple of encoder_heads {self.encoder_heads}")
        return self

    @model_validator(mode="after")
    def _lists_fit_instances(self) -> Self:
        for name in self.swept:
            setting = getattr(self, name)
            self._require_instances(name, setting.values() if isinstance(setting, dict) else (setting,))
        return self

    def _require_instances(self, name: str, values: Iterable[Each]) -> None:
        for value in values:
            if isinstance(value, tuple) and len(value) != self.n_instances:
                raise ValueError(
                    f"{name} lists {len(value)} values for {self.n_instances} seeds; expected one for each, or one "
                    "number for all"
                )

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
    levels : latents of each level and how many of them are active per bin on average (k, which need not be whole, and
        may differ between instances), ``{8: 1, 16: (2, 4)}``; the last level holds all latents
    selection : ``per-level`` gives each level a batch-top-k of its own; ``nested`` makes one selection of the deepest
        level's size, whose prefixes are the levels (the k of shallower levels is then not used)
    inference : ``threshold`` (calibrated after training) or ``sample-topk`` (k rounded up); neither depends on which
        bins are given
    """

    sparsifier: ClassVar[str] = "nldisco_sae.batch_topk:BatchTopK"

    swept: ClassVar[tuple[str, ...]] = ("levels",)

    levels: dict[int, Each] = Field(default={8: 1.0, 16: 2.0}, min_length=1, max_length=MAX_LEVELS)
    selection: Literal["per-level", "nested"] = "per-level"
    inference: Literal["threshold", "sample-topk"] = "threshold"

    @field_validator("levels")
    @classmethod
    def _levels_ascend(cls, levels: dict[int, Each]) -> dict[int, Each]:
        for size, each in levels.items():
            for k in per_instance(each, 1):
                if size < 1 or not 0 < k <= size:
                    raise ValueError(
                        f"level of {size} latents with k {k}; expected at least 1 latent, and k above 0 and at most "
                        f"{size}"
                    )
        return dict(sorted(levels.items()))

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Latents of each level, ascending."""
        return tuple(self.levels)


class TrainingConfig(SparseCodeConfig):
    """How a sparse autoencoder is trained.

    Attributes
    ----------
    loss : ``mse``, ``msle`` (targets >= 0), ``poisson`` (spike counts; output ``exp`` or ``softplus``) or
        ``module:function`` of (prediction, target) that gives a loss per entry
    tau : factor on the predicted logarithm in ``msle``
    lr : peak learning rate of Adam, for all instances or each
    warmup, hold, final_lr : the rate rises linearly over the first `warmup` share of all steps, stays until the share
        `hold`, then falls along a cosine to `final_lr` of its peak
    epochs : passes over the training bins
    patience : epochs without a better validation loss in any instance after which training ends, each instance with the
        parameters of its best epoch; None trains to the end
    dead_after : share of an epoch without activity at the deepest level after which a latent counts as dead
    aux_k : dead latents that reconstruct the residual of one bin; None takes half of each level
    aux_coefficient : weight of that auxiliary loss; 0 turns revival off
    grad_clip : largest norm of one instance's gradient, None for no limit
    engine : ``fast`` or ``reference`` to force how a step is computed; ``auto`` takes the fast one where it applies (on
        the CPU batch-top-k, linear encoder, a built-in loss, all observed) and training is long enough to gain by it,
        and decodes codes of single bins sparsely
    precision : of the factors of products on a CUDA device, 24, 11 or 8 bits; sums and weights are float32. ``bf16`` is
        for the fast step, others take ``tf32`` then. There every engine but ``reference`` replays captured steps, and
        the fast one does loss ``mse`` and output ``identity``
    """

    swept: ClassVar[tuple[str, ...]] = ("lr",)

    loss: str = "mse"
    tau: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    lr: Each = 1e-2
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
    precision: Literal["float32", "tf32", "bf16"] = "tf32"

    @field_validator("loss")
    @classmethod
    def _loss_is_named(cls, loss: str) -> str:
        module, _, function = loss.partition(":")
        if loss not in BUILT_IN_LOSSES and not (module and function):
            raise ValueError(f"expected {', '.join(BUILT_IN_LOSSES)} or 'module:function'")
        return loss

    @field_validator("lr")
    @classmethod
    def _lr_is_positive(cls, lr: Each) -> Each:
        return require_above(lr, 0)

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
    def weights(self) -> tuple[Each, ...]:
        """Weight of each level's loss."""
        return (1.0,) * len(self.level_sizes)


class MatryoshkaConfig(LevelsConfig, TrainingConfig):
    """A Matryoshka sparse autoencoder.

    Attributes
    ----------
    level_weights : weight of each level's loss, for all instances or each; None weighs all the same
    n_latents : ``auto`` leaves `levels` to be chosen by the pipeline, see `nldisco_core.choosing`
    """

    swept: ClassVar[tuple[str, ...]] = ("lr", "levels")

    level_weights: tuple[Each, ...] | None = None
    n_latents: Literal["auto"] | None = None

    def candidates(self, *, n_units: int) -> Mapping[str, ModelConfig]:
        """Two levels, the shallower with half the latents and half the k, of each size of `sizes_to_try`."""
        if self.n_latents is None:
            return {}
        return {
            f"{size} latents, k {k:g}": self.model_copy(
                update={"n_latents": None, "levels": {size // 2: k / 2, size: k}}
            )
            for size, k in sizes_to_try(n_units)
        }

    @model_validator(mode="after")
    def _size_is_stated_once(self) -> Self:
        if self.n_latents == "auto" and "levels" in self.model_fields_set:
            raise ValueError("n_latents is 'auto' and levels are given too; leave one of them out")
        return self

    @model_validator(mode="after")
    def _weights_fit_levels(self) -> Self:
        if self.level_weights is not None:
            if len(self.level_weights) != len(self.levels):
                raise ValueError(f"{len(self.level_weights)} level_weights for {len(self.levels)} levels")
            self._require_instances("level_weights", self.level_weights)
            for weights in zip(*(per_instance(each, self.n_instances) for each in self.level_weights), strict=True):
                if min(weights) < 0 or not sum(weights) > 0:
                    raise ValueError("level_weights must not be negative and not all zero")
        return self

    @property
    def weights(self) -> tuple[Each, ...]:
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


def sizes_to_try(n_units: int) -> Iterator[tuple[int, float]]:
    """Latents and k of an automatic choice: powers of two up to four times the units, at most 1,024, k 2, 4, 8 and 16.

    k is at most an eighth of the latents (2 at least) and at most half of the units, so that copying every active unit
    is no way out.

    >>> list(sizes_to_try(15))
    [(8, 2.0), (16, 2.0), (32, 2.0), (32, 4.0), (64, 2.0), (64, 4.0)]
    """
    size = 8
    while size <= max(8, min(4 * n_units + 4, 1024)):
        for k in (2, 4, 8, 16):
            if k == 2 or (k <= size / 8 and k <= n_units / 2):
                yield size, float(k)
        size *= 2


def require_above(each: Each, lowest: float) -> Each:
    """The value, or values, if all are above `lowest`; `ValueError` otherwise."""
    if not min(per_instance(each, 1), default=lowest + 1) > lowest:
        raise ValueError(f"expected above {lowest:g}")
    return each
