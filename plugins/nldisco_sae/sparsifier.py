"""What makes one kind of sparse autoencoder differ from the others: how its codes become sparse."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from nldisco_core.providers import load_target
from nldisco_sae.architecture import Parameters, initialise
from nldisco_sae.config import Each, SparseCodeConfig, per_instance
from nldisco_sae.examples import Examples
from nldisco_sae.sequences import initialise_sequence

__all__ = ["Encoded", "Finished", "ReconstructionLoss", "Sparsifier", "sparsifier_of"]

C = TypeVar("C", bound=SparseCodeConfig)

ReconstructionLoss: TypeAlias = Callable[[Tensor], Tensor]
"""Relative loss (n_instances,) of a decoded batch (n_instances, n_rows, n_targets) before the output function."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """A training batch as codes.

    Attributes
    ----------
    pre_activations : (n_instances, n_codes, n_latents) what makes a latent active as it grows; revival lifts it
    codes : per level (n_instances, n_codes, size of the level), not negative
    active : (n_instances, n_codes, n_latents) bool, at the deepest level
    """

    pre_activations: Tensor
    codes: list[Tensor]
    active: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """What training comes down to: a linear encoder with ReLU, thresholds, and a decoder with rows of unit norm.

    Attributes
    ----------
    parameters : on the CPU
    thresholds : (n_instances, …) what `Sparsifier.chosen` compares activations with
    training_l0 : (n_instances, n_levels) active latents per bin in training batches; None where a bin's codes never
        depend on its batch
    """

    parameters: Parameters
    thresholds: Tensor
    training_l0: Tensor | None = None


class Sparsifier(ABC, Generic[C]):
    """How codes become sparse in training, and which activations count afterwards.

    Whatever happens in training, a fitted model is ``a = relu(W_enc (x - b_pre) + b_enc)``, of which those that
    `chosen` names are active.

    Attributes
    ----------
    nested : each level's codes are a prefix of the next level's
    penalised : the objective has a penalty beside the reconstruction
    unit_norm : decoder rows are held at unit norm in training
    scaled : loss, penalty and the rates of biases are relative to the scale of the data
    inference : the rule of `chosen` in a word
    notes : sentences that a reader of the results must know
    """

    nested: bool = True
    penalised: bool = False
    unit_norm: bool = True
    scaled: bool = True
    inference: str = "threshold"
    notes: tuple[str, ...] = ()

    def __init__(self, config: C) -> None:
        self.config = config
        self._listed: dict[tuple[Each, torch.device], Tensor] = {}

    def each(self, value: Each, device: torch.device) -> Tensor:
        """(n_instances,) a setting's value for each instance."""
        if (value, device) not in self._listed:  # a copy to a device at every step would wait for it
            listed = per_instance(value, self.config.n_instances)
            self._listed[value, device] = torch.tensor(listed, dtype=torch.float32, device=device)
        return self._listed[value, device]

    def initialise(self, examples: Examples, *, scale: float) -> Parameters:
        """Parameters to start from, drawn from the seeds; `scale` as in `encode`."""
        config = self.config
        gain = 1 / examples.norm() if config.output == "exp" else 1.0
        if config.encoder != "linear":
            return initialise_sequence(config, examples, gain=gain)
        mean = examples.input_mean
        return initialise(
            seeds=config.seeds,
            n_latents=config.level_sizes[-1],
            input_mean=mean,
            output_mean=mean if examples.reconstructs else examples.output_mean,
            output=config.output,
            gain=gain,
        )

    @abstractmethod
    def encode(self, parameters: Parameters, x: Tensor, *, scale: float) -> Encoded:
        """Codes of a training batch x (n_instances, n_rows, n_inputs): one for each row, or for each bin of it.

        Parameters
        ----------
        scale : what codes are measured in: root-mean-square norm of the centred training data; 1 where not `scaled`,
            and for output ``exp``, which takes codes in units of a log rate
        """

    def penalty(self, parameters: Parameters, encoded: Encoded, *, scale: float, loss: ReconstructionLoss) -> Tensor:
        """(n_instances,) what is added to the reconstruction loss where `penalised`."""
        return torch.zeros(len(encoded.active), device=encoded.active.device)

    def finish(self, parameters: Parameters, examples: Examples) -> Finished:
        """The fitted model that trained parameters, on the CPU, stand for; here every positive activation counts."""
        return Finished(parameters=parameters, thresholds=torch.zeros(len(parameters.encoder), 1))

    def chosen(self, activations: Tensor, thresholds: Tensor) -> list[Tensor]:
        """Per level the mask (n_rows, size of the level) of activations (n_rows, n_latents) that count.

        No row's depends on another's.

        Parameters
        ----------
        thresholds : those of one instance
        """
        return [activations >= thresholds.clamp(min=torch.finfo(activations.dtype).tiny)]


def sparsifier_of(config: C) -> Sparsifier[C]:
    """The sparsifier that a configuration names."""
    made: Sparsifier[C] = load_target(config.sparsifier)(config)
    return made
