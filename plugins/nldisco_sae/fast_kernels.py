"""Compiled loops of the fast training step on CPUs; each works on a range of rows or latents that it alone writes.

Importing this module imports numba. Compiled code is cached beside the module or in the user's cache folder. Loops keep
their bodies free of slices: making one costs as much as a hundred multiplications.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Entries",
    "Moments",
    "encode_rows",
    "encoder_offset",
    "gradients",
    "kth_largest",
    "reconstruct_rows",
    "step_latents",
    "step_vector",
]

F = TypeVar("F", bound=Callable[..., Any])
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class Entries(NamedTuple):
    """Activations of a batch that may be selected, then those that are: row after row, latents ascending.

    Attributes
    ----------
    latent, value, bucket, slope : (n_rows·n_latents,) latent, activation, set of levels, gradient of the activation; a
        chunk of rows fills its part from the front
    start, stop : (n_rows,) where each row's entries begin and end
    """

    latent: NDArray[np.int32]
    value: Floats
    bucket: NDArray[np.uint8]
    slope: Floats
    start: Integers
    stop: Integers


class Moments(NamedTuple):
    """A trained array of one instance with Adam's two moments, all of the same shape."""

    parameter: Floats
    mean: Floats
    square: Floats


def kernel(function: F) -> F:
    """Compile without the interpreter's lock; sums may be reordered, but NaN and infinity stay what they are."""
    settings: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        compiled: F = numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # no folder that a cache can be written to
        compiled = numba.njit(**settings)(function)
    return compiled


@kernel
def encoder_offset(encoder: Floats, bias: Floats, input_mean: Floats) -> Floats:
    """(n_latents,) b_enc - b_pre W_enc; encoder (n_units, n_latents)."""
    offset = bias.copy()
    for unit in range(encoder.shape[0]):
        for latent in range(encoder.shape[1]):
            offset[latent] -= input_mean[unit] * encoder[unit, latent]
    return offset


@kernel
def encode_rows(
    values: Floats,
    rows: Integers,
    encoder: Floats,
    offset: Floats,
    level_sizes: Integers,
    lowest: Floats,
    first: int,
    last: int,
    x: Floats,
    entries: Entries,
) -> None:
    """Fill x[first:last] with the rows' values, and entries with their pre-activations of at least `lowest`.

    Four rows and four units at a time, so that sums stay in registers; units silent in all four rows are skipped.

    Parameters
    ----------
    values : (n_samples, n_units) training data
    rows : (n_rows,) of the batch
    encoder : (n_units·n_latents,) flattened
    offset : (n_latents,) b_enc - b_pre W_enc
    level_sizes, lowest : (n_levels,) size, and smallest value kept among the latents that a level adds
    """
    latent_at, value_at, _, _, starts, stops = entries
    n_units, n_latents = values.shape[1], offset.shape[0]
    sums = np.empty((4, n_latents + 80), np.float32)  # rows a power of two apart would compete for the same cache lines
    places = np.empty(n_units + 3, np.uint64)
    inputs = np.empty((4, n_units + 3), np.float32)
    width = np.uint64(n_latents)
    n_found = first * n_latents
    for block in range(first, last, 4):
        n_block = min(4, last - block)
        for r in range(n_block):
            row = rows[block + r]
            for unit in range(n_units):
                x[block + r, unit] = values[row, unit]
        n_active = 0
        for unit in range(n_units):
            active = False
            for r in range(4):
                value = x[block + r, unit] if r < n_block else np.float32(0)
                inputs[r, n_active] = value
                active |= value != 0
            places[n_active] = np.uint64(unit) * width
            n_active += active
        for extra in range(n_active, n_active + 3):
            places[extra] = 0
            for r in range(4):
                inputs[r, extra] = 0
        for r in range(4):
            for j in range(n_latents):
                sums[r, j] = offset[j]
        for q in range(0, n_active, 4):
            p0, p1, p2, p3 = places[q], places[q + 1], places[q + 2], places[q + 3]
            a0, a1, a2, a3 = inputs[0, q], inputs[0, q + 1], inputs[0, q + 2], inputs[0, q + 3]
            b0, b1, b2, b3 = inputs[1, q], inputs[1, q + 1], inputs[1, q + 2], inputs[1, q + 3]
            c0, c1, c2, c3 = inputs[2, q], inputs[2, q + 1], inputs[2, q + 2], inputs[2, q + 3]
            d0, d1, d2, d3 = inputs[3, q], inputs[3, q + 1], inputs[3, q + 2], inputs[3, q + 3]
            for j in range(n_latents):
                latent = np.uint64(j)
                w0, w1, w2, w3 = encoder[p0 + latent], encoder[p1 + latent], encoder[p2 + latent], encoder[p3 + latent]
                sums[0, j] += a0 * w0 + a1 * w1 + a2 * w2 + a3 * w3
                sums[1, j] += b0 * w0 + b1 * w1 + b2 * w2 + b3 * w3
                sums[2, j] += c0 * w0 + c1 * w1 + c2 * w2 + c3 * w3
                sums[3, j] += d0 * w0 + d1 * w1 + d2 * w2 + d3 * w3
        for r in range(n_block):
            starts[block + r] = n_found
            begin = 0
            for level in range(level_sizes.shape[0]):
                limit = lowest[level]
                for j in range(begin, level_sizes[level]):
                    if not sums[r, j] < limit:  # NaN is kept, so that the loss shows it
                        latent_at[n_found] = j
                        value_at[n_found] = sums[r, j]
                        n_found += 1
                begin = level_sizes[level]
            stops[block + r] = n_found


