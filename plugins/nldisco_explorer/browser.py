"""What the browser does by itself: keys, history, clipboard, and saying that the server is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import param

from nldisco_explorer.component import PageComponent

__all__ = ["Browser"]


class Browser(PageComponent):
    """The page's end of one explorer.

    What a person does arrives as a message with a ``kind``: ``step`` (``by`` so many latents), ``latent`` (``number``
    as it was typed), ``pin``, ``name``, ``search`` (of a page without a table) or ``visit`` (``search``, where back and
    forward led).

    Parameters
    ----------
    done : called with each message
    """

    search = param.String(default="", doc="Query of what is in view; a new one is a new entry of the history.")
    replaces = param.Boolean(default=False, doc="Whether the next query takes the place of the last one.")
    linked = param.Boolean(default=True, doc="Whether the address is ours, as it is not in a notebook.")
    page = param.String(default="", doc="Page in view.")
    title = param.String(default="", doc="What the browser calls it in tabs and history.")
    handled = param.Integer(default=0, doc="Counts the steps that were drawn.")

    _esm: ClassVar[str] = Path(__file__).with_name("browser.js").read_text(encoding="utf-8")

    def __init__(self, done: Callable[[Mapping[str, Any]], None], **params: Any) -> None:
        super().__init__(width=0, height=0, margin=0, **params)
        self._done = done

    def say(self, words: str) -> None:
        """Show words for a moment."""
        self._send_msg({"say": words})

    def copy_link(self) -> None:
        """Put the address of what is in view on the clipboard."""
        self._send_msg({"copy": True})

    def help(self) -> None:
        """Show the list of keys."""
        self._send_msg({"help": True})

    def _handle_msg(self, data: Mapping[str, Any]) -> None:
        self._done(data)
