"""The host of views: says why a tile is absent, and keeps a failing one from harming the others."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import panel as pn
from panel.io.document import hold

from nldisco_core.errors import NLDiscoError
from nldisco_core.interfaces import Explorer, JoinsExplorer, LiveView
from nldisco_core.plugins import Listed, registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.tile import CanvasTile
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.export.drawn import Drawn, drawn
from nldisco_explorer.export.saver import MENU_CSS, SavedFile, menu, saved
from nldisco_explorer.live import HOME
from nldisco_explorer.style import CARD_CSS, FLOW_CSS, TILE_CSS

__all__ = ["Offered", "Tile", "TilePage", "offered"]

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


def _why_absent(need: str) -> str:
    mapper = need.removesuffix(" mapping")
    if mapper != need:
        return f"the mapper {mapper} was not run; add it with `nldisco map RUN --mapper {mapper}`"
    return WHY_ABSENT.get(need, f"no run offers {need!r}")


def _heading(words: str) -> str:
    """Of a tile: it stands right below the title of the page, however large it is written."""
    return f'<h3 aria-level="2">{html.escape(words)}</h3>'


class Offered:
    """One view that a plugin offers, before anything of it is drawn.

    Attributes
    ----------
    view : None where its code cannot be had
    page : the page it stands on, ``latent`` where its code cannot be had
    error : why its code cannot be had
    """

    def __init__(self, listed: Listed) -> None:
        self.name = self.title = listed.name
        self.page, self.wide, self.headed, self.exports = HOME, False, True, True
        self.needs: frozenset[str] = frozenset()
        self.view: Any = None
        self.error: BaseException | None = None
        try:
            made: Any = listed.make()
            self.title, self.page, self.needs = str(made.title), str(made.page), frozenset(made.needs)
            self.wide, self.headed = getattr(made, "wide", False), not getattr(made, "own_heading", False)
            self.exports = getattr(made, "exports", True)
            self.view = made
        except (Exception, SystemExit) as error:  # the view host: any failure of a view is that tile's alone
            self.error = error


class Tile:
    """One view in its frame, for one browser session.

    Parameters
    ----------
    saver : key of the explorer whose `Saver` hears the tile's menu

    Attributes
    ----------
    state : ``waiting`` for its first selection, ``shown``, ``absent`` or ``failed``
    reason : why it is absent or failed
    panel : what Panel draws
    name : of its view
    offered : its view
    """

    def __init__(self, offered: Offered, run: Run, explorer: Explorer, *, saver: str = "") -> None:
        self.offered, self._run, self._explorer = offered, run, explorer
        self._live: LiveView | None = None
        self._due: Selection | None = None
        self._told: str | None = None
        self._shown: Selection | None = None
        self.title, self.name = offered.title, offered.name
        missing = sorted(need for need in offered.needs if need not in run.offers)
        self.state = "absent" if missing else "waiting"
        self.reason = "; ".join(map(_why_absent, missing))
        self._body = pn.Column(sizing_mode="stretch_width", margin=0)
        heading = pn.pane.HTML(
            (_heading(self.title) if offered.headed else "")
            + (menu(offered.name, self.title, saver) if offered.exports else ""),
            stylesheets=[CARD_CSS, MENU_CSS],
            css_classes=[] if offered.headed else ["saving"],
            sizing_mode="stretch_width" if offered.headed else None,
            margin=0,
        )
        self.panel = pn.Column(
            heading,
            self._body,
            sizing_mode="stretch_width",
            margin=0,
            stylesheets=[TILE_CSS],
            css_classes=["tile", "wide" if offered.wide else "narrow"],
            name=offered.name,
        )
        if offered.error is not None:
            self._fail(offered.error)

    def show(self, selection: Selection) -> None:
        """Draw a selection; figures are made the first time. A view that failed is tried again."""
        if self.offered.view is None or self.state == "absent":
            return
        try:
            if self._live is None:
                self._live = self._build()
            elif self._shows(selection):
                self._due = None
                return
            elif isinstance(self._live, CanvasTile) and self._live.applies and not self._live.in_view:
                self._due = selection
                return
            self._due = None
            self._live.show(selection)
            self._shown = selection
            self.panel.visible = not isinstance(self._live, CanvasTile) or self._live.applies
            if self.state != "shown":
                self._body[:] = [self._live.panel]
                self.state = "shown"
            if self._told is not None:
                self.tell(self._told)
        except (Exception, SystemExit) as error:  # the view host: any failure of a view is that tile's alone
            self._fail(error)

    def save(self, kind: str, selection: Selection) -> SavedFile:
        """What is drawn now as a file of a kind; `NLDiscoError` says why there is none."""
        if self._live is None:
            raise NLDiscoError(f"{self.title} has drawn nothing that could be saved")
        name, title = f"{selection.run} {self.offered.name}", self.title
        if selection.latent is not None and self.offered.page != "overview":
            title += f": {latent_name(selection)} of instance {selection.instance}"
            title += "" if selection.model == "model" else f", {selection.model} (control)"
            half = {1: "p", -1: "m"}.get(selection.sign, "")
            name += f" {selection.model} {selection.instance} {selection.latent}{half}"
        with self._answering("saved"):
            shown = drawn(self._live.panel)
            return saved(shown, kind, name=name, title=title, link=self._explorer.link, wide=self.offered.wide)

    def drawn(self) -> Drawn | None:
        """What it shows now; None where it shows nothing, or its view says that the selection is not for it.

        Raises
        ------
        NLDiscoError
            What it shows cannot be read.
        """
        if self._live is None or self.state != "shown" or not getattr(self._live, "applies", True):
            return None
        with self._answering("read"):
            return drawn(self._live.panel)

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        """Whatever fails in reading what a view drew is said in words."""
        try:
            yield
        except NLDiscoError:
            raise
        except (Exception, SystemExit) as error:  # the view host: any failure of a view is that tile's alone
            logger.error("view %s could not be %s", self.title, what, exc_info=error)
            raise NLDiscoError(f"{self.title} could not be {what}: {type(error).__name__}: {error}") from error

    def tell(self, what: str) -> None:
        """Call a method of the live view by name, where it has one; once it is there where it is not built yet."""
        self._told = what if self._live is None else None
        act = getattr(self._live, what, None)
        if callable(act):
            act()

    def forget(self) -> None:
        """Let the next `show` draw, whatever is drawn now."""
        self._shown = None

    def _shows(self, selection: Selection) -> bool:
        """Whether what is drawn holds for a selection too, another window of time or other tiles' settings."""
        if self._shown is None:
            return False
        as_shown = replace(self._shown, view=self._others_view(self._shown, selection))
        if isinstance(self._live, CanvasTile) and not self._live.follows_window:
            as_shown = replace(as_shown, window_s=selection.window_s)
        return as_shown == selection

    def _others_view(self, own: Selection, others: Selection) -> tuple[tuple[str, str], ...]:
        """Settings of this tile as one selection has them, those of all others as another has them."""
        mine = f"{self.name}."
        kept = [each for each in own.view if each[0].startswith(mine)]
        return tuple(sorted([*kept, *(each for each in others.view if not each[0].startswith(mine))]))

    def _build(self) -> LiveView:
        live: LiveView = self.offered.view.build(self._run)
        if isinstance(live, JoinsExplorer):
            live.join(self._explorer)
        if isinstance(live, CanvasTile):
            live.when_seen(self._catch_up)
        return live

    def _catch_up(self) -> None:
        """The tile came into view: draw what was selected meanwhile."""
        if self._due is not None:
            with hold():
                self.show(self._due)

    def _fail(self, error: BaseException) -> None:
        self.state, self._shown = "failed", None
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
        self._ahead = [tile for tile in tiles if tile.state != "absent"]
        absent = [tile for tile in tiles if tile.state == "absent"]
        self._last = [_absentees(absent)] if absent or not tiles else []
        self.panel = pn.Column(
            *self._last, sizing_mode="stretch_width", stylesheets=[FLOW_CSS], css_classes=["tiles"], margin=0
        )
        self._drawn: Selection | None = None

    def forget(self) -> None:
        """Let the next `show` draw every tile."""
        self._drawn = None
        for tile in self.tiles:
            tile.forget()

    def show(self, selection: Selection, *, at_once: int | None = None) -> None:
        """Draw a selection in every tile, unless it is drawn already.

        Parameters
        ----------
        at_once : tiles to begin with, where the page opens; `go_on` adds the others
        """
        if selection != self._drawn:
            for tile in self.tiles:
                if tile not in self._ahead:
                    tile.show(selection)
        self._drawn = selection
        if self._ahead:
            self.go_on(len(self._ahead) if at_once is None else at_once)

    def go_on(self, n_tiles: int) -> bool:
        """Add the next tiles; whether there are more."""
        added, self._ahead = self._ahead[:n_tiles], self._ahead[n_tiles:]
        if self._drawn is not None:
            for tile in added:
                tile.show(self._drawn)
        shown = [tile.panel for tile in self.tiles if tile.state != "absent" and tile not in self._ahead]
        self.panel[:] = [*shown, *self._last]
        return bool(self._ahead)


def _absentees(tiles: list[Tile]) -> Any:
    items = "".join(f"<dt>{html.escape(tile.title)}</dt><dd>{html.escape(tile.reason)}</dd>" for tile in tiles)
    content = f'{_heading("Not shown for this run")}<dl class="rows">{items}</dl>'
    if not tiles:
        content = f"{_heading('Nothing here')}<p>No plugin that is installed offers a view for this page.</p>"
    pane = pn.pane.HTML(content, stylesheets=[CARD_CSS], sizing_mode="stretch_width", margin=0)
    return pn.Column(pane, stylesheets=[TILE_CSS], css_classes=["tile", "wide"], sizing_mode="stretch_width", margin=0)


def offered() -> tuple[Offered, ...]:
    """Every view that any plugin offers, first-party ones first."""
    return tuple(Offered(listed) for listed in registry().providers("view"))
