"""The kernels of the CUDA step in plain torch: what those of `nldisco_sae.triton_kernels` are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "DIGIT_BITS",
    "Adam",
    "Precision",
    "adam_rows",
    "decode_levels",
    "decoder_gradient",
    "kth_largest",
    "product",
    "pull_back",
]

Precision: TypeAlias = Literal["float32", "tf32", "bf16"]
"""Of the factors of a matrix product: 24, 11 or 8 bits; sums and everything else are float32."""

DIGIT_BITS = (7, 8, 8, 8)  # a positive float32 is 31 bits, which sort as it does


class Adam(NamedTuple):
    """Numbers of Adam, all on the device of what is trained.

    Attributes
    ----------
    rates : (n_instances,) peak learning rates
    factor : () share of them at this step
    scales : (n_instances,) what gradients are multiplied with
    step : () steps taken, this one included, float32
    betas, eps : as in `torch.optim.Adam`
    """

    rates: Tensor
    factor: Tensor
    scales: Tensor
    step: Tensor
    betas: tuple[float, float]
    eps: float


def kth_largest(values: Tensor, sizes: Sequence[int], places: Tensor) -> Tensor:
    """Per instance and level the place-th largest positive value of the level's latents; 0 where fewer are positive.

    Digit by digit from the highest: a histogram over those values that agree in the digits found so far gives the next.

    Parameters
    ----------
    values : (n_instances, n_rows, n_latents) float32
    sizes : latents of each level
    places : (n_instances, n_levels) int32, counted from 1

    Returns
    -------
    (n_instances, n_levels), each bit for bit one of the values
    """
    columns = [_kth_largest(values[..., :size].flatten(1), places[:, level]) for level, size in enumerate(sizes)]
    return torch.stack(columns, dim=1)


def _kth_largest(values: Tensor, places: Tensor) -> Tensor:
    """(n_instances,) of values (n_instances, n_values)."""
    bits = values.view(torch.int32)
    wanted = values > 0
    found, remaining = torch.zeros_like(places), places
    shift = sum(DIGIT_BITS)
    for width in DIGIT_BITS:
        shift -= width
        digits = (bits >> shift) & (2**width - 1)
        counted = wanted & (bits >> (shift + width) == found[:, None])
        counts = places.new_zeros(len(places), 2**width)
        counts.scatter_add_(1, digits.long(), counted.to(counts.dtype))
        at_least = counts.flip(1).cumsum(1).flip(1)
        digit = ((at_least >= remaining[:, None]).sum(1) - 1).clamp(min=0)
        above = at_least.gather(1, digit[:, None])[:, 0] - counts.gather(1, digit[:, None])[:, 0]
        found, remaining = (found << width) | digit.int(), remaining - above.int()
    return found.view(torch.float32)


def product(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    """(n_instances, n, m) batched product of (n_instances, n, depth) and (n_instances, depth, m).

    Plain torch has float32 factors in place of tf32 ones, unless it is told otherwise.
    """
    if precision == "bf16":
        left, right = left.bfloat16().float(), right.bfloat16().float()
    return torch.bmm(left, right)


def decode_levels(
    codes: Tensor,
    cutoffs: Tensor,
    decoder: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    sizes: Sequence[int],
    precision: Precision,
) -> tuple[Tensor, Tensor]:
    """What each level leaves over, ``r_l = y - (b_dec + W_dec s_l)``, where s_l are the level's codes from c_l on.

    Parameters
    ----------
    codes : (n_instances, n_rows, n_latents) pre-activations
    cutoffs : (n_instances, n_levels) c_l > 0
    decoder : (n_instances, n_latents, n_units)
    bias : (n_instances, n_units)
    target : (n_instances, n_rows, n_units)
    sizes : latents of each level

    Returns
    -------
    residuals : (n_levels, n_instances, n_rows, n_units)
    squares : (n_levels, n_instances) their sums of squares
    """
    residuals = []
    for level, size in enumerate(sizes):
        selected = _selected(codes[..., :size], cutoffs[:, level])
        residuals.append(target - bias[:, None] - product(selected, decoder[:, :size], precision))
    stacked = torch.stack(residuals)
    return stacked, torch.square(stacked).sum(dim=(2, 3))


def pull_back(
    codes: Tensor,
    cutoffs: Tensor,
    decoder: Tensor,
    residuals: Tensor,
    factors: Tensor,
    *,
    sizes: Sequence[int],
    precision: Precision,
) -> Tensor:
    """(n_instances, n_rows, n_latents) ``Σ_l f_l·1[s_l > 0]·(W_decᵀ r_l)``: the gradient of the codes.

    Parameters
    ----------
    residuals : as `decode_levels` gives them; the others are its arguments
    factors : (n_instances, n_levels) f_l
    """
    slopes = torch.zeros_like(codes)
    for level, size in enumerate(sizes):
        pulls = product(residuals[level], decoder[:, :size].transpose(1, 2), precision)
        below = codes[..., :size] < cutoffs[:, level, None, None]
        slopes[..., :size] += (factors[:, level, None, None] * pulls).masked_fill(below, 0)
    return slopes


def decoder_gradient(
    codes: Tensor,
    cutoffs: Tensor,
    residuals: Tensor,
    factors: Tensor,
    *,
    sizes: Sequence[int],
    precision: Precision,
) -> Tensor:
    """(n_instances, n_latents, n_units) ``Σ_l f_l·s_lᵀ r_l``; arguments as in `pull_back`."""
    gradient = codes.new_zeros(len(codes), codes.shape[2], residuals.shape[3])
    for level, size in enumerate(sizes):
        selected = _selected(codes[..., :size], cutoffs[:, level])
        products = product(selected.transpose(1, 2), residuals[level], precision)
        gradient[:, :size] += factors[:, level, None, None] * products
    return gradient


def adam_rows(
    parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, adam: Adam, *, unit_rows: bool = False
) -> None:
    """One step of Adam (Kingma & Ba 2015, arXiv:1412.6980), in place.

    Parameters
    ----------
    parameter, gradient, mean, square : (n_instances, …, n_columns), the last two Adam's moments
    unit_rows : first remove what of the gradient is along each row, and scale rows to unit norm afterwards
    """
    shape = (-1, *[1] * (parameter.ndim - 1))
    gradient = gradient * adam.scales.view(shape)
    if unit_rows:
        gradient = gradient - (gradient * parameter).sum(-1, keepdim=True) * parameter
    first, second = adam.betas
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    step = adam.step.double()
    rates = adam.rates * adam.factor / (1 - first**step).float()
    root = square.sqrt() / torch.sqrt(1 - second**step).float()
    parameter.sub_(rates.view(shape) * mean / (root + adam.eps))
    if unit_rows:
        parameter.div_(torch.linalg.vector_norm(parameter, dim=-1, keepdim=True))


def _selected(codes: Tensor, cutoffs: Tensor) -> Tensor:
    """Codes that are not below the cutoffs (n_instances,), 0 elsewhere; NaN stays, so that divergence is seen."""
    return codes.masked_fill(codes < cutoffs[:, None, None], 0)
