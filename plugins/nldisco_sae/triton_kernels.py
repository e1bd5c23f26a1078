"""Kernels of the CUDA step that read and write each tensor once; `nldisco_sae.plain_kernels` says what they compute.

Importing this module imports triton. A program of a kernel works on one tile; its first axis counts tiles, the second
instances and, where each has one, levels. Sums are taken in a fixed order, so that equal input gives equal bits.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
# (the language of kernels has no annotations for pointers, and triton.jit none for kernels)
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nldisco_sae.plain_kernels import DIGIT_BITS, Adam, Precision

__all__ = ["adam_rows", "decode_levels", "decoder_gradient", "kth_largest", "product", "pull_back"]

_CHUNK = 2048  # values that one program counts
_ROWS, _LATENTS, _UNITS, _DEPTH = 64, 32, 64, 32  # edges of tiles, and what is multiplied at a time
_FORMATS: dict[Precision, str] = {"float32": "ieee", "tf32": "tf32", "bf16": "bf16"}


@triton.jit
def _count_digits(
    values, sizes, found, counts, n_rows, n_latents, n_levels, shift, WIDTH: tl.constexpr, CHUNK: tl.constexpr
):
    pair = tl.program_id(1)
    size = tl.load(sizes + pair % n_levels)
    place = tl.program_id(0) * CHUNK + tl.arange(0, CHUNK)
    inside = place < n_rows * size
    start = (pair // n_levels).to(tl.int64) * n_rows * n_latents
    value = tl.load(values + start + (place // size) * n_latents + place % size, mask=inside, other=0.0)
    bits = value.to(tl.int32, bitcast=True)
    counted = inside & (value > 0) & ((bits >> (shift + WIDTH)) == tl.load(found + pair))
    digits = tl.arange(0, 1 << WIDTH)
    count = tl.histogram((bits >> shift) & ((1 << WIDTH) - 1), 1 << WIDTH, mask=counted)
    tl.atomic_add(counts + pair * (1 << WIDTH) + digits, count, mask=count > 0)


@triton.jit
def _find_digit(counts, found, remaining, WIDTH: tl.constexpr):
    pair = tl.program_id(0)
    digits = tl.arange(0, 1 << WIDTH)
    count = tl.load(counts + pair * (1 << WIDTH) + digits)
    left = tl.load(remaining + pair)
    at_least = tl.cumsum(count, 0, reverse=True)
    digit = tl.maximum(tl.sum((at_least >= left).to(tl.int32), 0) - 1, 0)
    above = tl.sum(tl.where(digits > digit, count, 0), 0)
    tl.store(found + pair, (tl.load(found + pair) << WIDTH) | digit)
    tl.store(remaining + pair, left - above)


@triton.jit
def _multiply(left, right, total, FORMAT: tl.constexpr):
    if FORMAT == "bf16":
        total = tl.dot(left.to(tl.bfloat16), right.to(tl.bfloat16), total)
    else:
        total = tl.dot(left, right, total, input_precision=FORMAT)
    return total


@triton.jit
def _decode_levels(
    codes,
    cutoffs,
    decoder,
    bias,
    target,
    sizes,
    residuals,
    squares,
    n_rows,
    n_latents,
    n_units,
    n_instances,
    n_levels,
    FORMAT: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    tile, pair = tl.program_id(0), tl.program_id(1)
    instance, level = pair // n_levels, pair % n_levels
    size = tl.load(sizes + level)
    cutoff = tl.load(cutoffs + pair)
    n_across = tl.cdiv(n_units, UNITS)
    row = (tile // n_across) * ROWS + tl.arange(0, ROWS)
    unit = (tile % n_across) * UNITS + tl.arange(0, UNITS)
    codes += instance.to(tl.int64) * n_rows * n_latents
    decoder += instance.to(tl.int64) * n_latents * n_units
    total = tl.zeros((ROWS, UNITS), tl.float32)
    for first in range(0, size, DEPTH):
        latent = first + tl.arange(0, DEPTH)
        inside = (row < n_rows)[:, None] & (latent < size)[None, :]
        code = tl.load(codes + row[:, None] * n_latents + latent[None, :], mask=inside, other=0.0)
        code = tl.where(code < cutoff, 0.0, code)
        inside = (latent < size)[:, None] & (unit < n_units)[None, :]
        weight = tl.load(decoder + latent[:, None] * n_units + unit[None, :], mask=inside, other=0.0)
        total = _multiply(code, weight, total, FORMAT)
    inside = (row < n_rows)[:, None] & (unit < n_units)[None, :]
    offset = row[:, None] * n_units + unit[None, :]
    wanted = tl.load(target + instance.to(tl.int64) * n_rows * n_units + offset, mask=inside, other=0.0)
    shift = tl.load(bias + instance * n_units + unit, mask=unit < n_units, other=0.0)
    residual = tl.where(inside, wanted - shift[None, :] - total, 0.0)
    place = (level * n_instances + instance).to(tl.int64)
    tl.store(residuals + place * n_rows * n_units + offset, residual, mask=inside)
    tl.store(squares + place * tl.num_programs(0) + tile, tl.sum(tl.sum(residual * residual, 1), 0))


@triton.jit
def _pull_back(
    codes,
    cutoffs,
    decoder,
    residuals,
    factors,
    sizes,
    slopes,
    n_rows,
    n_latents,
    n_units,
    n_instances,
    n_levels,
    FORMAT: tl.constexpr,
    ROWS: tl.constexpr,
    LATENTS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    tile, instance = tl.program_id(0), tl.program_id(1)
    n_across = tl.cdiv(n_latents, LATENTS)
    row = (tile // n_across) * ROWS + tl.arange(0, ROWS)
    latent = (tile % n_across) * LATENTS + tl.arange(0, LATENTS)
    inside = (row < n_rows)[:, None] & (latent < n_latents)[None, :]
    offset = instance.to(tl.int64) * n_rows * n_latents + row[:, None] * n_latents + latent[None, :]
    code = tl.load(codes + offset, mask=inside, other=0.0)
    decoder += instance.to(tl.int64) * n_latents * n_units
    slope = tl.zeros((ROWS, LATENTS), tl.float32)
    for level in range(n_levels):
        size = tl.load(sizes + level)
        if (tile % n_across) * LATENTS < size:
            start = (level * n_instances + instance).to(tl.int64) * n_rows * n_units
            total = tl.zeros((ROWS, LATENTS), tl.float32)
            for first in range(0, n_units, DEPTH):
                unit = first + tl.arange(0, DEPTH)
                held = (row < n_rows)[:, None] & (unit < n_units)[None, :]
                residual = tl.load(residuals + start + row[:, None] * n_units + unit[None, :], mask=held, other=0.0)
                held = (unit < n_units)[:, None] & (latent < n_latents)[None, :]
                weight = tl.load(decoder + latent[None, :] * n_units + unit[:, None], mask=held, other=0.0)
                total = _multiply(residual, weight, total, FORMAT)
            factor = tl.load(factors + instance * n_levels + level)
            unselected = (code < tl.load(cutoffs + instance * n_levels + level)) | (latent >= size)[None, :]
            slope += tl.where(unselected, 0.0, factor * total)
    tl.store(slopes + offset, slope, mask=inside)


@triton.jit
def _decoder_gradient(
    codes,
    cutoffs,
    residuals,
    factors,
    sizes,
    gradient,
    n_rows,
    n_latents,
    n_units,
    n_instances,
    n_levels,
    FORMAT: tl.constexpr,
    LATENTS: tl.constexpr,
    UNITS: tl.constexpr,
    DEPTH: tl.constexpr,
):
    tile, instance = tl.program_id(0), tl.program_id(1)
    n_across = tl.cdiv(n_units, UNITS)
    latent = (tile // n_across) * LATENTS + tl.arange(0, LATENTS)
    unit = (tile % n_across) * UNITS + tl.arange(0, UNITS)
    codes += instance.to(tl.int64) * n_rows * n_latents
    sums = tl.zeros((LATENTS, UNITS), tl.float32)
    for level in range(n_levels):
        size = tl.load(sizes + level)
        if (tile // n_across) * LATENTS < size:
            cutoff = tl.load(cutoffs + instance * n_levels + level)
            start = (level * n_instances + instance).to(tl.int64) * n_rows * n_units
            total = tl.zeros((LATENTS, UNITS), tl.float32)
            for first in range(0, n_rows, DEPTH):
                row = first + tl.arange(0, DEPTH)
                held = (latent < size)[:, None] & (row < n_rows)[None, :]
                code = tl.load(codes + row[None, :] * n_latents + latent[:, None], mask=held, other=0.0)
                code = tl.where(code < cutoff, 0.0, code)
                held = (row < n_rows)[:, None] & (unit < n_units)[None, :]
                residual = tl.load(residuals + start + row[:, None] * n_units + unit[None, :], mask=held, other=0.0)
                total = _multiply(code, residual, total, FORMAT)
            sums += tl.load(factors + instance * n_levels + level) * total
    inside = (latent < n_latents)[:, None] & (unit < n_units)[None, :]
    start = instance.to(tl.int64) * n_latents * n_units
    tl.store(gradient + start + latent[:, None] * n_units + unit[None, :], sums, mask=inside)


@triton.jit
def _adam_rows(
    parameter,
    gradient,
    mean,
    square,
    rates,
    factor,
    scales,
    step,
    n_rows,
    n_columns,
    first,
    second,
    log_first,
    log_second,
    eps,
    UNIT_ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    instance = tl.program_id(1)
    column = tl.arange(0, COLUMNS)
    inside = column < n_columns
    place = (instance * n_rows + tl.program_id(0)).to(tl.int64) * n_columns + column
    old = tl.load(parameter + place, mask=inside, other=0.0)
    slope = tl.load(gradient + place, mask=inside, other=0.0) * tl.load(scales + instance)
    if UNIT_ROWS:
        slope -= tl.sum(slope * old, 0) * old
    moment = tl.load(mean + place, mask=inside, other=0.0)
    moment += first * (slope - moment)
    power = tl.load(square + place, mask=inside, other=0.0)
    power += second * (slope * slope - power)
    count = tl.load(step).to(tl.float64)
    rate = tl.load(rates + instance) * tl.load(factor) / (1.0 - tl.exp(count * log_first)).to(tl.float32)
    root = tl.sqrt(power) / tl.sqrt(1.0 - tl.exp(count * log_second)).to(tl.float32)
    new = tl.where(inside, old - rate * moment / (root + eps), 0.0)
    if UNIT_ROWS:
        new /= tl.sqrt(tl.sum(new * new, 0))
    tl.store(parameter + place, new, mask=inside)
    tl.store(mean + place, moment, mask=inside)
    tl.store(square + place, power, mask=inside)


def kth_largest(values: Tensor, sizes: Sequence[int], places: Tensor) -> Tensor:
    """As `nldisco_sae.plain_kernels.kth_largest`."""
    values = values.contiguous()
    n_instances, n_rows, n_latents = values.shape
    n_pairs = n_instances * len(sizes)
    found = torch.zeros(n_pairs, dtype=torch.int32, device=values.device)
    counts = found.new_zeros(len(DIGIT_BITS), n_pairs * 2 ** max(DIGIT_BITS))
    remaining = places.to(torch.int32).flatten().clone()
    levels, n_chunks = _on_device(tuple(sizes), values.device), triton.cdiv(n_rows * max(sizes), _CHUNK)
    shift = sum(DIGIT_BITS)
    for width, count in zip(DIGIT_BITS, counts, strict=True):
        shift -= width
        _count_digits[(n_chunks, n_pairs)](
            values, levels, found, count, n_rows, n_latents, len(sizes), shift, WIDTH=width, CHUNK=_CHUNK
        )
        _find_digit[(n_pairs,)](count, found, remaining, WIDTH=width)
    return found.view(torch.float32).view(n_instances, len(sizes))


def product(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    """As `nldisco_sae.plain_kernels.product`, by torch's own library, which knows bf16 factors with float32 sums."""
    if precision == "bf16":
        return torch.bmm(left.bfloat16(), right.bfloat16(), out_dtype=torch.float32)
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
    """As `nldisco_sae.plain_kernels.decode_levels`."""
    (n_instances, n_rows, n_latents), n_units, n_levels = codes.shape, decoder.shape[2], len(sizes)
    n_tiles = triton.cdiv(n_rows, _ROWS) * triton.cdiv(n_units, _UNITS)
    residuals = codes.new_empty(n_levels, n_instances, n_rows, n_units)
    squares = codes.new_empty(n_levels, n_instances, n_tiles)
    _decode_levels[(n_tiles, n_instances * n_levels)](
        *(tensor.contiguous() for tensor in (codes, cutoffs, decoder, bias, target)),
        _on_device(tuple(sizes), codes.device),
        residuals,
        squares,
        n_rows,
        n_latents,
        n_units,
        n_instances,
        n_levels,
        FORMAT=_FORMATS[precision],
        ROWS=_ROWS,
        UNITS=_UNITS,
        DEPTH=_DEPTH,
    )
    return residuals, squares.sum(2)


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
    """As `nldisco_sae.plain_kernels.pull_back`."""
    (n_instances, n_rows, n_latents), n_units = codes.shape, decoder.shape[2]
    slopes = codes.new_empty(codes.shape)
    _pull_back[(triton.cdiv(n_rows, _ROWS) * triton.cdiv(n_latents, _LATENTS), n_instances)](
        *(tensor.contiguous() for tensor in (codes, cutoffs, decoder, residuals, factors)),
        _on_device(tuple(sizes), codes.device),
        slopes,
        n_rows,
        n_latents,
        n_units,
        n_instances,
        len(sizes),
        FORMAT=_FORMATS[precision],
        ROWS=_ROWS,
        LATENTS=_LATENTS,
        DEPTH=_DEPTH,
    )
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
    """As `nldisco_sae.plain_kernels.decoder_gradient`."""
    (n_instances, n_rows, n_latents), n_units = codes.shape, residuals.shape[3]
    gradient = codes.new_empty(n_instances, n_latents, n_units)
    _decoder_gradient[(triton.cdiv(n_latents, _LATENTS) * triton.cdiv(n_units, _UNITS), n_instances)](
        *(tensor.contiguous() for tensor in (codes, cutoffs, residuals, factors)),
        _on_device(tuple(sizes), codes.device),
        gradient,
        n_rows,
        n_latents,
        n_units,
        n_instances,
        len(sizes),
        FORMAT=_FORMATS[precision],
        LATENTS=_LATENTS,
        UNITS=_UNITS,
        DEPTH=_DEPTH,
    )
    return gradient


def adam_rows(
    parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, adam: Adam, *, unit_rows: bool = False
) -> None:
    """As `nldisco_sae.plain_kernels.adam_rows`; what is changed in place must be contiguous."""
    n_instances, n_columns = len(parameter), parameter.shape[-1]
    n_rows = parameter.numel() // (n_instances * n_columns)
    first, second = adam.betas
    _adam_rows[(n_rows, n_instances)](
        parameter,
        gradient.contiguous(),
        mean,
        square,
        adam.rates,
        adam.factor,
        adam.scales,
        adam.step,
        n_rows,
        n_columns,
        1 - first,
        1 - second,
        math.log(first),
        math.log(second),
        adam.eps,
        UNIT_ROWS=unit_rows,
        COLUMNS=triton.next_power_of_2(n_columns),
    )


@lru_cache(maxsize=64)
def _on_device(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Copied once: a copy from the host cannot be captured in a graph."""
    return torch.tensor(sizes, dtype=torch.int32, device=device)