@kernel
def kth_largest(bits: NDArray[np.int32], latent: NDArray[np.int32], ranges: Integers, size: int, k: int) -> int:
    """Bits of the k-th largest positive value among latents below `size`; 0 where there are fewer.

    Bits of positive floats ascend with their value: three histograms of 11, 10 and 10 bits narrow it down.

    Parameters
    ----------
    bits, latent : float32 values seen as integers, and the latent of each
    ranges : (n_ranges, 2) first and last entry of each part
    """
    histogram = np.zeros(2048, np.int64)
    prefix, wanted = 0, k
    for shift, above in ((20, 31), (10, 20), (0, 10)):
        histogram[:] = 0
        for part in range(ranges.shape[0]):
            for i in range(ranges[part, 0], ranges[part, 1]):
                pattern = bits[i] & 0x7FFFFFFF
                if latent[i] < size and pattern >> above == prefix >> above:
                    histogram[(pattern >> shift) & 2047 if shift == 20 else (pattern >> shift) & 1023] += 1
        digit = 2047
        while digit >= 0 and histogram[digit] < wanted:
            wanted -= histogram[digit]
            digit -= 1
        if digit < 0:
            return 0
        prefix |= digit << shift
    return prefix


@kernel
def four(places: NDArray[np.int32], values: Floats, i: int, end: int) -> tuple[Any, ...]:
    """Four entries from i on; beyond the end the last place again, with the value 0."""
    j1, j2, j3 = min(i + 1, end - 1), min(i + 2, end - 1), min(i + 3, end - 1)
    zero = np.float32(0)
    v1, v2, v3 = values[j1] if j1 > i else zero, values[j2] if j2 > j1 else zero, values[j3] if j3 > j2 else zero
    return places[i], places[j1], places[j2], places[j3], values[i], v1, v2, v3


