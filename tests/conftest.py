"""What all tests share: one thread, a registry of their own with the toy dataset, and the command line in process."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock

from nldisco_core import plugins
from nldisco_core.runs import Run, list_runs

REPOSITORY = Path(__file__).parents[1]
OF_A_BROWSER = re.compile("chromium|playwright", re.IGNORECASE)
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where ``CI`` is set, a test that is skipped for want of a browser has failed."""
    report = yield
    if os.environ.get("CI") and report.skipped and OF_A_BROWSER.search(str(report.longrepr)):
        report.outcome, report.longrepr = "failed", f"CI is set, and its browser tests must run: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    yield
    plugins.use(None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Files that are fetched or simulated on demand stay among the tests' own."""
    os.environ["NLDISCO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """A folder that one worker fills for all of them: ``made_once("name", fill)``; later, caches alone are added."""
    own = tmp_path_factory.getbasetemp()
    base = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, whole = base / name, base / f"{name}.whole"
        with FileLock(base / f"{name}.lock"):
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                whole.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def demo(made_once: Callable[[str, Callable[[Path], object]], Path]) -> tuple[Run, str]:
    """The demo's run on the bundled recording, alone in its folder, and what it printed."""

    def trained(folder: Path) -> None:
        from nldisco_core.cli import main

        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ended:
            main(["demo", "--no-serve", "--runs-dir", str(folder / "runs")])
        assert ended.value.code == 0
        (folder / "printed.txt").write_text(printed.getvalue(), encoding="utf-8")

    folder = made_once("demo", trained)
    return Run(next(list_runs(folder / "runs"))[0]), (folder / "printed.txt").read_text(encoding="utf-8")


@pytest.fixture
def toys() -> None:
    """The dataset ``toy`` beside the installed plugins."""
    from nldisco_core.conformance import toy_plugin

    plugins.registry().add("toys", toy_plugin, distribution="nldisco-core", version="")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real recordings; skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real recordings (../shared/data) are not on this machine")
    return SHARED_DATA


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def nldisco(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process: ``nldisco("runs", "--json")``."""
    from nldisco_core.cli import main

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return call
