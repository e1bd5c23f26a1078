"""The soak of killed servers, at three kills; `benchmarks/notes_soak.py` does fifty."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_notes_survive_three_servers_killed_while_a_page_saves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    told = importlib.import_module("notes_soak").kill_servers(tmp_path, 3, seed=0)
    assert len(told.safe) >= 3
    assert told.before + told.after == 1
    assert (told.lost, told.unasked, told.unopened) == (set(), set(), 0)
    assert told.torn <= 3