@kernel
def reconstruct_rows(
    first: int,
    last: int,
    x: Floats,
    bias: Floats,
    decoder: Floats,
    cutoffs: Floats,
    group: NDArray[np.uint8],
    lookup: NDArray[np.uint8],
    members: NDArray[np.bool_],
    factors: Floats,
    entries: Entries,
    pulls: Floats,
    counts: NDArray[np.int32],
    bias_gradient: Floats,
    losses: NDArray[np.float64],
    residuals: Floats,
) -> None:
    """Select, predict at every level, and find the gradient of predictions and activations, for rows first to last.

    A latent's levels are one of a few sets ("buckets"). With P_m the part that bucket m predicts,
    ``E_l = b + Σ_{m with l} P_m - x``, ``S_m = Σ_{l in m} c_l E_l`` (`pulls`): the gradient of an activation of latent
    d is ``S_m·W_d`` and its share of that of W_d is ``a S_m``. For nested levels this is the prefix algebra.

    Parameters
    ----------
    cutoffs, factors : (n_levels,) smallest value selected, and c_l: weight of E_l in the gradient
    group : (n_latents,) first level with that latent
    lookup : (n_levels, n_levels + 1) bucket of a group's latent with an activation that so many levels select
    members : (n_buckets, n_levels) levels of each bucket
    pulls : (n_buckets, n_rows, n_units), written where a row has entries of that bucket
    counts : (n_latents,) rows with each latent active at the deepest level, added to
    bias_gradient, losses : (n_units,) and (n_levels,) Σ c_l E_l and Σ E_l², added to
    residuals : (n_levels, n_rows, n_units) filled with -E_l, or without rows where nobody asks
    """
    latent_at, value_at, bucket_at, slope_at, starts, stops = entries
    n_units, n_levels, n_buckets = x.shape[1], cutoffs.shape[0], members.shape[0]
    parts = np.zeros((n_buckets, n_units), np.float32)
    errors = np.empty((n_levels, n_units), np.float32)
    chosen = np.empty(group.shape[0], np.int32)
    values = np.empty(group.shape[0], np.float32)
    buckets = np.empty(group.shape[0], np.uint8)
    edges = np.zeros(n_buckets + 1, np.int64)
    kept = starts[first] if first < last else 0
    for row in range(first, last):
        n_chosen = 0
        edges[:] = 0
        for i in range(starts[row], stops[row]):
            latent, value = latent_at[i], value_at[i]
            n_passed = 0
            for level in range(group[latent], n_levels):
                n_passed += not value < cutoffs[level]
            if n_passed:
                bucket = lookup[group[latent], n_passed]
                counts[latent] += members[bucket, n_levels - 1]
                edges[bucket + 1] += 1
                chosen[n_chosen], values[n_chosen], buckets[n_chosen] = latent, value, bucket
                n_chosen += 1
        starts[row] = kept
        edges[0] = kept
        for bucket in range(n_buckets):
            edges[bucket + 1] += edges[bucket]
        for i in range(n_chosen):
            place = edges[buckets[i]]
            edges[buckets[i]] += 1
            latent_at[place], value_at[place], bucket_at[place] = chosen[i], values[i], buckets[i]
        kept += n_chosen
        stops[row] = kept
        begin = starts[row]
        for bucket in range(n_buckets):
            end = edges[bucket]
            for i in range(begin, end, 4):
                l0, l1, l2, l3, v0, v1, v2, v3 = four(latent_at, value_at, i, end)
                for unit in range(n_units):
                    parts[bucket, unit] += (
                        v0 * decoder[l0, unit]
                        + v1 * decoder[l1, unit]
                        + v2 * decoder[l2, unit]
                        + v3 * decoder[l3, unit]
                    )
            begin = end
        for level in range(n_levels):
            for unit in range(n_units):
                errors[level, unit] = bias[unit] - x[row, unit]
            for bucket in range(n_buckets):
                if members[bucket, level]:
                    for unit in range(n_units):
                        errors[level, unit] += parts[bucket, unit]
            total = np.float32(0)
            for unit in range(n_units):
                total += errors[level, unit] * errors[level, unit]
                bias_gradient[unit] += factors[level] * errors[level, unit]
            losses[level] += total
            if residuals.shape[1]:
                for unit in range(n_units):
                    residuals[level, row, unit] = -errors[level, unit]
        begin = starts[row]
        for bucket in range(n_buckets):
            end = edges[bucket]
            if begin < end:
                for unit in range(n_units):
                    parts[bucket, unit] = 0
                for level in range(n_levels):
                    if members[bucket, level]:
                        for unit in range(n_units):
                            parts[bucket, unit] += factors[level] * errors[level, unit]
                for unit in range(n_units):
                    pulls[bucket, row, unit] = parts[bucket, unit]
                for i in range(begin, end, 4):
                    l0, l1, l2, l3, _, _, _, _ = four(latent_at, value_at, i, end)
                    s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                    for unit in range(n_units):
                        pull = parts[bucket, unit]
                        s0 += pull * decoder[l0, unit]
                        s1 += pull * decoder[l1, unit]
                        s2 += pull * decoder[l2, unit]
                        s3 += pull * decoder[l3, unit]
                    for k, slope in enumerate((s0, s1, s2, s3)):
                        if i + k < end:
                            slope_at[i + k] = slope
                for unit in range(n_units):
                    parts[bucket, unit] = 0
            begin = end


