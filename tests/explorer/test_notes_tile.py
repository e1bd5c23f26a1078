"""The tile of notes without a browser; nldisco_core.notes has tests of its own."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import readings
from nldisco_explorer.shell import Shell
from nldisco_explorer.views.notes import LatentNotes

from nldisco_core.notes import Notes
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.


@pytest.fixture
def run(written_run: Run, tmp_path: Path) -> Run:
    """A copy that may be written into."""
    return Run(shutil.copytree(written_run.folder, tmp_path / written_run.name))


class Writer:
    """One visitor with a tile of their own."""

    def __init__(self, run: Run, *, may_write: bool = True, visitor: str = "") -> None:
        self.refreshed = 0
        self.tile = LatentNotes().build(run)
        explorer: Any = SimpleNamespace(may_write=may_write, visitor=visitor, refresh=self._refresh)
        self.tile.join(explorer)

    def _refresh(self) -> None:
        self.refreshed += 1

    def look(self, latent: int) -> None:
        self.tile.show(Selection(run="r", latent=latent))

    @property
    def form(self) -> Any:
        self.tile.open()
        return self.tile.form

    def type(self, name: str, text: str = "") -> None:
        self.form.name.value_input, self.form.text.value_input = name, text

    def save(self) -> None:
        self.form.save.clicks += 1

    @property
    def said(self) -> str:
        return str(self.tile._said.object)


def test_saved_note_is_in_the_run_and_shown_to_others(run: Run) -> None:
    ada, bo = Writer(run, visitor="ada"), Writer(run)
    ada.look(5)
    ada.type("ring", "fires at 90°")
    ada.form.stars.value, ada.form.confidence.value = 4, "high"
    ada.save()
    (note,) = Notes(run.folder).all()
    assert (note.latent, note.name, note.text, note.stars, note.confidence, note.author) == (
        *(5, "ring", "fires at 90°", 4, "high", "ada"),
    )
    assert ada.refreshed == 1
    bo.look(5)
    assert bo.form.name.value == "ring"
    assert "★★★★" in bo.said
    bo.look(6)
    assert bo.form.name.value == ""
    assert "Nothing is written about Latent 6" in bo.said


def test_two_who_write_at_once_lose_nothing_and_are_told(run: Run) -> None:
    ada, bo = Writer(run, visitor="ada"), Writer(run, visitor="bo")
    for writer in (ada, bo):
        writer.look(5)
    ada.type("from ada")
    bo.type("from bo")
    ada.save()
    bo.save()
    assert {note.name for note in Notes(run.folder).standing(("model", 0, 5, 0))} == {"from ada", "from bo"}
    ada.look(6)
    ada.look(5)
    assert "without seeing each other" in ada.said


def test_what_was_typed_and_not_saved_waits(run: Run) -> None:
    ada = Writer(run)
    ada.look(5)
    ada.type("half a thou")
    ada.look(6)
    assert ada.form.name.value == ""
    ada.look(5)
    assert ada.form.name.value == "half a thou"
    assert Notes(run.folder).all() == ()


def test_read_only_shows_and_takes_nothing(run: Run) -> None:
    Notes(run.folder).add(Selection(run="r", latent=5), name="seen")
    guest = Writer(run, may_write=False)
    guest.look(5)
    assert "seen" in guest.said
    assert "takes none" in guest.said
    assert not guest.tile.write.visible
    guest.tile.write.clicks += 1  # as a browser could that ignores that the button is not there
    guest.tile.take_name()
    assert guest.tile.form is None
    guest.tile._save()
    assert [note.name for note in Notes(run.folder).all()] == ["seen"]


def test_visitor_who_logged_in_signs_with_that_name(run: Run) -> None:
    ada = Writer(run, visitor="ada")
    ada.look(5)
    ada.type("ring")
    ada.form.author.value_input = "somebody else"
    ada.save()
    assert Notes(run.folder).all()[0].author == "ada"


def test_refused_note_says_why_and_stays_in_the_fields(run: Run) -> None:
    ada = Writer(run)
    ada.look(5)
    ada.type("x" * 200)
    ada.save()
    assert "at most 120" in ada.said
    assert len(ada.form.name.value_input) == 200
    assert Notes(run.folder).all() == ()


def test_script_in_a_note_is_written_as_text(run: Run) -> None:
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    Notes(run.folder).add(Selection(run="r", latent=5), name=script, text=script, author=script)
    guest = Writer(run)
    guest.look(5)
    assert "<script" not in guest.said
    assert "<img" not in guest.said
    assert "&lt;script&gt;" in guest.said


def test_table_and_card_carry_the_names(run: Run) -> None:
    shell = Shell({run.name: run})
    latent = shell.live.selection.latent
    assert latent is not None
    assert "name" not in ranked(readings(run), shell.live.selection)
    Notes(run.folder).add(shell.live.selection, name="head direction", stars=2)
    shell.refresh()
    rows = ranked(readings(run), shell.live.selection)
    assert rows.loc[rows["latent"] == latent, ["name", "stars"]].to_numpy().tolist() == [["head direction", "★★"]]
    table = shell._pages["latent"]._table
    assert table is not None
    assert "head direction" in set(table.table.value["name"])
    card = next(tile for tile in shell._pages["latent"].tiles if tile.name == "latent-card")
    assert "head direction ★★" in card._live.panel.object  # type: ignore[union-attr]  # it was shown


def test_csv_holds_every_note(run: Run) -> None:
    ada = Writer(run)
    ada.look(5)
    for name in ("one", "two"):
        ada.type(name)
        ada.save()
    saved = pd.read_csv(io.StringIO(ada.tile._csv().getvalue()))
    assert saved["name"].tolist() == ["one", "two"]
    assert saved["supersedes"].iloc[1] == saved["id"].iloc[0]
