"""The view of docs/how-to/write-a-view.md, taken from the page and run."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.host import Offered, Tile

from nldisco_core import plugins
from nldisco_core.conformance import check_view
from nldisco_core.plugins import registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "how-to" / "write-a-view.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
write_run: Callable[..., Run] = runpy.run_path(str(REPOSITORY / "tests" / "explorer" / "written_run.py"))["write_run"]
# Bokeh 3.9 calls pandas in a way that pandas 3.1 has deprecated; it is not ours to change.


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("runs") / "2026-03-01T10-22-05_written_matryoshka-sae_7f3a")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The view as the registry has it, from a module that holds the blocks of the page and nothing else."""
    module = ModuleType("mine")
    for block in BLOCKS:
        exec(compile(block, "write-a-view.md", "exec"), vars(module))
    monkeypatch.setitem(sys.modules, "mine", module)
    registry().add("mine", module, distribution="mine", version="")
    yield registry().listed("view", "bouts")
    plugins.use(None)


def test_it_is_twenty_lines() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and not re.match(r"import|from", line)]
    assert len(lines) <= 20


def test_it_passes_the_conformance_kit(offered: Any, run: Run, tmp_path: Path) -> None:
    bare = write_run(tmp_path / "2026-03-01T10-22-05_bare_matryoshka-sae_7f3b", mapped=False)
    results = check_view(offered.make, run=run, bare_run=bare)
    assert [str(result) for result in results if not result.passed] == []


def test_it_counts_bouts_and_is_exported(offered: Any, run: Run) -> None:
    explorer: Any = SimpleNamespace(link="?latent=5")
    tile, selection = Tile(Offered(offered), run, explorer), Selection(run=run.name, latent=5)
    tile.show(selection)
    assert tile.state == "shown", tile.reason
    active, bouts = run.latents.main.csc(0)[:, [5]].toarray().ravel() > 0, 0
    for i in range(len(active)):
        bouts += bool(active[i] and (i == 0 or not active[i - 1]))
    drawn = tile.drawn()
    assert drawn is not None
    assert int(drawn.tables["bouts"]["top"].sum()) == bouts
    assert f"{bouts} bouts" in drawn.caption
    assert tile.save("svg", selection).content.startswith(b"<?xml")


def test_silent_latent_has_no_bouts(offered: Any, run: Run) -> None:
    live = offered.make().build(run)
    live.show(Selection(run=run.name, latent=47))
    assert pd.DataFrame(live.source.data)["top"].sum() == 0
    assert np.isfinite(live.source.data["left"]).all()
