"""ReLU with an L1 penalty: the sparse autoencoder that others started from."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters, fold_decoder_norm
from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.examples import Examples
from nldisco_sae.seeding import generator
from nldisco_sae.single_level_config import VanillaConfig
from nldisco_sae.sparsifier import Encoded, Finished, ReconstructionLoss, Sparsifier

__all__ = ["L1", "VanillaSAE"]


class L1(Sparsifier[VanillaConfig]):
    """Every positive activation counts and costs."""

    penalised = True

    def __init__(self, config: VanillaConfig) -> None:
        super().__init__(config)
        self.scaled = config.layers == "dictionary"
        self.unit_norm = self.scaled and config.penalty != "weighted"

    def initialise(self, examples: Examples, *, scale: float) -> Parameters:
        """As `Sparsifier.initialise`, or two linear layers that see the data uncentred."""
        if self.config.layers == "dictionary":
            return super().initialise(examples, scale=scale)
        layers = [
            _linear_layers(seed, examples.n_inputs, self.config.level_sizes[-1], examples.n_targets)
            for seed in self.config.seeds
        ]
        encoder, encoder_bias, decoder, decoder_bias = map(torch.stack, zip(*layers, strict=True))
        return Parameters(
            encoder=encoder,
            encoder_bias=encoder_bias,
            decoder=decoder,
            decoder_bias=decoder_bias,
            input_mean=torch.zeros_like(examples.input_mean),
        )

    def encode(self, parameters: Parameters, x: Tensor, *, scale: float) -> Encoded:
        """As `Sparsifier.encode`."""
        pre_activations = parameters.pre_activations(x)
        activations = torch.relu(pre_activations)
        return Encoded(pre_activations=pre_activations, codes=[activations], active=pre_activations > 0)

    def penalty(self, parameters: Parameters, encoded: Encoded, *, scale: float, loss: ReconstructionLoss) -> Tensor:
        """sparsity·mean over bins of the L1 norm, in units of `scale`; see `VanillaConfig.penalty`."""
        activations = encoded.codes[-1]
        if self.config.penalty == "weighted":
            activations = activations * torch.linalg.vector_norm(parameters.decoder, dim=-1)[:, None]
        l1 = activations.mean(dim=(1, 2)) if self.config.penalty == "mean" else activations.sum(dim=2).mean(dim=1)
        return l1 * (self.each(self.config.sparsity, l1.device) / scale)

    def finish(self, parameters: Parameters, examples: Examples) -> Finished:
        """The same function with centred input and decoder rows of unit norm."""
        mean = examples.input_mean
        shift = (mean - parameters.input_mean) @ parameters.encoder
        centred = replace(parameters, encoder_bias=parameters.encoder_bias + shift, input_mean=mean)
        return super().finish(fold_decoder_norm(centred), examples)


def _linear_layers(seed: int, n_inputs: int, n_latents: int, n_targets: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights and bias of encoder and decoder, uniform within one over the root of a layer's inputs."""
    draws = generator(seed, "initialise")

    def uniform(*shape: int, n_inputs: int) -> Tensor:
        bound = float(n_inputs) ** -0.5
        return torch.rand(*shape, generator=draws).mul_(2 * bound).sub_(bound)

    return (
        uniform(n_inputs, n_latents, n_inputs=n_inputs),
        uniform(n_latents, n_inputs=n_inputs),
        uniform(n_latents, n_targets, n_inputs=n_latents),
        uniform(n_targets, n_inputs=n_latents),
    )


class VanillaSAE(TrainedAutoencoder[VanillaConfig]):
    """Sparse autoencoder with an L1 penalty (Bricken et al. 2023; weighted by decoder norms: Conerly et al. 2024).

    ``a = relu(W_enc (x - b_pre) + b_enc)``; ``y^ = out(W_dec a + b_dec)``; the penalty is one of those of
    `VanillaConfig`. With the preset ``worm`` the objective is mean (y - y^)² + 5·mean a, with two plain linear layers.
    """

    config_class: ClassVar[type[VanillaConfig]] = VanillaConfig
