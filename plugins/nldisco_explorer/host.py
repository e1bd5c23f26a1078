"""The host of views: says why a tile is absent, and keeps a failing one from harming the others."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import panel as pn

from nldisco_core.interfaces import LiveView
from nldisco_core.plugins import Listed, registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.live import HOME
from nldisco_explorer.style import CARD_CSS, FLOW_CSS, TILE_CSS

__all__ = ["Tile", "TilePage", "tiles_of"]

logger = logging.getLogger(__name__)


WHY_ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "circular": "this run has no circular variable, such as a heading",
        "linear": "this run has no linear variable, such as a speed",
        "discrete": "this run has no discrete variable, such as a condition of trials",
        "position": "this run has no position",
        "trials": "this run was binned without a table of trials",
        "mapping": "no mapper was run; add one with `nldisco map`",
        "dictionary": "the model has no weights from latents to units",
        "controls": "this run has no controls",
        "history": "the model left no training curves",
        "metrics": "this run holds no evaluation",
    }
)


class Tile:
    """One view in its frame, for one browser session.

    A view may say ``wide = True`` to take a whole row, and ``own_heading = True`` to be drawn without its title.

    Attributes
    ----------
    page : the page its view stands on, ``latent`` where its code cannot be had
    state : ``waiting`` for its first selection, ``shown``, ``absent`` or ``failed``
    reason : why it is absent or failed
    panel : what Panel draws
    """

    def __init__(self, listed: Listed, run: Run) -> None:
        self._run = run
        self._live: LiveView | None = None
        self._view: Any = None
        self.state, self.reason = "waiting", ""
        self.title, self.page, wide, headed = listed.name, HOME, False, True
        self._body = pn.Column(sizing_mode="stretch_width", margin=0)
        try:
            self._view = listed.make()
            self.title, self.page, wide = str(self._view.title), self._view.page, getattr(self._view, "wide", False)
            headed = not getattr(self._view, "own_heading", False)
            missing = sorted(need for need in self._view.needs if need not in run.offers)
        except (Exception, SystemExit) as error:  # the view host: any failure of a view is that tile's alone
            self._fail(error)
        else:
            if missing:
                self.state = "absent"
                self.reason = "; ".join(WHY_ABSENT.get(need, f"no run offers {need!r}") for need in missing)
        heading = pn.pane.HTML(f"<h3>{html.escape(self.title)}</h3>", stylesheets=[CARD_CSS], margin=0)
        self.panel = pn.Column(
            *((heading,) if headed else ()),
            self._body,
            sizing_mode="stretch_width",
            margin=0,
            stylesheets=[TILE_CSS],
            css_classes=["tile", "wide" if wide else "narrow"],
            name=listed.name,
        )

    def show(self, selection: Selection) -> None:
        """Draw a selection; figures are made the first time. A view that failed is tried again."""
        if self._view is None or self.state == "absent":
            return
        try:
            if self._live is None:
                self._live = self._view.build(self._run)
            self._live.show(selection)
            if self.state != "shown":
                self._body[:] = [self._live.panel]
                self.state = "shown"
        except (Exception, SystemExit) as error:  # the view host: any failure of a view is that tile's alone
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.state = "failed"
        logger.error("view %s failed", self.title, exc_info=error)
        self.reason = f"This tile failed: {type(error).__name__}: {error}. The others are not affected."
        content = f'<p class="error" role="status">{html.escape(self.reason)}</p>'
        self._body[:] = [pn.pane.HTML(content, stylesheets=[CARD_CSS], sizing_mode="stretch_width", margin=0)]


class TilePage:
    """All tiles of one page in a grid. While hidden it computes nothing and only remembers that it is out of date.

    Attributes
    ----------
    panel : what Panel draws
    tiles : in the order in which plugins offer them, first-party ones first
    """

    def __init__(self, tiles: list[Tile]) -> None:
        self.tiles = tiles
        present = [tile.panel for tile in tiles if tile.state != "absent"]
        absent = [tile for tile in tiles if tile.state == "absent"]
        self.panel = pn.Column(
            *present, sizing_mode="stretch_width", stylesheets=[FLOW_CSS], css_classes=["tiles"], margin=0
        )
        if absent:
            self.panel.append(_absentees(absent))
        self._drawn: Selection | None = None

    def show(self, selection: Selection) -> None:
        """Draw a selection in every tile, unless it is drawn already."""
        if selection != self._drawn:
            self._drawn = selection
            for tile in self.tiles:
                tile.show(selection)


def _absentees(tiles: list[Tile]) -> Any:
    items = "".join(f"<dt>{html.escape(tile.title)}</dt><dd>{html.escape(tile.reason)}</dd>" for tile in tiles)
    content = f'<h3>Not shown for this run</h3><dl class="rows">{items}</dl>'
    pane = pn.pane.HTML(content, stylesheets=[CARD_CSS], sizing_mode="stretch_width", margin=0)
    return pn.Column(pane, stylesheets=[TILE_CSS], css_classes=["tile", "wide"], sizing_mode="stretch_width", margin=0)


def tiles_of(run: Run) -> Iterator[Tile]:
    """A new tile for every view that any plugin offers."""
    for listed in registry().providers("view"):
        yield Tile(listed, run)
