"""Notes survive: the server killed while a page writes them, writers killed within a line, and many writers at once."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import fcntl
import multiprocessing
import random
import runpy
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from explorer import ROOT, served
from reporting import announce, conclude

from nldisco_core import notes as notes_module
from nldisco_core.notes import NOTES_FILE, Notes
from nldisco_core.selection import Selection

TESTS = ROOT / "tests" / "explorer"
TALKING: dict[str, Any] = runpy.run_path(str(TESTS / "served.py"))
WRITTEN: dict[str, Any] = runpy.run_path(str(TESTS / "written_run.py"))
N_KILLS, N_AT_ONCE = 50, 2
WITHIN_S = 30.0
SAFE, LOST = "notes that the page said were kept", "of them lost"
BEFORE, AFTER = "kills with the lock held, before the line", "kills with the lock held, after the line"
N_WRITERS, N_EACH = 6, 60
TEXT = "what was seen, at length: " + "ü" * 15_000
FORK = multiprocessing.get_context("fork")  # a child starts in milliseconds, so that the kills are what takes the time


@dataclass(kw_only=True)
class Told:
    """What became of one run whose server was killed again and again.

    Attributes
    ----------
    safe : names of notes that the page said were kept
    lost : those of them that the file does not hold
    unasked : names in the file that nobody typed
    before, after : kills while the server held the file's lock, before and after the line was in the file
    unsaid : kills after which a note was kept that the page had not said yet
    unopened : starts after which the page did not show the newest note
    torn : lines that cannot be read
    """

    safe: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    unasked: set[str] = field(default_factory=set)
    before: int = 0
    after: int = 0
    unsaid: int = 0
    unopened: int = 0
    torn: int = 0


class Visitor(threading.Thread):
    """One page that saves note after note, by the messages that a browser sends, until its server is gone.

    Attributes
    ----------
    typed : names of the notes that were sent
    safe : those that the tile of notes has shown to the page
    """

    def __init__(self, talk: Any, begin: str) -> None:
        super().__init__()
        assert talk.patch(TALKING["click"](talk.model("note-write"))) == "OK"
        self._talk, self._begin = talk, begin
        self._name, self._save = talk.model("note-name"), talk.model("note-save")
        self._text = next(each for each in talk.objects() if each["attributes"].get("label") == "comment")
        self.typed: list[str] = []
        self.safe: list[str] = []

    def run(self) -> None:
        """Type, save, and wait for the page to say so; a server's word that it has heard is not enough."""
        try:
            for number in count():
                name = f"{self._begin} note {number}"
                text = {"kind": "ModelChanged", "model": {"id": self._text["id"]}, "attr": "value_input", "new": TEXT}
                self.typed.append(name)
                self._talk.message("PATCH-DOC", {"events": [text, TALKING["change"](self._name, "value_input", name)]})
                self._talk.message("PATCH-DOC", {"events": [TALKING["click"](self._save)]})
                while f"&lt;p&gt;{name} ".encode() not in (heard := self._talk.hear() or b""):
                    if not heard:
                        return
                self.safe.append(name)
        except OSError:
            return


def kill_within(pid: int, folder: Path, visitor: Visitor, chance: random.Random, told: Told) -> None:
    """Stop the server at moments of chance until one finds it holding the lock of the notes, and kill it there."""
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        time.sleep(chance.uniform(0, 0.02))
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if holds_lock(folder):
            is_there = visitor.typed[-1].encode() in (folder / NOTES_FILE).read_bytes()
            told.after, told.before = told.after + is_there, told.before + (not is_there)
            break
        os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGKILL)


