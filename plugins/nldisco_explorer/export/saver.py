"""The menu of every tile that saves what is drawn, and the component that hands the file to the browser."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import param

from nldisco_core.errors import NLDiscoError
from nldisco_explorer.component import PageComponent
from nldisco_explorer.export.drawn import Drawn, csv_of, parquet_of

__all__ = ["KINDS", "MENU_CSS", "SavedFile", "Saver", "menu", "saved"]

KINDS = {
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "png": "image/png",
    "svg": "image/svg+xml",
}
NARROW, WIDE = 620, 1120

MENU_CSS = """
:host { overflow: visible; }
:host(.saving) { position: absolute !important; top: 10px; right: 12px; left: auto !important; z-index: 3; }
details { position: absolute; top: -1px; right: 0; margin: 0; font-size: 12.5px; text-align: right; z-index: 3; }
summary {
  list-style: none; cursor: pointer; display: inline-block; padding: 1px 8px; border-radius: 6px;
  color: var(--mui-palette-text-secondary, var(--panel-on-surface-color));
}
summary::-webkit-details-marker { display: none; }
summary:hover, summary:focus-visible, details[open] summary { background: rgba(128, 138, 150, 0.2); }
details > div {
  position: absolute; right: 0; margin-top: 3px; padding: 5px; border-radius: 8px; display: grid; min-width: 108px;
  background: var(--mui-palette-background-paper, var(--panel-surface-color));
  border: 1px solid rgba(128, 138, 150, 0.45); box-shadow: 0 4px 14px rgba(0, 0, 0, 0.22);
}
button {
  font: inherit; text-align: left; padding: 4px 10px; border: 0; border-radius: 5px; background: none; cursor: pointer;
  color: var(--mui-palette-text-primary, var(--panel-on-surface-color));
}
button:hover, button:focus-visible { background: rgba(128, 138, 150, 0.2); }
"""

RENDER = """
export function render({model}) {
  const clicked = event => {
    const path = event.composedPath()
    const button = path.find(each => each.dataset?.save !== undefined && each.dataset.explorer === model.explorer)
    if (button === undefined) { return }
    button.closest("details").open = false
    model.send_msg({tile: button.dataset.tile, kind: button.dataset.save})
  }
  document.addEventListener("click", clicked)
  model.on("remove", () => document.removeEventListener("click", clicked))
  model.on("msg:custom", ({name, type, data}) => {
    const bytes = Uint8Array.from(atob(data), each => each.charCodeAt(0))
    const link = document.createElement("a")
    link.href = URL.createObjectURL(new Blob([bytes], {type}))
    link.download = name
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 10000)
  })
}
"""


@dataclass(frozen=True, kw_only=True)
class SavedFile:
    """A file for the browser to keep."""

    name: str
    kind: str
    content: bytes


def menu(tile: str, title: str, explorer: str) -> str:
    """HTML of the menu of one tile; a click in it reaches the `Saver` of its explorer."""
    buttons = "".join(
        f'<button type="button" data-save="{kind}" data-tile="{html.escape(tile)}" data-explorer="{explorer}">'
        f"{kind.upper() if kind != 'parquet' else 'Parquet'}</button>"
        for kind in KINDS
    )
    label = html.escape(f"Export what is drawn in {title}")
    return f'<details><summary aria-label="{label}" title="{label}">Export</summary><div>{buttons}</div></details>'


def saved(shown: Drawn, kind: str, *, name: str, title: str, link: str, wide: bool) -> SavedFile:
    """What a tile shows as a file.

    Parameters
    ----------
    kind : one of `KINDS`
    name : of the file, without its ending
    title, link : written into a figure
    wide : whether the tile takes a whole row

    Raises
    ------
    NLDiscoError
        There is nothing to save in this way.
    """
    if kind not in KINDS:
        raise NLDiscoError(f"{kind!r} is no kind of file here; expected one of {', '.join(KINDS)}")
    if kind in ("csv", "parquet"):
        if not shown.tables:
            raise NLDiscoError(f"{title} shows nothing now that could be saved as {kind}")
        content = csv_of(shown) if kind == "csv" else parquet_of(shown)
    else:
        if not any(drawing.panels for drawing in shown.drawings):
            raise NLDiscoError(f"{title} holds no figure now; save it as CSV")
        # Matplotlib takes half a second to import, which no visit without a figure to save should wait for.
        from nldisco_explorer.export.paper import image_of

        image: Any = kind
        width = WIDE if wide else NARROW
        content = image_of(shown.drawings, image, title=title, caption=shown.caption, link=link, width=width)
    return SavedFile(name=f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}.{kind}", kind=KINDS[kind], content=content)


class Saver(PageComponent):
    """Hears every menu of one explorer and hands files over.

    Parameters
    ----------
    wanted : called with a tile's name and a kind of file; gives the file, None where there is none
    """

    explorer = param.String(default="", doc="Whose menus are heard, where a notebook shows several.")

    _esm: ClassVar[str] = RENDER

    def __init__(self, wanted: Callable[[str, str], SavedFile | None], **params: Any) -> None:
        super().__init__(width=0, height=0, margin=0, **params)
        self._wanted = wanted

    def _handle_msg(self, data: Any) -> None:
        file = self._wanted(str(data.get("tile")), str(data.get("kind"))) if isinstance(data, dict) else None
        if file is not None:
            content = base64.b64encode(file.content).decode()
            self._send_msg({"name": file.name, "type": file.kind, "data": content})
