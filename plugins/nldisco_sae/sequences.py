"""Autoencoders with a code for each bin of a window: convolution and transformer encoders, a convolving decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from nldisco_sae.architecture import Parameters, random_rows, resting_output
from nldisco_sae.config import SparseCodeConfig
from nldisco_sae.examples import Examples
from nldisco_sae.seeding import generator

__all__ = ["ConvolutionParameters", "SequenceParameters", "TransformerParameters", "initialise_sequence"]

_WIDENING = 4  # of the feed-forward layer


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceParameters(Parameters):
    """Codes for each bin, each of which adds its kernel to that bin and those after it.

    ``y^_t = out(b_dec + Σ_l W_dec,l s_(t-l))`` over the bins of a window: a transposed convolution, causal, so that a
    prediction rests on nothing later. A latent's kernel has unit length over all lags together.

    Attributes
    ----------
    decoder : (n_instances, n_latents, n_lags·n_units), lag 0 first
    decoder_bias : (n_instances, n_units)
    input_mean : (n_units put in,)
    """

    @property
    def n_lags(self) -> int:
        """Bins of a window and of a kernel."""
        return int(self.decoder.shape[2] // self.decoder_bias.shape[1])

    def combine(self, codes: Tensor, rows: Tensor) -> Tensor:
        """As `Parameters.combine`, for codes (n_instances, n_rows·window, n_chosen)."""
        n_instances, n_chosen, _ = rows.shape
        n_units, n_lags = self.decoder_bias.shape[1], self.n_lags
        kernels = rows.reshape(n_instances * n_chosen, n_lags, n_units).transpose(1, 2)
        steps = codes.view(n_instances, -1, n_lags, n_chosen).permute(1, 0, 3, 2)
        summed = functional.conv_transpose1d(
            steps.reshape(-1, n_instances * n_chosen, n_lags), kernels, groups=n_instances
        )[..., :n_lags]
        by_instance = summed.view(-1, n_instances, n_units, n_lags).permute(1, 0, 3, 2)
        return by_instance.reshape(n_instances, -1, n_lags * n_units)

    def output_bias(self) -> Tensor:
        """As `Parameters.output_bias`: the same for each bin of a window."""
        return self.decoder_bias.repeat(1, self.n_lags)[:, None]

    def predicted(self, codes: sparse.csr_array, rows: slice) -> NDArray[np.float32]:
        """As `Parameters.predicted`, (n_rows, n_units), from the codes of each row and the window before it."""
        kernels = self.decoder[0].view(-1, self.n_lags, self.decoder_bias.shape[1]).numpy()
        values = np.tile(self.decoder_bias[0].numpy(), (rows.stop - rows.start, 1))
        for lag in range(min(self.n_lags, rows.stop)):
            first = max(rows.start - lag, 0)
            values[first + lag - rows.start :] += codes[first : rows.stop - lag] @ kernels[:, lag]
        return values

    def _centred(self, x: Tensor) -> Tensor:
        """(n_instances, n_rows, window, n_units) of x (n_instances, n_rows, window·n_units)."""
        return x.view(*x.shape[:2], self.n_lags, -1) - self.input_mean


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvolutionParameters(SequenceParameters):
    """``a_t = relu(b_enc + Σ_l W_enc,l (x_(t-l) - b_pre))``; what lies before the window counts as the mean.

    Attributes
    ----------
    encoder : (n_instances, n_lags·n_units, n_latents), lag 0 first
    """

    def pre_activations(self, x: Tensor) -> Tensor:
        """As `Parameters.pre_activations`: a code for each bin, row after row."""
        n_instances, n_lags = len(self.encoder), self.n_lags
        centred = self._centred(x)
        n_units, n_latents = centred.shape[3], self.encoder.shape[2]
        steps = centred.permute(1, 0, 3, 2).reshape(-1, n_instances * n_units, n_lags)
        kernels = self.encoder.view(n_instances, n_lags, n_units, n_latents).flip(1).permute(0, 3, 2, 1)
        padded = functional.pad(steps, (n_lags - 1, 0))
        found = functional.conv1d(padded, kernels.reshape(-1, n_units, n_lags), groups=n_instances)
        by_bin = found.view(-1, n_instances, n_latents, n_lags).permute(1, 0, 3, 2)
        return by_bin.reshape(n_instances, -1, n_latents) + self.encoder_bias[:, None]

    def anchor_map(self) -> tuple[Tensor, Tensor]:
        """As `Parameters.anchor_map`: the last bin's code sees the whole window."""
        kernels = self.encoder[0].view(self.n_lags, -1, self.encoder.shape[2]).flip(0)
        return kernels.flatten(0, 1), self.encoder_bias[0] - self.input_mean @ kernels.sum(dim=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TransformerParameters(SequenceParameters):
    """A pre-norm transformer block (Vaswani et al. 2017; Xiong et al. 2020) before the encoder.

    Each bin attends to itself and those before it in its window, with a learnt bias for each head and distance (Shaw et
    al. 2018).

    Attributes
    ----------
    encoder : (n_instances, n_features, n_latents)
    embedding, embedding_bias : (n_instances, n_units, n_features), (n_instances, n_features)
    attention_norm, attention_norm_bias, feedforward_norm, feedforward_norm_bias, final_norm, final_norm_bias :
        (n_instances, n_features)
    attention, attention_bias : (n_instances, n_features, 3·n_features), (n_instances, 3·n_features): queries, keys and
        values
    mixing, mixing_bias : (n_instances, n_features, n_features), (n_instances, n_features)
    distance_bias : (n_instances, n_heads, 2·n_lags - 1), from the most distant later bin to the most distant earlier
        one; the later ones are never used
    widening, widening_bias, narrowing, narrowing_bias : the feed-forward layer
    """

    embedding: Tensor
    embedding_bias: Tensor
    attention_norm: Tensor
    attention_norm_bias: Tensor
    attention: Tensor
    attention_bias: Tensor
    mixing: Tensor
    mixing_bias: Tensor
    distance_bias: Tensor
    feedforward_norm: Tensor
    feedforward_norm_bias: Tensor
    widening: Tensor
    widening_bias: Tensor
    narrowing: Tensor
    narrowing_bias: Tensor
    final_norm: Tensor
    final_norm_bias: Tensor

    def pre_activations(self, x: Tensor) -> Tensor:
        """As `Parameters.pre_activations`: a code for each bin, row after row."""
        hidden = self._embedded(x)
        hidden = hidden + self._attended(hidden, last=False)
        return torch.baddbmm(self.encoder_bias[:, None], self._finished(hidden), self.encoder)

    def anchor_features(self, x: Tensor) -> Tensor:
        """As `Parameters.anchor_features`, (n_rows, n_features): only the last bin is followed to the end."""
        hidden = self._embedded(x[None])
        anchors = hidden.view(len(x), self.n_lags, -1)[:, -1][None]
        return self._finished(anchors + self._attended(hidden, last=True))[0]

    def anchor_map(self) -> tuple[Tensor, Tensor]:
        """As `Parameters.anchor_map`."""
        return self.encoder[0], self.encoder_bias[0]

    def _embedded(self, x: Tensor) -> Tensor:
        """(n_instances, n_rows·window, n_features) of x (n_instances, n_rows, window·n_units)."""
        return torch.baddbmm(self.embedding_bias[:, None], self._centred(x).flatten(1, 2), self.embedding)

    def _attended(self, hidden: Tensor, *, last: bool) -> Tensor:
        """What attention adds to each bin, or to the `last` of each window alone."""
        n_instances, _, n_features = hidden.shape
        n_heads, n_lags = self.distance_bias.shape[1], self.n_lags
        normed = _normed(hidden, self.attention_norm, self.attention_norm_bias)
        projected = torch.baddbmm(self.attention_bias[:, None], normed, self.attention)
        heads = projected.view(n_instances, -1, n_lags, 3, n_heads, n_features // n_heads).permute(3, 0, 1, 4, 2, 5)
        queries, keys, values = heads[0], heads[1], heads[2]
        bias = self._attention_bias(hidden.device)
        if last:
            queries, bias = queries[..., -1:, :], bias[..., -1:, :]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        joined = mixed.transpose(2, 3).reshape(n_instances, -1, n_features)
        return torch.baddbmm(self.mixing_bias[:, None], joined, self.mixing)

    def _attention_bias(self, device: torch.device) -> Tensor:
        """(n_instances, 1, n_heads, window, window) bias of each bin's attention to each other; -inf for later ones."""
        place = torch.arange(self.n_lags, device=device)
        distance = place[:, None] - place
        bias = self.distance_bias[:, :, distance + self.n_lags - 1]
        return bias.masked_fill(distance < 0, -torch.inf)[:, None]

    def _finished(self, hidden: Tensor) -> Tensor:
        """Features after the feed-forward layer and the last normalisation."""
        normed = _normed(hidden, self.feedforward_norm, self.feedforward_norm_bias)
        wide = functional.gelu(torch.baddbmm(self.widening_bias[:, None], normed, self.widening))
        hidden = hidden + torch.baddbmm(self.narrowing_bias[:, None], wide, self.narrowing)
        return _normed(hidden, self.final_norm, self.final_norm_bias)


def _normed(hidden: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation with a gain and a bias for each instance."""
    return torch.addcmul(bias[:, None], functional.layer_norm(hidden, hidden.shape[-1:]), gain[:, None])


def initialise_sequence(config: SparseCodeConfig, examples: Examples, *, gain: float) -> SequenceParameters:
    """Fresh parameters, drawn for each instance from its own seed.

    Kernels point in random directions; a convolution starts with them as its encoder where what is predicted is what is
    put in. Layers of the transformer start uniform within one over the root of their inputs, as torch's do.

    Parameters
    ----------
    gain : factor on the encoder
    """
    draws = [generator(seed, "initialise") for seed in config.seeds]
    n_latents, n_lags = config.level_sizes[-1], config.window
    n_inputs, n_targets = len(examples.mean), len(examples.target_bin_mean)
    decoder = random_rows(draws, n_latents, n_lags * n_targets)
    shared = {
        "decoder": decoder,
        "encoder_bias": torch.zeros(len(draws), n_latents),
        "decoder_bias": resting_output(examples.target_bin_mean, config.output).repeat(len(draws), 1),
        "input_mean": examples.mean.clone(),
    }
    if config.encoder == "convolution":
        rows = decoder if examples.reconstructs else random_rows(draws, n_latents, n_lags * n_inputs)
        return ConvolutionParameters(encoder=rows.transpose(1, 2).contiguous() * gain, **shared)
    layers = _transformer_layers(draws, n_inputs=n_inputs, width=config.encoder_width, n_latents=n_latents)
    layers["encoder"] *= gain
    layers["distance_bias"] = torch.zeros(len(draws), config.encoder_heads, 2 * n_lags - 1)
    return TransformerParameters(**shared | layers)


def _transformer_layers(
    draws: Sequence[torch.Generator], *, n_inputs: int, width: int, n_latents: int
) -> dict[str, Tensor]:
    """Weights and biases of all layers but the attention to distances, by name."""
    shapes = {
        "embedding": (n_inputs, width),
        "attention": (width, 3 * width),
        "mixing": (width, width),
        "widening": (width, _WIDENING * width),
        "narrowing": (_WIDENING * width, width),
        "encoder": (width, n_latents),
    }
    layers = {}
    for name, (n_in, n_out) in shapes.items():
        layers[name] = _uniform(draws, n_in, n_out, bound=n_in**-0.5)
        layers[f"{name}_bias"] = _uniform(draws, n_out, bound=n_in**-0.5)
    for name in ("attention_norm", "feedforward_norm", "final_norm"):
        layers[name] = torch.ones(len(draws), width)
        layers[f"{name}_bias"] = torch.zeros(len(draws), width)
    return layers


def _uniform(draws: Sequence[torch.Generator], *shape: int, bound: float) -> Tensor:
    """(n_instances, …) values between plus and minus `bound`."""
    return torch.stack([torch.rand(*shape, generator=draw) for draw in draws]).mul_(2 * bound).sub_(bound)
