"""Progress, training curves, stopping and checkpoints of a fit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pandas as pd
from tqdm import tqdm

from nldisco_core.files import whole_folder
from nldisco_core.interfaces import Progress

__all__ = ["FitMonitor", "byte_bar"]


@contextmanager
def byte_bar(label: str) -> Iterator[Progress]:
    """A tqdm bar on stderr for bytes that arrive; nothing is drawn without a terminal."""
    bar: tqdm[NoReturn] = tqdm(desc=label, unit="B", unit_scale=True, disable=None, leave=False)
    with bar:

        def tell(done: int, total: int, message: str) -> None:
            bar.total = total
            bar.set_postfix_str(message.rsplit("/", 1)[-1], refresh=False)
            bar.update(done - bar.n)

        yield tell


class FitMonitor:
    """A `Monitor` that draws a tqdm bar on stderr and keeps checkpoints in a folder.

    Parameters
    ----------
    label : what is being fitted, shown before the bar
    checkpoints : folder for the last checkpoint, None to keep none
    every_s : seconds between checkpoints; None takes ``NLDISCO_CHECKPOINT_EVERY_S`` from the environment, else 30
    quiet : draw no bar
    """

    def __init__(
        self,
        label: str,
        *,
        checkpoints: Path | None = None,
        every_s: float | None = None,
        quiet: bool = False,
    ) -> None:
        self._label = label
        self._folder = None if checkpoints is None else checkpoints / "last"
        self._every_s = float(os.environ.get("NLDISCO_CHECKPOINT_EVERY_S", 30)) if every_s is None else every_s
        self._written = time.monotonic()
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None
        self._scalars: list[tuple[int, int | None, str, float]] = []

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Steps done of all; `message` is shown beside the bar."""
        if self._bar is None:
            self._bar = self._new_bar(total)
        self._bar.set_postfix_str(message, refresh=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()

    def _new_bar(self, total: int) -> tqdm[NoReturn]:
        # without a terminal tqdm's None means no bar: nothing is drawn into logs
        return tqdm(total=total, desc=self._label, disable=self._quiet or None, leave=False)

    def scalar(self, step: int, name: str, value: float, *, instance: int | None = None) -> None:
        """One point of a training curve."""
        self._scalars.append((step, instance, name, float(value)))

    @property
    def scalars(self) -> pd.DataFrame:
        """All points so far: columns step, instance (null: all), name, value."""
        frame = pd.DataFrame(self._scalars, columns=["step", "instance", "name", "value"])
        return frame.astype({"step": "int64", "instance": "Int32", "name": "string", "value": "float64"})

    def should_stop(self) -> bool:
        """Never; an interrupt arrives as `KeyboardInterrupt`."""
        return False

    def checkpoint_due(self) -> bool:
        """True when `every_s` seconds have passed since the last checkpoint."""
        return self._folder is not None and time.monotonic() - self._written >= self._every_s

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        """Let `write` fill a new folder; it replaces the last checkpoint once it is whole."""
        if self._folder is not None:
            with whole_folder(self._folder) as folder:
                write(folder)
            self._written = time.monotonic()

    def latest_checkpoint(self) -> Path | None:
        """Folder of the last whole checkpoint, None for a fresh start."""
        return self._folder if self._folder is not None and self._folder.is_dir() else None

    def close(self) -> None:
        """Take the bar away, also after a failure."""
        if self._bar is not None:
            self._bar.close()
