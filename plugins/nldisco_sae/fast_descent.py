"""Compiled loops of the fast training step: gradients of all latents, and Adam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nldisco_sae.fast_kernels import Entries, Floats, Integers, Moments, four, kernel

__all__ = ["gradients", "step_latents", "step_vector"]


@kernel
def _add_rows(
    first: int,
    last: int,
    edges: Integers,
    places: NDArray[np.int32],
    values: Floats,
    table: Floats,
    gradient: Floats,
) -> None:
    """Add to gradient[first:last] rows of a table, weighted: latent d's are entries edges[d - first - 1] to the next.

    Four rows at a time add to the same gradient.
    """
    begin = 0
    for latent in range(first, last):
        end = edges[latent - first]
        for i in range(begin, end, 4):
            p0, p1, p2, p3, v0, v1, v2, v3 = four(places, values, i, end)
            for column in range(table.shape[1]):
                gradient[latent, column] += (
                    v0 * table[p0, column] + v1 * table[p1, column] + v2 * table[p2, column] + v3 * table[p3, column]
                )
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

    Parameters
    ----------
    encoder_gradient, decoder_gradient : (n_latents, n_inputs) and (n_latents, n_targets)
    bias_gradient : (n_latents,) of the encoder's bias
    squares : (n_latents,) of all a latent's gradients
    """
    latent_at, value_at, bucket_at, slope_at, starts, stops, _ = entries
    n_rows, n_inputs = x.shape
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
    _add_rows(first, last, edges, places, values, pulls.reshape(-1, pulls.shape[2]), decoder_gradient)
    _add_rows(first, last, edges, rows, slopes, x, encoder_gradient)
    begin = 0
    for latent in range(first, last):
        shift = bias_gradient[latent]
        for i in range(begin, edges[latent - first]):
            shift += slopes[i]
        begin = edges[latent - first]
        bias_gradient[latent] = shift
        along, total = np.float32(0), shift * shift
        for column in range(n_inputs):
            encoder_gradient[latent, column] -= shift * input_mean[column]
            total += encoder_gradient[latent, column] * encoder_gradient[latent, column]
        for column in range(decoder.shape[1]):
            along += decoder_gradient[latent, column] * decoder[latent, column]
        for column in range(decoder.shape[1]):
            decoder_gradient[latent, column] -= along * decoder[latent, column]
            total += decoder_gradient[latent, column] * decoder_gradient[latent, column]
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
    encoder, decoder : (n_inputs, n_latents) and (n_latents, n_targets)
    scale : factor on gradients
    adam : 1 - beta1, beta2, 1 - beta2, 1 / sqrt(1 - beta2^t), epsilon, rate / (1 - beta1^t)
    """
    encoder_value, encoder_mean, encoder_square = encoder
    decoder_value, decoder_mean, decoder_square = decoder
    fresh, keep, fresh_square, correction, epsilon, rate = adam[0], adam[1], adam[2], adam[3], adam[4], adam[5]
    factor = np.float32(scale)
    for begin in range(first, last, 16):  # sixteen latents share the encoder's cache lines
        n_tile = min(16, last - begin)
        for row in range(encoder_value.shape[0]):
            for j in range(n_tile):
                place = np.uint64(begin) + np.uint64(j)
                slope = factor * encoder_gradient[place, row]
                mean = encoder_mean[row, place]
                mean += fresh * (slope - mean)
                square = keep * encoder_square[row, place] + fresh_square * slope * slope
                encoder_mean[row, place] = mean
                encoder_square[row, place] = square
                encoder_value[row, place] -= rate * mean / (np.sqrt(square) * correction + epsilon)
    for latent in range(first, last):
        for row in range(encoder_value.shape[0]):
            encoder_gradient[latent, row] = 0
        total = np.float32(0)
        for column in range(decoder_value.shape[1]):
            slope = factor * decoder_gradient[latent, column]
            mean = decoder_mean[latent, column]
            mean += fresh * (slope - mean)
            square = keep * decoder_square[latent, column] + fresh_square * slope * slope
            decoder_mean[latent, column] = mean
            decoder_square[latent, column] = square
            value = decoder_value[latent, column] - rate * mean / (np.sqrt(square) * correction + epsilon)
            decoder_value[latent, column] = value
            total += value * value
            decoder_gradient[latent, column] = 0
        shrink = np.float32(1) / np.sqrt(total)
        for column in range(decoder_value.shape[1]):
            decoder_value[latent, column] *= shrink


@kernel
def step_vector(vector: Moments, gradient: Floats, scale: float, adam: Floats) -> None:
    """Adam on a bias; `adam` as in `step_latents`."""
    parameter, means, squares = vector
    for i in range(gradient.shape[0]):
        slope = np.float32(scale) * gradient[i]
        mean = means[i] + adam[0] * (slope - means[i])
        square = adam[1] * squares[i] + adam[2] * slope * slope
        means[i] = mean
        squares[i] = square
        parameter[i] -= adam[5] * mean / (np.sqrt(square) * adam[3] + adam[4])
