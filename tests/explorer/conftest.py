"""Runs written directly, without training anything."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from nldisco_core.runs import Run

write_run: Callable[..., Run] = runpy.run_path(str(Path(__file__).with_name("written_run.py")))["write_run"]


@pytest.fixture(scope="session")
def written_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "2026-03-01T10-22-05_written_matryoshka-sae_7f3a")


@pytest.fixture(scope="session")
def bare_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same, never mapped."""
    return write_run(tmp_path_factory.mktemp("bare") / "2026-03-01T10-22-05_bare_matryoshka-sae_7f3b", mapped=False)
