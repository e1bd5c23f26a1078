"""The explorer of one browser session: header, pages, notices, and what happens when the selection changes."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

import panel as pn
import panel_material_ui as pmui
from panel.io.document import hold
from panel.util import edit_readonly

from nldisco_core.errors import NLDiscoError, unknown_name
from nldisco_core.interfaces import Explorer
from nldisco_core.runs import Run, title_of
from nldisco_core.selection import Selection
from nldisco_explorer.browser import Browser
from nldisco_explorer.export.saver import SavedFile, Saver
from nldisco_explorer.host import Offered, Tile, TilePage, offered
from nldisco_explorer.links import TABLE, place_in, place_of, query_of
from nldisco_explorer.live import HOME, PAGES, LiveSelection, Place
from nldisco_explorer.ranking import ranked, row_beside, with_best
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import (
    BESIDE_CSS,
    FOLDING_CSS,
    KEYS_SX,
    NAV_SX,
    PAGE_SX,
    PICKER_CSS,
    PICKER_SX,
    QUIET_SX,
    THEMES,
    TILE_CSS,
    WHOLE_HEIGHT,
)
from nldisco_explorer.table import RankedTable

__all__ = ["Shell"]

AT_ONCE, ALL = 5, 1000
"""Tiles that a page opens with, those in view on most screens; the others follow once the browser has drawn it."""

LOOK_EVERY_S = 2.0
CHANGED = "The run on disk has changed."
HALF = {1: "+", -1: "−"}

WITH_TABLE = ("mappings",)
"""Pages headed by the whole table."""

BESIDE_TABLE = (HOME, "map")
"""Pages whose tiles stand beside a table of the columns that choose a latent."""


class Shell:
    """One browser session's explorer over one or more runs; it is the `Explorer` that live views join.

    Parameters
    ----------
    runs : runs on offer by name; the first is shown where the query names none
    query : the query of the URL the session was opened with
    location : Panel's location of the session; None where there is no URL, as in a notebook
    may_write : whether notes are taken

    Attributes
    ----------
    page : what Panel draws
    live : where this session is
    """

    live: LiveSelection

    def __init__(
        self, runs: Mapping[str, Run], *, query: str = "", location: Any = None, may_write: bool = True
    ) -> None:
        self._runs, self._location, self._may_write = runs, location, may_write
        self._offered = offered()
        self._tiles = (TABLE, *(view.name for view in self._offered))
        self._titles = PAGES | {view.page: view.page.capitalize() for view in self._offered if view.page not in PAGES}
        self._notice = pmui.Alert(
            title="",
            severity="warning",
            visible=False,
            closeable=True,
            margin=(0, 0, 12, 0),
            sizing_mode="stretch_width",
        )
        self._nav = pmui.RadioButtonGroup(
            options={title: name for name, title in self._titles.items()},
            value=HOME,
            size="small",
            color="light",
            sx=NAV_SX,
            margin=(0, 12),
        )
        self._nav.param.watch(lambda event: self.live.turn_to(event.new), "value")
        self._run_picker = pmui.Select(
            label="run",
            options={title_of(name): name for name in runs},
            size="small",
            sizing_mode="stretch_width",
            sx=PICKER_SX,
            stylesheets=[PICKER_CSS],
            margin=(0, 12),
        )
        self._run_picker.param.watch(lambda event: self._turn_to_run(event.new), "value")
        self._saver = Saver(self._save, explorer=uuid.uuid4().hex)
        self._browser = Browser(self._done, linked=location is not None)
        self._looked, self._stepping, self._passing = 0.0, False, True
        copy = pmui.Button(label="Copy link", size="small", variant="outlined", sx=QUIET_SX, margin=(0, 0, 0, 12))
        copy.on_click(lambda _: self._browser.copy_link())
        keys = pmui.Button(label="Keys", size="small", variant="outlined", sx=KEYS_SX, margin=(0, 0, 0, 8))
        keys.on_click(lambda _: self._browser.help())
        leave = pmui.Button(
            label="Log out",
            href="./logout",
            target="_self",
            size="small",
            variant="outlined",
            sx=QUIET_SX,
            margin=(0, 0, 0, 8),
        )
        self._main = pn.Column(sizing_mode="stretch_width", margin=(14, 16), styles=WHOLE_HEIGHT)
        self._pages: dict[str, _Page] = {}
        self._loaded, self._sent, self._asked = False, False, ""
        self._open(query)
        self.page = pmui.Page(
            title="nldisco explorer",
            header=[self._nav, self._run_picker, copy, keys, *([leave] if self.visitor else [])],
            main=[self._main],
            theme_config=THEMES,
            sx=PAGE_SX,
            busy_indicator=None,
            sidebar_variant="temporary",
            sidebar_open=False,
        )
        with edit_readonly(self.page):
            self.page.busy = False  # unbinds it from Panel's state: following that costs more than drawing a selection
        self._sent = True
        pn.state.onload(self._begin)

    @property
    def runs(self) -> Mapping[str, Run]:
        """All runs served, by name."""
        return self._runs

    @property
    def saver(self) -> str:
        """Key of this explorer's `Saver`."""
        return str(self._saver.explorer)

    @property
    def may_write(self) -> bool:
        """Whether notes are taken."""
        return self._may_write

    @property
    def visitor(self) -> str:
        """Who logged in, empty where nobody was asked."""
        return pn.state.user or ""

    @property
    def link(self) -> str:
        """Deep link of what is in view; its query alone where there is no address, as in a notebook."""
        where = self._location
        address = "" if where is None or not where.hostname else f"{where.protocol}//{where.hostname}"
        port = f":{where.port}" if address and where.port else ""
        return f"{address}{port}{where.pathname if address else ''}{query_of(self.live.place)}"

    def refresh(self) -> None:
        """Draw what is in view once more; the other pages when they are turned to."""
        for page in self._pages.values():
            page.forget()
        self._moved(self.live.place, self.live.place)

    def select(self, *, page: str | None = None, **changes: Any) -> None:
        """Change fields of the selection and, where one is named, the page; what does not fit is complained of."""
        place = self.live.place
        asked = Place(selection=replace(place.selection, **changes), page=page or place.page)
        latent, signed = changes.get("latent"), self._reads.space(place.selection.model).code_kind == "signed"
        if latent is not None and signed and not {"sign", "run", "model"} & set(changes):
            asked = replace(asked, selection=with_best(self._reads, asked.selection, of_latent=latent))
        self._follow(query_of(asked), "This could not be shown as asked.", instead=place.selection)

    def _open(self, query: str) -> None:
        """Show the run that a query names, at the place that it names."""
        if self._too_early:
            self._asked = query
            return
        name, complaints = _run_named(query, self._runs)
        reads = self._reads = readings(self._runs[name])
        place, more = place_of(query, reads, pages=self._titles, runs=self._runs, tiles=self._tiles)
        self.live = LiveSelection(place)
        self.live.observe(self._moved)
        self._pages = {
            page: _Page(page, [view for view in self._offered if view.page == page], reads, self)
            for page in self._titles
        }
        if self._loaded:
            self._mark_rows()
        self._main[:] = [self._notice, self._browser, self._saver, *(page.panel for page in self._pages.values())]
        self._run_picker.value = name
        self._moved(place, place)
        self._complain([*complaints, *more])

    def _turn_to_run(self, name: str) -> None:
        """A person chose another run: its page stays in view, and what of the choice that run has too."""
        if name != self.live.selection.run:
            self._open(query_of(place_in(readings(self._runs[name]), self.live.place)))

    @property
    def _too_early(self) -> bool:
        """Whether the page is on its way: Panel drops what changes then, and the browser would never hear of it."""
        return self._sent and not self._loaded

    def _moved(self, old: Place, new: Place) -> None:
        """Draw a place on the page in view, all in one message; the other pages wait until they are turned to."""
        if self._too_early:
            return
        if new != old and self._passing:
            self._notice.visible = False
        with hold():
            self._nav.value = new.page
            for name, page in self._pages.items():
                page.panel.visible = name == new.page
            self._pages[new.page].show(new)
            same_page = (old.page, old.selection.run) == (new.page, new.selection.run)
            now = new.selection
            moved = replace(old.selection, window_s=now.window_s, view=now.view) == now
            self._browser.param.update(
                page=new.page, replaces=same_page and (moved or self._stepping), title=self._title_of(new)
            )
            self._browser.search = query_of(new)
        self._look()

    def _title_of(self, place: Place) -> str:
        """Of the browser's tab and history."""
        selection, page = place.selection, self._titles[place.page]
        about = f"{page} {selection.latent}" if place.page == HOME and selection.latent is not None else page
        return f"{about} · {title_of(selection.run)}"

    def _look(self) -> None:
        """Say so, once, when the run on disk is another one by now."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        if self._reads.is_stale:
            self._looked = math.inf
            self._complain(
                [f"{self.live.selection.run} is drawn as it was. Reload the page to see it as it is."], CHANGED
            )

    def _done(self, what: Mapping[str, Any]) -> None:
        """A person pressed a key, or went back or forward."""
        selection = self.live.selection
        kind = what["kind"]
        if kind == "step":
            self._step(int(what["by"]))
        elif kind == "latent":
            asked = f"{query_of(self.live.place)}&{urlencode({'latent': what['number']})}"
            self._follow(asked, "There is none such.", instead=selection)
        elif kind == "pin" and selection.latent is not None:
            pin = (selection.latent, selection.sign)
            others = tuple(each for each in selection.pinned if each != pin)
            pinned = others if pin in selection.pinned else (*others, pin)
            self.live.select(pinned=pinned)
            said = ", ".join(f"{latent}{HALF.get(sign, '')}" for latent, sign in pinned)
            self._browser.say(f"{len(pinned)} pinned" + (f": {said}." if pinned else "."))
        elif kind == "name" and not self._may_write:
            self._browser.say("This explorer takes no notes.")
        elif kind == "name":
            self.live.turn_to(HOME)
            self._pages[HOME].tell("take_name")
        elif kind == "search":
            self.live.turn_to(WITH_TABLE[0])
        elif kind == "visit":
            self._follow(str(what["search"]))

    def _step(self, by: int) -> None:
        """Go so many latents on in the order of the table in view."""
        page = self._pages[self.live.place.page]
        found = page.beside(self.live.selection, by)
        with hold():
            self._stepping = True
            if found is not None:
                self.live.select(latent=found[0], sign=found[1])
            self._stepping = False
            self._browser.handled += 1

    def _begin(self) -> None:
        """The browser has the page: draw what was asked for meanwhile, and what is further down."""
        self._loaded = True
        with hold():
            if self._asked:
                self._follow(self._asked)
            self._moved(self.live.place, self.live.place)
            self._mark_rows()

    def _mark_rows(self) -> None:
        """Mark the selected row once the browser has built its table, which drops a mark that comes with the page."""
        for page in self._pages.values():
            page.mark_row()

    def _follow(
        self, query: str, failed: str = "This link could not be followed in full.", instead: Selection | None = None
    ) -> None:
        """Go where a query leads: the URL changed by itself (back, forward or typed), or a view asked for it."""
        if query == query_of(self.live.place):
            return
        name, complaints = _run_named(query, self._runs)
        if name != self.live.selection.run:
            self._open(query)
            return
        place, more = place_of(
            query, self._reads, pages=self._titles, runs=self._runs, tiles=self._tiles, instead=instead
        )
        if self._passing:
            self._notice.visible = False
        self.live.go(place)
        if found := [*complaints, *more]:
            self._complain(found, failed)

    def _save(self, tile: str, kind: str) -> SavedFile | None:
        """What a tile of the page in view has drawn; where that cannot be saved the person is told why."""
        page = self._pages[self.live.place.page]
        found = next((each for each in page.tiles if each.name == tile), None)
        try:
            if found is None:
                raise NLDiscoError(f"{tile} is not in view")
            file = found.save(kind, self.live.selection)
        except NLDiscoError as error:
            self._complain([f"{error}."], "Nothing was saved.")
            return None
        return file

    def _complain(self, complaints: list[str], failed: str = "This link could not be followed in full.") -> None:
        """Say what is wrong until the person goes on; that the run has changed, until the notice is closed."""
        self._notice.object = f"{failed} {' '.join(complaints)}"
        self._notice.visible, self._passing = bool(complaints), failed != CHANGED


def _run_named(query: str, runs: Mapping[str, Run]) -> tuple[str, list[str]]:
    default = next(iter(runs))
    name = parse_qs(query.removeprefix("?")).get("run", [default])[0]
    return (name, []) if name in runs else (default, [f"{unknown_name('run', name, runs)}."])


class _Page:
    """One page: its tiles, and the table where it has one. Nothing is built before it is first shown."""

    def __init__(self, name: str, views: list[Offered], reads: Readings, shell: Shell) -> None:
        self._name, self._views, self._reads = name, views, reads
        self._explorer: Explorer = shell
        self._saver = shell.saver
        self._live = shell.live
        self._loaded = False
        self._tiles: TilePage | None = None
        self._table: RankedTable | None = None
        self.panel = pn.Column(
            sizing_mode="stretch_width", margin=0, visible=False, css_classes=[f"page-{name}"], styles=WHOLE_HEIGHT
        )

    def show(self, place: Place) -> None:
        """Draw a place."""
        if self._tiles is None:
            self._build()
        assert self._tiles is not None  # just built
        if self._table is not None:
            self._table.show(place)
        self._tiles.show(place.selection, at_once=None if self._loaded else AT_ONCE)

    @property
    def tiles(self) -> list[Tile]:
        """Its tiles; none before it was first in view."""
        return [] if self._tiles is None else self._tiles.tiles

    def tell(self, what: str) -> None:
        """Ask every live view that can do it."""
        for tile in self.tiles:
            tile.tell(what)

    def beside(self, selection: Selection, by: int) -> tuple[int, int] | None:
        """Latent and sign so many rows on in the page's table, or in the ranking where it has none."""
        if self._table is not None:
            return self._table.beside(selection, by)
        return row_beside(ranked(self._reads, selection), selection, by)

    def forget(self) -> None:
        """Let the next `show` draw everything."""
        if self._tiles is not None:
            self._tiles.forget()

    def mark_row(self) -> None:
        """The browser has drawn the page: mark the table's selected row, and draw what is further down."""
        self._loaded = True
        if self._table is not None:
            self._table.mark_row()
        self._go_on()

    def _go_on(self) -> None:
        document = pn.state.curdoc
        with hold():
            more = self._tiles is not None and self._tiles.go_on(AT_ONCE if document is not None else ALL)
        if more:
            document.add_next_tick_callback(self._go_on)

    def _build(self) -> None:
        self._tiles = TilePage([Tile(view, self._reads.run, self._explorer, saver=self._saver) for view in self._views])
        if self._name not in (*WITH_TABLE, *BESIDE_TABLE):
            self.panel[:] = [self._tiles.panel]
            return
        compact = self._name in BESIDE_TABLE
        self._table = RankedTable(self._reads, self._live, compact=compact, loaded=self._loaded)
        frame = pn.Column(
            self._table.panel, stylesheets=[TILE_CSS], css_classes=["tile"], margin=0, sizing_mode="stretch_width"
        )
        if compact:
            frame.insert(0, _unfolding(frame))
            frame.param.update(
                css_classes=["tile", "folding"],
                stylesheets=[TILE_CSS, FOLDING_CSS],
                width=390,
                sizing_mode=None,
                margin=(0, 12, 0, 0),
                align="start",
                styles={"position": "sticky", "top": "12px", "flex": "0 0 390px", "max-width": "390px"},
            )
            self.panel[:] = [
                pn.Row(
                    frame,
                    self._tiles.panel,
                    sizing_mode="stretch_width",
                    margin=0,
                    styles=WHOLE_HEIGHT,
                    stylesheets=[BESIDE_CSS],
                )
            ]
        else:
            frame.margin = (0, 0, 12, 0)
            self.panel[:] = [frame, self._tiles.panel]


def _unfolding(frame: pn.Column) -> Any:
    """A button that shows all of a table, where the screen is so narrow that it stands folded above the plots."""
    button = pmui.Button(
        label="Show or fold the table", size="small", variant="outlined", css_classes=["unfold"], margin=(0, 0, 8, 0)
    )

    def turn(_: object) -> None:
        classes = frame.css_classes
        frame.css_classes = [each for each in classes if each != "open"] if "open" in classes else [*classes, "open"]

    button.on_click(turn)
    return button
