"""Compiled loops of the fast training step: predict at every level, compare, and send the gradient back to activations.

Logarithms and exponentials are written out, to float32 rounding: the mathematical library's are called one number at a
time, which takes forty times as long.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nldisco_sae.fast_kernels import Entries, Floats, Sets, four, kernel

__all__ = ["LOSSES", "OUTPUTS", "exponential", "logarithm_above_one", "natural_logarithm", "reconstruct_rows"]

LOSSES: Final = {"mse": 0, "msle": 1, "poisson": 2}
OUTPUTS: Final = {"identity": 0, "relu": 1, "softplus": 2, "exp": 3}

_MSE, _MSLE = LOSSES["mse"], LOSSES["msle"]
_IDENTITY, _RELU, _SOFTPLUS = OUTPUTS["identity"], OUTPUTS["relu"], OUTPUTS["softplus"]
_LN2 = np.float32(np.log(2))
_LOG2_E = np.float32(1 / np.log(2))
_ROOT_HALF = np.int32(0x3F3504F3)  # bits of sqrt(1/2)
_TINY = np.float32(np.finfo(np.float32).tiny)
_ZERO, _HALF, _ONE, _TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_ODD = (np.float32(2 / 3), np.float32(2 / 5), np.float32(2 / 7), np.float32(2 / 9))
_FACTORIALS = tuple(np.float32(1 / n) for n in (6, 24, 120, 720, 5040))


@kernel
def _logarithm(value: np.float32, above_one: np.float32) -> np.float32:
    """log of a normal positive `value`, given also ``value - 1`` without the rounding of the sum.

    With ``value = 2^n f``, f next to 1 and ``s = (f - 1)/(f + 1)``: ``n log 2 + 2 (s + s³/3 + s⁵/5 + …)``.
    """
    bits = np.float32(value).view(np.int32)
    power = (bits - _ROOT_HALF) >> np.int32(23)
    rest = np.int32(bits - (power << np.int32(23))).view(np.float32) - _ONE
    rest = above_one if power == 0 else rest
    s = rest / (rest + _TWO)
    q = s * s
    series = ((_ODD[3] * q + _ODD[2]) * q + _ODD[1]) * q + _ODD[0]
    return np.float32(power) * _LN2 + s * (series * q + _TWO) + _ZERO * above_one  # which keeps NaN


@kernel
def natural_logarithm(value: np.float32) -> np.float32:
    """log of a normal positive float32."""
    return _logarithm(value, value - _ONE)


@kernel
def logarithm_above_one(value: np.float32) -> np.float32:
    """log(1 + value) of a float32 that is not negative."""
    return _logarithm(_ONE + value, value)


@kernel
def exponential(value: np.float32) -> np.float32:
    """exp of a float32: ``2^n exp r`` with r below log(2)/2, from its series; 0 where it would be subnormal."""
    power = np.floor(value * _LOG2_E + _HALF)
    power = np.float32(128) if power > 128 else power
    power = np.float32(-127) if power < -127 else power
    r = value - power * _LN2
    r = -_ONE if r < -_ONE else r
    series = (((_FACTORIALS[4] * r + _FACTORIALS[3]) * r + _FACTORIALS[2]) * r + _FACTORIALS[1]) * r + _FACTORIALS[0]
    scale = np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)
    return (((series * r + _HALF) * r + _ONE) * r + _ONE) * scale


@kernel
def _apply_output(output: int, values: Floats, slopes: Floats, n: int) -> None:
    """Turn decoded values into predictions, in place, with their derivatives; identity has none written."""
    if output == _RELU:
        for i in range(n):
            slopes[i] = _ONE if values[i] > 0 else _ZERO
            values[i] = _ZERO if values[i] < 0 else values[i]
    elif output == _SOFTPLUS:
        for i in range(n):
            value = values[i]
            small = exponential(-value if value > 0 else value)
            above = _ONE / (_ONE + small)
            slopes[i] = above if value > 0 else small * above
            values[i] = (value if value > 0 else _ZERO) + logarithm_above_one(small)
    elif output != _IDENTITY:
        for i in range(n):
            values[i] = exponential(values[i])
            slopes[i] = values[i]


@kernel
def _prepare(loss: int, targets: Floats, wanted: Floats, n: int) -> np.float32:
    """Fill `wanted` with what predictions are compared with; gives what the loss has beside, whatever is predicted."""
    beside = _ZERO
    if loss == _MSE:
        for i in range(n):
            wanted[i] = targets[i]
    elif loss == _MSLE:
        for i in range(n):
            wanted[i] = logarithm_above_one(targets[i])
    else:
        for i in range(n):
            count = targets[i]
            wanted[i] = count
            beside += count * natural_logarithm(count if count > 0 else _ONE) - count
    return beside


@kernel
def _compare(loss: int, tau: np.float32, wanted: Floats, predictions: Floats, n: int) -> np.float32:
    """Sum of losses less what `_prepare` gave; predictions are replaced, in place, by the gradients of their losses."""
    total = _ZERO
    if loss == _MSE:
        for i in range(n):
            error = predictions[i] - wanted[i]
            total += error * error
            predictions[i] = _TWO * error
    elif loss == _MSLE:
        for i in range(n):
            prediction = predictions[i]
            positive = _ZERO if prediction < 0 else prediction
            error = tau * logarithm_above_one(positive) - wanted[i]
            total += error * error
            predictions[i] = _ZERO if prediction < 0 else _TWO * tau * error / (_ONE + positive)
    else:
        for i in range(n):
            rate = predictions[i]
            rate = _TINY if rate < _TINY else rate
            total += rate - wanted[i] * natural_logarithm(rate)
            predictions[i] = _ONE - wanted[i] / rate
    return total


@kernel
def reconstruct_rows(
    first: int,
    last: int,
    y: Floats,
    bias: Floats,
    decoder: Floats,
    sets: Sets,
    loss: int,
    output: int,
    tau: float,
    factors: Floats,
    entries: Entries,
    pulls: Floats,
    bias_gradient: Floats,
    losses: NDArray[np.float64],
    residuals: Floats,
) -> None:
    """Predict rows first to last at every level, and find the gradient of predictions and activations.

    A latent's levels are one of a few sets. With P_m the part that set m decodes, ``z_l = b + Σ_{m with l} P_m`` and
    ``y^_l = out(z_l)``. With G_l the gradient of level l's loss by z_l, ``S_m = Σ_{l in m} c_l G_l`` (`pulls`): the
    gradient of an activation of latent d is ``S_m·W_d`` and its share of that of W_d is ``a S_m``. For nested levels
    this is the prefix algebra.

    Parameters
    ----------
    y : (n_rows, n_targets)
    loss, output : numbers of `LOSSES` and `OUTPUTS`
    factors : (n_levels,) c_l, weight of G_l
    pulls : (n_sets, n_rows, n_targets), written where a row has entries of that set
    bias_gradient, losses : (n_targets,) and (n_levels,) Σ c_l G_l and the sum of losses, added to
    residuals : (n_levels, n_rows, n_targets) filled with y - y^_l, or without rows where nobody asks
    """
    latent_at, value_at, _, slope_at, starts, _, edges = entries
    members = sets.members
    n_sets, n_levels = members.shape
    tau_32, n = np.float32(tau), y.shape[1]
    parts = np.zeros((n_sets, n), np.float32)
    slopes_of_levels = np.empty((n_levels, n), np.float32)
    targets, wanted = np.empty(n, np.float32), np.empty(n, np.float32)
    predictions, slopes = np.empty(n, np.float32), np.empty(n, np.float32)
    for row in range(first, last):
        begin = starts[row]
        for bucket in range(n_sets):
            end = edges[row, bucket]
            for i in range(begin, end, 4):
                l0, l1, l2, l3, v0, v1, v2, v3 = four(latent_at, value_at, i, end)
                for column in range(n):
                    parts[bucket, column] += (
                        v0 * decoder[l0, column]
                        + v1 * decoder[l1, column]
                        + v2 * decoder[l2, column]
                        + v3 * decoder[l3, column]
                    )
            begin = end
        for column in range(n):
            targets[column] = y[row, column]
        beside = _prepare(loss, targets, wanted, n)
        for level in range(n_levels):
            for column in range(n):
                predictions[column] = bias[column]
            for bucket in range(n_sets):
                if members[bucket, level]:
                    for column in range(n):
                        predictions[column] += parts[bucket, column]
            _apply_output(output, predictions, slopes, n)
            if residuals.shape[1]:
                for column in range(n):
                    residuals[level, row, column] = targets[column] - predictions[column]
            losses[level] += beside + _compare(loss, tau_32, wanted, predictions, n)
            if output != _IDENTITY:
                for column in range(n):
                    predictions[column] *= slopes[column]
            for column in range(n):
                slopes_of_levels[level, column] = factors[level] * predictions[column]
                bias_gradient[column] += factors[level] * predictions[column]
        begin = starts[row]
        for bucket in range(n_sets):
            end = edges[row, bucket]
            if begin < end:
                for column in range(n):
                    parts[bucket, column] = 0
                for level in range(n_levels):
                    if members[bucket, level]:
                        for column in range(n):
                            parts[bucket, column] += slopes_of_levels[level, column]
                for column in range(n):
                    pulls[bucket, row, column] = parts[bucket, column]
                for i in range(begin, end, 4):
                    l0, l1, l2, l3, _, _, _, _ = four(latent_at, value_at, i, end)
                    s0, s1, s2, s3 = _ZERO, _ZERO, _ZERO, _ZERO
                    for column in range(n):
                        pull = parts[bucket, column]
                        s0 += pull * decoder[l0, column]
                        s1 += pull * decoder[l1, column]
                        s2 += pull * decoder[l2, column]
                        s3 += pull * decoder[l3, column]
                    for k, slope in enumerate((s0, s1, s2, s3)):
                        if i + k < end:
                            slope_at[i + k] += slope
                for column in range(n):
                    parts[bucket, column] = 0
            begin = end
