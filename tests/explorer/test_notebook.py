"""The explorer below a cell of a notebook: its server and its frame."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import panel as pn
import pytest
from nldisco_explorer import app, explore
from nldisco_explorer.access import ServeError
from nldisco_explorer.notebook import Frame

from nldisco_core.runs import Run

KERNEL = """import signal, time
from pathlib import Path
from nldisco_core.runs import Run
from nldisco_explorer import explore
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(explore([Run(Path(folder)) for folder in {folders!r}]).url, flush=True)
time.sleep(60)"""


@pytest.fixture(scope="module", autouse=True)
def _closed(written_run: Run) -> Iterator[None]:
    yield
    explore(written_run).close()


@pytest.fixture
def frame(written_run: Run) -> Frame:
    """The one server of all these tests, as a cell that is run once more finds it."""
    return explore(written_run)


def answer(url: str) -> tuple[int, Any]:
    """Status and headers."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answered:
            return answered.status, answered.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers


def is_silent(url: str, within_s: float = 60) -> bool:
    """Whether nothing answers any more, soon enough."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            answer(url)
        except (urllib.error.URLError, ConnectionError):
            return True
        time.sleep(0.1)
    return False


def test_frame_shows_what_the_server_answers(frame: Frame) -> None:
    (source,) = re.findall(r'<iframe src="([^"]+)"', frame._repr_html_())
    assert source == frame.url
    assert urlsplit(source).hostname == "127.0.0.1"
    assert answer(source)[0] == 200
    assert "<script" not in frame._repr_html_()


def test_only_who_knows_the_address_reaches_it_and_may_frame_it(frame: Frame) -> None:
    status, headers = answer(frame.url)
    assert (status, headers["X-Frame-Options"]) == (200, None)
    assert headers["Referrer-Policy"] == "same-origin"
    parts = urlsplit(frame.url)
    assert len(parts.path.strip("/")) >= 32
    for path in ("/", "/ws", "/static/js/bokeh.min.js", "/not-the-key/"):
        assert answer(f"http://{parts.netloc}{path}")[0] == 404, path


def test_address_is_not_in_the_command_that_others_on_the_machine_see(frame: Frame) -> None:
    key = urlsplit(frame.url).path.strip("/")
    assert key not in " ".join(map(str, frame._process.args))  # type: ignore[union-attr]  # it was given as a list


def test_cell_run_twice_keeps_the_server_and_one_that_ended_is_replaced(frame: Frame, written_run: Run) -> None:
    assert explore([written_run]) is frame
    frame.close()
    assert is_silent(frame.url)
    again = explore(written_run)
    assert again is not frame
    assert answer(again.url)[0] == 200


def test_two_runs_of_one_name_are_refused_in_the_cell(written_run: Run, tmp_path: Path) -> None:
    copied = tmp_path / written_run.name
    shutil.copytree(written_run.folder, copied)
    with pytest.raises(ServeError, match=f"two runs are named {written_run.name}"):
        explore([written_run, Run(copied)])


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_server_outlives_an_interrupted_cell_and_ends_with_a_killed_kernel(written_run: Run, bare_run: Run) -> None:
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL.format(folders=[str(run.folder) for run in (written_run, bare_run)])],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert kernel.stdout is not None
    url = next(line for line in kernel.stdout if line.startswith("http")).strip()  # after how far the reading was
    os.killpg(kernel.pid, signal.SIGINT)  # as Jupyter interrupts a cell
    time.sleep(0.5)
    assert answer(url)[0] == 200
    kernel.kill()
    kernel.wait()
    kernel.stdout.close()
    assert is_silent(url)


def test_nothing_but_components_of_panel_and_scripts_that_are_sent_along_is_needed(written_run: Run) -> None:
    """Every model comes from Bokeh, Panel or panel_material_ui, or carries its script itself: no extension of ours."""
    root: Any = app(written_run)().get_root()
    modules = {type(model).__module__.split(".")[0] for model in root.references()}
    assert modules <= {"bokeh", "panel", "panel_material_ui"}
    ours = [model for model in root.references() if getattr(model, "class_name", "") in ("Canvas", "Saver", "Browser")]
    assert len(ours) >= 3
    assert not any(re.search(r"""(from|import)\s*\(?\s*["']""", model.esm) for model in ours)


def test_two_explorers_do_not_hear_each_others_menus(written_run: Run) -> None:
    keys = {
        saver.explorer
        for _ in range(2)
        for saver in app(written_run)().select(pn.custom.JSComponent)
        if hasattr(saver, "explorer")
    }
    assert len(keys) == 2
