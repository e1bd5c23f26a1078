"""The tile in which people name a latent, rate it and write about it."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import panel as pn
import panel_material_ui as pmui

from nldisco_core.errors import RunError
from nldisco_core.notes import CONFIDENCES, MOST_STARS, Confidence, LatentKey, Note, notes_table
from nldisco_core.runs import Run
from nldisco_core.selection import Selection
from nldisco_explorer.component import bar
from nldisco_explorer.evidence import latent_name
from nldisco_explorer.readings import Readings, readings
from nldisco_explorer.style import CARD_CSS

if TYPE_CHECKING:
    from nldisco_core.interfaces import Explorer

__all__ = ["LatentNotes", "said_of"]

OPENS_MS = 400
SURE = {"nothing said": "", **{f"{level} confidence": level for level in CONFIDENCES if level}}


class LatentNotes:
    """View: name, stars, confidence and comment of a latent, kept in the run."""

    title: ClassVar[str] = "Notes"
    page: ClassVar[str] = "latent"
    needs: ClassVar[frozenset[str]] = frozenset()
    wide: ClassVar[bool] = True
    exports: ClassVar[bool] = False

    def build(self, run: Run) -> _NotesTile:
        """A new tile."""
        return _NotesTile(readings(run))


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """What stands in the fields, and the id of the note that it started from."""

    name: str = ""
    text: str = ""
    confidence: Confidence = ""
    stars: int = 0
    seen: str = ""

    @classmethod
    def of(cls, note: Note) -> _Draft:
        return cls(name=note.name, text=note.text, confidence=note.confidence, stars=note.stars, seen=note.id)


class _Form:
    """The fields; made when somebody first writes, as seven widgets take a browser a moment."""

    def __init__(self, save: Callable[[], None], *, visitor: str) -> None:
        field: dict[str, Any] = {"size": "small", "margin": 0}
        self.name = pmui.TextInput(label="name", width=260, max_length=120, css_classes=["note-name"], **field)
        self.stars = pmui.Rating(label="stars", value=0, end=MOST_STARS, size="small", width=130, margin=0)
        self.confidence = pmui.Select(label="how sure", options=SURE, value="", width=180, **field)
        self.author = pmui.TextInput(label="your name", value=visitor, disabled=bool(visitor), width=180, **field)
        self.text = pmui.TextAreaInput(
            label="comment", rows=2, max_rows=8, max_length=20_000, sizing_mode="stretch_width", **field
        )
        self.save = pmui.Button(label="Save note", size="small", css_classes=["note-save"], margin=0)
        self.save.on_click(lambda _: save())
        self.panel = pn.Column(
            bar(self.name, self.stars, self.confidence, self.author),
            pn.Row(self.text, sizing_mode="stretch_width", margin=(8, 0)),
            self.save,
            sizing_mode="stretch_width",
            margin=(6, 0),
        )

    def typed(self, seen: str) -> _Draft:
        """What stands in the fields."""
        return _Draft(
            name=self.name.value_input.strip(),
            text=self.text.value_input.strip(),
            confidence=cast(Confidence, self.confidence.value or ""),
            stars=int(self.stars.value or 0),
            seen=seen,
        )

    def fill(self, draft: _Draft) -> None:
        """Put a draft into the fields."""
        self.name.param.update(value=draft.name, value_input=draft.name)
        self.text.param.update(value=draft.text, value_input=draft.text)
        self.confidence.value, self.stars.value = draft.confidence, draft.stars


class _NotesTile:
    """What a person typed about a latent and did not save waits for them to come back to it."""

    def __init__(self, reads: Readings) -> None:
        self._reads = reads
        self._explorer: Explorer | None = None
        self._selection: Selection | None = None
        self._drafts: dict[LatentKey, _Draft] = {}
        self._start = _Draft()
        self.form: _Form | None = None
        self._said = pn.pane.HTML("", stylesheets=[CARD_CSS], sizing_mode="stretch_width", margin=0)
        self.write = pmui.Button(label="Write a note", size="small", css_classes=["note-write"], margin=0)
        self.write.on_click(lambda _: self.open())
        download = pmui.FileDownload(
            callback=self._csv, filename="notes.csv", label="All notes as CSV", size="small", margin=0
        )
        download.variant = "outlined"  # given to the constructor it makes Panel 1.9 warn of a deprecation of its own
        buttons = bar(self.write, download, margin=(8, 0, 0, 0))
        self.panel: Any = pn.Column(self._said, buttons, sizing_mode="stretch_width", margin=0)

    def join(self, explorer: Explorer) -> None:
        """Know whether notes are taken, and who is writing."""
        self._explorer = explorer
        self.write.visible = explorer.may_write

    def open(self) -> None:
        """Show the fields, where notes are taken."""
        if self.form is None and self._explorer is not None and self._explorer.may_write:
            self.form = _Form(self._save, visitor=self._explorer.visitor)
            self.form.fill(self._start)
            self.write.visible = False
            self.panel.insert(1, self.form.panel)

    def take_name(self) -> None:
        """Put the cursor into the field of the name."""
        was_open = self.form is not None
        self.open()
        if self.form is not None:
            if was_open or pn.state.curdoc is None:
                self.form.name.focus()
            else:  # a field hears nothing before the browser has made it
                pn.state.curdoc.add_timeout_callback(self.form.name.focus, OPENS_MS)

    def show(self, selection: Selection) -> None:
        """Show what is written about the selected latent, or what was typed about it and not saved."""
        if self.form is not None and self._selection is not None:
            left = self.form.typed(self._start.seen)
            if left != self._start:
                self._drafts[_key(self._selection)] = left
        self._selection = selection
        standing = self._standing()
        self._start = _Draft.of(standing[-1]) if standing else _Draft()
        if self.form is not None:
            self.form.fill(self._drafts.pop(_key(selection), self._start))
        self._say()

    def _standing(self) -> tuple[Note, ...]:
        return self._reads.notes.standing(_key(self._selection)) if self._selection is not None else ()

    def _save(self) -> None:
        """Write the note; who wrote at the same time is not overwritten, both notes stand and are shown."""
        if self.form is None or self._explorer is None or self._selection is None:
            return
        typed = self.form.typed(self._start.seen)
        if typed == self._start:
            self._say("There is nothing new to save.")
            return
        said = {"name": typed.name, "text": typed.text, "confidence": typed.confidence, "stars": typed.stars}
        author = self._explorer.visitor or self.form.author.value_input.strip()
        try:
            note = self._reads.notes.add(self._selection, supersedes=typed.seen, author=author, **said)
        except RunError as error:
            self._say(f"The note was not saved: {error}.")
            return
        self._start = replace(typed, seen=note.id)
        self._explorer.refresh()

    def _say(self, complaint: str = "") -> None:
        """Who wrote what stands, and what is wrong."""
        parts = [f'<p class="error" role="alert">{html.escape(complaint)}</p>'] if complaint else []
        standing = self._standing()
        parts += [f"<p>{said_of(note)}</p>" for note in reversed(standing)]
        if len(standing) > 1:
            parts.append("<p>These were written without seeing each other, so all of them stand.</p>")
        if not standing and self._selection is not None and self._selection.latent is not None:
            parts.append(f"<p>Nothing is written about {html.escape(latent_name(self._selection))} yet.</p>")
        if self._explorer is not None and not self._explorer.may_write:
            parts.append("<p>This explorer shows notes and takes none.</p>")
        if n := self._reads.notes.n_unreadable:
            parts.append(f"<p>{n} lines of the file of notes cannot be read and are left as they are.</p>")
        self._said.object = "".join(parts)

    def _csv(self) -> io.StringIO:
        """Every note of the run, superseded ones too."""
        return io.StringIO(notes_table(self._reads.notes.all()).to_csv(index=False))


def _key(selection: Selection) -> LatentKey:
    latent = -1 if selection.latent is None else selection.latent
    return (selection.model, selection.instance, latent, selection.sign)


def said_of(note: Note) -> str:
    """One note in words; whatever is in it is shown as text."""
    said = [note.name, "★" * note.stars, f"{note.confidence} confidence" if note.confidence else "", note.text]
    by = f"{note.author or 'nobody in particular'}, {note.time[:16].replace('T', ' ')} UTC"
    return (
        html.escape(" · ".join(part for part in said if part) or "taken back") + f" <small>({html.escape(by)})</small>"
    )
