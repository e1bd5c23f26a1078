"""Panels of a mean in each condition of a variable: a polar plot for angles, a line for numbers, bars for labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nldisco_core.binned import Covariate
from nldisco_core.condition_curves import Curve
from nldisco_core.tuning import Conditions
from nldisco_explorer.drawing.payload import Axis, Layer, Panel
from nldisco_explorer.polar import angles_of, arrow, between, circle, outline, polar_ground
from nldisco_explorer.value_axis import value_axis

__all__ = ["MARGINS", "bar_panel", "curve_panel", "line_panel", "polar_panel", "ticks_of"]

RING, RING_WIDTH, REACH = 1.1, 0.22, 1.5
"""Radius and width of the ring of occupancy, and half the side of a polar plot, in radii of the outer circle."""

MARGINS = (10.0, 14.0, 44.0, 58.0)
FEW_LABELS, MOST_TICKS = 14, 14

Floats = NDArray[np.float64]


def curve_panel(
    covariate: Covariate, chosen: Conditions, curve: Curve, *, label: str, colour: str = "activation", column: int = 0
) -> Panel:
    """The panel that fits the kind of the variable."""
    draw = {"circular": polar_panel, "linear": line_panel}.get(covariate.kind, bar_panel)
    return draw(covariate, chosen, curve, label=label, colour=colour, column=column)


def reach_of(curve: Curve) -> tuple[float, float]:
    """Range of a curve with its interval and zero."""
    values = np.concatenate([each.ravel() for each in (curve.mean, curve.low, curve.high)])
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    return (low, high) if high > low else (0.0, 1.0)


def polar_panel(
    covariate: Covariate, chosen: Conditions, curve: Curve, *, label: str, colour: str, column: int = 0
) -> Panel:
    """Mean by direction with its interval, the mean direction as a line, and a ring of the time spent.

    The outer circle is the largest mean, the centre zero, or the smallest value where there are negative ones; zero is
    then a dashed circle.
    """
    angles = angles_of(chosen, covariate)
    low = min(reach_of(curve)[0], 0.0)
    span = (curve.top if curve.top > low else low + 1.0) - low
    mean, inner, outer = ((np.asarray(each) - low) / span for each in (curve.mean, curve.low, curve.high))
    half = np.pi / len(angles)
    edges = np.stack([angles - half, angles + half], axis=1).ravel()
    most_s = float(curve.occupancy_s.max(initial=0.0)) or 1.0
    occupied = np.repeat(RING + RING_WIDTH * curve.occupancy_s / most_s, 2)
    layers = [
        *polar_ground(),
        Layer("patch", between(edges, np.full(len(edges), RING), occupied), colour="neutral", alpha=0.55),
        Layer("patch", between(angles, np.clip(inner, 0, 1.08), np.clip(outer, 0, 1.08)), colour=colour, alpha=0.25),
        Layer("line", outline(angles, mean, curve.mean), colour=colour, width=2.5),
    ]
    if low < 0:
        layers.append(Layer("line", circle(-low / span), colour="muted", width=1, dash=[3, 3]))
    elif curve.peak is not None:
        layers.append(arrow(curve.unsmoothed, angles, colour="behaviour", width=3))
    axis = Axis(low=-REACH, high=REACH, shown=False)
    return Panel(
        x=axis,
        y=axis,
        layers=tuple(layers),
        title=label,
        column=column,
        margins=(24 if label else 6, 22, 6, 22),
        equal=True,
        grid=False,
        frame=False,
    )


def line_panel(
    covariate: Covariate, chosen: Conditions, curve: Curve, *, label: str, colour: str, column: int = 0
) -> Panel:
    """Mean against a number, with its interval, over the time spent at each value."""
    along = value_axis(chosen)
    edges, x, widths = along.edges, along.centres, np.diff(along.edges)
    density = np.divide(curve.occupancy_s, widths, out=np.zeros(len(widths)), where=widths > 0)
    low, high = reach_of(curve)
    spent = 0.28 * high * density / (float(density.max(initial=0.0)) or 1.0)
    return Panel(
        x=along.axis(covariate),
        y=Axis(low=1.08 * low, high=1.08 * high, label=label),
        layers=(
            Layer("bars", {"left": edges[:-1], "right": edges[1:], "top": spent}, colour="neutral", alpha=0.32),
            Layer("band", {"x": x, "low": curve.low, "high": curve.high}, colour=colour, alpha=0.25),
            Layer("line", {"x": x, "y": curve.mean}, colour=colour, width=2.5, name=label),
            Layer("points", {"x": x, "y": curve.mean}, colour=colour, size=2.5, labels=list(chosen.labels)),
        ),
        column=column,
        margins=MARGINS,
    )


def bar_panel(
    covariate: Covariate, chosen: Conditions, curve: Curve, *, label: str, colour: str, column: int = 0
) -> Panel:
    """Mean of each label, with its interval."""
    place = np.arange(chosen.n_conditions)
    mean, low, high = (each.ravel() for each in (curve.mean, curve.low, curve.high))
    least, most = reach_of(curve)
    few = len(place) <= FEW_LABELS
    layers = [
        Layer(
            "bars",
            {
                "left": place - (0.35 if few else 0.42),
                "right": place + (0.35 if few else 0.42),
                "top": np.nan_to_num(mean),
            },
            colour=colour,
            alpha=0.85,
            labels=list(chosen.labels),
            name=covariate.name,
        ),
        Layer("line", _whiskers(place, low, high), colour="text", width=1.25 if few else 0.9),
    ]
    return Panel(
        x=Axis(
            low=-0.6,
            high=len(place) - 0.4,
            label=covariate.name.replace("_", " "),
            ticks=ticks_of(chosen.labels),
        ),
        y=Axis(low=1.08 * least, high=1.08 * most, label=label),
        layers=tuple(layers),
        column=column,
        margins=MARGINS,
        frame=True,
    )


def ticks_of(labels: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """A tick at each label, or at every second, third, … where there are many."""
    step = -(-len(labels) // MOST_TICKS)
    return tuple((float(place), labels[place]) for place in range(0, len(labels), step))


def _whiskers(place: NDArray[np.int64], low: Floats, high: Floats) -> dict[str, ArrayLike]:
    """Upright lines, one after the other with a gap between."""
    ends = np.stack([low, high, np.full(len(low), np.nan)], axis=1)
    return {"x": np.repeat(place, 3), "y": ends.ravel()}
