"""Work of seconds done beside the thread that serves everybody, and drawn when it is ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import panel as pn
from panel.io.state import set_curdoc
from tornado.ioloop import IOLoop

from nldisco_core.errors import NLDiscoError

__all__ = ["beside", "beside_in_steps"]

T = TypeVar("T")

_workers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="explorer")
"""More than there are processors, which they share: a visitor's work is slowed by that of others, but never waits."""


def beside(work: Callable[[], T], then: Callable[[T], None], failed: Callable[[BaseException], None]) -> None:
    """Call `work` in a thread of its own, then `then` with what it gave, or `failed` with what it raised.

    The last two are called where the page may be changed, and not at all where it is closed by then. Without a page,
    as in a notebook or a test, all is done at once.
    """

    def once() -> Iterator[T]:
        yield work()

    beside_in_steps(once, then, failed)


def beside_in_steps(
    work: Callable[[], Iterator[T]], then: Callable[[T], None], failed: Callable[[BaseException], None]
) -> None:
    """As `beside`, for work that gives something, never None, at every step: `then` is called with each in turn.

    Between two steps the work of others has its turn. Work of a page that is closed ends with the step it is at.
    """
    document = pn.state.curdoc
    if document is None:
        try:
            for found in work():
                then(found)
        except NLDiscoError as error:
            failed(error)
        return
    steps, loop = work(), IOLoop.current()

    def go_on() -> None:
        step: Future[T | None] = _workers.submit(next, steps, None)
        step.add_done_callback(lambda done: loop.add_callback(deliver, done))

    def deliver(done: Future[T | None]) -> None:
        """In the loop that serves the page, which is where pages are closed: none is between asking and acting."""
        if document.session_context is not None:
            with set_curdoc(document):
                pn.state.onload(partial(take, done))  # what changes while a page is on its way never gets there

    def take(done: Future[T | None]) -> None:
        error = done.exception()
        if error is not None:
            document.add_next_tick_callback(partial(failed, error))
        elif (found := done.result()) is not None:
            document.add_next_tick_callback(partial(then, found))
            go_on()

    go_on()