@kernel
def gradients(
    first: int,
    last: int,
    x: Floats,
    input_mean: Floats,
    decoder: Floats,
    entries: Entries,
    pulls: Floats,
    encoder_gradient: Floats,
    bias_gradient: Floats,
    decoder_gradient: Floats,
    squares: NDArray[np.float64],
) -> None:
    """Add to the gradients of latents first to last, remove the decoder's part along its rows, and sum squares.

    Entries are brought in the order of latents first, so that four rows at a time add to the same gradient.

    Parameters
    ----------
    encoder_gradient, decoder_gradient : (n_latents, n_units)
    bias_gradient : (n_latents,) of the encoder's bias
    squares : (n_latents,) of all a latent's gradients
    """
    latent_at, value_at, bucket_at, slope_at, starts, stops = entries
    n_rows, n_units = x.shape
    edges = np.zeros(last - first + 1, np.int64)
    for row in range(n_rows):
        for i in range(starts[row], stops[row]):
            if first <= latent_at[i] < last:
                edges[latent_at[i] - first + 1] += 1
    for j in range(last - first):
        edges[j + 1] += edges[j]
    rows = np.empty(edges[-1], np.int32)
    places = np.empty(edges[-1], np.int32)
    values = np.empty(edges[-1], np.float32)
    slopes = np.empty(edges[-1], np.float32)
    for row in range(n_rows):
        for i in range(starts[row], stops[row]):
            if first <= latent_at[i] < last:
                place = edges[latent_at[i] - first]
                edges[latent_at[i] - first] += 1
                rows[place], places[place] = row, bucket_at[i] * n_rows + row
                values[place], slopes[place] = value_at[i], slope_at[i]
    flat = pulls.reshape(-1, n_units)
    begin = 0
    for latent in range(first, last):
        end = edges[latent - first]
        shift = bias_gradient[latent]
        for i in range(begin, end, 4):
            p0, p1, p2, p3, v0, v1, v2, v3 = four(places, values, i, end)
            r0, r1, r2, r3, s0, s1, s2, s3 = four(rows, slopes, i, end)
            shift += s0 + s1 + s2 + s3
            for unit in range(n_units):
                decoder_gradient[latent, unit] += (
                    v0 * flat[p0, unit] + v1 * flat[p1, unit] + v2 * flat[p2, unit] + v3 * flat[p3, unit]
                )
            for unit in range(n_units):
                encoder_gradient[latent, unit] += (
                    s0 * x[r0, unit] + s1 * x[r1, unit] + s2 * x[r2, unit] + s3 * x[r3, unit]
                )
        begin = end
        bias_gradient[latent] = shift
        along, total = np.float32(0), shift * shift
        for unit in range(n_units):
            encoder_gradient[latent, unit] -= shift * input_mean[unit]
            along += decoder_gradient[latent, unit] * decoder[latent, unit]
        for unit in range(n_units):
            decoder_gradient[latent, unit] -= along * decoder[latent, unit]
            total += decoder_gradient[latent, unit] * decoder_gradient[latent, unit]
            total += encoder_gradient[latent, unit] * encoder_gradient[latent, unit]
        squares[latent] = total


@kernel
def step_latents(
    first: int,
    last: int,
    encoder: Moments,
    decoder: Moments,
    encoder_gradient: Floats,
    decoder_gradient: Floats,
    scale: float,
    adam: Floats,
) -> None:
    """Adam on encoder and decoder of latents first to last, decoder rows back to unit norm, gradients back to zero.

    Parameters
    ----------
    encoder, decoder : (n_units, n_latents) and (n_latents, n_units)
    scale : factor on gradients
    adam : 1 - beta1, beta2, 1 - beta2, 1 / sqrt(1 - beta2^t), epsilon, rate / (1 - beta1^t)
    """
    encoder_value, encoder_mean, encoder_square = encoder
    decoder_value, decoder_mean, decoder_square = decoder
    n_units = decoder_value.shape[1]
    fresh, keep, fresh_square, correction, epsilon, rate = adam[0], adam[1], adam[2], adam[3], adam[4], adam[5]
    factor = np.float32(scale)
    for begin in range(first, last, 16):  # sixteen latents share the encoder's cache lines
        n_tile = min(16, last - begin)
        for unit in range(n_units):
            for j in range(n_tile):
                column = np.uint64(begin) + np.uint64(j)
                slope = factor * encoder_gradient[column, unit]
                mean = encoder_mean[unit, column]
                mean += fresh * (slope - mean)
                square = keep * encoder_square[unit, column] + fresh_square * slope * slope
                encoder_mean[unit, column] = mean
                encoder_square[unit, column] = square
                encoder_value[unit, column] -= rate * mean / (np.sqrt(square) * correction + epsilon)
    for latent in range(first, last):
        total = np.float32(0)
        for unit in range(n_units):
            slope = factor * decoder_gradient[latent, unit]
            mean = decoder_mean[latent, unit]
            mean += fresh * (slope - mean)
            square = keep * decoder_square[latent, unit] + fresh_square * slope * slope
            decoder_mean[latent, unit] = mean
            decoder_square[latent, unit] = square
            value = decoder_value[latent, unit] - rate * mean / (np.sqrt(square) * correction + epsilon)
            decoder_value[latent, unit] = value
            total += value * value
            encoder_gradient[latent, unit] = 0
            decoder_gradient[latent, unit] = 0
        shrink = np.float32(1) / np.sqrt(total)
        for unit in range(n_units):
            decoder_value[latent, unit] *= shrink


@kernel
def step_vector(vector: Moments, gradient: Floats, scale: float, adam: Floats) -> None:
    """Adam on a bias."""
    parameter, means, squares = vector
    for i in range(gradient.shape[0]):
        slope = np.float32(scale) * gradient[i]
        mean = means[i] + adam[0] * (slope - means[i])
        square = adam[1] * squares[i] + adam[2] * slope * slope
        means[i] = mean
        squares[i] = square
        parameter[i] -= adam[5] * mean / (np.sqrt(square) * adam[3] + adam[4])
