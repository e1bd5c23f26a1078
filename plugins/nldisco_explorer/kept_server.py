"""The server that a notebook keeps, ``python -m nldisco_explorer.kept_server FOLDER …``; it ends with the kernel."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO, Any

from tornado.ioloop import IOLoop

from nldisco_core.errors import NLDiscoError
from nldisco_core.runs import Run
from nldisco_explorer.server import serve

__all__ = ["main"]


def main(folders: list[str]) -> None:
    """Serve runs until the standard input ends; its first line is the key of the address.

    What happens is told in lines of JSON: how far the reading is, then the ``url``, or the ``error``. Whatever else a
    plugin prints goes where errors go.
    """
    said = sys.stdout
    key = sys.stdin.readline().strip()
    loop = IOLoop.current()
    threading.Thread(target=_end_with_input, args=[loop], daemon=True).start()
    with redirect_stdout(sys.stderr):
        try:
            serve(
                [Run(Path(folder)) for folder in folders],
                port=0,
                key=key,
                open_browser=False,
                progress=lambda done, total, at_hand: _tell(said, done=done, total=total, at_hand=at_hand),
                announce=lambda url: _tell(said, url=url),
            )
        except NLDiscoError as error:
            _tell(said, error=str(error))


def _tell(said: IO[str], **message: Any) -> None:
    said.write(f"{json.dumps(message)}\n")
    said.flush()


def _end_with_input(loop: IOLoop) -> None:
    sys.stdin.read()
    loop.add_callback(loop.stop)


if __name__ == "__main__":
    main(sys.argv[1:])
