"""Comparing two runs in a real browser: what is chosen is in the address, and both traces move together."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
VISITING: dict[str, Any] = runpy.run_path(str(HERE / "visiting.py"))
DRAWING, Visit = VISITING["DRAWING"], VISITING["Visit"]
REACH: dict[str, Any] = runpy.run_path(str(HERE.parent / "explorer" / "reach_run.py"))
NAMES = ("2026-03-01T10-22-05_reach_matryoshka-sae_7f3c", "2026-03-02T10-22-05_reach_matryoshka-sae_7f3d")
CANVAS = ".page-compare canvas[data-painted]"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """``nldisco serve`` of two runs of the same recording, and where it complains."""
    folder = tmp_path_factory.mktemp("compared")
    for seed, name in enumerate(NAMES):
        REACH["write_reach_run"](folder / name, seed=seed)
    command = [
        *(sys.executable, "-c", "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"),
        *("serve", *NAMES, "--runs-dir", str(folder), "--port", "0", "--no-browser"),
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert server.stdout is not None
        found = next((word for line in server.stdout for word in line.split() if word.startswith("http://")), None)
        assert found is not None, (folder / "server.log").read_text()
        yield found, folder / "server.log"
        server.terminate()
        server.wait(timeout=10)
        server.stdout.close()


@pytest.fixture
def visit(chromium: Browser, served: tuple[str, Path]) -> Iterator[Any]:
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    made = Visit(page, served[0])
    yield made
    page.close()
    assert made.complaints == []
    assert "Traceback" not in served[1].read_text()


def _says(visit: Any, words: str) -> Any:
    """The painted canvas of the page once its words hold these."""
    painted = visit.page.locator(f'{CANVAS}[aria-label*="{words}"]').first
    painted.wait_for(timeout=60_000)
    visit.rest()
    return painted


def _choose(visit: Any, label: str, option: str) -> None:
    visit.page.locator(".page-compare").get_by_label(label, exact=True).click()
    visit.page.locator("li:visible").filter(has_text=re.compile(f"^{re.escape(option)}$")).click()


def test_run_model_and_instance_are_chosen_and_a_link_gives_them_back(visit: Any) -> None:
    visit.page.goto(f"{visit.url}?page=compare&latent=3&against={NAMES[1]}")
    _says(visit, "By chance, in 20 matchings with one side shifted in time")
    _choose(visit, "its model", "pca (control)")
    visit.page.wait_for_url(re.compile("against=.*pca"), timeout=20_000)
    _says(visit, "on |r| over")
    assert parse_qs(urlsplit(visit.page.url).query)["against"] == [f"{NAMES[1]}/pca/0"]
    _says(visit, "By chance, in 20 matchings")
    words, link = visit.page.locator(CANVAS).first.get_attribute("aria-label"), visit.page.url
    visit.page.goto("about:blank")
    visit.page.goto(link)
    _says(visit, "By chance, in 20 matchings")
    assert visit.page.locator(CANVAS).first.get_attribute("aria-label") == words
    assert visit.page.url == link
    fields = visit.page.locator(".page-compare").get_by_role("combobox").all_inner_texts()
    assert [text for text in fields if "pca" in text] != []


def test_both_traces_move_together(visit: Any) -> None:
    visit.page.goto(f"{visit.url}?page=compare&latent=3&against={NAMES[1]}/model/0")
    painted = _says(visit, "By chance, in 20 matchings")

    def reach() -> list[tuple[float, float]]:
        layers = visit.page.evaluate(DRAWING, "shared bins")["layers"]
        lines = {each["panel"]: each["arrays"]["x"] for each in layers if each.get("name") == "activation"}
        assert sorted(lines) == ["latent 3", "partner 3"]
        return [(min(x), max(x)) for x in lines.values()]

    before, box, stamp = reach(), painted.bounding_box(), painted.get_attribute("data-painted")
    assert before[0] == before[1]
    visit.page.mouse.move(box["x"] + 300, box["y"] + 320)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 700, box["y"] + 320, steps=6)
    visit.page.mouse.up()
    visit.page.wait_for_function(
        "([canvas, stamp]) => canvas.dataset.painted != stamp", arg=[painted.element_handle(), stamp], timeout=20_000
    )
    visit.page.wait_for_timeout(800)
    visit.rest()
    after = reach()
    assert after[0] == after[1]
    assert after[0][0] < before[0][0] - 1


def test_page_closed_while_it_matches_leaves_no_traceback(chromium: Browser, served: tuple[str, Path]) -> None:
    for _ in range(2):
        page = chromium.new_page()
        page.goto(f"{served[0]}?page=compare&latent=3&split=all&against={NAMES[1]}", wait_until="domcontentloaded")
        page.wait_for_function("() => window.Bokeh && Bokeh.documents.length", timeout=60_000)
        page.close()
    page = chromium.new_page()
    page.wait_for_timeout(1000)
    page.close()
    assert "Traceback" not in served[1].read_text()
