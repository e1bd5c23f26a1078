"""Notes survive: writers killed in the middle of writing, many writers at once, and both together."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import multiprocessing
import random
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from reporting import announce, conclude

from nldisco_core import notes as notes_module
from nldisco_core.notes import Notes
from nldisco_core.selection import Selection

N_KILLS = 50
N_WRITERS, N_EACH = 6, 60
TEXT = "what was seen, at length: " + "ü" * 15_000
FORK = multiprocessing.get_context("fork")  # a child starts in milliseconds, so that the kills are what takes the time


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
            f"nothing lost in {N_KILLS} kills": n_lost == 0 and n_safe > 0,
            "at most one torn line a kill": 0 < n_torn <= N_KILLS,
            "nothing lost by writers at once": n_missing == 0 and n_together == n_expected,
            "nothing lost where one of them is killed": n_rest_missing == 0 and n_rest >= n_expected - N_EACH,
        }
    )


if __name__ == "__main__":
    main()
