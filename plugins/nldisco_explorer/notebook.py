"""Show the explorer below a cell of a notebook: a frame around a server that ends with the notebook's kernel."""

from __future__ import annotations

import html
import json
import secrets
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from nldisco_core.runs import Run
from nldisco_explorer.access import ServeError

__all__ = ["Frame", "explore"]

HEIGHT_PX = 860
EDGE = "1px solid rgba(128, 138, 150, 0.5)"
SLOW_S = 8.0
"""A start that takes longer, as the first reading of a long recording does, shows how far it is."""


class Frame:
    """The explorer as notebooks draw it, with a line that says what to do where it cannot be reached.

    Parameters
    ----------
    name : of what is shown
    process : the server; see `nldisco_explorer.kept_server`
    url : where it answers this machine
    """

    def __init__(self, *, name: str, process: subprocess.Popen[str], url: str) -> None:
        self.name, self.url = name, url
        self._process = process

    @property
    def is_alive(self) -> bool:
        """Whether the server runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the server, which the kernel's end does too."""
        _end(self._process)

    def __repr__(self) -> str:
        return f"explorer of {self.name} on {self.url}"

    def _repr_html_(self) -> str:
        url, name, port = html.escape(self.url), html.escape(self.name), urlsplit(self.url).port
        return (
            f'<div class="nldisco-explorer" style="height: {HEIGHT_PX}px; min-height: 300px; resize: vertical; '
            'overflow: hidden; padding-bottom: 12px; box-sizing: border-box">'
            f'<iframe src="{url}" title="Explorer of {name}" allow="clipboard-write; fullscreen" '
            f'style="width: 100%; height: 100%; box-sizing: border-box; border: {EDGE}; border-radius: 8px; '
            'display: block"></iframe></div>'
            '<p style="font-size: 12px; margin: 2px 0 0">'
            f'<a href="{url}" target="_blank" rel="noopener">Open in a tab of its own</a>. '
            "The explorer ends with this notebook's kernel: after a restart, run the cell again. Where the kernel is "
            f"on another machine, forward its port first: <code>ssh -L {port}:127.0.0.1:{port} machine</code>.</p>"
        )


_frames: dict[tuple[Path, ...], Frame] = {}


def explore(runs: Run | Iterable[Run]) -> Frame:
    """The explorer of a run, or of several, below a cell of a notebook.

    The same server as that of ``nldisco serve`` shows it, in a process of its own, so that it answers while a cell
    runs and sees nothing of what the notebook has set. It listens on 127.0.0.1, at an address that cannot be guessed.
    A run that is shown already is not read twice.

    Raises
    ------
    ServeError
        No run is given, or two runs have one name, or the server did not start.
    """
    shown = [runs] if isinstance(runs, Run) else list(runs)
    folders = tuple(run.folder.resolve() for run in shown)
    found = _frames.get(folders)
    if found is None or not found.is_alive:
        found = _frames[folders] = _started(", ".join(run.name for run in shown), folders)
    return found


def _started(name: str, folders: tuple[Path, ...]) -> Frame:
    process = subprocess.Popen(
        [sys.executable, "-m", "nldisco_explorer.kept_server", *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,  # an interrupt is meant for the cell and reaches all of the kernel's group
    )
    assert process.stdin is not None  # both were asked for
    assert process.stdout is not None
    process.stdin.write(f"{secrets.token_urlsafe(24)}\n")  # others on the machine can read the command line
    process.stdin.flush()
    try:
        return Frame(name=name, process=process, url=_url(process.stdout))
    except BaseException:  # an interrupt of the cell too, which does not wait for what is being read
        process.terminate()
        _end(process)
        raise


def _end(process: subprocess.Popen[str]) -> None:
    """Let a server end by letting go of what it reads."""
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None  # both were asked for
        pipe.close()
    process.wait()


def _url(said: IO[str]) -> str:
    """Where the server answers, once it says so; how far it is stands below the cell meanwhile."""
    from tqdm import tqdm

    with tqdm(delay=SLOW_S, leave=False, file=sys.stdout, bar_format="{desc} {bar} {n_fmt} of {total_fmt}") as bar:
        for line in said:
            message = json.loads(line)
            if "url" in message:
                return str(message["url"])
            if "error" in message:
                raise ServeError(message["error"])
            bar.total = message["total"]
            bar.set_description_str(message["at_hand"], refresh=False)
            bar.update(message["done"] - bar.n)
    raise ServeError("the explorer's server ended before it answered; what it said stands above")
