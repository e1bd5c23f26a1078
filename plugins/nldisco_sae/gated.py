"""Gates and magnitudes: which latents are active, and how much, are decided apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from nldisco_sae.architecture import Parameters
from nldisco_sae.autoencoder import TrainedAutoencoder
from nldisco_sae.examples import Examples
from nldisco_sae.single_level_config import GatedConfig
from nldisco_sae.sparsifier import Encoded, Finished, ReconstructionLoss, Sparsifier

__all__ = ["Gated", "GatedParameters", "GatedSAE"]


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedParameters(Parameters):
    """Parameters of two paths that share their weights; ``encoder_bias`` is that of the gates.

    Attributes
    ----------
    magnitude_bias : (n_instances, n_latents)
    log_gain : (n_instances, n_latents), log of the factor from gate to magnitude weights
    """

    magnitude_bias: Tensor
    log_gain: Tensor

    def gates_and_magnitudes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-activations of both paths, (n_instances, n_rows, n_latents): z + b_gate and e^r z + b_mag."""
        projected = torch.baddbmm(-(self.input_mean @ self.encoder)[:, None], x, self.encoder)
        magnitudes = torch.exp(self.log_gain)[:, None] * projected + self.magnitude_bias[:, None]
        return projected + self.encoder_bias[:, None], magnitudes


class Gated(Sparsifier[GatedConfig]):
    """Magnitudes whose gate is open; the gates alone pay for sparsity, so that magnitudes do not shrink."""

    penalised = True

    def initialise(self, examples: Examples, *, scale: float) -> GatedParameters:
        """As `Sparsifier.initialise`, with both paths alike."""
        plain = super().initialise(examples, scale=scale)
        zeros = torch.zeros_like(plain.encoder_bias)
        return GatedParameters(**plain.named(), magnitude_bias=zeros, log_gain=zeros.clone())

    def encode(self, parameters: Parameters, x: Tensor, *, scale: float) -> Encoded:
        """As `Sparsifier.encode`; the pre-activations are those of the gates."""
        gates, magnitudes = cast(GatedParameters, parameters).gates_and_magnitudes(x)
        codes = torch.relu(magnitudes) * (gates > 0)
        return Encoded(pre_activations=gates, codes=[codes], active=codes > 0)

    def penalty(self, parameters: Parameters, encoded: Encoded, *, scale: float, loss: ReconstructionLoss) -> Tensor:
        """sparsity·(L1 of relu(gates)) / scale + the loss of what relu(gates) reconstruct through a frozen decoder."""
        gates = torch.relu(encoded.pre_activations)
        decoded = torch.baddbmm(parameters.output_bias().detach(), gates, parameters.decoder.detach())
        l1 = gates.sum(dim=2).mean(dim=1)
        return self.each(self.config.sparsity, l1.device) / scale * l1 + loss(decoded)

    def finish(self, parameters: Parameters, examples: Examples) -> Finished:
        """One path with a threshold per latent, (n_instances, n_latents).

        With m = e^r z + b_mag, the gate z + b_gate > 0 is open where m > b_mag - e^r b_gate.
        """
        trained = cast(GatedParameters, parameters)
        gain = torch.exp(trained.log_gain)
        plain = Parameters(
            encoder=trained.encoder * gain[:, None],
            encoder_bias=trained.magnitude_bias,
            decoder=trained.decoder,
            decoder_bias=trained.decoder_bias,
            input_mean=trained.input_mean,
        )
        return Finished(parameters=plain, thresholds=torch.relu(trained.magnitude_bias - gain * trained.encoder_bias))


class GatedSAE(TrainedAutoencoder[GatedConfig]):
    """Gated sparse autoencoder (Rajamanoharan et al. 2024, arXiv:2404.16014), one instance per seed.

    With ``z = W_enc (x - b_pre)``: ``s = 1[z + b_gate > 0]·relu(e^r z + b_mag)``; ``y^ = out(W_dec s + b_dec)``. The
    objective adds sparsity·Σ relu(z + b_gate) and the loss of reconstructing from relu(z + b_gate) with a frozen copy
    of the decoder. A fitted model is the JumpReLU that this amounts to.
    """

    config_class: ClassVar[type[GatedConfig]] = GatedConfig
