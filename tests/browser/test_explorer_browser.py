"""The explorer in a real browser: what a person sees after a click, a sort, a link and a change of theme."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SCREENSHOTS = Path(__file__).parent / "screenshots"
HEADING = ".page-latent section h2"
SOURCE = """name => {
  const found = [...Bokeh.documents[0].all_models].filter(m => m.type == "ColumnDataSource" && m.name == name)
  if (found.length != 1) { throw new Error(`${found.length} sources are named ${name}`) }
  const data = found[0].data instanceof Map ? Object.fromEntries(found[0].data) : found[0].data
  return Object.fromEntries(Object.entries(data).map(([column, values]) => [column, Array.from(values)]))
}"""
TEXT = """root => {
  const words = node => node.nodeType == Node.TEXT_NODE ? node.textContent
    : ["STYLE", "SCRIPT"].includes(node.tagName) ? ""
    : [...(node.shadowRoot ?? node).childNodes].map(words).join(" ")
  return words(root)
}"""
DARKENED = """() => [...Bokeh.documents[0].all_models]
  .filter(model => model.type == "Figure").every(model => model.background_fill_color == "#181d23")"""


class Visit:
    """One browser page that writes down everything it should not have done."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._local(request.url))
        page.on("websocket", lambda socket: self._local(socket.url))

    def _local(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1":
            self.complaints.append(f"left the machine: {url}")

    def open(self, query: str = "", waiting_for: str = HEADING) -> None:
        self.page.goto(self.url + query)
        self.page.locator(waiting_for).first.wait_for(timeout=60_000)
        self.page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle", timeout=60_000)

    def data(self, source: str) -> dict[str, list[float]]:
        found: dict[str, list[float]] = self.page.evaluate(SOURCE, source)
        return found

    def text(self, selector: str) -> str:
        """All words under an element, shadow trees included."""
        return str(self.page.locator(selector).first.evaluate(TEXT))

    def direction(self) -> float:
        """Angle of the mean direction drawn in the polar plot (rad)."""
        mean = self.data("polar-mean")
        return math.atan2(mean["y"][1], mean["x"][1])

    def wait_for_latent(self, latent: int) -> None:
        """Both the card and the URL, which come in their own time, name the latent."""
        self.page.locator(HEADING).filter(has_text=re.compile(rf"^Latent {latent}\b")).wait_for(timeout=20_000)
        self.page.wait_for_url(re.compile(rf"[?&]latent={latent}(&|$)"), timeout=20_000)


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1440, "height": 1000})
    yield made
    made.close()


@pytest.fixture
def visit(context: BrowserContext, explorer_url: str) -> Iterator[Visit]:
    made = Visit(context.new_page(), explorer_url)
    yield made
    made.page.close()
    assert made.complaints == []


def row(visit: Visit, position: int) -> tuple[Any, int]:
    visit.page.locator(".page-latent .tabulator-selected").wait_for()
    cell = visit.page.locator(".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]").nth(position)
    return cell, int(cell.inner_text())


def away(a: float, b: float) -> float:
    return abs(math.remainder(a - b, 2 * math.pi))


def test_home_shows_a_latent_with_its_evidence_and_plots(visit: Visit) -> None:
    visit.open()
    card = visit.text(".page-latent section")
    assert "Tuned to heading" in card
    assert "Best control" in card
    assert visit.page.locator(".page-latent .tile").count() >= 9
    assert sum(visit.data("activation-histogram")["top"]) > 50


def test_click_on_a_row_draws_that_rows_latent(visit: Visit, preferred_direction: Callable[[int, int], float]) -> None:
    visit.open()
    for position in (4, 9):
        cell, latent = row(visit, position)
        cell.click()
        visit.wait_for_latent(latent)
        assert away(visit.direction(), preferred_direction(0, latent)) < 0.25


def test_click_after_sorting_draws_the_row_that_was_clicked(
    visit: Visit, preferred_direction: Callable[[int, int], float]
) -> None:
    visit.open()
    header = visit.page.locator(".page-latent .tabulator-col[tabulator-field=latent]")
    header.click()
    visit.page.locator(".page-latent .tabulator-col[tabulator-field=latent][aria-sort=ascending]").wait_for()
    assert [row(visit, position)[1] for position in range(4)] == [0, 1, 2, 3]
    cell, latent = row(visit, 3)
    cell.click()
    visit.wait_for_latent(latent)
    assert away(visit.direction(), preferred_direction(0, latent)) < 0.25


