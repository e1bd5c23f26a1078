"""Signals on the bins of a grid: averaged, circularly averaged or sampled at bin centres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.errors import DataError, unknown_name
from nldisco_core.grid import Grid, interval_of, to_ns, union_ns
from nldisco_core.session import Session, Signal

__all__ = ["align_signal", "align_signals", "bin_means", "derived_speed"]

EVERYWHERE_NS = np.array([[np.iinfo(np.int64).min, np.iinfo(np.int64).max]])
# A mean direction whose resultant is shorter than this is rounding error: opposite angles have none.
LEAST_RESULTANT = 1e-9


def align_signals(session: Session, grid: Grid, names: Sequence[str] | None = None) -> dict[str, Covariate]:
    """The named signals of a session (None: all) on bins, and a ``<name>_speed`` for each position that has none.

    Raises
    ------
    DataError
        The session has no signal of that name; the nearest are named.
    """
    aligned: dict[str, Covariate] = {}
    for name in session.signals if names is None else names:
        if name not in session.signals:
            raise DataError(f"session {session.session_id!r}: {unknown_name('signal', name, session.signals)}")
        signal = session.signals[name]
        aligned[name] = align_signal(signal, grid)
        if signal.kind == "position" and f"{name}_speed" not in session.signals:
            aligned[f"{name}_speed"] = derived_speed(signal, grid)
    return aligned


def align_signal(signal: Signal, grid: Grid) -> Covariate:
    """One value per bin and channel, NaN where not defined.

    - linear and position: mean of the bin's samples that are finite; where the bin holds no sample, the one nearest to
      its centre if that lies within one sampling period (the median interval between samples);
    - circular: the same with the circular mean ``atan2(mean sin, mean cos)``, in ``[0, period)``; NaN where the angles
    cancel;
    - discrete: the last sample at or before the bin's centre. It holds for one sampling period, or, where the source
      states the support (as it does for signals stored as changes), until the end of its support interval.

    Only samples inside the support count, and none speaks for a bin centred in another support interval.
    """
    support = _support(signal)
    times_ns = to_ns(signal.times_s)
    supported = interval_of(times_ns, support) >= 0
    times_ns, samples = times_ns[supported], signal.values[supported]
    samples = np.where(np.isfinite(samples), samples, np.nan)
    if signal.kind == "discrete":
        values = _last_samples(times_ns, samples, grid, support, holds=signal.support_s is not None)
    elif signal.period is not None:
        turn = 2 * np.pi / signal.period
        sine = bin_means(times_ns, np.sin(samples * turn), grid, support)
        cosine = bin_means(times_ns, np.cos(samples * turn), grid, support)
        values = np.arctan2(sine, cosine) / turn % signal.period
        values[values >= signal.period] = 0.0  # the remainder of a tiny negative angle rounds up to a whole turn
        values[np.hypot(sine, cosine) < LEAST_RESULTANT] = np.nan
    else:
        values = bin_means(times_ns, samples, grid, support)
    return Covariate(
        name=signal.name,
        values=values,
        kind=signal.kind,
        period=signal.period,
        physical_unit=signal.physical_unit,
        channels=signal.channels,
        categories=signal.categories,
    )


def bin_means(
    times_ns: NDArray[np.int64],
    samples: NDArray[np.float64],
    grid: Grid,
    support: NDArray[np.int64] = EVERYWHERE_NS,
) -> NDArray[np.float64]:
    """(n_bins, n_channels) mean over each bin of (n_samples, n_channels) samples, NaN samples left out.

    Where a bin holds no sample, the sample nearest to its centre if it lies within one sampling period and in the same
    support interval, else NaN.
    """
    rows = grid.rows_of(times_ns)
    means = np.full((grid.n_bins, samples.shape[1]), np.nan)
    for channel, values in enumerate(samples.T):
        used = (rows >= 0) & ~np.isnan(values)
        n_used = np.bincount(rows[used], minlength=grid.n_bins)
        total = np.bincount(rows[used], weights=values[used], minlength=grid.n_bins)
        np.divide(total, n_used, out=means[:, channel], where=n_used > 0)
    empty = np.flatnonzero(np.bincount(rows + 1, minlength=grid.n_bins + 1)[1:] == 0)
    if len(times_ns) > 1 and len(empty):
        nearest, distance = _nearest(times_ns, grid.centre_ns[empty], support)
        near = distance <= _sampling_period_ns(times_ns)
        means[empty[near]] = samples[nearest[near]]
    return means


def derived_speed(position: Signal, grid: Grid) -> Covariate:
    """Speed (physical unit of the position per second) by central differences, one-sided at the ends of each stretch.

    ``|x[i+1] - x[i-1]| / (t[i+1] - t[i-1])`` with x and t the means over the samples of a bin, so that a bin of one
    sample more than its neighbour does not look fast; where the bins are shorter than the sampling period, x and t are
    samples, and the speed is put on bins like any signal. Differences never cross a gap between bins, a missing
    position or the border of a support interval. NaN where a position has no neighbour.
    """
    name = f"{position.name}_speed"
    unit = f"{position.physical_unit}/s" if position.physical_unit else None
    support, period_s = _support(position), position.sampling_period_s
    if period_s * 1e9 > grid.bin_ns:
        dropouts = np.cumsum(np.diff(position.times_s, prepend=position.times_s[0]) > 2 * period_s)
        stretch = interval_of(to_ns(position.times_s), support) + dropouts * (len(support) + 1)
        speed = _central_speed(position.times_s, position.values, stretch)
        signal = replace(position, name=name, values=speed, kind="linear", physical_unit=unit, channels=())
        return align_signal(signal, grid)
    # A bin at a border of the support belongs to the interval that starts last before the bin ends.
    interval = np.searchsorted(support[:, 0], grid.start_ns + grid.bin_ns)
    stretch = interval + grid.stretch * (len(support) + 1)
    known = np.logical_and.reduce(np.isfinite(position.values), axis=1, keepdims=True)
    timed = np.where(known, np.column_stack([position.values, position.times_s]), np.nan)
    means = align_signal(replace(position, values=timed, channels=()), grid).values
    speed = _central_speed(means[:, -1], means[:, :-1], stretch)
    return Covariate(name=name, values=speed, kind="linear", physical_unit=unit)


def _central_speed(
    times_s: NDArray[np.float64], position: NDArray[np.float64], stretch: NDArray[np.int64]
) -> NDArray[np.float64]:
    known = np.logical_and.reduce(np.isfinite(position), axis=1)
    position = np.where(known[:, None], position, 0.0)
    joined = known[1:] & known[:-1] & (stretch[1:] == stretch[:-1])
    index = np.arange(len(position))
    before = index - np.concatenate([[False], joined])
    after = index + np.concatenate([joined, [False]])
    distance = np.sqrt(np.square(position[after] - position[before]).sum(axis=1))
    elapsed_s = times_s[after] - times_s[before]
    speed = np.full(len(position), np.nan)
    np.divide(distance, elapsed_s, out=speed, where=elapsed_s > 0)
    return speed


def _support(signal: Signal) -> NDArray[np.int64]:
    return EVERYWHERE_NS if signal.support_s is None else union_ns(signal.support_s)


def _sampling_period_ns(times_ns: NDArray[np.int64]) -> float:
    return float(np.median(np.diff(times_ns)))


def _last_samples(
    times_ns: NDArray[np.int64], samples: NDArray[np.float64], grid: Grid, support: NDArray[np.int64], *, holds: bool
) -> NDArray[np.float64]:
    values = np.full((grid.n_bins, samples.shape[1]), np.nan)
    if len(times_ns) == 0:
        return values
    centre_ns = grid.centre_ns
    last = np.searchsorted(times_ns, centre_ns, side="right") - 1
    interval = interval_of(centre_ns, support)
    valid = (last >= 0) & (interval >= 0) & (interval_of(times_ns, support)[last] == interval)
    if not holds:
        limit_ns = _sampling_period_ns(times_ns) if len(times_ns) > 1 else 0.0
        valid &= centre_ns - times_ns[last] <= limit_ns
    values[valid] = samples[last[valid]]
    return values


def _nearest(
    times_ns: NDArray[np.int64], targets_ns: NDArray[np.int64], support: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Index of the sample nearest to each target within its support interval, and its distance (ns, inf where none)."""
    following = np.searchsorted(times_ns, targets_ns)
    candidates = np.stack([following - 1, following]).clip(0, len(times_ns) - 1)
    distance = np.abs(times_ns[candidates] - targets_ns).astype(np.float64)
    interval = interval_of(targets_ns, support)
    distance[(interval_of(times_ns, support)[candidates] != interval) | (interval < 0)] = np.inf
    best = distance.argmin(axis=0)
    columns = np.arange(len(targets_ns))
    return candidates[best, columns], distance[best, columns]
