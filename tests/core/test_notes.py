from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nldisco_core.errors import RunError, SchemaTooNew
from nldisco_core.notes import NOTES_FILE, Notes, notes_table
from nldisco_core.selection import Selection

ABOUT = Selection(run="r", latent=7, instance=1)


def write_many(folder: str, author: str, n: int) -> list[str]:
    notes = Notes(Path(folder))
    return [notes.add(ABOUT, author=author, text=f"{author} {i} " + "x" * 3000).id for i in range(n)]


def test_note_is_read_back_as_it_was_written_by_another_reader(tmp_path: Path) -> None:
    said = {"name": "place é", "text": "two\nlines", "confidence": "high", "stars": 4, "author": "ada"}
    note = Notes(tmp_path).add(ABOUT, **said)
    read = Notes(tmp_path).current()
    assert read == {("model", 1, 7, 0): note}
    assert {name: getattr(note, name) for name in said} == said
    assert note.time.endswith("+00:00")


@given(
    name=st.text(max_size=30).filter(lambda text: len(text.splitlines()) < 2),
    text=st.text(),
    stars=st.integers(0, 5),
)
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, name: str, text: str, stars: int) -> None:
    folder = tmp_path_factory.mktemp("run")
    note = Notes(folder).add(ABOUT, name=name, text=text, stars=stars)
    assert Notes(folder).all() == (note,)


def test_later_note_takes_the_place_of_the_one_it_supersedes_and_keeps_it(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    first = notes.add(ABOUT, name="ring")
    second = notes.add(ABOUT, name="head direction", supersedes=first.id)
    assert notes.current()[first.key] == second
    assert notes.standing(first.key) == (second,)
    assert notes.all() == (first, second)


def test_two_who_did_not_see_each_other_are_both_kept(tmp_path: Path) -> None:
    ours, theirs = Notes(tmp_path), Notes(tmp_path)
    seen = ours.add(ABOUT, name="seen by both")
    assert theirs.all() == (seen,)
    one = ours.add(ABOUT, name="one", supersedes=seen.id)
    two = theirs.add(ABOUT, name="two", supersedes=seen.id)
    assert Notes(tmp_path).standing(seen.key) == (one, two)
    assert Notes(tmp_path).current()[seen.key] == two


def test_empty_note_takes_an_earlier_one_back(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    first = notes.add(ABOUT, name="wrong")
    notes.add(ABOUT, supersedes=first.id)
    assert notes.current() == {}
    assert len(notes.all()) == 2


def test_halves_and_instances_and_controls_have_notes_of_their_own(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    places = [
        Selection(run="r", latent=7, sign=1),
        Selection(run="r", latent=7, sign=-1),
        Selection(run="r", latent=7, instance=1),
        Selection(run="r", latent=7, model="pca"),
    ]
    made = [notes.add(place, name=str(i)) for i, place in enumerate(places)]
    assert list(notes.current().values()) == made


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_torn_last_line_loses_nothing_before_and_nothing_after(tmp_path: Path, cut: int) -> None:
    notes = Notes(tmp_path)
    first = notes.add(ABOUT, name="first", text="ü" * 40)
    whole = notes.path.read_bytes()
    notes.path.write_bytes(whole + whole[: len(whole) // 2 + cut])
    assert Notes(tmp_path).all() == (first,)
    second = Notes(tmp_path).add(ABOUT, name="second", supersedes=first.id)
    read = Notes(tmp_path)
    assert read.all() == (first, second)
    assert read.n_unreadable == 1


def test_line_that_lacks_only_its_end_counts(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    first = notes.add(ABOUT, name="first")
    notes.path.write_bytes(notes.path.read_bytes().rstrip(b"\n"))
    second = notes.add(ABOUT, name="second")
    assert Notes(tmp_path).all() == (first, second)


@pytest.mark.parametrize("line", ["<<<<<<< ours", "7", "[]", "{}", '{"id": 3}', "\x00\x00"])
def test_strange_lines_are_counted_and_skipped(tmp_path: Path, line: str) -> None:
    notes = Notes(tmp_path)
    first = notes.add(ABOUT, name="first")
    with notes.path.open("a") as stream:
        stream.write(line + "\n")
    assert (notes.all(), notes.n_unreadable) == ((first,), 1)


def test_newer_format_is_refused(tmp_path: Path) -> None:
    note = Notes(tmp_path).add(ABOUT, name="first")
    (tmp_path / NOTES_FILE).write_text(json.dumps(asdict(note) | {"schema_version": 99}) + "\n")
    with pytest.raises(SchemaTooNew, match="update nldisco-core"):
        Notes(tmp_path).all()


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"stars": 6}, "0 to 5"),
        ({"stars": True}, "expected int"),
        ({"text": 3}, "expected str"),
        ({"name": "x" * 121}, "at most 120"),
        ({"name": "two\nlines"}, "one line"),
        ({"text": "\ud800"}, "half a character"),
        ({"confidence": "certain"}, "low, medium, high"),
    ],
)
def test_bad_field_is_refused_and_nothing_is_written(tmp_path: Path, said: dict[str, object], complaint: str) -> None:
    with pytest.raises(RunError, match=complaint):
        Notes(tmp_path).add(ABOUT, **said)
    assert not (tmp_path / NOTES_FILE).exists()


def test_no_latent_no_note(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no latent"):
        Notes(tmp_path).add(Selection(run="r"), name="x")


def test_folder_that_cannot_be_written_is_a_stated_error(tmp_path: Path) -> None:
    (tmp_path / NOTES_FILE).mkdir()
    with pytest.raises(RunError, match="cannot write"):
        Notes(tmp_path).add(ABOUT, name="x")


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=context) as pool:
        written = pool.map(write_many, [str(tmp_path)] * 3, ["ada", "bo", "cy"], [40] * 3)
        ids = {name for names in written for name in names}
    read = Notes(tmp_path)
    assert {note.id for note in read.all()} == ids
    assert len(ids) == 120
    assert read.n_unreadable == 0


def test_table_has_a_row_per_note_and_survives_csv(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert list(notes_table([]).columns) == list(notes_table([notes.add(ABOUT, name="a,b", text='say "x"')]).columns)
    notes_table(notes.all()).to_csv(tmp_path / "notes.csv", index=False)
    row = pd.read_csv(tmp_path / "notes.csv").iloc[0]
    assert (row["latent"], row["name"], row["text"]) == (7, "a,b", 'say "x"')


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_two_branches_merge_without_a_conflict_and_without_loss(tmp_path: Path) -> None:
    def git(*command: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True, capture_output=True)

    notes = Notes(tmp_path)
    made = [notes.add(ABOUT, name="base")]
    git("init")
    git("add", NOTES_FILE, ".gitattributes")
    git("commit", "-m", "base")
    git("checkout", "-b", "theirs")
    made.append(notes.add(ABOUT, name="theirs"))
    git("commit", "-am", "theirs")
    git("checkout", "main")
    made.append(notes.add(ABOUT, name="ours"))
    git("commit", "-am", "ours")
    git("merge", "theirs")
    assert Notes(tmp_path).all() == tuple(made)
    assert Notes(tmp_path).n_unreadable == 0
