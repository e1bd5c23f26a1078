"""Decoding codes of single bins on the CPU where most are 0: the transposed convolution and its gradients, compiled.

A code's kernel is added to a contiguous run of the window, and so is its gradient: only what is not 0 costs anything.
Importing this module imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nldisco_sae.fast_kernels import Floats, Integers, four, kernel
from nldisco_sae.sequences import ConvolutionParameters, SequenceParameters, TransformerParameters

__all__ = ["sparse_decoding"]


class Codes(NamedTuple):
    """Codes that are not 0, bin after bin.

    Attributes
    ----------
    edges : (n_bins + 1,) where each bin's begin and the last one's end
    latent, value : of each
    """

    edges: Integers
    latent: NDArray[np.int32]
    value: Floats


@kernel
def _list_codes(dense: Floats, codes: Codes) -> None:
    """Fill latents and values from codes (n_bins, n_latents); the edges are known."""
    edges, latent_at, value_at = codes
    for row in range(dense.shape[0]):
        place = edges[row]
        for latent in range(dense.shape[1]):
            if dense[row, latent] != 0:
                latent_at[place], value_at[place] = latent, dense[row, latent]
                place += 1


@kernel
def _decode(first: int, last: int, n_lags: int, codes: Codes, kernels: Floats, predicted: Floats) -> None:
    """Add kernels (n_latents, n_lags·n_units) to windows first to last of predicted (n_rows, n_lags·n_units)."""
    edges, latent_at, value_at = codes
    n_units = predicted.shape[1] // n_lags
    for row in range(first, last):
        for step in range(n_lags):
            begin, end, from_here = (
                edges[row * n_lags + step],
                edges[row * n_lags + step + 1],
                np.uint64(step * n_units),
            )
            for i in range(begin, end, 4):
                l0, l1, l2, l3, v0, v1, v2, v3 = four(latent_at, value_at, i, end)
                for column in range((n_lags - step) * n_units):
                    predicted[row, from_here + np.uint64(column)] += (
                        v0 * kernels[l0, column]
                        + v1 * kernels[l1, column]
                        + v2 * kernels[l2, column]
                        + v3 * kernels[l3, column]
                    )


@kernel
def _code_slopes(
    first: int, last: int, n_lags: int, codes: Codes, kernels: Floats, slopes: Floats, found: Floats
) -> None:
    """Fill found (n_bins, n_latents) with gradients of windows first to last; slopes are those of predictions."""
    edges, latent_at, value_at = codes
    n_units = slopes.shape[1] // n_lags
    zero = np.float32(0)
    for row in range(first, last):
        for step in range(n_lags):
            this = row * n_lags + step
            begin, end, from_here = edges[this], edges[this + 1], np.uint64(step * n_units)
            for i in range(begin, end, 4):
                l0, l1, l2, l3, _, _, _, _ = four(latent_at, value_at, i, end)
                s0, s1, s2, s3 = zero, zero, zero, zero
                for column in range((n_lags - step) * n_units):
                    slope = slopes[row, from_here + np.uint64(column)]
                    s0 += slope * kernels[l0, column]
                    s1 += slope * kernels[l1, column]
                    s2 += slope * kernels[l2, column]
                    s3 += slope * kernels[l3, column]
                found[this, l3], found[this, l2], found[this, l1], found[this, l0] = s3, s2, s1, s0


@kernel
def _kernel_slopes(first: int, last: int, n_lags: int, codes: Codes, slopes: Floats, found: Floats) -> None:
    """Add the gradients of kernels first to last to found (n_latents, n_lags·n_units).

    Codes are brought in the order of latents, then steps, first, so that four rows at a time add to the same gradient.
    """
    edges, latent_at, value_at = codes
    n_units = slopes.shape[1] // n_lags
    places = np.zeros((last - first) * n_lags + 1, np.int64)
    for row in range(edges.shape[0] - 1):
        for i in range(edges[row], edges[row + 1]):
            if first <= latent_at[i] < last:
                places[(latent_at[i] - first) * n_lags + row % n_lags + 1] += 1
    for j in range(places.shape[0] - 1):
        places[j + 1] += places[j]
    rows, values = np.empty(places[-1], np.int32), np.empty(places[-1], np.float32)
    for row in range(edges.shape[0] - 1):
        for i in range(edges[row], edges[row + 1]):
            if first <= latent_at[i] < last:
                group = (latent_at[i] - first) * n_lags + row % n_lags
                rows[places[group]], values[places[group]] = row // n_lags, value_at[i]
                places[group] += 1
    begin = 0
    for latent in range(first, last):
        for step in range(n_lags):
            end, from_here = places[(latent - first) * n_lags + step], np.uint64(step * n_units)
            for i in range(begin, end, 4):
                r0, r1, r2, r3, v0, v1, v2, v3 = four(rows, values, i, end)
                for column in range((n_lags - step) * n_units):
                    there = from_here + np.uint64(column)
                    found[latent, column] += (
                        v0 * slopes[r0, there]
                        + v1 * slopes[r1, there]
                        + v2 * slopes[r2, there]
                        + v3 * slopes[r3, there]
                    )
            begin = end


class _Convolved(torch.autograd.Function):
    """``combine(codes, rows)`` of `SequenceParameters`. Codes that are 0 get no gradient: their masks would drop it."""

    @staticmethod
    def forward(ctx: Any, codes: Tensor, rows: Tensor, n_lags: int) -> Tensor:
        """(n_instances, n_rows, n_lags·n_units) of codes (n_instances, n_rows·n_lags, n_chosen)."""
        kernels = rows.detach().contiguous()
        listed = [_listed(one) for one in codes.detach().contiguous().numpy()]
        predicted = torch.zeros(len(codes), codes.shape[1] // n_lags, rows.shape[2])
        for one, table, out in zip(listed, kernels.numpy(), predicted.numpy(), strict=True):
            _in_parts(_decode, len(out), n_lags, one, table, out)
        ctx.save_for_backward(kernels)
        ctx.listed, ctx.n_lags = listed, n_lags
        return predicted

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Gradients of codes and of kernels, where they are asked for."""
        (kernels,), slopes = ctx.saved_tensors, gradients[0].contiguous().numpy()
        n_instances, n_latents, _ = kernels.shape
        of_codes = of_kernels = None
        if ctx.needs_input_grad[0]:
            of_codes = torch.zeros(n_instances, slopes.shape[1] * ctx.n_lags, n_latents)
            for one, table, slope, out in zip(ctx.listed, kernels.numpy(), slopes, of_codes.numpy(), strict=True):
                _in_parts(_code_slopes, len(slope), ctx.n_lags, one, table, slope, out)
        if ctx.needs_input_grad[1]:
            of_kernels = torch.zeros_like(kernels)
            for one, slope, out in zip(ctx.listed, slopes, of_kernels.numpy(), strict=True):
                _in_parts(_kernel_slopes, n_latents, ctx.n_lags, one, slope, out)
        return of_codes, of_kernels, None


