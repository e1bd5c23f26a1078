"""Training curves: one value per instance at chosen steps."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from nldisco_core.interfaces import Monitor

__all__ = ["History"]


class History:
    """Points of training curves, in the order they were seen."""

    def __init__(self, points: Sequence[tuple[int, str, Sequence[float]]] = ()) -> None:
        self.points = [(step, name, tuple(values)) for step, name, values in points]

    def add(self, step: int, name: str, values: Sequence[float], monitor: Monitor) -> None:
        """Keep one point per instance and tell the monitor."""
        self.points.append((step, name, tuple(values)))
        for instance, value in enumerate(values):
            monitor.scalar(step, name, value, instance=instance)

    def frame(self) -> pd.DataFrame:
        """Columns step, instance, name, value, as in `FitReport.history`."""
        rows = [
            (step, instance, name, value) for step, name, values in self.points for instance, value in enumerate(values)
        ]
        return pd.DataFrame(rows, columns=["step", "instance", "name", "value"]).astype(
            {"step": "int64", "instance": "Int32", "name": "string", "value": "float64"}
        )
