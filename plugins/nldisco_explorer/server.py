"""Serve runs to browsers."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable, Iterable
from typing import Any

import panel as pn
from panel.io.server import get_server

from nldisco_core.interfaces import Progress
from nldisco_core.runs import Run
from nldisco_explorer.access import (
    Access,
    Framable,
    Guarded,
    ServeError,
    allowed_hosts,
    https_hosts,
    refusals,
    require_access,
)
from nldisco_explorer.login import Door
from nldisco_explorer.readings import prepare
from nldisco_explorer.shell import Shell

__all__ = ["ServeError", "app", "open_server", "serve"]

LARGEST_FORM = 1 << 16  # bytes; the login is the only one, and anybody may send it


def app(runs: Run | Iterable[Run], *, may_write: bool = True) -> Callable[[], Any]:
    """A function that makes the explorer of one new browser session, as Panel's servers take it.

    Parameters
    ----------
    may_write : whether notes are taken

    Raises
    ------
    ServeError
        No run is given, or two runs have one name.
    """
    by_name = _by_name([runs] if isinstance(runs, Run) else runs)
    pn.extension("tabulator")

    def session() -> Any:
        location = pn.state.location
        query = (location.search or "") if location is not None else ""
        return Shell(by_name, query=query, location=location, may_write=may_write).page

    return session


def open_server(
    runs: Iterable[Run],
    *,
    port: int = 5006,
    address: str = "127.0.0.1",
    origins: Iterable[str] = (),
    access: Access | None = None,
    may_write: bool = True,
    open_browser: bool = False,
    key: str = "",
) -> Any:
    """A bound server of the explorer that is not started yet; `serve` starts it.

    Requests that name another host than those allowed, or come from a page of one, are refused, so that no page of
    another site can read a run. A browser session is reached only with a token that this server signed for its page, by
    the visitor for whom that was made; the token holds nothing that a script could log in with.

    Parameters
    ----------
    port : 0 takes any free port
    origins : hosts that browsers name when they ask, beside this machine's own
    access : how visitors show who they are; None where only this machine is let in
    may_write : whether notes are taken
    key : where every path begins; any page that knows a secret one may show the explorer in a frame, no page without

    Raises
    ------
    ServeError
        Other machines would be let in unasked, the port is in use or may not be bound, or no run is given.
    """
    for name in ("bokeh.server.views.ws", "panel.io.document"):
        logging.getLogger(name).addFilter(_is_news)
    require_access(address, named := tuple(origins), has_access=access is not None)
    port = _free_port(address, port)
    allowed = allowed_hosts(address, port, named)
    server = get_server(
        {"/": app(runs, may_write=may_write)},
        port=port,
        address=address,
        websocket_origin=sorted(allowed),
        prefix=key,
        title="nldisco explorer",
        show=open_browser,
        start=False,
        verbose=False,
        sign_sessions=True,
        secret_key=secrets.token_urlsafe(32),
        include_cookies=[] if access is None else ["user"],
        exclude_headers=["Cookie", "Authorization"],
        session_history=0,
        http_server_kwargs={"max_body_size": LARGEST_FORM},
        cookie_secret=secrets.token_urlsafe(32),
        **({} if access is None else {"auth_provider": Door(access, https=https_hosts(named))}),
    )
    server._tornado.default_router.rules[:0] = refusals(allowed)
    server._tornado.transforms.append(Framable if key else Guarded)
    return server


def serve(
    runs: Run | Iterable[Run],
    *,
    port: int = 5006,
    address: str = "127.0.0.1",
    origins: Iterable[str] = (),
    access: Access | None = None,
    may_write: bool = True,
    open_browser: bool = True,
    key: str = "",
    progress: Progress | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the explorer until interrupted, once all that its first click needs is read.

    Parameters
    ----------
    origins, access, may_write, key : see `open_server`
    progress : told how far the reading is
    announce : called with the URL once the server answers

    Raises
    ------
    ServeError
        See `open_server`.
    """
    served = [runs] if isinstance(runs, Run) else list(runs)
    server = open_server(
        served,
        port=port,
        address=address,
        origins=origins,
        access=access,
        may_write=may_write,
        open_browser=open_browser,
        key=key,
    )
    for run in served:
        prepare(run, progress or (lambda done, total, at_hand: None))
    Shell(_by_name(served))  # what is imported and found once is not left to the first visitor
    server.start()
    if announce is not None:
        announce(f"http://{'localhost' if ':' in address else address}:{server.port}/{key and f'{key}/'}")
    try:
        server.io_loop.start()
    finally:
        server.stop()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a server's word is worth a line: that somebody closed a page while it was drawn is not."""
    return "connection was closed" not in str(record.msg)


def _by_name(runs: Iterable[Run]) -> dict[str, Run]:
    by_name: dict[str, Run] = {}
    for run in runs:
        if by_name.setdefault(run.name, run).folder.resolve() != run.folder.resolve():
            raise ServeError(
                f"two runs are named {run.name}, in {by_name[run.name].folder.parent} and {run.folder.parent}"
            )
    if not by_name:
        raise ServeError("no run to serve; expected at least one (see `nldisco runs`)")
    return by_name


def _free_port(address: str, port: int) -> int:
    """The port itself where it can be bound, a free one for 0."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError) as error:
            raise ServeError(
                f"port {port} of {address} cannot be used ({error}); choose another with --port"
            ) from error
        return int(probe.getsockname()[1])
