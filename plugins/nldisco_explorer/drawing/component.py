"""The canvas as a Panel component: one message per drawing, and back what a person does on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import param

from nldisco_explorer.component import PageComponent
from nldisco_explorer.drawing.payload import FIRST_TURN, Drawing
from nldisco_explorer.drawing.themes import CANVAS_THEMES

__all__ = ["SCRIPT", "Canvas"]

SCRIPT = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("panels.js", "canvas.js"))
"""The drawing as one module; exports `mount`, for a page without Panel too."""

RENDER = """
export function render({model, el}) {
  const mounted = mount(el, {themes: model.themes, tell: done => model.send_msg(done)})
  model.on("payload", () => mounted.show(model.payload))
  model.on("msg:custom", message => mounted.zoom(message.zoom))
  model.on("remove", () => mounted.remove())
  mounted.show(model.payload)
  const sight = new IntersectionObserver(all => { model.seen = all.at(-1).isIntersecting }, {rootMargin: "120px"})
  sight.observe(el)
  model.on("remove", () => sight.disconnect())
}
"""


class Canvas(PageComponent):
    """Shows drawings.

    Parameters
    ----------
    done : called with what a person did: ``kind`` (``click``, ``lasso`` or ``range``), ``panel``, and what it is about
    """

    payload = param.Bytes(default=b"", doc="The drawing as it is sent.")
    seen = param.Boolean(default=True, doc="Whether it is on the screen, or nearly; what is not is not drawn.")
    themes = param.Dict(default=CANVAS_THEMES, doc="Colours in the light and in the dark.")

    _esm: ClassVar[str] = SCRIPT + RENDER

    def __init__(self, done: Callable[[Mapping[str, Any]], None] | None = None, **params: Any) -> None:
        params.setdefault("sizing_mode", "stretch_width")
        params.setdefault("margin", 0)
        super().__init__(**params)
        self._done = done
        self._drawing: Drawing | None = None
        self._turn = FIRST_TURN

    @property
    def drawing(self) -> Drawing | None:
        """What is drawn now, turned as it was last left; None before the first drawing."""
        shown = self._drawing
        return shown if shown is None or shown.turn == self._turn else replace(shown, turn=self._turn)

    def show(self, drawing: Drawing) -> None:
        """Draw panels in the place of those before."""
        self._drawing = drawing
        self.payload = drawing.packed

    def zoom(self, factor: float) -> None:
        """Show more (above one) or less of the linked axis."""
        self._send_msg({"zoom": factor})

    def _handle_msg(self, data: Mapping[str, Any]) -> None:
        if data.get("kind") == "turn":
            self._turn = (float(data["yaw"]), float(data["pitch"]))
        elif self._done is not None:
            self._done(data)
