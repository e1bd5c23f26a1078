"""When the samples of a time series were taken, and in which physical unit they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["has_times", "sample_times", "scaled", "share_times"]


def has_times(series: Any) -> bool:
    """True for a series with as many timestamps as samples, or with a sampling rate."""
    if series.timestamps is not None:
        return bool(len(series.timestamps) == len(series.data))
    return series.rate is not None and series.rate > 0


def sample_times(series: Any) -> NDArray[np.float64]:
    """(n_samples,) time of each sample (s), from the timestamps or from the rate and the starting time."""
    if series.timestamps is not None:
        return np.asarray(series.timestamps[:], dtype=np.float64)
    times: NDArray[np.float64] = (series.starting_time or 0.0) + np.arange(len(series.data)) / series.rate
    return times


def scaled(series: Any) -> NDArray[np.float64]:
    """All samples in the physical unit that the series states: its data times conversion plus offset."""
    values = np.asarray(series.data[:], dtype=np.float64)
    return values if (series.conversion, series.offset) == (1.0, 0.0) else values * series.conversion + series.offset


def share_times(series: Sequence[Any]) -> bool:
    """True where all series were sampled together; of long timestamps every so many are compared."""
    first, *others = series
    if any(len(other.data) != len(first.data) or not has_times(other) for other in series):
        return False
    if first.timestamps is None:
        return all(other.timestamps is None and _grid(other) == _grid(first) for other in others)
    step = max(1, len(first.data) // 64)
    return all(
        other.timestamps is not None
        and np.array_equal(first.timestamps[::step], other.timestamps[::step], equal_nan=True)
        for other in others
    )


def _grid(series: Any) -> tuple[float, float]:
    return float(series.rate), float(series.starting_time or 0.0)
