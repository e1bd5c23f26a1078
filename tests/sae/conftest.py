"""A monitor that remembers, data from a planted dictionary, and small settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from nldisco_core.binned import Binned, BinnedSession

torch.set_num_threads(1)


class FakeMonitor:
    """Keeps scalars, stops after `stop_after` reports, writes a checkpoint at report `checkpoint_at` into `folder`."""

    def __init__(
        self,
        *,
        stop_after: int | None = None,
        checkpoint_at: int | None = None,
        folder: Path | None = None,
        resume_from: Path | None = None,
    ) -> None:
        self.scalars: list[tuple[int, str, float, int | None]] = []
        self.reports: list[tuple[int, int, str]] = []
        self.stop_after, self.checkpoint_at, self.folder, self.resume_from = (
            stop_after,
            checkpoint_at,
            folder,
            resume_from,
        )

    def progress(self, done: int, total: int, message: str = "") -> None:
        self.reports.append((done, total, message))

    def scalar(self, step: int, name: str, value: float, *, instance: int | None = None) -> None:
        self.scalars.append((step, name, value, instance))

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.reports) >= self.stop_after

    def checkpoint_due(self) -> bool:
        return len(self.reports) == self.checkpoint_at

    def checkpoint(self, write: Callable[[Path], None]) -> None:
        assert self.folder is not None
        self.folder.mkdir()
        write(self.folder)

    def latest_checkpoint(self) -> Path | None:
        return self.resume_from


@pytest.fixture
def make_monitor() -> type[FakeMonitor]:
    return FakeMonitor


@pytest.fixture
def monitor() -> FakeMonitor:
    return FakeMonitor()


def binned(activity: NDArray[np.float64], *, observed: NDArray[np.bool_] | None = None) -> Binned:
    """One session of continuous activity without trials."""
    n_bins, n_units = activity.shape
    session = BinnedSession(
        session_id="s",
        activity=activity.astype(np.float32),
        units=pd.DataFrame({"id": [f"u{unit}" for unit in range(n_units)], "region": "", "kind": ""}),
        start_ns=np.arange(n_bins, dtype=np.int64) * 50_000_000,
        trial=np.full(n_bins, -1, dtype=np.int32),
        split=np.zeros(n_bins, dtype=np.int8),
        observed=observed,
    )
    return Binned(sessions=(session,), bin_s=0.05, activity_kind="continuous")


@pytest.fixture
def as_binned() -> Callable[..., Binned]:
    return binned


@pytest.fixture
def planted() -> tuple[Binned, NDArray[np.float64], NDArray[np.float64]]:
    """Sums of two of eight random non-negative atoms over 20 units with a little noise; the atoms and their codes."""
    rng = np.random.default_rng(0)
    atoms = np.maximum(rng.standard_normal((8, 20)), 0)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = np.zeros((3000, 8))
    chosen = np.array([rng.choice(8, 2, replace=False) for _ in range(len(codes))])
    np.put_along_axis(codes, chosen, rng.uniform(0.5, 1.5, chosen.shape), axis=1)
    return binned(codes @ atoms + 0.01 * rng.standard_normal((len(codes), 20))), atoms, codes
