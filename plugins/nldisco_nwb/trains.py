"""Spike trains that lie in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nldisco_core.session import SpikeTrains
from nldisco_nwb.hdf5 import naming

__all__ = ["FileSpikeTrains", "spike_bounds"]


@dataclass(frozen=True, eq=False)
class FileSpikeTrains(SpikeTrains):
    """Spike trains that name their file when a unit breaks a rule.

    Attributes
    ----------
    path : of the file
    owner : what has to live as long as the trains, so that the file stays open
    """

    path: Path
    owner: object = None

    def __getitem__(self, unit: int) -> NDArray[np.float64]:
        with naming(self.path):
            return super().__getitem__(unit)

    def flat(self) -> NDArray[np.float64]:
        """(n_spikes,) all spike times (s), unit after unit, read in one go."""
        with naming(self.path):
            return super().flat()


def spike_bounds(trains: SpikeTrains) -> NDArray[np.float64]:
    """First and last spike (s) of every unit that has any, finite ones only; reads nothing in between."""
    starts, stops = trains.offsets[:-1], trains.offsets[1:]
    ends = np.sort(np.concatenate([starts[stops > starts], stops[stops > starts] - 1]))
    times = np.array([float(trains.source[int(end) : int(end) + 1][0]) for end in ends])
    finite: NDArray[np.float64] = times[np.isfinite(times)]
    return finite
