"""Behaviour of MC_Maze: positions as they lie in the file, and what follows from the hand's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording, unknown_name
from nldisco_core.recording_checks import believable_times
from nldisco_core.session import Signal
from nldisco_nwb.clock import Clock
from nldisco_nwb.hdf5 import naming
from nldisco_nwb.kinematics import central_differences, direction_deg, joined, length
from nldisco_nwb.maze_file import PositionSource

__all__ = ["STILL_BELOW_MM_S", "MazeSignals"]

logger = logging.getLogger(__name__)

STILL_BELOW_MM_S = 20.0
"""A hand slower than this moves in no direction."""

SAMPLES_AT_ONCE = 100_000

Floats = NDArray[np.float64]


class _Hand:
    """The hand over some samples, its derivatives worked out once."""

    def __init__(self, times_s: Floats, position: Floats) -> None:
        self.times_s, self.position = times_s, position

    @cached_property
    def together(self) -> NDArray[np.bool_]:
        return joined(self.times_s)

    @cached_property
    def velocity(self) -> Floats:
        return central_differences(self.times_s, self.position, self.together)

    @cached_property
    def acceleration(self) -> Floats:
        return central_differences(self.times_s, self.velocity, self.together)


@dataclass(frozen=True, kw_only=True)
class _Derived:
    values: Callable[[_Hand], Floats]
    physical_unit: str
    channels: tuple[str, ...]
    description: str
    period: float | None = None


_OF_HAND: Mapping[str, _Derived] = MappingProxyType(
    {
        "hand_velocity": _Derived(
            values=lambda hand: hand.velocity,
            physical_unit="mm/s",
            channels=("x", "y"),
            description="central differences of the hand's position",
        ),
        "hand_speed": _Derived(
            values=lambda hand: length(hand.velocity),
            physical_unit="mm/s",
            channels=("0",),
            description="length of the hand's velocity",
        ),
        "hand_acceleration": _Derived(
            values=lambda hand: hand.acceleration,
            physical_unit="mm/s^2",
            channels=("x", "y"),
            description="central differences of the hand's velocity",
        ),
        "hand_acceleration_magnitude": _Derived(
            values=lambda hand: length(hand.acceleration),
            physical_unit="mm/s^2",
            channels=("0",),
            description="length of the hand's acceleration",
        ),
        "movement_angle": _Derived(
            values=lambda hand: direction_deg(hand.velocity, still_below=STILL_BELOW_MM_S),
            physical_unit="deg",
            channels=("0",),
            period=360.0,
            description=f"direction of the hand's velocity; not defined below {STILL_BELOW_MM_S:g} mm/s",
        ),
    }
)


class MazeSignals(Mapping[str, Signal]):
    """Signals by name, read anew each time they are asked for, whole or in blocks.

    Parameters
    ----------
    path : of the file, for messages
    positions : where they lie
    clock, span_s : of the session, to mend timestamps and to tell impossible ones
    """

    def __init__(
        self, path: Path, positions: Mapping[str, PositionSource], clock: Clock, span_s: tuple[float, float]
    ) -> None:
        self._path, self._positions, self._clock, self._span_s = path, dict(positions), clock, span_s
        self._source_of = {name: name for name in positions}
        if "hand" in positions:
            self._source_of |= dict.fromkeys(_OF_HAND, "hand")

    def __iter__(self) -> Iterator[str]:
        return iter(self._source_of)

    def __len__(self) -> int:
        return len(self._source_of)

    def __contains__(self, name: object) -> bool:
        return name in self._source_of

    def __getitem__(self, name: str) -> Signal:
        if name not in self._source_of:
            raise KeyError(unknown_name("signal", name, self._source_of))
        return next(iter(self.blocks((name,), min_gap_s=np.inf)))[name]

    def blocks(self, names: Sequence[str], *, min_gap_s: float) -> Iterator[Mapping[str, Signal]]:
        """The named signals in consecutive parts, cut only where samples are at least `min_gap_s` (s) apart."""
        groups: dict[object, list[str]] = {}
        for name in names:
            times = self._positions[self._source_of[name]].times
            groups.setdefault(h5py.h5o.get_info(times.id).addr, []).append(name)
        for group in groups.values():
            with naming(self._path):
                yield from self._blocks(group, min_gap_s)

    def _blocks(self, names: Sequence[str], min_gap_s: float) -> Iterator[Mapping[str, Signal]]:
        sources = {self._source_of[name]: self._positions[self._source_of[name]] for name in names}
        times = next(iter(sources.values())).times
        restarts = self._restarts(times)
        first, latest = 0, -np.inf
        while first < times.shape[0]:
            stop, times_s = self._cut(times, restarts, first, min_gap_s)
            keep = self._usable(times_s, latest)
            positions = {name: _position(source, slice(first, stop), keep) for name, source in sources.items()}
            first, times_s = stop, times_s[keep]
            latest = times_s[-1] if len(times_s) else latest
            yield dict(_signals(names, times_s, positions))

    def _restarts(self, times: h5py.Dataset) -> NDArray[np.int64]:
        """Samples with which the clock starts anew, one fewer than there are blocks; reads all times where it does."""
        if self._clock.n_blocks == 1:
            return np.empty(0, dtype=np.int64)
        blocks = self._clock.blocks_of(np.asarray(times[:], dtype=np.float64))
        if blocks is None:
            raise InvalidRecording(
                f"{times.name} does not start anew where the trials do ({self._clock.n_blocks} blocks); "
                "analyse without signals, or mend the file"
            )
        return np.searchsorted(blocks, np.arange(1, self._clock.n_blocks))

    def _cut(
        self, times: h5py.Dataset, restarts: NDArray[np.int64], first: int, min_gap_s: float
    ) -> tuple[int, Floats]:
        """Where the block that starts at sample `first` ends, and its times on the mended clock (s)."""
        n_samples, wanted = times.shape[0], SAMPLES_AT_ONCE if np.isfinite(min_gap_s) else times.shape[0]
        while True:
            stop = min(first + wanted, n_samples)
            times_s = np.asarray(times[first:stop], dtype=np.float64)
            if len(restarts):
                times_s += self._clock.shift_s[np.searchsorted(restarts, np.arange(first, stop), side="right")]
            gaps = np.flatnonzero(np.diff(times_s) >= min_gap_s)
            if stop == n_samples:
                return stop, times_s
            if len(gaps):
                return first + int(gaps[-1]) + 1, times_s[: gaps[-1] + 1]
            wanted *= 2

    def _usable(self, times_s: Floats, latest: float) -> slice | NDArray[np.bool_]:
        """Samples whose times can be used and follow those before."""
        if len(times_s) == 0 or (times_s[0] > latest and (times_s[1:] > times_s[:-1]).all()):
            return slice(None)
        keep, faults = believable_times(times_s, self._span_s)
        for fault in faults:
            logger.warning("%s: positions: %s", self._path.name, fault)
        return keep & (times_s > latest)


def _position(source: PositionSource, rows: slice, keep: slice | NDArray[np.bool_]) -> Floats:
    """(n_samples, 2) mm, in memory x before y: all that is worked out of them goes channel by channel."""
    position: Floats = source.values[rows][keep, :2].astype(np.float64, order="F")
    return position if source.to_mm == 1.0 else position * source.to_mm


def _signals(names: Sequence[str], times_s: Floats, positions: Mapping[str, Floats]) -> Iterator[tuple[str, Signal]]:
    hand = _Hand(times_s, positions["hand"]) if "hand" in positions else None
    for name in names:
        derived = _OF_HAND.get(name)
        if derived is not None and hand is not None:
            yield (
                name,
                Signal(
                    name=name,
                    times_s=times_s,
                    values=derived.values(hand),
                    kind="linear" if derived.period is None else "circular",
                    period=derived.period,
                    physical_unit=derived.physical_unit,
                    channels=derived.channels,
                    description=derived.description,
                ),
            )
        else:
            yield (
                name,
                Signal(
                    name=name,
                    times_s=times_s,
                    values=positions[name],
                    kind="position",
                    physical_unit="mm",
                    channels=("x", "y"),
                ),
            )
