"""Where the panels of a drawing stand, as ``layout`` in ``panels.js`` has them."""

from __future__ import annotations

import math

from nldisco_explorer.drawing.payload import Drawing, Layer, Panel

__all__ = ["boxes_of", "grown", "height_of", "legend_flow"]

Box = tuple[float, float, float, float]

LETTER, KEY, LEGEND_LINE = 6.2, 32.0, 18.0
"""Width of a letter of a legend, room of its patch and the gap after it, and height of a line (px)."""


def height_of(drawing: Drawing, width: float) -> float:
    """Height of a drawing that is so wide (px)."""
    return float(sum(_rows(drawing, width))) * math.ceil(len(drawing.columns) / _fitting(drawing, width))


def boxes_of(drawing: Drawing, width: float) -> list[Box]:
    """Left, top, width and height of each panel's frame (px)."""
    fitting, rows = _fitting(drawing, width), _rows(drawing, width)
    found = []
    for panel in drawing.panels:
        left, wide = _across(drawing, panel, width)
        top = panel.column // fitting * sum(rows) + sum(rows[: panel.row])
        above, _, below, _ = panel.margins
        box = (left, top + above, wide, max(rows[panel.row] - above - below, 10))
        found.append(_hugged(panel, box) if panel.hug else box)
    return found


def legend_flow(layer: Layer, width: float) -> tuple[list[tuple[float, int]], int]:
    """Left end (px) and line of each name of a legend, and how many lines that makes; letters are taken to be alike."""
    at, line, places = LETTER * len(layer.style.get("title", "")), 0, []
    for name in layer.style["names"]:
        wide = min(LETTER * len(str(name)), 190) + KEY
        if at + wide > width and at > 0:
            at, line = 0.0, line + 1
        places.append((at, line))
        at += wide
    return places, line + 1


def grown(ends: tuple[float, float], length: float) -> tuple[float, float]:
    """A range of some length round the middle of another."""
    middle = (ends[0] + ends[1]) / 2
    return middle - length / 2, middle + length / 2


def _fitting(drawing: Drawing, width: float) -> int:
    least = max(drawing.least_column, 1)
    return max(1, min(len(drawing.columns), math.floor(width / least)))


def _across(drawing: Drawing, panel: Panel, width: float) -> tuple[float, float]:
    """Left end and width of a panel's frame (px)."""
    fitting, columns = _fitting(drawing, width), list(drawing.columns)
    total, first = sum(columns[:fitting]), panel.column // fitting * fitting
    _, right, _, before = panel.margins
    left = sum(columns[first : panel.column]) / total * width
    wide = sum(columns[panel.column : panel.column + min(panel.span, fitting)]) / total * width
    return left + before, max(wide - before - right, 10)


def _rows(drawing: Drawing, width: float) -> list[float]:
    """Height of each row (px), of one without a height that of the legend in it."""
    return [
        _legend_height(drawing, row, width) if height is None else height for row, height in enumerate(drawing.rows)
    ]


def _legend_height(drawing: Drawing, row: int, width: float) -> float:
    held = [
        panel.margins[0] + panel.margins[2] + LEGEND_LINE * legend_flow(layer, _across(drawing, panel, width)[1])[1]
        for panel in drawing.panels
        for layer in panel.layers
        if panel.row == row and layer.kind == "legend"
    ]
    return max(held, default=0.0)


def _hugged(panel: Panel, box: Box) -> Box:
    """The largest frame in the middle of a box in which a unit is as long on both axes."""
    left, top, wide, tall = box
    across, up = (abs(axis.high - axis.low) for axis in (panel.x, panel.y))
    unit = max(across / wide, up / tall) or 1.0
    across, up = across / unit, up / unit
    return left + (wide - across) / 2, top + (tall - up) / 2, across, up
