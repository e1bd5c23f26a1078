"""Sums over the active bins of every column by condition, as one compiled pass. Importing this imports numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nldisco_core.counting import compiled

__all__ = ["N_LEVELS", "Tally", "tally"]

N_LEVELS = 8


class Tally(NamedTuple):
    """Sums of the active bins, those of the silent ones follow from them.

    Attributes
    ----------
    hits, visits : (n_columns, n_conditions) active bins, and runs of the condition with one
    rank_sum : (n_columns, n_conditions) sum of ranks among the active bins of the column, from 1, ties averaged
    total, first, second : (n_columns, n_conditions) sum of the activations, of their deviations from the mean of the
        column over all scored rows, and of the squared deviations
    half_total : (2, n_columns, n_conditions) sum of the activations in the later and in the earlier half
    levels : (n_columns, N_LEVELS, n_conditions) active bins by level of activation, from level 1
    episodes : (n_columns,) separate episodes of activity
    """

    hits: NDArray[np.int64]
    visits: NDArray[np.int64]
    rank_sum: NDArray[np.float64]
    total: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    half_total: NDArray[np.float64]
    levels: NDArray[np.int64]
    episodes: NDArray[np.int64]


@compiled
def tally(
    starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    values: NDArray[np.float64],
    by_value: NDArray[np.int32],
    codes: NDArray[np.int32],
    runs: NDArray[np.int32],
    segments: NDArray[np.int32],
    first_half: NDArray[np.bool_],
    n_conditions: int,
    by_trial: bool,
) -> Tally:
    """Go through the active bins of each column in the order of rows, then in the order of values.

    Parameters
    ----------
    starts : (n_columns + 1,) where the active bins of each column begin
    rows, values, by_value : (n_active,) row and activation of each; entries of each column by ascending activation
    codes, runs, segments, first_half : (n_rows,) condition (-1: not scored), run of equal conditions, contiguous
        stretch, whether in the earlier half
    by_trial : an episode ends with its stretch, not with a silent bin
    """
    n_columns = len(starts) - 1
    shape = (n_columns, n_conditions)
    hits, visits = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    rank_sum, total, first, second = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    half_total = np.zeros((2, n_columns, n_conditions))
    levels = np.zeros((n_columns, N_LEVELS, n_conditions), dtype=np.int64)
    episodes = np.zeros(n_columns, dtype=np.int64)
    n_rows = 0
    for code in codes:
        n_rows += code >= 0
    for column in range(n_columns):
        start, stop = starts[column], starts[column + 1]
        previous, n_active, sum_ = -1, 0, 0.0
        for entry in range(start, stop):
            row = rows[entry]
            code = codes[row]
            if code < 0:
                continue
            hits[column, code] += 1
            total[column, code] += values[entry]
            half_total[int(first_half[row]), column, code] += values[entry]
            if previous < 0 or runs[row] != runs[previous]:
                visits[column, code] += 1
            if previous < 0 or segments[row] != segments[previous] or (not by_trial and row != previous + 1):
                episodes[column] += 1
            previous = row
            n_active += 1
            sum_ += values[entry]
        mean = sum_ / max(n_rows, 1)
        below, place = 0, start
        while place < stop:
            # Entries of one value share their mean rank.
            value, end, n_tied = values[by_value[place]], place, 0
            while end < stop and values[by_value[end]] == value:
                n_tied += codes[rows[by_value[end]]] >= 0
                end += 1
            rank = below + (n_tied + 1) / 2
            level = min(int((rank - 0.5) * (N_LEVELS - 1) / max(n_active, 1)), N_LEVELS - 2) + 1
            for tied in range(place, end):
                code = codes[rows[by_value[tied]]]
                if code >= 0:
                    rank_sum[column, code] += rank
                    levels[column, level, code] += 1
                    first[column, code] += value - mean
                    second[column, code] += (value - mean) ** 2
            below += n_tied
            place = end
    return Tally(hits, visits, rank_sum, total, first, second, half_total, levels, episodes)
