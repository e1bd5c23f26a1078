"""Work beside the server's own thread: pages that are closed meanwhile, and visitors that come at once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import panel as pn
import pytest
from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.server.contexts import ApplicationContext
from bokeh.util.token import generate_jwt_token
from nldisco_explorer import pairing
from nldisco_explorer.drawing.background import beside, beside_in_steps
from nldisco_explorer.views.compare import Matches
from panel.io.state import set_curdoc
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.ioloop import IOLoop

from nldisco_core.errors import DataError
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

LONG_S = 10.0


@pytest.fixture(autouse=True)
def _nothing_matched_before() -> None:
    """Matchings are shared by all visitors of a process, those of other tests too."""
    pairing._kept.clear()


class Visitors:
    """Sessions of one server, opened and closed as Bokeh does it."""

    def __init__(self) -> None:
        application = Application(FunctionHandler(lambda document: None))
        self._context = ApplicationContext(application, io_loop=IOLoop.current())

    async def come(self, name: str, *, arrived: bool = True) -> Any:
        """A new session, with its page in the browser or on its way there."""
        asked = RequestStartLine("GET", "/", "HTTP/1.1")
        request = HTTPServerRequest(start_line=asked, headers=HTTPHeaders(Host="127.0.0.1"))
        request.protocol = "http"
        session = await self._context.create_session_if_needed(name, request, token=generate_jwt_token(name))
        if arrived:
            self.arrive(session)
        return session

    def arrive(self, session: Any) -> None:
        """The browser has the page."""
        with set_curdoc(session.document):
            pn.state._on_load(session.document)

    async def leave(self, session: Any) -> None:
        """Close a session, as happens some time after its last connection."""
        await self._context._discard_session(session, lambda _: True)


async def until(met: Callable[[], object]) -> None:
    """Wait until something holds."""

    async def wait() -> None:
        while not met():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), timeout=LONG_S)


def test_page_that_is_closed_meanwhile_hears_nothing_and_nothing_fails(caplog: pytest.LogCaptureFixture) -> None:
    may_end = threading.Event()
    made: list[int] = []
    heard: list[object] = []

    def work() -> Iterator[int]:
        may_end.wait(LONG_S)
        for step in range(5):
            made.append(step)
            yield step

    async def visit() -> None:
        visitors = Visitors()
        session = await visitors.come("one")
        with set_curdoc(session.document):
            beside_in_steps(work, heard.append, heard.append)
        await visitors.leave(session)
        may_end.set()
        await until(lambda: made)
        await asyncio.sleep(0.1)

    with caplog.at_level(logging.WARNING):
        asyncio.run(visit())
    assert heard == []
    assert made == [0]
    assert caplog.records == []


def test_page_hears_of_every_step_in_turn_and_in_the_loop() -> None:
    heard: list[tuple[int, int]] = []

    async def visit() -> None:
        visitors = Visitors()
        session = await visitors.come("one")
        with set_curdoc(session.document):
            beside_in_steps(lambda: iter(range(5)), lambda n: heard.append((n, threading.get_ident())), heard.append)
        await until(lambda: len(heard) == 5)

    asyncio.run(visit())
    assert heard == [(n, threading.get_ident()) for n in range(5)]


def test_page_that_is_on_its_way_hears_once_it_is_there() -> None:
    heard: list[int] = []

    async def visit() -> None:
        visitors = Visitors()
        session = await visitors.come("one", arrived=False)
        with set_curdoc(session.document):
            beside_in_steps(lambda: iter(range(3)), heard.append, lambda _: None)
        await asyncio.sleep(0.1)
        assert heard == []
        visitors.arrive(session)
        await until(lambda: len(heard) == 3)

    asyncio.run(visit())
    assert heard == [0, 1, 2]


def test_nobody_waits_for_the_work_of_another() -> None:
    may_end, heard = threading.Event(), []

    def long() -> str:
        may_end.wait(LONG_S)
        return "long"

    async def visit() -> None:
        visitors = Visitors()
        first, second = await visitors.come("one"), await visitors.come("two")
        for _ in range(3):
            with set_curdoc(first.document):
                beside(long, heard.append, heard.append)
        with set_curdoc(second.document):
            beside(lambda: "short", heard.append, heard.append)
        await until(lambda: heard)
        assert heard == ["short"]
        may_end.set()
        await until(lambda: len(heard) == 4)

    asyncio.run(visit())
    assert heard == ["short", *["long"] * 3]


def test_what_fails_is_heard_of() -> None:
    heard: list[BaseException] = []

    def fail() -> None:
        raise DataError("no bins")

    async def visit() -> None:
        visitors = Visitors()
        session = await visitors.come("one")
        with set_curdoc(session.document):
            beside(fail, heard.append, heard.append)
        await until(lambda: heard)

    asyncio.run(visit())
    assert [str(each) for each in heard] == ["no bins"]


def test_two_visitors_who_compare_at_once_both_get_theirs(reach_run: Run, reach_run_again: Run) -> None:
    selection = Selection(run=reach_run.name, latent=3, split="validation")
    runs = {run.name: run for run in (reach_run, reach_run_again)}
    said: list[str] = []

    async def visit() -> None:
        visitors = Visitors()
        tiles: list[Any] = []
        for name, model in (("one", "model"), ("two", "model"), ("three", "pca")):
            session = await visitors.come(name)
            with set_curdoc(session.document):
                tile: Any = Matches().build(reach_run)
                tile.join(SimpleNamespace(runs=runs, select=lambda **_: None))
                tile.show(replace(selection, against=f"{reach_run_again.name}/{model}/0"))
                assert tile.drawing.summary == "Latents are being matched …"
                tiles.append(tile)
        await until(lambda: all(tile._found is not None and tile._found.is_whole for tile in tiles))
        said.extend(tile.drawing.summary for tile in tiles)
        assert not any(tile.progress.visible for tile in tiles)
        assert tiles[0]._found is tiles[1]._found

    asyncio.run(visit())
    assert said[0] == said[1]
    assert "on r over" in said[0]
    assert "on |r| over" in said[2]
    assert all("shared bins of the validation split" in each for each in said)


def test_compare_that_is_left_while_it_matches_leaves_no_error(
    reach_run: Run, reach_run_again: Run, caplog: pytest.LogCaptureFixture
) -> None:
    runs = {run.name: run for run in (reach_run, reach_run_again)}
    selection = Selection(run=reach_run.name, latent=3, split="train", against=reach_run_again.name)

    async def visit() -> Any:
        visitors = Visitors()
        session = await visitors.come("one")
        with set_curdoc(session.document):
            tile: Any = Matches().build(reach_run)
            tile.join(SimpleNamespace(runs=runs, select=lambda **_: None))
            tile.show(selection)
        await visitors.leave(session)
        await until(lambda: tile._wanted.found is not None)
        await asyncio.sleep(0.1)
        return tile

    with caplog.at_level(logging.WARNING):
        tile = asyncio.run(visit())
    assert caplog.records == []
    assert not tile._wanted.found.is_whole, "the draws end with the page, and the next visitor goes on from there"
