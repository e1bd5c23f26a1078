"""Smoothing and normalising binned activity; statistics come from training rows only and stay with the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nldisco_core.binned import NO_SPLIT, SPLITS, Binned, BinnedSession, Normalisation, Preprocessing, UnitStatistics
from nldisco_core.errors import DataError, IncompatibleData

__all__ = ["preprocess", "smooth"]

TRUNCATE_SIGMAS = 4.0
UNITS_AT_ONCE = 32


def preprocess(
    data: Binned,
    *,
    smooth_s: float | None,
    normalise: Normalisation,
    statistics: tuple[UnitStatistics, ...] | None = None,
) -> Binned:
    """The data smoothed, then normalised, as float32; unchanged where neither is asked for.

    Offset and scale of ``(value - offset) / scale``, over observed entries of training rows after smoothing:

    - ``global-max``: 0 and the largest absolute value of any unit; ``unit-max``: of each unit;
    - ``z-score``: mean and population standard deviation of each unit;
    - ``sqrt``: the square root is taken, 0 and 1; ``none``: no statistics.

    Sessions that share their units share one set of statistics, others have their own. A scale of zero becomes 1.
    Unobserved entries are 0.

    Parameters
    ----------
    smooth_s : sigma of the Gaussian (s), see `smooth`; None for no smoothing
    statistics : those of an earlier call, one per session, applied instead of new ones

    Raises
    ------
    DataError
        Already preprocessed, no training rows to take statistics from, or the square root of negative values.
    IncompatibleData
        Statistics of other sessions or units.
    """
    if data.preprocessing.smooth_s is not None or data.preprocessing.normalise != "none":
        raise DataError("the data are already preprocessed; start from the bins as they were recorded")
    if smooth_s is None and normalise == "none":
        return data
    values = [_smoothed(session, data.bin_ns, smooth_s) for session in data.sessions]
    if normalise == "sqrt":
        values = [_root(session, part) for session, part in zip(data.sessions, values, strict=True)]
    if statistics is None:
        statistics = () if normalise == "none" else _statistics(data, values, normalise)
    elif [len(known.scale) for known in statistics] != [session.n_units for session in data.sessions]:
        raise IncompatibleData(
            f"statistics for sessions of {[len(known.scale) for known in statistics]} units; the data have sessions of "
            f"{[session.n_units for session in data.sessions]}"
        )
    for part, session, known in zip(values, data.sessions, statistics, strict=bool(statistics)):
        _normalise(part, session, known)
    return replace(
        data,
        sessions=tuple(replace(old, activity=part) for old, part in zip(data.sessions, values, strict=True)),
        activity_kind="rate" if data.activity_kind == "rate" and normalise == "none" else "continuous",
        preprocessing=Preprocessing(smooth_s=smooth_s, normalise=normalise, statistics=statistics),
    )


def smooth(
    activity: NDArray[Any], segments: NDArray[np.int32], *, sigma_bins: float, observed: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """(n_bins, n_units) activity convolved with a Gaussian inside each segment, ``Σ_j g_ij m_j x_j / Σ_j g_ij m_j``.

    ``g_ij = exp(-(i-j)²/(2 sigma²))`` for ``|i-j| <= 4 sigma`` in one segment, else 0; m is 1 for observed entries and
    0 for others, so that a constant stays constant at the ends of segments and beside unobserved entries (normalised
    convolution, Knutsson & Westin 1993).

    Parameters
    ----------
    segments : (n_bins,) number of the contiguous stretch of each bin, not decreasing
    sigma_bins : sigma in bins
    """
    radius = int(TRUNCATE_SIGMAS * sigma_bins + 0.5)
    # As many zeros between segments as the kernel reaches keep one filter call from mixing them.
    place = np.arange(len(segments)) + np.cumsum(np.diff(segments, prepend=segments[:1]) > 0) * radius
    smoothed = np.empty(activity.shape, dtype=np.float32)
    alike = _filtered(np.ones((1, len(place)), dtype=np.float32), place, sigma_bins, radius)
    for first in range(0, activity.shape[1], UNITS_AT_ONCE):
        units = slice(first, first + UNITS_AT_ONCE)
        values, weight = activity[:, units], alike
        if observed is not None:
            values = np.where(observed[:, units], values, 0)
            weight = _filtered(observed[:, units].T, place, sigma_bins, radius)
        total = _filtered(values.T, place, sigma_bins, radius)
        smoothed[:, units] = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0).T
    return smoothed if observed is None else np.where(observed, smoothed, np.float32(0))


def _filtered(rows: NDArray[Any], place: NDArray[np.int64], sigma_bins: float, radius: int) -> NDArray[np.float32]:
    spread = np.zeros((len(rows), int(place[-1]) + 1), dtype=np.float32)
    spread[:, place] = rows
    return gaussian_filter1d(spread, sigma_bins, axis=1, mode="constant", radius=radius)[:, place]


def _smoothed(session: BinnedSession, bin_ns: int, smooth_s: float | None) -> NDArray[np.float32]:
    if smooth_s is None:
        return session.activity.astype(np.float32)
    return smooth(
        session.activity, session.segments(bin_ns), sigma_bins=smooth_s * 1e9 / bin_ns, observed=session.observed
    )


def _root(session: BinnedSession, values: NDArray[np.float32]) -> NDArray[np.float32]:
    if (values < 0).any():
        raise DataError(
            f"session {session.session_id!r}: activity goes down to {values.min():g}, which has no square root; "
            "choose normalise = 'z-score' or 'none'"
        )
    return np.sqrt(values, out=values)


def _statistics(
    data: Binned, values: Sequence[NDArray[np.float32]], normalise: Normalisation
) -> tuple[UnitStatistics, ...]:
    if normalise == "sqrt":
        return tuple(UnitStatistics(offset=np.zeros(part.shape[1]), scale=np.ones(part.shape[1])) for part in values)
    if (data.split == NO_SPLIT).all():
        raise DataError(f"normalise = {normalise!r} takes its statistics from training rows; assign splits first")
    if data.shares_units:
        return (_pooled(data.sessions, values, normalise),) * len(values)
    return tuple(_pooled([session], [part], normalise) for session, part in zip(data.sessions, values, strict=True))


def _pooled(
    sessions: Sequence[BinnedSession], values: Sequence[NDArray[np.float32]], normalise: Normalisation
) -> UnitStatistics:
    train = [session.split == SPLITS.index("train") for session in sessions]
    if not any(mask.any() for mask in train):
        names = ", ".join(repr(session.session_id) for session in sessions)
        raise DataError(
            f"session {names}: no training rows to take statistics from; split by trials or blocks, or choose "
            "normalise = 'sqrt' or 'none'"
        )
    n_units = sessions[0].n_units
    offset, scale, largest = np.zeros(n_units), np.ones(n_units), np.ones(n_units)
    for first in range(0, n_units, UNITS_AT_ONCE):
        units = slice(first, first + UNITS_AT_ONCE)
        rows = np.concatenate([part[mask, units] for part, mask in zip(values, train, strict=True)], dtype=np.float64)
        known = np.concatenate(
            [
                np.ones((int(mask.sum()), rows.shape[1]), dtype=bool) if s.observed is None else s.observed[mask, units]
                for s, mask in zip(sessions, train, strict=True)
            ]
        )
        largest[units] = np.abs(rows).max(axis=0, where=known, initial=0.0)
        if normalise == "z-score":
            n_known = np.maximum(known.sum(axis=0), 1)
            offset[units] = rows.sum(axis=0, where=known) / n_known
            scale[units] = np.sqrt(np.square(rows - offset[units]).sum(axis=0, where=known) / n_known)
    if normalise == "global-max":
        scale = np.full(n_units, largest.max())
    elif normalise == "unit-max":
        scale = largest
    # The spread of a constant is not exactly 0 in floating point.
    return UnitStatistics(offset=offset, scale=np.where(scale > np.finfo(np.float32).eps * largest, scale, 1.0))


def _normalise(values: NDArray[np.float32], session: BinnedSession, statistics: UnitStatistics) -> None:
    values -= statistics.offset.astype(np.float32)
    values /= statistics.scale.astype(np.float32)
    if session.observed is not None:
        values[~session.observed] = 0.0