class _SparseDecoding(SequenceParameters):
    def combine(self, codes: Tensor, rows: Tensor) -> Tensor:
        """As `SequenceParameters.combine`."""
        predicted: Tensor = _Convolved.apply(codes, rows, self.n_lags)  # type: ignore[no-untyped-call]  # torch's
        return predicted


@dataclass(frozen=True, kw_only=True, eq=False)
class _SparseConvolution(_SparseDecoding, ConvolutionParameters):
    pass


@dataclass(frozen=True, kw_only=True, eq=False)
class _SparseTransformer(_SparseDecoding, TransformerParameters):
    pass


def sparse_decoding(parameters: SequenceParameters) -> SequenceParameters:
    """The same parameters, on the CPU, that decode what is not 0 alone."""
    kind = _SparseTransformer if isinstance(parameters, TransformerParameters) else _SparseConvolution
    return kind(**parameters.named())


def _listed(dense: Floats) -> Codes:
    edges = np.concatenate([[0], np.cumsum(np.count_nonzero(dense, axis=1))])
    codes = Codes(edges=edges, latent=np.empty(edges[-1], np.int32), value=np.empty(edges[-1], np.float32))
    _list_codes(dense, codes)
    return codes


def _in_parts(work: Callable[..., None], n_items: int, *arguments: Any) -> None:
    """Items in as many parts as torch has threads, side by side."""
    n_threads = torch.get_num_threads()
    edges = [n_items * part // n_threads for part in range(n_threads + 1)]
    if n_threads == 1:
        work(0, n_items, *arguments)
    else:
        list(_pool(n_threads).map(lambda part: work(edges[part], edges[part + 1], *arguments), range(n_threads)))


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads)
