"""The explorer of one browser session: header, pages, notices, and what happens when the selection changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import panel as pn
import panel_material_ui as pmui
from panel.io.document import hold
from panel.util import edit_readonly

from nldisco_core.errors import unknown_name
from nldisco_core.runs import Run
from nldisco_explorer.host import TilePage, tiles_of
from nldisco_explorer.links import place_of, query_of
from nldisco_explorer.live import HOME, PAGES, LiveSelection, Place
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import NAV_SX, PICKER_SX, THEMES, TILE_CSS
from nldisco_explorer.table import RankedTable

__all__ = ["Shell"]

TITLES = {"latent": "Latent", "mappings": "Mappings", "overview": "Overview"}


class Shell:
    """One browser session's explorer over one or more runs.

    Parameters
    ----------
    runs : runs on offer by name; the first is shown where the query names none
    query : the query of the URL the session was opened with
    location : Panel's location of the session; None where there is no URL, as in a notebook

    Attributes
    ----------
    page : what Panel draws
    live : where this session is
    """

    live: LiveSelection

    def __init__(self, runs: Mapping[str, Run], *, query: str = "", location: Any = None) -> None:
        self._runs, self._location = runs, location
        self._notice = pmui.Alert(
            title="",
            severity="warning",
            visible=False,
            closeable=True,
            margin=(0, 0, 12, 0),
            sizing_mode="stretch_width",
        )
        self._nav = pmui.RadioButtonGroup(
            options={TITLES[name]: name for name in PAGES},
            value=HOME,
            size="small",
            color="light",
            sx=NAV_SX,
            margin=(0, 12),
        )
        self._nav.param.watch(lambda event: self.live.turn_to(page=event.new), "value")
        self._run_picker = pmui.Select(
            label="run",
            options=list(runs),
            size="small",
            width=420,
            visible=len(runs) > 1,
            sx=PICKER_SX,
            margin=(0, 12),
        )
        self._run_picker.param.watch(
            lambda event: self._open(f"?run={event.new}") if event.new != self.live.selection.run else None, "value"
        )
        self._main = pn.Column(sizing_mode="stretch_width", margin=(14, 16))
        self._pages: dict[str, _Page] = {}
        self._loaded = False
        self._open(query)
        self.page = pmui.Page(
            title="nldisco explorer",
            header=[self._nav, self._run_picker],
            main=[self._main],
            theme_config=THEMES,
            busy_indicator=None,
            sidebar_variant="temporary",
            sidebar_open=False,
        )
        with edit_readonly(self.page):
            self.page.busy = False  # unbinds it from Panel's state: following that costs more than drawing a selection
        pn.state.onload(self._mark_row)
        if location is not None:
            location.search = query_of(self.live.place) if not self._notice.visible else location.search
            location.param.watch(self._followed, "search")

    def _open(self, query: str) -> None:
        """Show the run that a query names, at the place that it names."""
        name, complaints = _run_named(query, self._runs)
        reads = readings(self._runs[name])
        place, more = place_of(query, reads)
        self.live = LiveSelection(place)
        self.live.observe(self._moved)
        self._pages = {page: _Page(page, reads, self.live, loaded=self._loaded) for page in PAGES}
        self._main[:] = [self._notice, *(page.panel for page in self._pages.values())]
        self._run_picker.value = name
        self._complain([*complaints, *more])
        self._moved(place, place)
        if self._loaded and self._location is not None:
            self._location.search = query_of(place)

    def _moved(self, old: Place, new: Place) -> None:
        """Draw a place on the page in view, all in one message; the other pages wait until they are turned to."""
        with hold():
            self._nav.value = new.page
            for name, page in self._pages.items():
                page.panel.visible = name == new.page
            self._pages[new.page].show(new)
            if self._location is not None and new != old:
                self._location.search = query_of(new)

    def _mark_row(self) -> None:
        """Mark the selected row once the browser has built its table, which drops a mark that comes with the page."""
        self._loaded = True
        for page in self._pages.values():
            page.mark_row()

    def _followed(self, event: Any) -> None:
        """The browser's URL changed by itself: back, forward, or typed."""
        if event.new == query_of(self.live.place):
            return
        name, complaints = _run_named(event.new, self._runs)
        if name != self.live.selection.run:
            self._open(event.new)
            return
        place, more = place_of(event.new, readings(self._runs[name]))
        self._complain([*complaints, *more])
        self.live.go(place)

    def _complain(self, complaints: list[str]) -> None:
        self._notice.object = "This link could not be followed in full. " + " ".join(complaints)
        self._notice.visible = bool(complaints)


def _run_named(query: str, runs: Mapping[str, Run]) -> tuple[str, list[str]]:
    default = next(iter(runs))
    name = parse_qs(query.removeprefix("?")).get("run", [default])[0]
    return (name, []) if name in runs else (default, [f"{unknown_name('run', name, runs)}."])


class _Page:
    """One page: its tiles, and the table where it has one. Nothing is built before it is first shown."""

    def __init__(self, name: str, reads: Readings, live: LiveSelection, *, loaded: bool) -> None:
        self._name, self._reads, self._live = name, reads, live
        self._loaded = loaded
        self._tiles: TilePage | None = None
        self._table: RankedTable | None = None
        self.panel = pn.Column(sizing_mode="stretch_width", margin=0, visible=False, css_classes=[f"page-{name}"])

    def show(self, place: Place) -> None:
        """Draw a place."""
        if self._tiles is None:
            self._build()
        assert self._tiles is not None  # just built
        if self._table is not None:
            self._table.show(place)
        self._tiles.show(place.selection)

    def mark_row(self) -> None:
        """The browser has drawn the page: mark the table's selected row."""
        self._loaded = True
        if self._table is not None:
            self._table.mark_row()

    def _build(self) -> None:
        self._tiles = TilePage([tile for tile in tiles_of(self._reads.run) if tile.page == self._name])
        if self._name == "overview":
            self.panel[:] = [self._tiles.panel]
            return
        compact = self._name == HOME
        self._table = RankedTable(self._reads, self._live, compact=compact, loaded=self._loaded)
        frame = pn.Column(
            self._table.panel, stylesheets=[TILE_CSS], css_classes=["tile"], margin=0, sizing_mode="stretch_width"
        )
        if compact:
            frame.param.update(
                width=390,
                sizing_mode=None,
                margin=(0, 12, 0, 0),
                align="start",
                styles={"position": "sticky", "top": "12px"},
            )
            self.panel[:] = [pn.Row(frame, self._tiles.panel, sizing_mode="stretch_width", margin=0)]
        else:
            self.panel[:] = [frame, self._tiles.panel]
