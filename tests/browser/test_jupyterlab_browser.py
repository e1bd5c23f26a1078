"""The explorer below a cell of a notebook in a real JupyterLab, with a person's clicks and keys."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jupyterlab") is None, reason="JupyterLab is not installed")

SCREENSHOTS = Path(__file__).parent / "screenshots"
HEADING = ".page-latent section h2"
OPENED = """from pathlib import Path
from nldisco_core.runs import Run
from nldisco_explorer import explore
run = Run(Path({!r}))"""
SHOWN = ".nldisco-explorer"
LINE = f"{SHOWN} + p"
CELL_WIDTH = 900
TOKEN = "token-of-this-test"
QUIET = {"fetchNews": "false", "checkForUpdates": False}
"""What keeps JupyterLab from asking the network for news."""

INKED = """() => {
  const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
  const all = root => [...root.querySelectorAll("*")].flatMap(below)
  const inked = canvas => {
    if (!canvas.width || !canvas.height) { return false }
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
    return new Set(new Uint32Array(data.buffer)).size > 8
  }
  return all(document).filter(each => each.matches("canvas") && each.checkVisibility() && inked(each)).length
}"""
"""How many canvases in sight have strokes of several colours on them."""

LEGIBLE = """line => {
  const rgb = text => text.match(/[0-9.]+/g).map(Number)
  const linear = part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255)
  const ground = element => {
    const found = rgb(getComputedStyle(element).backgroundColor)
    return found.length == 3 || found[3] > 0 ? found : ground(element.parentElement)
  }
  const contrast = element => {
    const both = [rgb(getComputedStyle(element).color), ground(element)].map(luminance)
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)
  }
  return Math.min(...[line, ...line.querySelectorAll("*")].map(contrast))
}"""
"""Least contrast of a line's words with what lies behind them (WCAG 2.2)."""

DARK_GROUND = """() => {
  const words = getComputedStyle(document.querySelector(".jp-Notebook")).backgroundColor.match(/[0-9]+/g)
  return document.body.dataset.jpThemeLight == "false" && Number(words[0]) < 60
}"""
"""Whether the dark theme is there; its style sheet is fetched when it is chosen."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running JupyterLab: where it answers, and where its notebooks lie."""

    url: str
    folder: Path

    def address(self, notebook: str) -> str:
        """Of a notebook, opened alone."""
        return f"{self.url}lab/tree/{notebook}?token={TOKEN}&reset"


