"""Activity of one session on bins: spike counts, averaged traces, or bins the source already holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_core.alignment import bin_means
from nldisco_core.errors import DataError, InvalidRecording, unknown_name
from nldisco_core.grid import Grid, interval_of, run_starts, to_ns, union_ns
from nldisco_core.scratch import allocate, release
from nldisco_core.session import Prebinned, Session, SpikeTrains, Traces

__all__ = ["GriddedActivity", "grid_activity", "spike_counts"]

UNITS_AT_ONCE = 64
BINS_AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class GriddedActivity:
    """Activity on a grid of bins.

    Attributes
    ----------
    values : (n_bins, n_units) unsigned integers for counts, float32 for rates (Hz) and continuous values; 0 where
        unobserved
    observed : (n_bins, n_units) False where the unit was not recorded throughout the bin; None means all observed
    """

    grid: Grid
    values: NDArray[Any]
    observed: NDArray[np.bool_] | None


def grid_activity(session: Session, *, bin_s: float, epoch: str | None = None) -> GriddedActivity:
    """Activity of all units on bins of `bin_s` seconds.

    The grid starts at the session's first observed time, or at the start of each interval labelled `epoch`; partial
    bins at the end are dropped, and so are bins before or after the session's span. Of overlapping intervals of one
    label the later begins where the earlier ends. Binned sources keep their own grid.

    Raises
    ------
    DataError
        Unknown epoch, no room for a single bin, or a width that a binned source cannot give.
    InvalidRecording
        A binned source whose bins overlap, or with counts that are no counts.
    """
    bin_ns = round(bin_s * 1e9)
    if bin_ns < 1:
        raise DataError(f"bin_s is {bin_s}; expected a positive number of seconds, at least 1e-9")
    stretches = None if epoch is None else _epoch_ns(session, epoch)
    if session.prebinned is not None:
        grid, values, known = _regroup(session, session.prebinned, bin_ns, stretches)
    else:
        span = to_ns([session.span_s])
        grid = _require_bins(session, _grid_in_span(span if stretches is None else stretches, span[0], bin_ns))
        if session.spike_times is not None:
            values, known = spike_counts(session.spike_times, grid), None
        elif session.traces is not None:
            values, known = _trace_means(session.traces, grid)
    observed = _inside_observed(session, grid, known)
    if observed is not None:
        for start in range(0, len(values), BINS_AT_ONCE):
            rows = slice(start, start + BINS_AT_ONCE)
            values[rows][~observed[rows]] = 0
            release(values)
    return GriddedActivity(grid=grid, values=values, observed=observed)


def spike_counts(trains: SpikeTrains, grid: Grid) -> NDArray[Any]:
    """(n_bins, n_units) spikes of each unit in each bin, as the smallest unsigned integer that holds them.

    Above `nldisco_core.scratch.LARGEST_IN_MEMORY` bytes the counts are memory-mapped and written a block of bins at a
    time.
    """
    rows, counts, largest = [], [], 0
    room = np.empty(int(trains.n_spikes.sum()), dtype=np.min_scalar_type(grid.n_bins))  # one piece is given back whole
    for times_s in trains:
        bins = grid.rows_of(to_ns(times_s))
        inside = bins >= 0
        bins = bins if inside.all() else bins[inside]
        first = run_starts(bins)
        in_bin = np.diff(first, append=len(bins))
        largest = max(largest, int(in_bin.max(initial=0)))
        own, room = room[: len(first)], room[len(first) :]
        own[:] = bins[first]
        rows.append(own)
        counts.append(in_bin.astype(np.min_scalar_type(int(in_bin.max(initial=0)))))
    values = allocate((grid.n_bins, len(trains)), np.min_scalar_type(largest))
    for start in range(0, grid.n_bins, BINS_AT_ONCE):
        stop = min(start + BINS_AT_ONCE, grid.n_bins)
        values[start:stop] = 0
        for unit, (own, number) in enumerate(zip(rows, counts, strict=True)):
            low, high = np.searchsorted(own, np.array([start, stop], dtype=own.dtype))
            values[own[low:high], unit] = number[low:high]
        release(values)
    return values


def _epoch_ns(session: Session, epoch: str) -> NDArray[np.int64]:
    table = session.intervals.get("epochs")
    labels = [] if table is None or "label" not in table.frame else table.frame["label"].astype(str).tolist()
    if table is None or epoch not in labels:
        raise DataError(f"session {session.session_id!r}: {unknown_name('epoch', epoch, labels)}")
    bounds = to_ns(table.bounds_s[[label == epoch for label in labels]])
    bounds[1:, 0] = np.maximum(bounds[1:, 0], np.maximum.accumulate(bounds[:-1, 1]))
    return bounds[bounds[:, 1] > bounds[:, 0]]


def _grid_in_span(stretches: NDArray[np.int64], span: NDArray[np.int64], bin_ns: int) -> Grid:
    before = np.maximum(span[0] - stretches[:, 0], 0)
    starts = stretches[:, 0] - (-before // bin_ns) * bin_ns
    n_bins = np.maximum(np.minimum(stretches[:, 1], span[1]) - starts, 0) // bin_ns
    return Grid(bin_ns=bin_ns, stretch_start_ns=starts[n_bins > 0], stretch_n_bins=n_bins[n_bins > 0])


def _require_bins(session: Session, grid: Grid) -> Grid:
    if grid.n_bins == 0:
        raise DataError(
            f"session {session.session_id!r}: no bin of {grid.bin_ns * 1e-9:g} s fits into what was chosen of its "
            f"{session.duration_s:g} s; choose shorter bins or another epoch"
        )
    return grid


def _trace_means(traces: Traces, grid: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    times_ns, samples = to_ns(traces.times_s), traces.values()
    values = np.zeros((grid.n_bins, samples.shape[1]), dtype=np.float32)
    known = np.zeros(values.shape, dtype=bool)
    for first in range(0, samples.shape[1], UNITS_AT_ONCE):
        units = slice(first, first + UNITS_AT_ONCE)
        means = bin_means(times_ns, samples[:, units], grid)
        known[:, units] = ~np.isnan(means)
        values[:, units] = np.nan_to_num(means)
    return values, known


def _regroup(
    session: Session, source: Prebinned, bin_ns: int, stretches: NDArray[np.int64] | None
) -> tuple[Grid, NDArray[Any], NDArray[np.bool_]]:
    where, source_ns = f"session {session.session_id!r}", round(source.bin_s * 1e9)
    factor = max(round(bin_ns / source_ns), 1)
    if abs(bin_ns - factor * source_ns) > factor:
        raise DataError(
            f"{where}: already in bins of {source.bin_s:g} s, which cannot make bins of {bin_ns * 1e-9:g} s; "
            f"choose {source.bin_s:g} or a multiple such as {2 * source.bin_s:g}"
        )
    start_ns = to_ns(source.start_s)
    steps = np.diff(start_ns)
    if (steps < 0.99 * source_ns).any():
        raise InvalidRecording(
            f"{where}: bins of {source.bin_s:g} s start {steps.min() * 1e-9:g} s apart, so they overlap"
        )
    chosen = np.zeros(len(start_ns), dtype=np.int64)
    if stretches is not None:
        chosen = interval_of(start_ns, stretches)
        chosen[(chosen < 0) | (start_ns + source_ns > stretches[chosen, 1])] = -1
    runs = np.split(np.arange(len(start_ns)), np.flatnonzero((steps > 1.01 * source_ns) | (np.diff(chosen) != 0)) + 1)
    runs = [run for run in runs if len(run) >= factor and chosen[run[0]] >= 0]
    n_bins = np.array([len(run) // factor for run in runs], dtype=np.int64)
    first_ns = np.array([start_ns[run[0]] for run in runs], dtype=np.int64)
    grid = _require_bins(session, Grid(bin_ns=bin_ns, stretch_start_ns=first_ns, stretch_n_bins=n_bins))
    rows = np.concatenate([run[: n * factor] for run, n in zip(runs, n_bins, strict=True)])
    groups = source.values()[rows].reshape(grid.n_bins, factor, -1)
    finite = np.isfinite(groups)
    known = finite.all(axis=1)
    groups = np.where(finite, groups, np.zeros((), dtype=groups.dtype))
    if source.kind != "counts":
        return grid, np.where(known, groups.mean(axis=1), 0).astype(np.float32), known
    values = np.where(known, groups.sum(axis=1), 0)
    if (values < 0).any() or (values != np.rint(values)).any():
        raise InvalidRecording(
            f"{where}: binned activity is stated to be counts but holds negative or fractional values"
        )
    return grid, values.astype(np.min_scalar_type(int(values.max()))), known


def _inside_observed(session: Session, grid: Grid, known: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    observed = known
    if session.observed_s is not None:
        masks: dict[bytes, NDArray[np.bool_]] = {}
        for intervals in session.observed_s:
            if intervals.tobytes() not in masks:
                masks[intervals.tobytes()] = grid.covered(union_ns(intervals))
        if len(masks) == 1:
            inside = np.broadcast_to(next(iter(masks.values()))[:, None], (grid.n_bins, session.n_units))
        else:
            inside = np.column_stack([masks[intervals.tobytes()] for intervals in session.observed_s])
        observed = inside if known is None else inside & known
    return None if observed is None or observed.all() else observed
