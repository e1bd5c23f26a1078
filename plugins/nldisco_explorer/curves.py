"""Panels of a mean in each condition of a variable: a polar plot for angles, a line for numbers, bars for labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nldisco_core.binned import Covariate
from nldisco_core.condition_curves import Curve
from nldisco_core.tuning import Conditions, preferred_direction, resultant_length
from nldisco_explorer.drawing.payload import Axis, Layer, Panel

__all__ = [
    "MARGINS",
    "angles_of",
    "bar_panel",
    "curve_panel",
    "direction_of",
    "line_panel",
    "polar_panel",
    "ticks_of",
    "with_unit",
]

RING, RING_WIDTH, REACH = 1.1, 0.22, 1.5
"""Radius and width of the ring of occupancy, and half the side of a polar plot, in radii of the outer circle."""

MARGINS = (10.0, 14.0, 44.0, 58.0)
FEW_LABELS, MOST_TICKS = 14, 14

Floats = NDArray[np.float64]


def with_unit(name: str, covariate: Covariate) -> str:
    """A name with the variable's physical unit."""
    return f"{name} ({covariate.physical_unit})" if covariate.physical_unit else name


def angles_of(chosen: Conditions, covariate: Covariate) -> Floats:
    """(n_conditions,) centres of the conditions of a circular variable (rad)."""
    return np.asarray(chosen.centres * 2 * np.pi / (covariate.period or 1.0), dtype=np.float64)


def direction_of(curve: Curve, angles: Floats) -> tuple[float, float]:
    """Mean direction (rad) and resultant length of a non-negative curve."""
    return float(preferred_direction(curve.mean[None], angles)[0]), float(resultant_length(curve.mean[None], angles)[0])


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
        Layer("line", _circle(1.0), colour="grid", width=1),
        Layer("line", _circle(0.5), colour="grid", width=1),
        Layer("line", {"x": [-1, 1], "y": [0, 0]}, colour="grid", width=1),
        Layer("line", {"x": [0, 0], "y": [-1, 1]}, colour="grid", width=1),
        Layer("patch", _ring(edges, np.full(len(edges), RING), occupied), colour="neutral", alpha=0.55),
        Layer("patch", _ring(angles, np.clip(inner, 0, 1.08), np.clip(outer, 0, 1.08)), colour=colour, alpha=0.25),
        Layer("line", _closed(angles, mean), colour=colour, width=2.5),
        Layer(
            "words",
            x=[1.37, 0, -1.37, 0],
            y=[0, 1.38, 0, -1.38],
            text=["0°", "90°", "±180°", "−90°"],
        ),
    ]
    if low < 0:
        layers.append(Layer("line", _circle(-low / span), colour="muted", width=1, dash=[3, 3]))
    elif curve.peak is not None:
        towards, length = direction_of(curve, angles)
        arrow = {"x": [0, length * np.cos(towards)], "y": [0, length * np.sin(towards)]}
        layers.append(Layer("line", arrow, colour="behaviour", width=3))
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


def _circle(radius: float) -> dict[str, ArrayLike]:
    turn = np.linspace(0, 2 * np.pi, 91)
    return {"x": radius * np.cos(turn), "y": radius * np.sin(turn)}


def _closed(angles: Floats, radius: Floats) -> dict[str, ArrayLike]:
    """An outline; a direction that is not known is a gap in it."""
    at = np.append(radius, radius[0]) * np.exp(1j * np.append(angles, angles[0]))
    return {"x": np.nan_to_num(at.real), "y": at.imag}


def _ring(angles: Floats, inner: Floats, outer: Floats) -> dict[str, ArrayLike]:
    """What lies between two outlines."""
    turn = np.append(angles, angles[0])
    out, back = (np.nan_to_num(np.append(each, each[0])) for each in (outer, inner))
    at = np.concatenate([out * np.exp(1j * turn), (back * np.exp(1j * turn))[::-1]])
    return {"x": at.real, "y": at.imag}


def line_panel(
    covariate: Covariate, chosen: Conditions, curve: Curve, *, label: str, colour: str, column: int = 0
) -> Panel:
    """Mean against a number, with its interval, over the time spent at each value."""
    edges = _within_reach(chosen.edges[0])
    x, widths = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    density = np.divide(curve.occupancy_s, widths, out=np.zeros(len(widths)), where=widths > 0)
    low, high = reach_of(curve)
    spent = 0.28 * high * density / (float(density.max(initial=0.0)) or 1.0)
    return Panel(
        x=Axis(
            low=float(edges[0]), high=float(edges[-1]), label=with_unit(covariate.name, covariate), hover=covariate.name
        ),
        y=Axis(low=1.08 * low, high=1.08 * high, label=label),
        layers=(
            Layer("bars", {"left": edges[:-1], "right": edges[1:], "top": spent}, colour="neutral", alpha=0.32),
            Layer("band", {"x": x, "low": curve.low, "high": curve.high}, colour=colour, alpha=0.25),
            Layer("line", {"x": x, "y": curve.mean}, colour=colour, width=2.5, name=label),
            Layer("points", {"x": x, "y": curve.mean}, colour=colour, size=2.5),
        ),
        column=column,
        margins=MARGINS,
    )


def _within_reach(edges: Floats) -> Floats:
    """Borders of quantiles; the outermost two, which hold outliers, at most three times as wide as their neighbours."""
    drawn = edges.copy()
    if len(edges) > 3:
        drawn[0] = max(edges[0], edges[1] - 3 * (edges[2] - edges[1]))
        drawn[-1] = min(edges[-1], edges[-2] + 3 * (edges[-2] - edges[-3]))
    return drawn


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
