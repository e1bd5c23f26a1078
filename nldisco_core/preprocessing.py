"""Smoothing and normalising binned activity; statistics come from training rows only and stay with the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from nldisco_core.binned import NO_SPLIT, SPLITS, Binned, BinnedSession, Normalisation, Preprocessing, UnitStatistics
from nldisco_core.errors import DataError, IncompatibleData
from nldisco_core.row_blocks import row_slices
from nldisco_core.scratch import allocate

__all__ = ["preprocess", "smooth"]

TRUNCATE_SIGMAS = 4.0
UNITS_AT_ONCE = 32
ROWS_AT_ONCE = 1 << 15


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
    Unobserved entries are 0. Bins are read block by block; results larger than `nldisco_core.scratch.LARGEST_IN_MEMORY`
    lie in a scratch file.

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
    n_bytes = sum(4 * session.activity.size for session in data.sessions)
    values = [allocate(session.activity.shape, np.float32, together=n_bytes) for session in data.sessions]
    for part, session in zip(values, data.sessions, strict=True):
        _smooth_into(part, session, data.bin_ns, smooth_s)
        if normalise == "sqrt":
            _root(part, session)
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
    radius = _radius(sigma_bins)
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


def _radius(sigma_bins: float) -> int:
    """Bins that the kernel reaches to either side."""
    return int(TRUNCATE_SIGMAS * sigma_bins + 0.5)


def _filtered(rows: NDArray[Any], place: NDArray[np.int64], sigma_bins: float, radius: int) -> NDArray[np.float32]:
    spread = np.zeros((len(rows), int(place[-1]) + 1), dtype=np.float32)
    spread[:, place] = rows
    return gaussian_filter1d(spread, sigma_bins, axis=1, mode="constant", radius=radius)[:, place]


def _smooth_into(values: NDArray[np.float32], session: BinnedSession, bin_ns: int, smooth_s: float | None) -> None:
    """Fill `values` with the session's activity, smoothed where that is asked for."""
    if smooth_s is None:
        for rows in row_slices(session.n_bins, ROWS_AT_ONCE):
            values[rows] = session.activity[rows]
        return
    sigma_bins, segments = smooth_s * 1e9 / bin_ns, session.segments(bin_ns)
    reach = _radius(sigma_bins)
    for rows in row_slices(session.n_bins, max(ROWS_AT_ONCE, 4 * reach)):
        around = slice(max(rows.start - reach, 0), rows.stop + reach)
        observed = None if session.observed is None else session.observed[around]
        smoothed = smooth(session.activity[around], segments[around], sigma_bins=sigma_bins, observed=observed)
        values[rows] = smoothed[rows.start - around.start :][: rows.stop - rows.start]


def _root(values: NDArray[np.float32], session: BinnedSession) -> None:
    """Take the square root in place."""
    if len(values) and (lowest := values.min()) < 0:
        raise DataError(
            f"session {session.session_id!r}: activity goes down to {lowest:g}, which has no square root; "
            "choose normalise = 'z-score' or 'none'"
        )
    np.sqrt(values, out=values)


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
    offset, scale = np.zeros(n_units), np.ones(n_units)
    largest, total, n_known, squares = np.zeros((4, n_units))
    for rows, known in _training_blocks(sessions, values, train):
        np.maximum(largest, np.abs(rows).max(axis=0, where=known, initial=0.0), out=largest)
        total += rows.sum(axis=0, where=known)
        n_known += known.sum(axis=0)
    if normalise == "z-score":
        offset = total / np.maximum(n_known, 1)
        for rows, known in _training_blocks(sessions, values, train):
            squares += np.square(rows - offset).sum(axis=0, where=known)
        scale = np.sqrt(squares / np.maximum(n_known, 1))
    if normalise == "global-max":
        scale = np.full(n_units, largest.max())
    elif normalise == "unit-max":
        scale = largest
    # The spread of a constant is not exactly 0 in floating point.
    return UnitStatistics(offset=offset, scale=np.where(scale > np.finfo(np.float32).eps * largest, scale, 1.0))


def _training_blocks(
    sessions: Sequence[BinnedSession], values: Sequence[NDArray[np.float32]], train: Sequence[NDArray[np.bool_]]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Training rows (n_rows, n_units) block by block, and which of their entries were observed."""
    for session, part, mask in zip(sessions, values, train, strict=True):
        for rows in row_slices(session.n_bins, ROWS_AT_ONCE):
            chosen = mask[rows]
            found = part[rows][chosen].astype(np.float64)
            yield (
                found,
                np.ones(found.shape, dtype=bool) if session.observed is None else session.observed[rows][chosen],
            )


def _normalise(values: NDArray[np.float32], session: BinnedSession, statistics: UnitStatistics) -> None:
    for rows in row_slices(session.n_bins, ROWS_AT_ONCE):
        values[rows] -= statistics.offset.astype(np.float32)
        values[rows] /= statistics.scale.astype(np.float32)
        if session.observed is not None:
            values[rows][~session.observed[rows]] = 0.0
