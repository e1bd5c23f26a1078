"""The tile of a view that draws on the canvas: its controls, the canvas, and the words below it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from nldisco_core.selection import Selection
from nldisco_explorer.component import bar
from nldisco_explorer.drawing.component import Canvas
from nldisco_explorer.drawing.payload import Drawing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nldisco_core.interfaces import Explorer

__all__ = ["CanvasTile"]


class CanvasTile:
    """Base of live views on the canvas.

    Parameters
    ----------
    controls : pickers and buttons above the canvas

    Attributes
    ----------
    panel : what Panel draws
    drawing : what is drawn now, None before the first selection
    applies : whether it has anything to say of the selection that was shown last; its tile is hidden where it has not
    follows_window : whether it draws the selected window of time; one that does not is left alone when that is moved
    """

    applies = True
    follows_window = False

    def __init__(self, *controls: Any) -> None:
        self._canvas = Canvas(done=self.done)
        self._explorer: Explorer | None = None
        self._filling = False
        above = [bar(*controls, margin=(0, 0, 6, 0))] if controls else []
        self.panel: Any = pn.Column(*above, self._canvas, sizing_mode="stretch_width", margin=0)

    @property
    def drawing(self) -> Drawing | None:
        """What is drawn now."""
        return self._canvas.drawing

    @property
    def in_view(self) -> bool:
        """Whether the canvas is on the screen, or nearly; True before the page has said so."""
        return bool(self._canvas.seen)

    def when_seen(self, act: Callable[[], None]) -> None:
        """Call `act` whenever the canvas comes into view."""
        self._canvas.param.watch(lambda event: act() if event.new else None, "seen")

    def join(self, explorer: Explorer) -> None:
        """Keep the explorer, to ask it for changes of the selection."""
        self._explorer = explorer

    def select(self, **changes: Any) -> None:
        """Ask for a change of the selection, unless it is this tile itself that fills its pickers."""
        if self._explorer is not None and not self._filling:
            self._explorer.select(**changes)

    def picker(self, label: str, field: str, **options: Any) -> pmui.Select:
        """A picker that sets one field of the selection; the empty choice stands for None."""
        made = pmui.Select(label=label, size="small", width=190, margin=0, **options)
        made.param.watch(lambda event: self.select(**{field: event.new or None}), "value")
        return made

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Pickers are set to what is selected; that asks for nothing."""
        self._filling = True
        try:
            yield
        finally:
            self._filling = False

    def draw(self, drawing: Drawing) -> None:
        """Show a drawing."""
        self._canvas.show(drawing)

    def say(self, *sentences: str) -> None:
        """Show words in the place of a drawing."""
        self.draw(Drawing(panels=(), summary=" ".join(sentences), rows=(0,)))

    def done(self, what: Mapping[str, Any]) -> None:
        """A person did something on the canvas."""

    def show(self, selection: Selection) -> None:
        """Draw a selection."""
        raise NotImplementedError
