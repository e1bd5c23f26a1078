"""Work of seconds done beside the thread that serves everybody, and drawn when it is ready."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import panel as pn

from nldisco_core.errors import NLDiscoError

__all__ = ["beside"]

T = TypeVar("T")

_worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explorer")


def beside(work: Callable[[], T], then: Callable[[T], None], failed: Callable[[BaseException], None]) -> None:
    """Call `work` in a thread of its own, then `then` with what it gave, or `failed` with what it raised.

    The last two are called where the page may be changed. Without a page, as in a notebook or a test, all is done at
    once.
    """
    document = pn.state.curdoc
    if document is None:
        try:
            result = work()
        except NLDiscoError as error:
            failed(error)
        else:
            then(result)
        return

    def finish(done: Future[T]) -> None:
        error = done.exception()
        document.add_next_tick_callback((lambda: then(done.result())) if error is None else (lambda: failed(error)))

    _worker.submit(work).add_done_callback(finish)
