"""Spikes of MC_Maze on one clock, and when each unit was observed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from nldisco_nwb.clock import Clock
from nldisco_nwb.hdf5 import naming
from nldisco_nwb.maze_file import MazeFile
from nldisco_nwb.trains import FileSpikeTrains

__all__ = ["mended_observed", "mended_spikes"]

Floats = NDArray[np.float64]


def mended_spikes(file: MazeFile, clock: Clock) -> tuple[FileSpikeTrains, NDArray[np.bool_]]:
    """Spikes on one clock, and which units are kept: those whose spikes fit the blocks of the clock.

    Where the clock never starts anew the spikes stay in the file, unread.
    """
    bounds = list(pairwise(file.spike_offsets.tolist()))
    if clock.n_blocks == 1:
        return FileSpikeTrains(file.spikes, file.spike_offsets, file.path), np.ones(len(bounds), dtype=bool)
    with naming(file.path):
        times_s = np.asarray(file.spikes[:], dtype=np.float64)
    trains = [clock.mended(times_s[first:stop]) for first, stop in bounds]
    kept = [train for train in trains if train is not None]
    offsets = np.concatenate([[0], np.cumsum([len(train) for train in kept])]).astype(np.int64)
    flat = np.concatenate([np.empty(0), *kept])
    return FileSpikeTrains(flat, offsets, file.path), np.array([train is not None for train in trains])


def mended_observed(file: MazeFile, clock: Clock, trials_s: Floats) -> tuple[Floats, ...] | None:
    """Per unit the intervals (n_intervals, 2) in which it was recorded (s); None where the file does not say.

    Parameters
    ----------
    trials_s : (n_trials, 2) s, all trials in the order of the file on the mended clock; they stand in for a unit whose
        intervals do not fit the clock
    """
    if file.observed is None:
        return None
    rows, offsets = file.observed
    return tuple(_on_one_clock(rows, offsets, clock, trials_s))


def _on_one_clock(rows: Floats, offsets: NDArray[np.int64], clock: Clock, trials_s: Floats) -> Iterator[Floats]:
    mended: dict[bytes, Floats] = {}
    for first, stop in pairwise(offsets.tolist()):
        own = rows[first:stop]
        key = own.tobytes()
        if key not in mended:
            sound = own[np.isfinite(own).all(axis=1) & (own[:, 1] >= own[:, 0])]
            blocks = clock.blocks_of(sound[:, 0])
            mended[key] = trials_s if blocks is None else sound + clock.shift_s[blocks][:, None]
        yield mended[key]