def test_another_instance_draws_its_own_latents(visit: Visit, preferred_direction: Callable[[int, int], float]) -> None:
    visit.open("?instance=1&latent=5&variable=heading")
    visit.wait_for_latent(5)
    assert away(visit.direction(), preferred_direction(1, 5)) < 0.25


def test_mappings_page_opens_the_clicked_latent(visit: Visit) -> None:
    visit.open("?page=mappings", ".page-mappings .tabulator-row")
    cell = visit.page.locator(".page-mappings .tabulator-row .tabulator-cell[tabulator-field=latent]").nth(6)
    latent = int(cell.inner_text())
    cell.click()
    visit.wait_for_latent(latent)
    assert "page=" not in visit.page.url


def test_overview_shows_model_beside_controls_and_the_verdict(visit: Visit) -> None:
    visit.open("?page=overview", ".page-overview table")
    text = visit.text(".page-overview")
    for expected in ("matryoshka-sae (this model)", "pca", "random-encoder", "sharply tuned", "2 dead", "9 adn"):
        assert expected in text
    visit.page.screenshot(path=SCREENSHOTS / "overview-light.png")


def test_link_restores_the_place_it_was_copied_from(visit: Visit) -> None:
    visit.open("?latent=7&instance=1&variable=heading&split=train&model=random-encoder")
    visit.wait_for_latent(7)
    copied = urlsplit(visit.page.url).query
    visit.open(f"?{copied}")
    visit.wait_for_latent(7)
    assert urlsplit(visit.page.url).query == copied
    assert "random-encoder (control)" in visit.page.locator(HEADING).inner_text()


def test_back_returns_to_the_latent_before(visit: Visit) -> None:
    visit.open("?latent=7")
    cell, latent = row(visit, 2)
    cell.click()
    visit.wait_for_latent(latent)
    visit.page.go_back()
    visit.wait_for_latent(7)


def test_bad_link_says_what_is_wrong_and_shows_something(visit: Visit) -> None:
    visit.open("?latent=abc&variable=headng&page=nowhere&run=none")
    said = visit.text(".alert")
    for expected in ("'abc'", "did you mean 'heading'", "'nowhere'", "'none'"):
        assert expected in said
    assert visit.page.locator(HEADING).inner_text().startswith("Latent ")


def test_failing_view_is_a_card_and_the_others_stay(visit: Visit) -> None:
    visit.open()
    text = visit.text(".page-latent")
    assert "ValueError: no figure today" in text
    assert "no_such_module cannot be imported" in text
    assert "binned without a table of trials" in text
    assert len(visit.data("polar-outline")["x"]) == 61


def test_dead_latent_says_so(visit: Visit) -> None:
    visit.open("?latent=47&variable=heading")
    visit.wait_for_latent(47)
    assert "dead: never active" in visit.page.locator(HEADING).inner_text()
    visit.page.screenshot(path=SCREENSHOTS / "dead-latent.png")


def test_run_without_mappings_says_how_to_get_one(visit: Visit) -> None:
    visit.open("?run=2026-03-02T10-22-05_bare_matryoshka-sae_7f3b")
    assert "nldisco map" in visit.text(".page-latent")
    assert len(visit.data("polar-outline")["x"]) == 61


def test_two_sessions_do_not_see_each_others_selection(visit: Visit, context: BrowserContext) -> None:
    visit.open("?latent=3")
    other = Visit(context.new_page(), visit.url)
    other.open("?latent=9")
    cell, latent = row(other, 12)
    cell.click()
    other.wait_for_latent(latent)
    visit.wait_for_latent(3)
    other.page.close()
    assert other.complaints == []


def test_dark_theme_reaches_figures_and_table(visit: Visit) -> None:
    visit.open("?latent=11&variable=heading")
    visit.wait_for_latent(11)
    visit.page.screenshot(path=SCREENSHOTS / "latent-light.png")
    visit.page.get_by_role("button", name="Toggle theme").click()
    visit.page.wait_for_function(DARKENED)
    visit.page.wait_for_timeout(500)
    visit.page.screenshot(path=SCREENSHOTS / "latent-dark.png")
    ground = visit.page.locator(".page-latent .tile").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground == "rgb(24, 29, 35)"


def test_every_plot_has_a_summary_in_words(visit: Visit) -> None:
    visit.open()
    tiles = visit.page.locator(".page-latent .tile")
    plotted = [tiles.nth(i) for i in range(tiles.count()) if tiles.nth(i).locator("canvas").count()]
    assert len(plotted) >= 6
    for tile in plotted:
        assert len(tile.locator("p").last.inner_text()) > 20
