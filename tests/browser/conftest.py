"""A served explorer over a run written directly, and the system's Chromium."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nldisco_core.runs import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
BENCHMARK: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "explorer.py"))
WRITTEN: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "explorer" / "written_run.py"))
FULL_SIZE: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "explorer" / "full_size_run.py"))
RAISING_PLUGIN = """
from nldisco_core.hookspecs import hookimpl
from nldisco_core.providers import Provider


class Raising:
    title, page, needs = "A tile that fails", "latent", frozenset()

    def build(self, run):
        raise ValueError("no figure today")


class Wanting:
    title, page, needs = "A tile that wants trials", "latent", frozenset({"trials"})

    def build(self, run):
        raise AssertionError("built without what it needs")


@hookimpl
def nldisco_views():
    yield Provider(name="raising", target="raising_views:Raising", summary="Fails.")
    yield Provider(name="wanting", target="raising_views:Wanting", summary="Is absent.")
    yield Provider(name="unimportable", target="no_such_module:View", summary="Cannot be imported.")
"""


@pytest.fixture(scope="session")
def preferred_direction() -> Any:
    """Where a latent of the written run points (rad), by instance and latent."""
    return WRITTEN["preferred_direction"]


@pytest.fixture(scope="session")
def written_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a folder; whoever writes into it copies it."""
    folder = tmp_path_factory.mktemp("written") / "2026-03-01T10-22-05_written_matryoshka-sae_7f3a"
    WRITTEN["write_run"](folder)
    return folder


@pytest.fixture(scope="session")
def full_size_run(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Run:
    """A run of 130,000 bins, 192 units, 1,024 latents and 2,000 trials, alone in its folder."""
    name = "2026-03-01T10-22-05_maze_matryoshka-sae_7f3a"
    return Run(made_once("full-size", lambda folder: FULL_SIZE["write_full_size_run"](folder / name)) / name)


@pytest.fixture(scope="session")
def explorer_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``nldisco serve`` in a process of its own, with a plugin of failing views, over two runs."""
    folder = tmp_path_factory.mktemp("served")
    WRITTEN["write_run"](folder / "2026-03-01T10-22-05_written_matryoshka-sae_7f3a")
    WRITTEN["write_run"](folder / "2026-03-02T10-22-05_bare_matryoshka-sae_7f3b", mapped=False)
    plugin = folder / "raising_views.py"
    plugin.write_text(RAISING_PLUGIN, encoding="utf-8")
    command = [
        *(sys.executable, "-c", "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"),
        *("--plugin", str(plugin), "serve", "2026-03-01", "2026-03-02", "--runs-dir", str(folder)),
        *("--port", "0", "--no-browser"),
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=dict(os.environ))
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "http://" in line, (folder / "server.log").read_text()
        yield next(word for word in line.split() if word.startswith("http://"))
        server.terminate()
        server.wait(timeout=10)
        server.stdout.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = BENCHMARK["chromium"]()
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(BENCHMARK["CHROMIUM_FLAGS"]))
        yield browser
        browser.close()
