"""What people write about latents: an append-only file in the run that survives crashes, several writers and git."""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from filelock import FileLock, Timeout

from nldisco_core.errors import RunError, SchemaTooNew
from nldisco_core.files import writing_failed
from nldisco_core.selection import Selection

__all__ = ["CONFIDENCES", "NOTES_FILE", "Confidence", "LatentKey", "Note", "Notes", "notes_table"]

Confidence = Literal["", "low", "medium", "high"]
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)
MOST_STARS = 5
LONGEST = {"name": 120, "text": 20_000, "author": 120}
NOTES_FILE = "notes.jsonl"
SCHEMA_VERSION = 1
LOCK_S = 20.0
UNION = f"{NOTES_FILE} merge=union\n"  # git keeps the lines of both sides, in place of a conflict

LatentKey = tuple[str, int, int, int]
"""Model, instance, latent and sign: what a note speaks of."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What one person wrote about one latent.

    Attributes
    ----------
    id : 32 hexadecimal digits, never used twice
    latent, instance, model : which latent of which instance of the run's own ``model`` or of a control
    sign : +1 or -1 for a rectified half of a signed code, 0 for a code as it is
    name : what the latent is called, one line of at most 120 characters
    text : the comment
    confidence : of the name: empty where nothing is said, ``low``, ``medium`` or ``high``
    stars : 0 to 5, how worthwhile the latent is
    author : who wrote it
    time : when, ISO 8601 in UTC
    supersedes : id of the note that this one takes the place of; empty for a first note

    Raises
    ------
    RunError
        A field is of another type or out of its range.
    """

    id: str
    latent: int
    instance: int
    model: str
    sign: int = 0
    name: str = ""
    text: str = ""
    confidence: Confidence = ""
    stars: int = 0
    author: str = ""
    time: str
    supersedes: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value: object = getattr(self, field.name)
            expected = int if field.type == "int" else str
            if type(value) is not expected:
                raise RunError(f"a note's {field.name} is {value!r}; expected {expected.__name__}")
            if isinstance(value, str) and not _is_text(value):
                raise RunError(f"a note's {field.name} holds half a character, which no file can keep: {value!r}")
        if self.latent < 0 or self.instance < 0 or self.sign not in (-1, 0, 1):
            raise RunError(f"a note speaks of latent {self.latent} of instance {self.instance}, sign {self.sign}")
        if not 0 <= self.stars <= MOST_STARS:
            raise RunError(f"{self.stars} stars; expected 0 to {MOST_STARS}")
        if self.confidence not in CONFIDENCES:
            raise RunError(f"confidence {self.confidence!r}; expected one of {', '.join(CONFIDENCES[1:])} or none")
        if len(self.name.splitlines()) > 1:
            raise RunError(f"a note's name is one line; found {self.name!r}")
        for name, longest in LONGEST.items():
            if len(getattr(self, name)) > longest:
                raise RunError(f"a note's {name} has {len(getattr(self, name))} characters; at most {longest} are kept")

    @property
    def key(self) -> LatentKey:
        """What the note speaks of."""
        return (self.model, self.instance, self.latent, self.sign)

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, as one that takes an earlier one back."""
        return not (self.name or self.text or self.confidence or self.stars)


class Notes:
    """The notes of one run.

    A note is one line of ``notes.jsonl``, written whole and on the disk before `add` returns, under a lock that all
    writers of this and other processes take. Nothing is ever rewritten: a change is a new note that supersedes the old
    one. Lines that cannot be read, such as the torn last one after a crash or git's conflict marks, are left alone and
    counted; every other line is read.

    Parameters
    ----------
    folder : of the run
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NOTES_FILE
        self._stamp: tuple[int, int] | None = None
        self._read: tuple[Note, ...] = ()
        self._n_unreadable = 0

    @property
    def stamp(self) -> tuple[int, int] | None:
        """Time and size of the file, which change with every note; None where there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    @property
    def n_unreadable(self) -> int:
        """Lines that could not be read."""
        self.all()
        return self._n_unreadable

    def all(self) -> tuple[Note, ...]:
        """Every note ever written, oldest first; read again when the file has changed.

        Raises
        ------
        RunError
            The file cannot be read.
        SchemaTooNew
            A newer version wrote into it.
        """
        stamp = self.stamp
        if stamp != self._stamp:
            lines = self._lines() if stamp is not None else ()
            by_id: dict[str, Note] = {}  # a line may stand twice after a merge
            self._n_unreadable = 0
            for line in lines:
                note = _parsed(line)
                if note is None:
                    self._n_unreadable += 1
                else:
                    by_id.setdefault(note.id, note)
            self._read, self._stamp = tuple(sorted(by_id.values(), key=lambda note: (note.time, note.id))), stamp
        return self._read

    def _lines(self) -> Iterator[bytes]:
        try:
            return filter(bytes.strip, self.path.read_bytes().split(b"\n"))
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error}") from error

    def standing(self, key: LatentKey) -> tuple[Note, ...]:
        """Notes of a latent that none supersedes, newest last; several where people wrote without seeing each other."""
        return self._standing().get(key, ())

    def current(self) -> dict[LatentKey, Note]:
        """The newest standing note of each latent, without those that say nothing."""
        newest = {key: notes[-1] for key, notes in self._standing().items()}
        return {key: note for key, note in newest.items() if not note.is_empty}

    def _standing(self) -> dict[LatentKey, tuple[Note, ...]]:
        notes = self.all()
        replaced = {(note.key, note.supersedes) for note in notes}
        found: dict[LatentKey, tuple[Note, ...]] = {}
        for note in notes:
            if (note.key, note.id) not in replaced:
                found[note.key] = (*found.get(note.key, ()), note)
        return found

    def add(self, about: Selection, *, supersedes: str = "", **said: Any) -> Note:
        """Write a note about the selected latent; it is on the disk when this returns.

        Parameters
        ----------
        about : says model, instance, latent and sign
        supersedes : id of the note that its writer saw, empty where there was none
        said : name, text, confidence, stars and author

        Raises
        ------
        RunError
            No latent is selected, a field is out of range, or the note cannot be written.
        """
        if about.latent is None:
            raise RunError("no latent is selected, so there is nothing to write a note about")
        note = Note(
            id=uuid.uuid4().hex,
            model=about.model,
            instance=about.instance,
            latent=about.latent,
            sign=about.sign,
            time=datetime.now(UTC).isoformat(timespec="microseconds"),
            supersedes=supersedes,
            **said,
        )
        self._append(json.dumps(dataclasses.asdict(note) | {"schema_version": SCHEMA_VERSION}, ensure_ascii=False))
        return note

    def _append(self, line: str) -> None:
        try:
            with FileLock(self.path.with_name(f".{NOTES_FILE}.lock"), timeout=LOCK_S):
                _merge_by_union(self.path.parent)
                is_new = not self.path.exists()
                with self.path.open("ab") as stream:
                    torn = b"" if is_new or _ends_whole(self.path) else b"\n"  # what a crash left is a line of its own
                    stream.write(torn + line.encode() + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
                if is_new:
                    _sync_folder(self.path.parent)
        except Timeout as error:
            raise RunError(f"{self.path} has been locked for {LOCK_S:g} s; end the program that holds it") from error
        except OSError as error:
            raise writing_failed(self.path, error) from error


def notes_table(notes: Iterable[Note]) -> pd.DataFrame:
    """One row per note, for a CSV file: model, instance, latent, sign, name, stars, confidence, text, author, time."""
    columns = ["model", "instance", "latent", "sign", "name", "stars", "confidence", "text", "author", "time", "id"]
    return pd.DataFrame([dataclasses.asdict(note) for note in notes], columns=[*columns, "supersedes"])


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(line: bytes) -> Note | None:
    """The note in a line, None where the line is not whole."""
    try:
        content = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, Mapping):
        return None
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{NOTES_FILE} has schema {version}; this version reads up to {SCHEMA_VERSION}: update nldisco-core"
        )
    try:
        return Note(**{name: value for name, value in content.items() if name != "schema_version"})
    except (TypeError, RunError):
        return None


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as stream:
        if not stream.seek(0, os.SEEK_END):
            return True
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _merge_by_union(folder: Path) -> None:
    attributes = folder / ".gitattributes"
    if not attributes.exists():
        attributes.write_text(UNION, encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    """Keep the names of new files through a power cut; Windows has no such call and needs none."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
