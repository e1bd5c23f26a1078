"""The tile of a view that draws on the canvas: its controls, the canvas, and the words below it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import panel as pn
import panel_material_ui as pmui

from nldisco_core.errors import unknown_name
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
    tile : name of its view, which its settings go by; empty where it has none
    follows_window : whether it draws the selected window of time; one that does not is left alone when that is moved
    """

    applies = True
    follows_window = False
    tile = ""

    def __init__(self, *controls: Any) -> None:
        self._canvas = Canvas(done=self.done)
        self._explorer: Explorer | None = None
        self._filling = False
        self._unfit: dict[str, str] = {}
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

    def setting(self, selection: Selection, name: str, offers: Collection[str]) -> str | None:
        """What a person set on this tile, None where nothing was; what is not on offer is said below the drawing."""
        value = selection.setting(f"{self.tile}.{name}")
        self._unfit.pop(name, None)
        if value is None or value in offers:
            return value
        self._unfit[name] = f"{unknown_name(name, value, offers)}."
        return None

    def settings(self, selection: Selection, name: str, offers: Collection[str]) -> list[str] | None:
        """Like `setting` where several can be chosen, with commas between them."""
        text = selection.setting(f"{self.tile}.{name}")
        values = [] if text is None else [each for each in text.split(",") if each]
        self._unfit.pop(name, None)
        if unknown := [each for each in values if each not in offers]:
            self._unfit[name] = " ".join(f"{unknown_name(name, each, offers)}." for each in unknown)
        return None if text is None else [each for each in values if each in offers]

    def set(self, selection: Selection | None, name: str, value: str | None) -> None:
        """Keep what a person set on this tile in the selection shown last, and so in links; None takes it back."""
        if self._filling or selection is None:
            return
        changed = selection.set_to({f"{self.tile}.{name}": value})
        if self._explorer is None:
            self.show(changed)
        else:
            self._explorer.select(view=changed.view)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Pickers are set to what is selected; that asks for nothing."""
        self._filling = True
        try:
            yield
        finally:
            self._filling = False

    def draw(self, drawing: Drawing) -> None:
        """Show a drawing, and below it which settings are not on offer."""
        if self._unfit:
            drawing = replace(drawing, summary=" ".join([drawing.summary, *self._unfit.values()]))
        self._canvas.show(drawing)

    def say(self, *sentences: str) -> None:
        """Show words in the place of a drawing."""
        self.draw(Drawing(panels=(), summary=" ".join(sentences), rows=(0,)))

    def done(self, what: Mapping[str, Any]) -> None:
        """A person did something on the canvas."""

    def show(self, selection: Selection) -> None:
        """Draw a selection."""
        raise NotImplementedError