class Notebook:
    """One page of JupyterLab, and all that it should not have done."""

    def __init__(self, page: Page, lab: Lab) -> None:
        self.page, self.lab = page, lab
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._local(request.url))
        page.on("websocket", lambda opened: self._local(opened.url))

    def _local(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1":
            self.complaints.append(f"left the machine: {url}")

    def open(self, *cells: str, outputs: list[Any] | None = None, name: str = "a.ipynb") -> None:
        """Write a notebook and open it; its kernel starts meanwhile."""
        written: list[dict[str, Any]] = [_cell(text, []) for text in cells]
        written[-1]["outputs"] = outputs or []
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        text = json.dumps({"cells": written, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4})
        (self.lab.folder / name).write_text(text, encoding="utf-8")
        self.page.goto(self.lab.address(name))
        self.page.locator(".jp-CodeCell .cm-content").first.wait_for(timeout=90_000)

    def run(self, cell: int) -> None:
        """Run a cell as a person does, once the kernel has nothing else to do."""
        self.page.get_by_text(re.compile(r"\| Idle$")).wait_for(timeout=90_000)
        self.page.locator(".jp-CodeCell .cm-content").nth(cell).click()
        self.page.keyboard.press("Shift+Enter")

    def explorer(self, number: int = 0) -> FrameLocator:
        """An explorer, once it has drawn a latent."""
        found = self.page.frame_locator(f"{SHOWN} iframe >> nth={number}")
        found.locator(HEADING).first.wait_for(timeout=90_000)
        return found

    def addresses(self) -> list[str]:
        """Of all explorers in the notebook."""
        return [str(each.get_attribute("src")) for each in self.page.locator(f"{SHOWN} iframe").all()]


def _cell(text: str, outputs: list[Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": text, "metadata": {}, "outputs": outputs, "execution_count": None}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """``jupyter lab`` with nothing of this user's: its own settings, kernels' history and notebooks."""
    root = tmp_path_factory.mktemp("lab")
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names = (*names, "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    folders = {name: root / name.lower() for name in names}
    (notebooks := root / "notebooks").mkdir()
    quiet = folders["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps(QUIET), encoding="utf-8")
    options = ("--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--LabApp.extension_manager=readonly")
    command = [sys.executable, "-m", "jupyterlab", *options, f"--IdentityProvider.token={TOKEN}"]
    environment = os.environ | {name: str(folder) for name, folder in folders.items()}
    with (root / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=notebooks, env=environment, stdout=log, stderr=log)
    try:
        yield Lab(url=_url(root, server), folder=notebooks)
    finally:
        server.terminate()
        server.wait(timeout=30)


def _url(root: Path, server: subprocess.Popen[bytes]) -> str:
    """Where JupyterLab says that it answers."""
    until = time.monotonic() + 60
    while time.monotonic() < until and server.poll() is None:
        for file in root.glob("jupyter_runtime_dir/jpserver-*.json"):
            if text := file.read_text(encoding="utf-8"):
                return str(json.loads(text)["url"])
        time.sleep(0.1)
    raise AssertionError((root / "lab.log").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1330, "height": 1050})
    yield made
    made.close()


@pytest.fixture(scope="module")
def shown(context: BrowserContext, lab: Lab, written_folder: Path) -> Iterator[Notebook]:
    """A notebook whose second cell shows a run; its third waits, its fourth shows the run once more."""
    notebook = Notebook(context.new_page(), lab)
    notebook.open(OPENED.format(str(written_folder)), "explore(run)", "import time; time.sleep(5)", "explore(run)")
    notebook.run(0)
    notebook.run(1)
    notebook.explorer()
    yield notebook
    notebook.page.close()


def wait_for_port(port: int | None, *, answers: bool) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if (probe.connect_ex(("127.0.0.1", port or 0)) == 0) == answers:
                return
        time.sleep(0.1)
    raise AssertionError(f"port {port} {'does not answer' if answers else 'still answers'}")


def test_same_app_is_drawn_below_the_cell(shown: Notebook) -> None:
    explorer = shown.explorer()
    explorer.locator(".page-latent h3", has_text=re.compile("^Notes$")).wait_for(timeout=60_000)
    shown.page.locator(SHOWN).evaluate("each => each.scrollIntoView()")
    for page in ("Latent", "Mappings", "Session", "Map", "Compare", "Overview"):
        assert explorer.get_by_role("button", name=page, exact=True).is_visible()
    assert explorer.locator(".page-latent .tabulator-row").count() >= 10
    assert explorer.locator("body").evaluate(INKED) >= 2
    shown.page.screenshot(path=SCREENSHOTS / "jupyterlab.png")
    assert shown.complaints == []


def test_nothing_is_wider_than_the_cell(shown: Notebook) -> None:
    sizes = "body => [document.documentElement.scrollWidth, innerWidth]"
    needed, given = shown.explorer().locator("body").evaluate(sizes)
    assert given <= CELL_WIDTH
    assert needed <= given


def test_lower_right_corner_is_dragged_for_another_height(shown: Notebook) -> None:
    around = shown.page.locator(SHOWN).first
    around.evaluate("each => each.scrollIntoView({block: 'end'})")
    before = around.bounding_box()
    assert before is not None
    corner = before["x"] + before["width"] - 4, before["y"] + before["height"] - 4
    shown.page.mouse.move(*corner)
    shown.page.mouse.down()
    shown.page.mouse.move(corner[0], corner[1] - 150, steps=5)
    shown.page.mouse.up()
    after = around.bounding_box()
    assert after is not None
    assert after["height"] == pytest.approx(before["height"] - 150, abs=12)
    assert shown.page.locator(f"{SHOWN} iframe").first.bounding_box()["height"] > after["height"] - 20


def test_notebook_holds_a_frame_and_no_scripts(shown: Notebook) -> None:
    shown.page.locator(".jp-CodeCell .jp-InputPrompt").first.click()
    shown.page.keyboard.press("Control+s")
    shown.page.wait_for_function("() => !document.querySelector('.lm-TabBar-tab.jp-mod-dirty')", timeout=20_000)
    file = shown.lab.folder / "a.ipynb"
    (output,) = json.loads(file.read_text(encoding="utf-8"))["cells"][1]["outputs"]
    assert set(output["data"]) == {"text/html", "text/plain"}
    assert "<script" not in "".join(output["data"]["text/html"])
    assert file.stat().st_size < 5_000


def test_click_on_a_row_changes_the_plots(shown: Notebook) -> None:
    explorer = shown.explorer()
    before = explorer.locator(".page-latent").evaluate("each => each.ownerDocument.defaultView.location.search")
    cell = explorer.locator(".page-latent .tabulator-row [tabulator-field=latent]").nth(3)
    latent = cell.inner_text()
    cell.click()
    explorer.locator(HEADING).filter(has_text=re.compile(rf"^Latent {latent}\b")).wait_for(timeout=20_000)
    assert f"latent={latent}" not in before
    assert shown.complaints == []


def test_pages_are_turned_to(shown: Notebook) -> None:
    explorer = shown.explorer()
    for page in ("Mappings", "Overview", "Latent"):
        explorer.get_by_role("button", name=page, exact=True).click()
        explorer.locator(f".page-{page.lower()} .tile").first.wait_for(timeout=30_000)
    assert shown.complaints == []


def test_keys_pressed_in_the_notebook_do_not_reach_the_explorer(shown: Notebook) -> None:
    heading = shown.explorer().locator(HEADING).first
    before = heading.inner_text()
    shown.page.locator(".jp-CodeCell .jp-InputPrompt").first.click()
    shown.page.keyboard.press("j")
    shown.page.keyboard.press("k")
    shown.page.wait_for_timeout(500)
    assert heading.inner_text() == before
    shown.explorer().locator(".page-latent .tabulator-row").first.click()
    shown.page.keyboard.press("j")
    heading.filter(has_text=before).wait_for(state="detached", timeout=20_000)


def test_it_answers_while_a_cell_runs_and_a_second_one_shares_its_server(shown: Notebook) -> None:
    shown.run(2)
    explorer = shown.explorer()
    cell = explorer.locator(".page-latent .tabulator-row [tabulator-field=latent]").nth(5)
    latent = cell.inner_text()
    cell.click()
    explorer.locator(HEADING).filter(has_text=re.compile(rf"^Latent {latent}\b")).wait_for(timeout=20_000)
    assert shown.page.get_by_text(re.compile(r"\| Busy$")).is_visible()
    shown.run(3)
    second = shown.explorer(1)
    first_address, second_address = shown.addresses()
    assert first_address == second_address
    second.locator(".page-latent .tabulator-row [tabulator-field=latent]").nth(8).click()
    second.locator(HEADING).filter(has_not_text=re.compile(rf"^Latent {latent}\b")).wait_for(timeout=20_000)
    assert explorer.locator(HEADING).first.inner_text().startswith(f"Latent {latent}")
    assert shown.complaints == []


def test_line_is_legible_in_dark(shown: Notebook) -> None:
    page = shown.page
    assert page.locator(LINE).first.evaluate(LEGIBLE) >= 4.5
    page.locator(".lm-MenuBar-item", has_text="Settings").click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Theme$")).hover()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^JupyterLab Dark$")).click()
    page.wait_for_function(DARK_GROUND)
    assert page.locator(LINE).first.evaluate(LEGIBLE) >= 4.5
    page.locator(SHOWN).first.evaluate("each => each.scrollIntoView()")
    page.screenshot(path=SCREENSHOTS / "jupyterlab-dark.png")
    assert shown.complaints == []


def test_server_ends_with_its_kernel_and_the_cell_starts_another(shown: Notebook) -> None:
    address = shown.addresses()[0]
    shown.page.keyboard.press("Escape")
    shown.page.locator(
        ".jp-Toolbar [data-command='kernelmenu:restart'], [data-jp-item-name=restart] button"
    ).first.click()
    shown.page.get_by_role("button", name=re.compile("Confirm Kernel Restart|^Restart$")).click()
    wait_for_port(urlsplit(address).port, answers=False)
    shown.explorer().get_by_text("The server does not answer").wait_for(timeout=30_000)
    shown.run(0)
    shown.run(1)
    shown.page.wait_for_function("old => document.querySelector('.nldisco-explorer iframe').src != old", arg=address)
    shown.explorer()


def test_line_stays_where_a_notebook_is_not_trusted(context: BrowserContext, lab: Lab) -> None:
    from nldisco_explorer.notebook import Frame

    frame = Frame(name="a run", process=subprocess.Popen(["true"], text=True), url="http://127.0.0.1:9/key/")
    output = {"output_type": "display_data", "data": {"text/html": frame._repr_html_()}, "metadata": {}}
    notebook = Notebook(context.new_page(), lab)
    notebook.open("explore(run)", outputs=[output], name="from-elsewhere.ipynb")
    line = notebook.page.locator("p", has_text="run the cell again")
    line.wait_for()
    assert notebook.addresses() == []
    notebook.page.close()
    frame._process.wait()
