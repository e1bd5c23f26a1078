"""Parameters of all instances as batched tensors: initialise, encode, decode, keep decoder rows at unit norm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import torch
from torch import Tensor

from nldisco_sae.seeding import generator

__all__ = [
    "Output",
    "Parameters",
    "apply_output",
    "fold_decoder_norm",
    "initialise",
    "normalise_decoder",
    "project_decoder_gradient",
]

Output = Literal["identity", "relu", "softplus", "exp"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """What an autoencoder with linear encoder and decoder consists of.

    Attributes
    ----------
    encoder : (n_instances, n_units, n_latents), W_enc transposed
    encoder_bias : (n_instances, n_latents), b_enc
    decoder : (n_instances, n_latents, n_units), W_dec transposed; each row has unit L2 norm
    decoder_bias : (n_instances, n_units), b_dec
    input_mean : (n_units,), b_pre: mean of the training data, not trained
    """

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    decoder_bias: Tensor
    input_mean: Tensor

    def named(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def trained(self) -> dict[str, Tensor]:
        """The tensors that learning changes, by name."""
        return {name: tensor for name, tensor in self.named().items() if name != "input_mean"}

    def detached(self, device: torch.device | str) -> Self:
        """Copies outside any graph on another device."""
        return replace(self, **{name: tensor.detach().to(device).clone() for name, tensor in self.named().items()})

    def offset(self) -> Tensor:
        """(n_instances, 1, n_latents) what is added to ``x W_enc``: b_enc - b_pre W_enc."""
        return (self.encoder_bias - self.input_mean @ self.encoder)[:, None]

    def pre_activations(self, x: Tensor) -> Tensor:
        """(n_instances, n_rows, n_latents) ``W_enc (x - b_pre) + b_enc`` of x (n_instances, n_rows, n_units)."""
        return torch.baddbmm(self.offset(), x, self.encoder)

    def decode_levels(self, codes: Sequence[Tensor], *, nested: bool) -> list[Tensor]:
        """Each level's prediction before the output function, (n_instances, n_rows, n_units).

        Parameters
        ----------
        codes : per level (n_instances, n_rows, size of the level); where `nested`, each is a prefix of the next, and
            the levels are running sums over groups of latents: one decode for all
        """
        predictions: list[Tensor] = []
        start = 0
        below = self.decoder_bias[:, None]
        for code in codes:
            size = code.shape[-1]
            predictions.append(torch.baddbmm(below, code[..., start:], self.decoder[:, start:size]))
            if nested:
                start, below = size, predictions[-1]
        return predictions


def apply_output(values: Tensor, output: Output) -> Tensor:
    """The decoder's last step."""
    if output == "relu":
        return torch.relu(values)
    if output == "exp":
        return torch.exp(values)
    return torch.nn.functional.softplus(values) if output == "softplus" else values


def initialise(*, seeds: Sequence[int], n_latents: int, mean: Tensor, output: Output, gain: float = 1.0) -> Parameters:
    """Fresh parameters, drawn for each instance from its own seed.

    Decoder rows are uniform on the unit sphere, the encoder is `gain` times their transpose, b_enc is 0, and b_dec is
    set so that inactive latents predict the mean of the data.

    Parameters
    ----------
    mean : (n_units,) float32 on the CPU
    """
    n_units = len(mean)
    decoder = torch.stack([torch.randn(n_latents, n_units, generator=generator(seed, "initialise")) for seed in seeds])
    normalise_decoder(decoder)
    bias = mean
    if output in ("softplus", "exp"):
        small = mean.clamp(min=1e-4)
        bias = torch.log(small) if output == "exp" else small + torch.log(-torch.expm1(-small))
    return Parameters(
        encoder=decoder.transpose(1, 2).contiguous() * gain,
        encoder_bias=torch.zeros(len(seeds), n_latents),
        decoder=decoder,
        decoder_bias=bias.repeat(len(seeds), 1),
        input_mean=mean.clone(),
    )


def project_decoder_gradient(decoder: Tensor, gradient: Tensor) -> None:
    """Remove, in place, the part of the gradient along each unit-norm decoder row: g - (g·w) w."""
    gradient.addcmul_((gradient * decoder).sum(-1, keepdim=True), decoder, value=-1)


def normalise_decoder(decoder: Tensor) -> None:
    """Scale, in place, each decoder row to unit L2 norm."""
    decoder.div_(torch.linalg.vector_norm(decoder, dim=-1, keepdim=True))


def fold_decoder_norm(parameters: Parameters) -> Parameters:
    """The same function with decoder rows of unit norm: what a row loses in length its latent's activation gains."""
    norms = torch.linalg.vector_norm(parameters.decoder, dim=-1)
    return replace(
        parameters,
        encoder=parameters.encoder * norms[:, None],
        encoder_bias=parameters.encoder_bias * norms,
        decoder=parameters.decoder / norms.clamp(min=torch.finfo(norms.dtype).tiny)[..., None],
    )
