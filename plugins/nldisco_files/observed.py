"""When each unit was recorded, where a layout says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nldisco_core.errors import InvalidRecording
from nldisco_files.arrays import naming, texts
from nldisco_files.config import Layout
from nldisco_files.parts import Activity
from nldisco_files.source import Source

__all__ = ["observed_intervals"]


def observed_intervals(source: Source, layout: Layout, activity: Activity) -> tuple[NDArray[np.float64], ...] | None:
    """Per unit the intervals (n_intervals, 2) in which it was recorded (s); None where the layout does not say.

    Raises
    ------
    InvalidRecording
        Arrays of different lengths, intervals without finite, ordered bounds, or of a unit that is not there.
    """
    stated = layout.observed
    if stated is None:
        return None
    rows = [source.seconds(reference, "observed") for reference in (stated.start, stated.stop)]
    if len(rows[0]) != len(rows[1]):
        raise InvalidRecording(
            f"{source.path.name}: layout.observed has {len(rows[0])} starts for {len(rows[1])} stops"
        )
    bounds = np.column_stack(rows)
    if not (np.isfinite(bounds).all() and (bounds[:, 1] >= bounds[:, 0]).all()):
        raise InvalidRecording(f"{source.path.name}: layout.observed holds intervals without a finite start and stop")
    ids = activity.units["id"].tolist()
    if stated.unit is None:
        return (bounds,) * len(ids)
    with naming(source.path):
        whose = np.array(texts(source.array(stated.unit, "observed.unit")), dtype=object)
        if len(whose) != len(bounds):
            raise InvalidRecording(f"layout.observed has {len(whose)} units for {len(bounds)} intervals")
        stray = set(whose) - set(ids)
        if stray:
            raise InvalidRecording(f"layout.observed speaks of unit {sorted(stray)[0]!r}, which is not there")
        return tuple(bounds[whose == unit] for unit in ids)
