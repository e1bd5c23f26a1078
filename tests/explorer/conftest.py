"""Runs written directly, without training anything."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from nldisco_core.runs import Run

write_reach_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("reach_run.py")))["write_reach_run"]
write_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("written_run.py")))["write_run"]


@pytest.fixture(scope="session")
def written_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "2026-03-01T10-22-05_written_matryoshka-sae_7f3a")


@pytest.fixture(scope="session")
def bare_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, never mapped."""
    return write_run(tmp_path_factory.mktemp("bare") / "2026-03-01T10-22-05_bare_matryoshka-sae_7f3b", mapped=False)


@pytest.fixture(scope="session")
def reach_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trials with events in two sessions, and a signed control."""
    return write_reach_run(tmp_path_factory.mktemp("reach") / "2026-03-01T10-22-05_reach_matryoshka-sae_7f3c")


@pytest.fixture(scope="session")
def reach_run_again(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same recording and the same kind of latents from another seed."""
    return write_reach_run(tmp_path_factory.mktemp("again") / "2026-03-02T10-22-05_reach_matryoshka-sae_7f3d", seed=3)
