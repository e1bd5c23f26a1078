"""Velocity, acceleration and direction of a movement from its sampled positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["GAP_PERIODS", "central_differences", "direction_deg", "joined", "length"]

GAP_PERIODS = 1.5
"""Samples farther apart than this many sampling periods lie in different stretches."""

MOST_STEPS = 10_000  # of which the sampling period is taken

Floats = NDArray[np.float64]


def joined(times_s: Floats) -> NDArray[np.bool_]:
    """(n_samples - 1,) True where a sample and the next lie in one contiguous stretch."""
    steps = np.diff(times_s)
    usual = np.median(steps[:: max(len(steps) // MOST_STEPS, 1)]) if len(steps) else np.nan
    return np.asarray(steps <= GAP_PERIODS * usual)


def central_differences(times_s: Floats, values: Floats, together: NDArray[np.bool_]) -> Floats:
    """(n_samples, n_channels) change per second: ``(x[i+1] - x[i-1]) / (t[i+1] - t[i-1])``.

    One-sided at the ends of each stretch, NaN in a stretch of a single sample.

    Parameters
    ----------
    together : see `joined`
    """
    n_samples = len(times_s)
    if n_samples < 2:
        return np.full(values.shape, np.nan)
    breaks = np.flatnonzero(~together)
    ends = np.unique(np.concatenate([[0], breaks, breaks + 1, [n_samples - 1]]))
    before = ends - (together[ends - 1] & (ends > 0))
    after = ends + (together[np.minimum(ends, n_samples - 2)] & (ends < n_samples - 1))
    changed = np.empty(values.shape, order="F")  # channel after channel, as positions come
    if n_samples > 2:
        np.subtract(values[2:], values[:-2], out=changed[1:-1])
        changed[1:-1] /= (times_s[2:] - times_s[:-2])[:, None]
    elapsed_s = times_s[after] - times_s[before]
    known = elapsed_s > 0
    changed[ends] = np.nan
    changed[ends[known]] = (values[after] - values[before])[known] / elapsed_s[known, None]
    return changed


def length(vectors: Floats) -> Floats:
    """(n_samples, 1) Euclidean length of (n_samples, 2) vectors."""
    return np.asarray(np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2)[:, None])


def direction_deg(velocity: Floats, *, still_below: float) -> Floats:
    """(n_samples, 1) ``arctan2(v_y, v_x)`` in degrees in [0, 360); NaN where the speed is below `still_below`."""
    angle = np.full((len(velocity), 1), np.nan)
    moving = velocity[:, 0] ** 2 + velocity[:, 1] ** 2 >= still_below**2
    turned = np.degrees(np.arctan2(velocity[moving, 1], velocity[moving, 0]))
    turned[turned < 0] += 360.0
    angle[moving, 0] = np.where(turned >= 360.0, 0.0, turned)
    return angle
