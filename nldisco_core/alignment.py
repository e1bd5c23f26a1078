"""Signals on the bins of a grid: averaged, circularly averaged or sampled at bin centres."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.errors import DataError, unknown_name
from nldisco_core.grid import Grid, interval_of, to_ns, union_ns
from nldisco_core.placement import EVERYWHERE_NS, Placement, place, sampling_period_ns
from nldisco_core.session import ReadsInBlocks, Session, Signal

__all__ = ["align_signal", "align_signals", "bin_means", "derived_speed"]

# A mean direction whose resultant is shorter than this is rounding error: opposite angles have none.
LEAST_RESULTANT = 1e-9


def align_signals(session: Session, grid: Grid, names: Sequence[str] | None = None) -> dict[str, Covariate]:
    """The named signals of a session (None: all) on bins, and a ``<name>_speed`` for each position that has none.

    Raises
    ------
    DataError
        The session has no signal of that name; the nearest are named.
    """
    chosen = tuple(session.signals if names is None else names)
    for name in chosen:
        if name not in session.signals:
            raise DataError(f"session {session.session_id!r}: {unknown_name('signal', name, session.signals)}")
    if isinstance(session.signals, ReadsInBlocks):
        return _aligned_in_blocks(session.signals, chosen, tuple(session.signals), grid)
    return dict(_aligned({name: session.signals[name] for name in chosen}, tuple(session.signals), grid))


def _aligned(signals: Mapping[str, Signal], known: Collection[str], grid: Grid) -> Iterator[tuple[str, Covariate]]:
    placed: dict[tuple[int, int], Placement] = {}  # many signals have the very same times
    for name, signal in signals.items():
        placement = None
        if signal.support_s is None and signal.kind != "discrete":
            key = signal.times_s.ctypes.data, len(signal.times_s)
            if key not in placed:
                placed[key] = place(to_ns(signal.times_s), grid)
            placement = placed[key]
        covariate = align_signal(signal, grid, placement)
        yield name, covariate
        if signal.kind == "position" and f"{name}_speed" not in known:
            yield f"{name}_speed", derived_speed(signal, grid, placement, covariate.values)


def _aligned_in_blocks(
    signals: ReadsInBlocks, names: Sequence[str], known: Collection[str], grid: Grid
) -> dict[str, Covariate]:
    """As `_aligned` of the whole signals: blocks are two bins and more apart, so no bin or speed depends on two."""
    found: dict[str, Covariate] = {}
    values: dict[str, NDArray[np.float64]] = {}
    for block in signals.blocks(names, min_gap_s=3e-9 * grid.bin_ns):
        first, stop = _rows_near(next(iter(block.values())), grid)
        for name, covariate in _aligned(block, known, grid.part(first, stop)):
            if name not in found:
                found[name] = covariate
                values[name] = np.full((grid.n_bins, len(covariate.channels)), np.nan)
            defined = ~np.isnan(covariate.values)
            values[name][first:stop][defined] = covariate.values[defined]
    derived = {name: f"{name}_speed" for name in names if f"{name}_speed" not in known}
    order = (each for name in names for each in (name, derived.get(name)) if each in found)
    return {name: replace(found[name], values=values[name]) for name in order}


def _rows_near(signal: Signal, grid: Grid) -> tuple[int, int]:
    """Rows of the bins within one bin or one sampling period of the samples of a signal."""
    if len(signal.times_s) == 0:
        return 0, 0
    longest_s = np.diff(signal.times_s).max(initial=0.0)  # at least the sampling period
    margin_ns = grid.bin_ns + round(longest_s * 1e9)
    first_ns, last_ns = to_ns(signal.times_s[[0, -1]])
    first = np.searchsorted(grid.start_ns, first_ns - margin_ns)
    return int(first), int(np.searchsorted(grid.start_ns, last_ns + margin_ns, side="right"))


def align_signal(signal: Signal, grid: Grid, placement: Placement | None = None) -> Covariate:
    """One value per bin and channel, NaN where not defined.

    - linear and position: mean of the bin's samples that are finite; where the bin holds no sample, the one nearest to
      its centre if that lies within one sampling period (the median interval between samples);
    - circular: the same with the circular mean ``atan2(mean sin, mean cos)``, in ``[0, period)``; NaN where the angles
    cancel;
    - discrete: the last sample at or before the bin's centre. It holds for one sampling period, or, where the source
      states the support (as it does for signals stored as changes), until the end of its support interval.

    Only samples inside the support count, and none speaks for a bin centred in another support interval.

    Parameters
    ----------
    placement : of the signal's samples on the grid where it is known already; only for signals without support
    """
    support, samples = _support(signal), signal.values
    if placement is None:
        times_ns = to_ns(signal.times_s)
        if signal.support_s is not None:
            supported = interval_of(times_ns, support) >= 0
            times_ns, samples = times_ns[supported], samples[supported]
        placement = place(times_ns, grid, support) if signal.kind != "discrete" else None
    if placement is None:
        values = _last_samples(times_ns, samples, grid, support, holds=signal.support_s is not None)
    elif signal.period is not None:
        values = _circular_means(placement, samples, signal.period)
    else:
        values = placement.means(samples)
    return Covariate(
        name=signal.name,
        values=values,
        kind=signal.kind,
        period=signal.period,
        physical_unit=signal.physical_unit,
        channels=signal.channels,
        categories=signal.categories,
    )


def _circular_means(placement: Placement, samples: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    turn, known = 2 * np.pi / period, np.isfinite(samples)
    sine, cosine = (
        placement.means(function(samples * turn, out=np.full(samples.shape, np.nan), where=known))
        for function in (np.sin, np.cos)
    )
    values = np.arctan2(sine, cosine) / turn % period
    values[values >= period] = 0.0  # the remainder of a tiny negative angle rounds up to a whole turn
    values[np.hypot(sine, cosine) < LEAST_RESULTANT] = np.nan
    return np.asarray(values)


def bin_means(
    times_ns: NDArray[np.int64],
    samples: NDArray[np.float64],
    grid: Grid,
    support: NDArray[np.int64] = EVERYWHERE_NS,
) -> NDArray[np.float64]:
    """(n_bins, n_channels) mean over each bin of (n_samples, n_channels) samples, those not finite left out.

    Where a bin holds no sample, the sample nearest to its centre if it lies within one sampling period and in the same
    support interval, else NaN.
    """
    return place(times_ns, grid, support).means(samples)


def derived_speed(
    position: Signal,
    grid: Grid,
    placement: Placement | None = None,
    means: NDArray[np.float64] | None = None,
) -> Covariate:
    """Speed (physical unit of the position per second) by central differences, one-sided at the ends of each stretch.

    ``|x[i+1] - x[i-1]| / (t[i+1] - t[i-1])`` with x and t the means over the samples of a bin, so that a bin of one
    sample more than its neighbour does not look fast; where the bins are shorter than the sampling period, x and t are
    samples, and the speed is put on bins like any signal. Differences never cross a gap between bins, a missing
    position or the border of a support interval. NaN where a position has no neighbour.

    Parameters
    ----------
    placement, means : of the position's samples on the grid, and the position on bins, where they are known already
    """
    name = f"{position.name}_speed"
    unit = f"{position.physical_unit}/s" if position.physical_unit else None
    support = _support(position)
    period_ns = sampling_period_ns(to_ns(position.times_s)) if placement is None else placement.period_ns
    if period_ns > grid.bin_ns:
        dropouts = np.cumsum(np.diff(position.times_s, prepend=position.times_s[0]) > 2e-9 * period_ns)
        stretch = interval_of(to_ns(position.times_s), support) + dropouts * (len(support) + 1)
        speed = _central_speed(position.times_s, position.values, stretch)
        signal = replace(position, name=name, values=speed, kind="linear", physical_unit=unit, channels=())
        return align_signal(signal, grid)
    # A bin at a border of the support belongs to the interval that starts last before the bin ends.
    interval = np.searchsorted(support[:, 0], grid.start_ns + grid.bin_ns)
    stretch = interval + grid.stretch * (len(support) + 1)
    if placement is not None and means is not None and _all_finite(position.values):
        time_means = placement.mean_times_s
    else:
        timed = np.column_stack([position.values, position.times_s])
        timed[~np.isfinite(timed).all(axis=1)] = np.nan
        together = align_signal(replace(position, values=timed, channels=()), grid).values
        means, time_means = together[:, :-1], together[:, -1]
    speed = _central_speed(time_means, means, stretch)
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


def _all_finite(values: NDArray[np.float64]) -> bool:
    """Whether no value is infinite or NaN; where that is so, a finite sum tells it in one pass."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _support(signal: Signal) -> NDArray[np.int64]:
    return EVERYWHERE_NS if signal.support_s is None else union_ns(signal.support_s)


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
        limit_ns = sampling_period_ns(times_ns) if len(times_ns) > 1 else 0.0
        valid &= centre_ns - times_ns[last] <= limit_ns
    spoken = samples[last[valid]]
    values[valid] = np.where(np.isfinite(spoken), spoken, np.nan)
    return values
