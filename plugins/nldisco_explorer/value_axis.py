"""The axis that conditions of a number are drawn along: its values, or its quantiles where values would crowd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nldisco_core.binned import Covariate
from nldisco_core.tuning import Conditions
from nldisco_explorer.drawing.payload import Axis
from nldisco_explorer.wording import number

__all__ = ["ValueAxis", "value_axis", "with_unit"]

CROWDED = 0.2
"""Half of the conditions within a smaller part of the axis than this are too close to be told apart."""
N_TICKS = 6

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueAxis:
    """Where the conditions of a number stand.

    Attributes
    ----------
    edges : (n_conditions + 1,) borders of the conditions along the axis
    is_by_quantile : whether every condition is as wide as the next, and not as wide as its values are apart
    ticks : borders and their values; None for round values of the axis itself
    said : a sentence on equal steps, empty for an axis of values
    """

    edges: Floats
    is_by_quantile: bool
    ticks: tuple[tuple[float, str], ...] | None
    said: str

    @property
    def centres(self) -> Floats:
        """(n_conditions,) middle of each condition along the axis."""
        return np.asarray((self.edges[:-1] + self.edges[1:]) / 2, dtype=np.float64)

    def axis(self, covariate: Covariate) -> Axis:
        """The axis of a panel, with its name."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        label = with_unit(covariate.name.replace("_", " "), covariate)
        if self.is_by_quantile:
            return Axis(low=low, high=high, label=f"{label}, equal steps of quantiles", ticks=self.ticks)
        return Axis(low=low, high=high, label=label, hover=covariate.name)


def with_unit(name: str, covariate: Covariate) -> str:
    """A name with the variable's physical unit."""
    return f"{name} ({covariate.physical_unit})" if covariate.physical_unit else name


def value_axis(chosen: Conditions) -> ValueAxis:
    """Values where they can be told apart; else quantiles in equal steps, with the values at their borders.

    Parameters
    ----------
    chosen : a linear variable, or a position on a line, cut into conditions
    """
    own = np.asarray(chosen.edges[0], dtype=np.float64)
    edges, n_conditions = _within_reach(own), len(own) - 1
    half = -(-n_conditions // 2)
    narrowest = float((edges[half:] - edges[: len(edges) - half]).min())
    if chosen.kind != "linear" or n_conditions < 4 or narrowest >= CROWDED * (edges[-1] - edges[0]):
        return ValueAxis(edges=edges, is_by_quantile=False, ticks=None, said="")
    at = np.unique(np.linspace(0, n_conditions, N_TICKS).round().astype(int))
    return ValueAxis(
        edges=np.arange(n_conditions + 1, dtype=np.float64),
        is_by_quantile=True,
        ticks=tuple((float(place), number(float(own[place]))) for place in at),
        said="The values crowd, so the axis runs in equal steps of quantiles, with the values at their borders.",
    )


def _within_reach(edges: Floats) -> Floats:
    """Borders of quantiles; the outermost two, which hold outliers, at most three times as wide as their neighbours."""
    drawn = edges.copy()
    if len(edges) > 3:
        drawn[0] = max(edges[0], edges[1] - 3 * (edges[2] - edges[1]))
        drawn[-1] = min(edges[-1], edges[-2] + 3 * (edges[-2] - edges[-3]))
    return drawn
