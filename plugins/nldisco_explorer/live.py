"""Where one browser session is, and who wants to know when that changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nldisco_core.selection import Selection

__all__ = ["HOME", "PAGES", "LiveSelection", "Place"]

PAGES = {
    "latent": "Latent",
    "mappings": "Mappings",
    "session": "Session",
    "map": "Map",
    "compare": "Compare",
    "overview": "Overview",
}
"""Title by page, in the order of the header; pages that views add of themselves follow."""

HOME = "latent"


@dataclass(frozen=True, kw_only=True)
class Place:
    """All that a deep link holds.

    Attributes
    ----------
    selection : what is looked at
    page : name of the page in view
    """

    selection: Selection
    page: str = HOME


class LiveSelection:
    """The place of one browser session; each session makes its own, and nothing here is shared between them.

    Parameters
    ----------
    place : where the session starts
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._observers: list[Callable[[Place, Place], None]] = []

    @property
    def place(self) -> Place:
        """Where the session is."""
        return self._place

    @property
    def selection(self) -> Selection:
        """What is looked at."""
        return self._place.selection

    def observe(self, observer: Callable[[Place, Place], None]) -> None:
        """Call `observer(old, new)` after every change, in the order in which observers came."""
        self._observers.append(observer)

    def go(self, place: Place) -> None:
        """Move to a place and tell every observer; staying where we are tells nobody."""
        old = self._place
        if place != old:
            self._place = place
            for observer in self._observers:
                observer(old, place)

    def turn_to(self, page: str) -> None:
        """Change the page."""
        self.go(replace(self._place, page=page))

    def select(self, **fields: Any) -> None:
        """Change fields of the selection."""
        self.go(replace(self._place, selection=replace(self.selection, **fields)))
