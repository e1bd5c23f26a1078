"""Write a run's overview, its ranked table and its best latents into one HTML file that opens without a server."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from nldisco_core.errors import NLDiscoError
from nldisco_core.files import writing_failed
from nldisco_core.interfaces import Progress
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.drawing.component import SCRIPT
from nldisco_explorer.drawing.themes import CANVAS_THEMES
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.host import Offered, Tile, offered
from nldisco_explorer.links import start_place
from nldisco_explorer.live import HOME
from nldisco_explorer.ranking import KEY, ranked, scored_split
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import CARD_CSS, THEMES
from nldisco_explorer.table import FIRST, HIDDEN, LAST, ORDER
from nldisco_explorer.views.notes import said_of

__all__ = ["Shared", "share"]

HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src '{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What was written.

    Attributes
    ----------
    file : where
    n_latents, n_all : latents in it, and in the run's instance
    n_bytes : size of the file
    """

    file: Path
    n_latents: int
    n_all: int
    n_bytes: int


def share(run: Run, file: Path, *, n_latents: int = 100, progress: Progress | None = None) -> Shared:
    """Write one HTML file: overview, ranked table, and the Latent page of the first latents of the table.

    The file asks for nothing from anywhere; a policy in it keeps browsers from doing so, and from running any script
    but its own. Latents are those that the ranked table puts first: with support, then by q and by effect. Every tile
    that a plugin offers for the Overview and Latent pages is in it as it is drawn there.

    Parameters
    ----------
    n_latents : most latents that are drawn
    progress : told how many latents are drawn

    Raises
    ------
    RunError
        The file cannot be written.
    """
    reads, start = readings(run), start_place(readings(run)).selection
    rows = ranked(reads, start)
    kept = rows.head(n_latents).dropna(axis=1, how="all")
    chosen = [replace(start, latent=int(row.latent), sign=int(row.sign)) for row in kept.itertuples()]
    views = [view for view in offered() if view.view is not None and view.exports and view.needs <= run.offers]
    columns = _columns(kept)
    about = {
        "run": run.name,
        "chosen": _chosen(reads, start, len(kept), len(rows)),
        "columns": columns,
        "rows": [[_cell(value) for value in row] for row in kept[columns].itertuples(index=False)],
        "names": [latent_name(selection) for selection in chosen],
        "overview": _packed(_shown(tile, start) for tile in _tiles(run, views, "overview")),
        "latents": list(_latents(reads, _tiles(run, views, HOME), chosen, progress)),
        "themes": CANVAS_THEMES,
    }
    content = _page(run.name, about).encode()
    _write(file, content)
    return Shared(file=file, n_latents=len(kept), n_all=len(rows), n_bytes=len(content))


def _tiles(run: Run, views: Iterable[Offered], page: str) -> list[Tile]:
    return [Tile(view, run, _Still(run)) for view in views if view.page == page]


def _latents(
    reads: Readings, tiles: Sequence[Tile], chosen: Sequence[Selection], progress: Progress | None
) -> Iterator[str]:
    """The Latent page of each selection, packed."""
    for done, selection in enumerate(chosen, 1):
        yield _packed([*(_shown(tile, selection) for tile in tiles), *_notes(reads, selection)])
        if progress is not None:
            progress(done, len(chosen), "latents")


