"""Arrays derived from a run, kept beside it in ``RUN/cache`` and memory-mapped; made anew when the run changes."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cache", "stamp_of"]

logger = logging.getLogger(__name__)

LAYOUT = "3"
"""Raised when what is kept, or how, changes."""

SOURCES = ("run.json", "binned", "latents", "controls/*/latents")

PARTIAL, ABANDONED_S = ".partial-", 3600.0
"""Beginning of the name of a folder that is being written, and the age from which nobody writes it any more."""

Arrays = Mapping[str, NDArray[Any]]


def stamp_of(folder: Path) -> str:
    """Digest of names, times and sizes of the files that arrays are derived from; another one once any has changed."""
    digest = hashlib.sha1(LAYOUT.encode(), usedforsecurity=False)
    for file in sorted(_files(folder)):
        about = file.stat()
        digest.update(f"{file.relative_to(folder).as_posix()} {about.st_mtime_ns} {about.st_size}\n".encode())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for source in SOURCES:
        for found in folder.glob(source):
            yield from (each for each in ([found] if found.is_file() else found.rglob("*")) if each.is_file())


class Cache:
    """The kept arrays of one run as it is now. Where nothing can be written they are held in memory instead.

    Parameters
    ----------
    folder : of the run
    """

    def __init__(self, folder: Path) -> None:
        self.stamp = stamp_of(folder)
        self._folder = folder / "cache" / self.stamp
        self._held: dict[str, Arrays] = {}

    def get(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays by name, memory-mapped; `make` is called where they are not kept yet."""
        if name not in self._held:
            self._held[name] = self._read(name) or self._keep(name, make())
        return self._held[name]

    def _read(self, name: str) -> Arrays | None:
        try:
            files = sorted((self._folder / name).glob("*.npy"))
            return {file.stem: np.load(file, mmap_mode="r") for file in files} or None
        except (OSError, ValueError):
            return None  # damaged or taken away meanwhile: made anew

    def _keep(self, name: str, arrays: Arrays) -> Arrays:
        """Write arrays so that a reader sees all or none of them, whoever else is writing the same."""
        try:
            self._folder.parent.mkdir(exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self._folder.parent))
            try:
                for key, values in arrays.items():
                    np.save(partial / f"{key}.npy", values)
                target = self._folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:  # a read-only or full disk, or another process that was faster
            logger.info("%s is not kept (%s)", self._folder / name, error)
        self._forget()
        return self._read(name) or arrays

    def _forget(self) -> None:
        """Take away what was derived from the run as it was before, and what writers left that were killed."""
        for each in self._folder.parent.glob("*"):
            if each.is_dir() and each != self._folder and (not each.name.startswith(PARTIAL) or _is_abandoned(each)):
                shutil.rmtree(each, ignore_errors=True)


def _is_abandoned(partial: Path) -> bool:
    try:
        return time.time() - partial.stat().st_mtime > ABANDONED_S
    except OSError:  # finished meanwhile
        return False
