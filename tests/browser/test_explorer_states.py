"""What a person sees where something is missing: each state says what it is and what to do; screenshots of all."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
BENCHMARK: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "explorer.py"))
WRITTEN: dict[str, Any] = runpy.run_path(str(ROOT / "tests" / "explorer" / "written_run.py"))
HEADING = ".page-latent section h2"
TEXT = """root => {
  const words = node => node.nodeType == Node.TEXT_NODE ? node.textContent
    : ["STYLE", "SCRIPT"].includes(node.tagName) ? ""
    : [...(node.shadowRoot ?? node).childNodes].map(words).join(" ")
  return words(root)
}"""
WHOLE, BARE = "2026-03-01T10-22-05_whole_matryoshka-sae_7f3a", "2026-03-02T10-22-05_bare_matryoshka-sae_7f3b"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, and one without mappings, position and trials."""
    folder = tmp_path_factory.mktemp("states")
    WRITTEN["write_run"](folder / WHOLE)
    WRITTEN["write_run"](folder / BARE, mapped=False)
    about = folder / BARE / "binned" / "binned.json"
    content = json.loads(about.read_text())
    for session in content["sessions"]:
        session["covariates"] = [each for each in session["covariates"] if each["kind"] != "position"]
    about.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Any]:
    with BENCHMARK["served"](runs) as made:
        yield made


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1440, "height": 1000})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    made = context.new_page()
    yield made
    made.close()


def show(page: Page, url: str, waiting_for: str = HEADING) -> None:
    page.goto(url)
    page.locator(waiting_for).first.wait_for(timeout=90_000)
    if waiting_for == HEADING:
        page.locator(".page-latent h3", has_text=re.compile("^Notes$")).wait_for(timeout=60_000)
        page.locator(".page-latent .tabulator-selected").wait_for(timeout=60_000)
    page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle", timeout=60_000)


def words(page: Page, selector: str) -> str:
    return str(page.locator(selector).first.evaluate(TEXT))


def keep(page: Page, name: str, what: str = "") -> None:
    """Screenshots in both themes, of the place where these words stand, or of the top."""
    for theme in ("light", "dark"):
        page.wait_for_timeout(900)
        if what:
            page.get_by_text(what).first.evaluate("each => each.scrollIntoView({block: 'center'})")
            page.wait_for_timeout(300)
        page.screenshot(path=SCREENSHOTS / f"{name}-{theme}.png")
        page.get_by_role("button", name="Toggle theme").click()
        page.mouse.move(700, 500)


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("dead", "latent=47", "dead: never active in these bins"),
        ("dense", "latent=46", "active in over half the time"),
        ("too-little-support", "latent=4", "too little support"),
    ],
)
def test_latent_that_says_little_is_marked(page: Page, server: Any, name: str, query: str, said: str) -> None:
    show(page, f"{server.url}?run={WHOLE}&variable=heading&{query}")
    assert said in words(page, ".page-latent section")
    keep(page, f"state-{name}")


def test_run_without_mappings_position_and_trials_says_so_and_lists_its_latents(page: Page, server: Any) -> None:
    show(page, f"{server.url}?run={BARE}")
    text = words(page, ".page-latent")
    assert "nldisco map" in text
    assert "48 of 48 latents" in text
    assert "this run has no position" in text
    assert "without a table of trials" in text
    keep(page, "state-nothing-mapped")
    keep(page, "state-not-shown", "Not shown for this run")


def test_broken_view_is_a_card_among_the_others(page: Page, explorer_url: str) -> None:
    show(page, f"{explorer_url}?latent=3")
    assert "This tile failed: ValueError: no figure today. The others are not affected." in words(page, ".page-latent")
    keep(page, "state-broken-view", "A tile that fails")


def test_page_without_any_view_says_why(page: Page, server: Any) -> None:
    show(page, f"{server.url}?run={BARE}&page=mappings", ".page-mappings")
    page.get_by_text("Not shown for this run").wait_for(timeout=60_000)
    keep(page, "state-empty-page")


def test_changed_run_is_spoken_of_once_and_what_is_drawn_stays(page: Page, server: Any, runs: Path) -> None:
    show(page, f"{server.url}?run={WHOLE}&latent=3")
    page.wait_for_timeout(2500)
    os.utime(runs / WHOLE / "run.json")
    page.keyboard.press("j")
    page.locator(".alert", has_text="The run on disk has changed").wait_for(timeout=30_000)
    assert "Reload the page" in words(page, ".alert")
    keep(page, "state-changed")


def test_lost_server_is_a_banner_and_what_is_drawn_stays(page: Page, chromium: Browser, runs: Path) -> None:
    dark = chromium.new_page(viewport={"width": 1440, "height": 1000})
    with BENCHMARK["served"](runs) as lost:
        for each in (page, dark):
            show(each, f"{lost.url}?run={WHOLE}&latent=3")
        dark.get_by_role("button", name="Toggle theme").click()
        dark.mouse.move(700, 500)
        dark.wait_for_timeout(900)
        heading = page.locator(HEADING).inner_text()
        os.kill(lost.pid, signal.SIGKILL)
        for each in (page, dark):
            each.get_by_role("alert").filter(has_text="The server does not answer").wait_for(timeout=30_000)
    for each, theme in ((page, "light"), (dark, "dark")):
        assert each.locator(HEADING).inner_text() == heading
        assert each.get_by_role("button", name="Reload").is_visible()
        each.screenshot(path=SCREENSHOTS / f"state-server-gone-{theme}.png")
    dark.close()


@pytest.mark.parametrize("width", [768, 1024, 1280, 3840])
def test_every_part_of_the_header_and_of_the_page_is_within_the_screen(
    context: BrowserContext, server: Any, width: int
) -> None:
    """A tablet to 4K: nothing that can be pressed is out of reach, and no page scrolls sideways."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 1024})
    show(page, f"{server.url}?run={WHOLE}&latent=3")
    for name in ("Toggle theme", "Copy link", "Overview", "Mappings", "Latent"):
        box = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width, name
    assert page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    tiles = page.locator(".page-latent .tile")
    assert all((box := tile.bounding_box()) is None or box["x"] + box["width"] <= width for tile in tiles.all())
    page.screenshot(path=SCREENSHOTS / f"width-{width}.png")
    page.close()
