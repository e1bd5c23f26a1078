"""How the tiles of this plugin look: a figure without tools, a choice of score above it, a sentence below it."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import panel as pn
from bokeh.models import Range1d
from bokeh.plotting import figure

from nldisco_core.colours import NEUTRAL
from nldisco_core.selection import Selection

__all__ = ["ScoreTile", "plain_figure"]

SENTENCE = "font-size: 12.5px; margin: 4px 0 0; color: var(--mui-palette-text-secondary, var(--panel-on-surface-color))"


def plain_figure(*, height: int, **options: Any) -> figure:
    """A figure of fixed ranges as wide as its tile."""
    options = {"x_range": Range1d(0, 1), "y_range": Range1d(0, 1), "sizing_mode": "stretch_width", **options}
    made = figure(height=height, tools="", toolbar_location=None, output_backend="canvas", **options)
    made.grid.grid_line_color, made.grid.grid_line_alpha, made.outline_line_color = NEUTRAL, 0.2, None
    return made


class ScoreTile:
    """Base of live views that show many latents by one of several scores.

    Parameters
    ----------
    drawn : made once
    scores : what a score is called, by its column
    """

    def __init__(self, drawn: figure, scores: Mapping[str, str]) -> None:
        self._summary = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self.score = pn.widgets.Select(
            label="score", options={said: name for name, said in scores.items()}, width=240, margin=(0, 0, 6, 0)
        )
        self._selection: Selection | None = None
        self.score.param.watch(lambda _: self._selection and self.show(self._selection), "value")
        self._pane = pn.pane.Bokeh(drawn, sizing_mode=drawn.sizing_mode, margin=0)
        self.panel: Any = pn.Column(self.score, self._pane, self._summary, sizing_mode="stretch_width", margin=0)

    def say(self, *sentences: str) -> None:
        """Set the text summary of what is drawn."""
        self._pane.visible = self.score.visible = True
        self._write(*sentences)

    def say_alone(self, *sentences: str) -> None:
        """Set words in the place of the figure, where there is nothing to draw."""
        self._pane.visible = self.score.visible = False
        self._write(*sentences)

    def _write(self, *sentences: str) -> None:
        self._summary.object = f'<p style="{SENTENCE}">{html.escape(" ".join(sentences))}</p>'

    def show(self, selection: Selection) -> None:
        """Draw a selection."""
        self._selection = selection
        self.draw(selection)

    def draw(self, selection: Selection) -> None:
        """Draw a selection by the chosen score."""
        raise NotImplementedError
