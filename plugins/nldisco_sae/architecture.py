"""Parameters of all instances as batched tensors: initialise, encode, decode, keep decoder rows at unit norm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
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
    "random_rows",
    "resting_output",
]

Output = Literal["identity", "relu", "softplus", "exp"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parameters:
    """What an autoencoder with linear encoder and decoder consists of.

    An example is a row of `n_inputs` values, the units of one bin or of a window of bins, oldest first. Other encoders
    are subclasses, which may give several codes for an example.

    Attributes
    ----------
    encoder : (n_instances, n_inputs, n_latents), W_enc transposed
    encoder_bias : (n_instances, n_latents), b_enc
    decoder : (n_instances, n_latents, n_targets), W_dec transposed; each row has unit L2 norm
    decoder_bias : (n_instances, n_targets), b_dec
    input_mean : (n_inputs,), b_pre: mean of the training data, not trained
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
        """``W_enc (x - b_pre) + b_enc`` of x (n_instances, n_rows, n_inputs).

        Returns
        -------
        (n_instances, n_codes, n_latents), where n_codes is n_rows, or the bins of all rows for a code for each bin
        """
        return torch.baddbmm(self.offset(), x, self.encoder)

    def combine(self, codes: Tensor, rows: Tensor) -> Tensor:
        """Sum of dictionary rows weighted by codes.

        Parameters
        ----------
        codes : (n_instances, n_codes, n_chosen)
        rows : (n_instances, n_chosen, n_targets or what the decoder has in their place)

        Returns
        -------
        (n_instances, n_rows, n_targets)
        """
        return torch.bmm(codes, rows)

    def output_bias(self) -> Tensor:
        """(n_instances, 1, n_targets) what is predicted when no latent is active, before the output function."""
        return self.decoder_bias[:, None]

    def decode_levels(self, codes: Sequence[Tensor], *, nested: bool) -> list[Tensor]:
        """Each level's prediction before the output function, (n_instances, n_rows, n_targets).

        Parameters
        ----------
        codes : per level (n_instances, n_codes, size of the level); where `nested`, each is a prefix of the next, and
            the levels are running sums over groups of latents: one decode for all
        """
        predictions: list[Tensor] = []
        start = 0
        below = self.output_bias()
        for code in codes:
            size = code.shape[-1]
            predictions.append(below + self.combine(code[..., start:], self.decoder[:, start:size]))
            if nested:
                start, below = size, predictions[-1]
        return predictions

    def instances(self) -> Iterator[Self]:
        """Each instance by itself, in the same shapes with one instance."""
        shared = {"input_mean": self.input_mean}
        for instance in range(len(self.encoder)):
            yield replace(self, **{k: v[instance : instance + 1] for k, v in self.trained().items()}, **shared)

    def predicted(self, codes: sparse.csr_array, rows: slice) -> NDArray[np.float32]:
        """(n_rows, n_targets) prediction of one instance for some rows, before the output function.

        Parameters
        ----------
        codes : (n_bins, n_latents) of these rows, and of those before them that a window reaches
        """
        values: NDArray[np.float32] = codes[rows] @ self.decoder[0].numpy() + self.decoder_bias[0].numpy()
        return values

    def anchor_features(self, x: Tensor) -> Tensor:
        """What `anchor_map` turns into the code of each row's last bin, for x (n_rows, n_inputs) of one instance."""
        return x

    def anchor_map(self) -> tuple[Tensor, Tensor]:
        """Encoder (n_features, n_latents) and offset (n_latents,) of one instance, for `anchor_features`."""
        return self.encoder[0], self.offset()[0, 0]


def apply_output(values: Tensor, output: Output) -> Tensor:
    """The decoder's last step."""
    if output == "relu":
        return torch.relu(values)
    if output == "exp":
        return torch.exp(values)
    return torch.nn.functional.softplus(values) if output == "softplus" else values


def initialise(
    *, seeds: Sequence[int], n_latents: int, input_mean: Tensor, output_mean: Tensor, output: Output, gain: float
) -> Parameters:
    """Fresh parameters, drawn for each instance from its own seed.

    Decoder rows are uniform on the unit sphere; the encoder is `gain` times their transpose where what is predicted is
    what is put in, and `gain` times other such rows where not; b_enc is 0, and b_dec is set so that inactive latents
    predict the mean of the data.

    Parameters
    ----------
    input_mean : (n_inputs,) float32 on the CPU
    output_mean : (n_targets,), the same tensor where the model reconstructs its input
    """
    draws = [generator(seed, "initialise") for seed in seeds]
    decoder = random_rows(draws, n_latents, len(output_mean))
    tied = input_mean is output_mean
    encoder = decoder if tied else random_rows(draws, n_latents, len(input_mean))
    return Parameters(
        encoder=encoder.transpose(1, 2).contiguous() * gain,
        encoder_bias=torch.zeros(len(seeds), n_latents),
        decoder=decoder,
        decoder_bias=resting_output(output_mean, output).repeat(len(seeds), 1),
        input_mean=input_mean.clone(),
    )


def random_rows(draws: Sequence[torch.Generator], n_rows: int, n_columns: int) -> Tensor:
    """(n_instances, n_rows, n_columns) rows of unit length in random directions, each instance from its generator."""
    rows = torch.stack([torch.randn(n_rows, n_columns, generator=generator) for generator in draws])
    normalise_decoder(rows)
    return rows


def resting_output(mean: Tensor, output: Output) -> Tensor:
    """The value that the output function turns into `mean`, as far as it can."""
    if output not in ("softplus", "exp"):
        return mean
    small = mean.clamp(min=1e-4)
    return torch.log(small) if output == "exp" else small + torch.log(-torch.expm1(-small))


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
