"""Panels of histograms: bars between edges, on axes of values or of their logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nldisco_explorer.drawing.payload import Axis, Layer, Panel

__all__ = ["MARGINS", "counts_axis", "decades", "histogram_panel", "log_axis"]

MARGINS = (8.0, 14.0, 44.0, 58.0)

Floats = NDArray[np.float64]


def decades(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Powers of ten between two logarithms, with what lies between them where there are few."""
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    steps = (1,) if high - low > 2 else (1, 3) if high - low > 1 else (1, 2, 3, 4, 5, 6, 7, 8)
    values = [step * 10.0**power for power in powers for step in steps]
    return tuple((float(np.log10(value)), f"{value:g}") for value in values if low <= np.log10(value) <= high)


def log_axis(low: float, high: float, label: str) -> Axis:
    """An axis of logarithms of values from `low` to `high`, written as the values."""
    ends = float(np.log10(low)), float(np.log10(high))
    return Axis(low=ends[0], high=ends[1], label=label, ticks=decades(*ends))


def counts_axis(counts: NDArray[Any], label: str) -> Axis:
    """An upright axis from zero to a little above the largest count."""
    return Axis(low=0.0, high=1.08 * max(float(np.max(counts, initial=0)), 1.0), label=label)


def histogram_panel(edges: Floats, tops: NDArray[Any], *, x: Axis, y: Axis, row: int = 0, **style: Any) -> Panel:
    """Bars between edges.

    Parameters
    ----------
    edges, tops : (n_bars + 1,) and (n_bars,) in the units of the axes
    style : of the bars
    """
    bars = Layer("bars", {"left": edges[:-1], "right": edges[1:], "top": tops}, **style)
    return Panel(x=x, y=y, layers=(bars,), row=row, margins=MARGINS)