def holds_lock(folder: Path) -> bool:
    """Whether another process is between taking and releasing the lock under which notes are written."""
    with (folder / f".{NOTES_FILE}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def shows(talk: Any, name: str) -> bool:
    """Whether the page comes to show a note."""
    for _ in range(100):
        talk.message("PULL-DOC-REQ", {})
        if f"&lt;p&gt;{name} " in str(talk.heard("PULL-DOC-REPLY")):
            return True
        time.sleep(0.1)
    return False


def measured(told: Told) -> dict[str, int]:
    """What is counted, in words."""
    return {
        SAFE: len(told.safe),
        LOST: len(told.lost),
        "notes that nobody typed": len(told.unasked),
        BEFORE: told.before,
        AFTER: told.after,
        "kills with a note kept that the page had not shown yet": told.unsaid,
        "starts without the newest note": told.unopened,
        "torn lines, skipped": told.torn,
    }


def kill_servers(folder: Path, n_kills: int, seed: int) -> Told:
    """Serve a run, save notes in its page, kill the server, see what is left, and serve it again.

    Every other kill comes at any moment of saving, the others while the server is known to hold the file's lock.
    """
    run, told, chance = WRITTEN["write_run"](folder / "notes-soak").folder, Told(), random.Random(seed)
    for life in range(n_kills + 1):
        with served(folder) as server, suppress(BrokenPipeError, ConnectionResetError):
            page = TALKING["Served"](urlsplit(server.url).port)
            with page.opened(page.token()) as (_, talk):
                talk.load()
                told.unopened += life > 0 and not shows(talk, Notes(run).all()[-1].name)
                if life == n_kills:
                    break
                visitor = Visitor(talk, f"life {life}")
                kill(server.pid, run, visitor, chance, told, within=bool(life % 2))
        told.safe |= set(visitor.safe)
        kept = {note.name: note.text for note in Notes(run).all()}
        told.lost |= {name for name in told.safe if kept.get(name) != TEXT}
        told.unsaid += visitor.typed[-1] in kept and visitor.typed[-1] != visitor.safe[-1]
        told.unasked |= {name for name in kept if name.startswith(f"life {life} ")} - set(visitor.typed)
    told.torn = Notes(run).n_unreadable
    return told


def kill(pid: int, folder: Path, visitor: Visitor, chance: random.Random, told: Told, *, within: bool) -> None:
    """Let the page save one note in peace, and kill the server in the middle of those that follow."""
    visitor.start()
    while not visitor.safe:
        time.sleep(0.01)
    if within:
        kill_within(pid, folder, visitor, chance, told)
    else:
        time.sleep(chance.uniform(0.3, 1.2))
        os.kill(pid, signal.SIGKILL)
    visitor.join(60)
    assert not visitor.is_alive(), "the page never noticed that its server is gone"


class HalfWritten:
    """A stream that writes half of what it is given and is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        """Never reached."""

    def write(self, line: bytes) -> None:
        """Half of a line, on the disk, and no more."""
        with self._path.open("ab") as stream:
            stream.write(line[: len(line) // 2])
            stream.flush()
            os.fsync(stream.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


class TornPath(type(Path())):  # type: ignore[misc]  # the class that Path gives depends on the system
    """A file of notes whose writer dies within a line."""

    def open(self, mode: str = "r", **options: Any) -> Any:
        """As ever for reading, half for adding."""
        return HalfWritten(Path(self)) if mode == "ab" else Path(self).open(mode, **options)


def write(folder: Path, told: Connection, how: str) -> None:
    """Write notes until killed, telling the id of each that is safe."""
    notes = Notes(folder)
    for i in range(10_000):
        if i == 3 and how == "half a line":
            notes.path = TornPath(notes.path)
        if i == 3 and how == "before the disk has it":
            notes_module.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        told.send(notes.add(Selection(run="soak", latent=i % 50), text=TEXT, author=how).id)


def received(heard: Connection) -> set[str]:
    ids = set()
    try:
        while heard.poll():
            ids.add(heard.recv())
    except EOFError:
        pass
    return ids


def kill_writers(folder: Path) -> tuple[int, int, int]:
    """Notes that were said to be safe, those of them that were lost, and unreadable lines, after all kills."""
    delays, safe = random.Random(0), set[str]()
    for round_ in range(N_KILLS):
        how = ("at any moment", "half a line", "before the disk has it")[round_ % 3]
        heard, told = FORK.Pipe(duplex=False)
        child = FORK.Process(target=write, args=(folder, told, how))
        child.start()
        told.close()
        if how == "at any moment":
            time.sleep(0.02 + delays.random() * 0.1)
            child.kill()
        child.join(60)
        safe |= received(heard)
        assert child.exitcode == -signal.SIGKILL, f"a writer ended with {child.exitcode}"
        assert safe <= {note.id for note in Notes(folder).all()}, f"a note is lost after kill {round_ + 1}"
    found = Notes(folder)
    return len(safe), len(safe - {note.id for note in found.all()}), found.n_unreadable


def write_together(folder: Path, killed: bool) -> tuple[int, int, float]:
    """Notes said to be safe, those lost, and seconds, of writers at once, one of them killed where asked."""
    pipes, children, began = [], [], time.perf_counter()
    for number in range(N_WRITERS):
        heard, told = FORK.Pipe(duplex=False)
        child = FORK.Process(target=write_some, args=(folder, told, f"writer {number}"))
        child.start()
        told.close()
        pipes.append(heard)
        children.append(child)
    safe = set[str]()
    if killed:
        time.sleep(0.05)
        children[0].kill()
    while any(child.is_alive() for child in children):
        safe |= {one for heard in pipes for one in received(heard)}
        time.sleep(0.002)
    safe |= {one for heard in pipes for one in received(heard)}
    kept = {note.id for note in Notes(folder).all()}
    return len(safe), len(safe - kept), time.perf_counter() - began


def write_some(folder: Path, told: Connection, author: str) -> None:
    """Write a fixed number of notes, all about one latent."""
    notes = Notes(folder)
    for i in range(N_EACH):
        told.send(notes.add(Selection(run="soak", latent=0), text=f"{author} {i}", author=author).id)


def main() -> None:
    announce("Notes: kills and crowds")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(N_AT_ONCE) as pool:
        lanes = [Path(folder) / str(number) for number in range(N_AT_ONCE)]
        began = time.perf_counter()
        outcomes = list(pool.map(kill_servers, lanes, [N_KILLS // N_AT_ONCE] * N_AT_ONCE, range(N_AT_ONCE)))
        print(f"{N_KILLS} servers killed while a page saved notes, in {time.perf_counter() - began:.0f} s:")
    total = {name: sum(measured(told)[name] for told in outcomes) for name in measured(outcomes[0])}
    for name, value in total.items():
        print(f"  {value:4d} {name}")
    with tempfile.TemporaryDirectory() as folder:
        n_safe, n_lost, n_torn = kill_writers(Path(folder))
        print(f"{N_KILLS} writers killed: {n_safe} notes said to be safe, {n_lost} lost, {n_torn} torn lines skipped")
        began = time.perf_counter()
        Notes(Path(folder)).add(Selection(run="soak", latent=0), text="after it all")
        print(f"the next note took {1000 * (time.perf_counter() - began):.1f} ms: no lock was left behind")
    with tempfile.TemporaryDirectory() as folder:
        n_together, n_missing, took_s = write_together(Path(folder), killed=False)
        n_expected = N_WRITERS * N_EACH
        print(f"{N_WRITERS} writers at once: {n_together} of {n_expected} notes safe, {n_missing} lost, {took_s:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        n_rest, n_rest_missing, took_s = write_together(Path(folder), killed=True)
        print(f"the same, one of them killed: {n_rest} notes safe, {n_rest_missing} lost, {took_s:.1f} s")
    conclude(
        {
            f"nothing that a page said was kept is lost in {N_KILLS} kills": not total[LOST] and total[SAFE] >= N_KILLS,
            "nothing stands in a file that nobody typed": not total["notes that nobody typed"],
            "the page opens on the newest note after every kill": not total["starts without the newest note"],
            "at most one torn line a killed server": total["torn lines, skipped"] <= N_KILLS,
            "two of five kills came with the file's lock held": total[BEFORE] + total[AFTER] >= 0.4 * N_KILLS,
            f"nothing lost in {N_KILLS} kills": n_lost == 0 and n_safe > 0,
            "at most one torn line a kill": 0 < n_torn <= N_KILLS,
            "nothing lost by writers at once": n_missing == 0 and n_together == n_expected,
            "nothing lost where one of them is killed": n_rest_missing == 0 and n_rest >= n_expected - N_EACH,
        }
    )


if __name__ == "__main__":
    main()