def _write(file: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(file)
    except OSError as error:
        raise writing_failed(file, error) from error


class _Still:
    """An explorer in which nothing changes."""

    may_write, visitor, link = False, "", ""

    def __init__(self, run: Run) -> None:
        self.runs: Mapping[str, Run] = {run.name: run}

    def select(self, *, page: str | None = None, **changes: Any) -> None:
        """Nothing: a file shows what it was made with."""

    def refresh(self) -> None:
        """Nothing."""


def _chosen(reads: Readings, start: Selection, n: int, n_all: int) -> str:
    """Which latents are in the file, and by what they were chosen."""
    what = "halves of latents" if reads.space(start.model).code_kind == "signed" else "latents"
    split = scored_split(reads, start)
    by = "that are active most" if split is None else f"with the most evidence by {start.mapper} on {start.variable}"
    where = "" if split is None else f", {split} bins"
    return f"{n} of {n_all} {what} of instance {start.instance} are in this file: those {by}{where}."


def _shown(tile: Tile, selection: Selection) -> dict[str, Any] | None:
    """What a tile shows of a selection; None where it has nothing to say of it, words where it failed."""
    tile.show(selection)
    view = tile.offered
    about = {"name": tile.name, "title": tile.title, "wide": view.wide, "headed": view.headed}
    try:
        shown = tile.drawn()
    except NLDiscoError as error:
        return about | {"html": [f'<p class="error">{html.escape(str(error))}</p>'], "drawings": []}
    if tile.state == "failed":
        return about | {"html": [f'<p class="error">{html.escape(tile.reason)}</p>'], "drawings": []}
    if shown is None:
        return None
    return about | {"html": shown.html, "drawings": [drawing.packed for drawing in shown.drawings]}


def _notes(reads: Readings, selection: Selection) -> list[dict[str, Any]]:
    """What people wrote of a latent, as a tile; none where they wrote nothing."""
    key = (selection.model, selection.instance, selection.latent or 0, selection.sign)
    said = [f"<p>{said_of(note)}</p>" for note in reversed(reads.notes.standing(key)) if not note.is_empty]
    tile = {"name": "notes", "title": "Notes", "wide": True, "headed": True, "html": said, "drawings": []}
    return [tile] if said else []


def _packed(tiles: Iterable[dict[str, Any] | None]) -> str:
    """Tiles as text: base64 of gzip of the length of a JSON header, the header, and the drawings."""
    body, kept, offset = [], [], 0
    for tile in tiles:
        if tile is None:
            continue
        places = []
        for drawing in tile["drawings"]:
            places.append([offset, len(drawing)])
            body.append(drawing)
            offset += len(drawing)
        kept.append(tile | {"drawings": places})
    header = json.dumps(kept, ensure_ascii=False).encode()
    whole = struct.pack("<I", len(header)) + header + b"".join(body)
    return base64.b64encode(gzip.compress(whole, 9, mtime=0)).decode()


def _columns(rows: pd.DataFrame) -> list[str]:
    """Columns in the order of the explorer's table; one of empty texts says nothing."""
    kept = [str(name) for name in rows if name not in (KEY, *HIDDEN) and not (rows[name].astype(str) == "").all()]
    known = [name for name in (*FIRST, *ORDER) if name in kept]
    return [*known, *(name for name in kept if name not in (*known, *LAST)), *(name for name in LAST if name in kept)]


def _cell(value: Any) -> Any:
    """A value as JSON has it: a rounded number, text, or null."""
    if value is None or value is pd.NA or value != value:
        return None
    if hasattr(value, "item"):
        value = value.item()
    return float(f"{value:.4g}") if isinstance(value, float) else value if isinstance(value, int | str) else str(value)


def _page(title: str, about: Mapping[str, Any]) -> str:
    script = f"{SCRIPT}\n{_file('page.js')}"
    digest = "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(about, ensure_ascii=False, allow_nan=False, default=list).replace("<", "\\u003c")
    parts = {
        "title": html.escape(title),
        "policy": html.escape(POLICY.format(digest=digest)),
        "style": f"{_colours()}{_file('page.css')}\n.words {{ {CARD_CSS.replace(':host', '&')} }}",
        "data": data,
        "script": script,
    }
    page = _file("page.html")
    for name, text in parts.items():
        page = page.replace(f"<!--{name}-->", text, 1)
    return page


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _colours() -> str:
    """The explorer's two themes under the names by which its style sheets ask for them."""
    written = ""
    for theme, where in (("light", ":root"), ("dark", ":root[data-theme=dark]")):
        palette = THEMES[theme]["palette"]
        bar = THEMES[theme]["components"]["MuiAppBar"]["styleOverrides"]["root"]["backgroundColor"]
        written += (
            f"{where} {{ --mui-palette-text-primary: {palette['text']['primary']}; "
            f"--mui-palette-text-secondary: {palette['text']['secondary']}; "
            f"--mui-palette-primary-main: {palette['primary']['main']}; --bar: {bar}; "
            f"--mui-palette-background-paper: {palette['background']['paper']}; "
            f"--ground: {palette['background']['default']}; color-scheme: {theme}; }}\n"
        )
    return written
