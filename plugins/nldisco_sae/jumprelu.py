"""JumpReLU: each latent learns the threshold above which it is active."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar, cast

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.examples import Examples
from nldisco_sae.single_level_config import JumpReLUConfig
from nldisco_sae.sparsifier import Encoded, Finished, ReconstructionLoss, Sparsifier

__all__ = ["JumpReLU", "JumpReLUSAE", "ThresholdParameters", "jump_relu", "step"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ThresholdParameters(Parameters):
    """Parameters with a threshold for each latent.

    Attributes
    ----------
    log_threshold : (n_instances, n_latents), log θ
    """

    log_threshold: Tensor

    def threshold(self) -> Tensor:
        """(n_instances, 1, n_latents) θ."""
        return torch.exp(self.log_threshold)[:, None]


def jump_relu(values: Tensor, threshold: Tensor, *, bandwidth: float) -> Tensor:
    """z·1[z > θ] for θ > 0, with the gradient of θ estimated as -(θ/ε)·K((z - θ)/ε).

    Parameters
    ----------
    values : z (n_instances, n_rows, n_latents)
    threshold : θ (n_instances, 1, n_latents)
    bandwidth : ε; K is 1 within ε/2 of the threshold
    """
    return values * (values > threshold) - threshold.detach() * _through(values, threshold, bandwidth)


def step(values: Tensor, threshold: Tensor, *, bandwidth: float) -> Tensor:
    """1[z > θ], with the gradient of θ estimated as -(1/ε)·K((z - θ)/ε) and none for z; arguments as in `jump_relu`."""
    return (values > threshold).to(values.dtype) - _through(values, threshold, bandwidth)


def _through(values: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """0, with K((z - θ)/ε)/ε as its gradient by θ."""
    near = ((values.detach() - threshold.detach()).abs() < bandwidth / 2).to(values.dtype) / bandwidth
    return near * (threshold - threshold.detach())


class JumpReLU(Sparsifier[JumpReLUConfig]):
    """What exceeds its latent's threshold, in training and afterwards."""

    penalised = True

    def initialise(self, examples: Examples, *, scale: float) -> ThresholdParameters:
        """As `Sparsifier.initialise`, with all thresholds at the bandwidth."""
        plain = super().initialise(examples, scale=scale)
        start = math.log(self.config.bandwidth * scale)
        return ThresholdParameters(**plain.named(), log_threshold=torch.full_like(plain.encoder_bias, start))

    def encode(self, parameters: Parameters, x: Tensor, *, scale: float) -> Encoded:
        """As `Sparsifier.encode`."""
        threshold = cast(ThresholdParameters, parameters).threshold()
        pre_activations = parameters.pre_activations(x)
        codes = jump_relu(pre_activations, threshold, bandwidth=self.config.bandwidth * scale)
        return Encoded(pre_activations=pre_activations, codes=[codes], active=pre_activations > threshold)

    def penalty(self, parameters: Parameters, encoded: Encoded, *, scale: float, loss: ReconstructionLoss) -> Tensor:
        """sparsity·mean over bins of the number of active latents."""
        threshold = cast(ThresholdParameters, parameters).threshold()
        active = step(encoded.pre_activations, threshold, bandwidth=self.config.bandwidth * scale)
        l0 = active.sum(dim=2).mean(dim=1)
        return self.each(self.config.sparsity, l0.device) * l0

    def finish(self, parameters: Parameters, examples: Examples) -> Finished:
        """One threshold per latent: (n_instances, n_latents)."""
        trained = cast(ThresholdParameters, parameters)
        plain = Parameters(**{field.name: getattr(trained, field.name) for field in fields(Parameters)})
        return Finished(parameters=plain, thresholds=trained.threshold()[:, 0])


class JumpReLUSAE(TrainedAutoencoder[JumpReLUConfig]):
    """Sparse autoencoder with JumpReLU and an L0 penalty (Rajamanoharan et al. 2024, arXiv:2407.14435).

    ``s = z·1[z > θ]`` with ``z = W_enc (x - b_pre) + b_enc`` and a learnt threshold θ > 0 per latent; ``y^ =
    out(W_dec s + b_dec)``; the objective adds sparsity·L0. Gradients of θ are straight-through estimates with a
    rectangular kernel, see `jump_relu` and `step`.
    """

    config_class: ClassVar[type[JumpReLUConfig]] = JumpReLUConfig
