"""How every figure of the explorer looks, and the tile that holds one with its summary in words."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import panel as pn
from bokeh.models import Range1d
from bokeh.plotting import figure

from nldisco_core.selection import Selection

__all__ = ["ACTIVATION", "BEHAVIOUR", "GRID", "NEUTRAL", "PALETTE", "FigureTile", "number", "plain_figure", "share"]

# Okabe and Ito's colours, moved to a lightness that stands out from both a white and a near-black ground.
ACTIVATION = "#2b86c5"
BEHAVIOUR = "#c9741a"
NEUTRAL = "#868d98"
GRID = "#868d98"
PALETTE = (ACTIVATION, BEHAVIOUR, "#159a72", "#bf6a9e", "#7b72c8", "#a08a1e", "#2f8fa3", "#b5563c")

SUMMARY_CSS = """
:host { margin: 0; }
p { margin: 4px 0 0; font-size: 12.5px; line-height: 1.45;
    color: var(--mui-palette-text-secondary, var(--panel-on-surface-color)); }
"""


def plain_figure(*, height: int, x_label: str = "", y_label: str = "", **options: Any) -> figure:
    """A figure without tools, of fixed ranges and borders, so that new data never moves its frame."""
    options.setdefault("x_range", Range1d(0, 1))
    options.setdefault("y_range", Range1d(0, 1))
    options.setdefault("sizing_mode", "stretch_width")
    options.setdefault("tools", "")
    options.setdefault("min_border_left", 58)
    options.setdefault("min_border_bottom", 46)
    options.setdefault("min_border_right", 16)
    options.setdefault("min_border_top", 10)
    made = figure(height=height, toolbar_location=None, output_backend="canvas", **options)
    made.xaxis.axis_label, made.yaxis.axis_label = x_label or None, y_label or None
    made.grid.grid_line_color = GRID
    made.grid.grid_line_alpha = 0.2
    made.outline_line_color = None
    return made


class FigureTile:
    """Base of live views of figures: the figures, and one sentence or two that say what they show.

    Parameters
    ----------
    figures : made once, drawn one above the other
    """

    def __init__(self, *figures: Any) -> None:
        self._summary = pn.pane.HTML("", stylesheets=[SUMMARY_CSS], sizing_mode="stretch_width")
        panes = [pn.pane.Bokeh(each, sizing_mode=each.sizing_mode, margin=0, align=each.align) for each in figures]
        self.panel: Any = pn.Column(*panes, self._summary, sizing_mode="stretch_width", margin=0)

    def say(self, *sentences: str) -> None:
        """Set the text summary."""
        self._summary.object = f"<p>{html.escape(' '.join(sentences))}</p>"

    def show(self, selection: Selection) -> None:
        """Draw a selection."""
        raise NotImplementedError


def number(value: float, digits: int = 3) -> str:
    """A number for a reader: significant digits, a dash where it is not defined."""
    return "–" if value != value else f"{value:.{digits}g}"


def share(value: float) -> str:
    """A share as a percentage."""
    return "–" if value != value else f"{100 * value:.3g} %"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names in a sentence, the first few of them."""
    items = list(names)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
