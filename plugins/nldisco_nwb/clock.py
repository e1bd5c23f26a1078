"""Clocks that start anew within a recording: found in the trial table and laid end to end for everything else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_GAP_S", "Clock", "find_clock", "overlapping"]

BLOCK_GAP_S = 1.0
"""Left between the end of one clock and the start of the next (s)."""

TOLERANCE_S = BLOCK_GAP_S / 2  # how far outside its block's trials a time may lie

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Clock:
    """Blocks within which the clock of a recording runs on.

    Attributes
    ----------
    bounds_s : (n_blocks, 2) s, first and last moment of each block on the file's clock
    block_of_trial : (n_trials,) in the order of the file
    """

    bounds_s: Floats
    block_of_trial: NDArray[np.int64]

    @property
    def n_blocks(self) -> int:
        """One where the clock never starts anew."""
        return len(self.bounds_s)

    @property
    def shift_s(self) -> Floats:
        """(n_blocks,) what has to be added to the file's times so that the blocks follow each other (s)."""
        ends = np.cumsum(np.diff(self.bounds_s, axis=1)[:, 0] + BLOCK_GAP_S) + self.bounds_s[0, 0]
        return np.concatenate([[self.bounds_s[0, 0]], ends[:-1]]) - self.bounds_s[:, 0]

    def blocks_of(self, times_s: Floats) -> NDArray[np.int64] | None:
        """(n_times,) block of each time of a series in the order of the file; None where they do not fit the blocks.

        The series starts anew where a time is smaller than the one before. Each piece has to lie within its block; a
        series that says nothing in a block has no piece for it, and takes the first block that it fits.
        """
        if self.n_blocks == 1:
            return np.zeros(len(times_s), dtype=np.int64)
        starts = np.concatenate([[0], np.flatnonzero(np.diff(times_s) < 0) + 1])
        pieces = np.split(times_s, starts[1:])
        if len(pieces) > self.n_blocks:
            return None
        block_of_piece: list[int] = []
        for index, piece in enumerate(pieces):
            must_leave = len(pieces) - 1 - index
            first = block_of_piece[-1] + 1 if block_of_piece else 0
            fitting = [block for block in range(first, self.n_blocks - must_leave) if self._fits(piece, block)]
            if not fitting:
                return None
            block_of_piece.append(fitting[0])
        return np.repeat(block_of_piece, [len(piece) for piece in pieces]).astype(np.int64)

    def mended(self, times_s: Floats) -> Floats | None:
        """The times on one clock that never starts anew (s); None where they do not fit the blocks."""
        blocks = self.blocks_of(times_s)
        return None if blocks is None else times_s + self.shift_s[blocks]

    def _fits(self, piece: Floats, block: int) -> bool:
        if len(piece) == 0:
            return True
        low, high = self.bounds_s[block]
        return bool(low - TOLERANCE_S <= piece[0] and piece[-1] <= high + TOLERANCE_S)


def find_clock(bounds_s: Floats) -> Clock:
    """The clock of trials (n_trials, 2) in the order of the file: it starts anew where one starts before the last."""
    block = np.cumsum(np.concatenate([[False], np.diff(bounds_s[:, 0]) < 0]))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(block) > 0]))
    first = np.minimum.reduceat(bounds_s[:, 0], starts)
    last = np.maximum.reduceat(bounds_s[:, 1], starts)
    return Clock(bounds_s=np.column_stack([first, last]), block_of_trial=block.astype(np.int64))


def overlapping(bounds_s: Floats) -> NDArray[np.bool_]:
    """(n_trials,) True for both trials of each pair of which the second starts before the first has ended."""
    pair = bounds_s[1:, 0] < bounds_s[:-1, 1]
    mask = np.zeros(len(bounds_s), dtype=bool)
    mask[1:] |= pair
    mask[:-1] |= pair
    return mask
