"""Serve runs to browsers on this machine, or show one in a notebook."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any

import panel as pn
from bokeh.events import DocumentReady
from bokeh.models import CustomJS
from panel.io.server import get_server

from nldisco_core.errors import NLDiscoError
from nldisco_core.runs import Run
from nldisco_explorer.shell import Shell

__all__ = ["ServeError", "app", "explore", "open_server", "serve"]


class ServeError(NLDiscoError):
    """The explorer cannot be served as asked."""


def app(runs: Run | Iterable[Run]) -> Callable[[], Any]:
    """A function that makes the explorer of one new browser session, as Panel's servers take it.

    Raises
    ------
    ServeError
        No run is given, or two runs have one name.
    """
    by_name = _by_name([runs] if isinstance(runs, Run) else runs)
    pn.extension("tabulator")

    def session() -> Any:
        location = pn.state.location
        if pn.state.curdoc is not None:
            # Panel writes the browser's history but does not listen to it; a link holds all there is to restore.
            follow = CustomJS(code="window.addEventListener('popstate', () => window.location.reload())")
            pn.state.curdoc.js_on_event(DocumentReady, follow)
        return Shell(by_name, query=(location.search or "") if location is not None else "", location=location).page

    return session


def explore(run: Run) -> Any:
    """The explorer of a run as a Panel object, to be shown in a notebook."""
    pn.extension("tabulator")
    return Shell({run.name: run}).page


def open_server(
    runs: Iterable[Run], *, port: int = 5006, address: str = "127.0.0.1", open_browser: bool = False
) -> Any:
    """A bound server of the explorer that is not started yet; `serve` starts it.

    Only pages that this server sent itself may open its websocket.

    Parameters
    ----------
    port : 0 takes any free port

    Raises
    ------
    ServeError
        The address is not this machine's alone, the port is in use or may not be bound, or no run is given.
    """
    _require_loopback(address)
    port = _free_port(address, port)
    host = f"[{address}]" if ":" in address else address
    return get_server(
        {"/": app(runs)},
        port=port,
        address=address,
        websocket_origin=sorted({f"{host}:{port}", f"localhost:{port}"}),
        title="nldisco explorer",
        show=open_browser,
        start=False,
        verbose=False,
        xsrf_cookies=True,
    )


def serve(
    runs: Run | Iterable[Run],
    *,
    port: int = 5006,
    address: str = "127.0.0.1",
    open_browser: bool = True,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the explorer until interrupted.

    Parameters
    ----------
    announce : called with the URL once the server answers

    Raises
    ------
    ServeError
        See `open_server`.
    """
    server = open_server(
        [runs] if isinstance(runs, Run) else runs, port=port, address=address, open_browser=open_browser
    )
    server.start()
    if announce is not None:
        announce(f"http://{f'[{address}]' if ':' in address else address}:{server.port}/")
    try:
        server.io_loop.start()
    finally:
        server.stop()


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


def _require_loopback(address: str) -> None:
    try:
        alone = address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        alone = False
    if not alone:
        raise ServeError(
            f"address {address!r} would let other machines in, and the explorer asks for no password yet; "
            "serve on 127.0.0.1 and reach it through an SSH tunnel"
        )


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
