"""The panel of a legend, for a row of a drawing that is as high as its names need."""

from __future__ import annotations

from collections.abc import Sequence

from nldisco_core.colours import of_series
from nldisco_explorer.drawing.payload import Axis, Layer, Panel

__all__ = ["legend_panel", "series_legend"]


def series_legend(names: Sequence[str], colours: Sequence[str] | None = None, *, left: float = 58) -> Panel:
    """Names beside their colours, those of series unless said otherwise."""
    keys = [of_series(i) for i in range(len(names))] if colours is None else list(colours)
    return legend_panel(Layer("legend", names=list(names), colours=keys), left=left)


def legend_panel(legend: Layer, *, row: int = 0, span: int = 1, left: float = 58) -> Panel:
    """A legend without a frame.

    Parameters
    ----------
    left : room left of it (px), that of the panels below
    """
    flat, margins = Axis(low=0, high=1, shown=False), (2.0, 14.0, 4.0, float(left))
    return Panel(x=flat, y=flat, layers=(legend,), row=row, span=span, margins=margins, grid=False, frame=False)
