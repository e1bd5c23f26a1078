"""The explorer in a real browser: what a person sees after a click, a sort, a link and a change of theme."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

SCREENSHOTS = Path(__file__).parent / "screenshots"
VISITING: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("visiting.py")))
HEADING, LAST_TILE, Visit = (VISITING[name] for name in ("HEADING", "LAST_TILE", "Visit"))
WRITTEN = """() => { let at = document.activeElement; while (at.shadowRoot) { at = at.shadowRoot.activeElement }
  return at.value }"""
IMPATIENT = """window.impatient = {clicked: 0, latent: ""}
const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
const all = root => [...root.querySelectorAll("*")].flatMap(below)
const clicking = setInterval(() => {
  const cells = all(document).filter(each => each.matches(".tabulator-row [tabulator-field=latent]"))
  if (!cells.length) { return }
  const cell = cells[impatient.clicked % Math.min(cells.length, 12)]
  Object.assign(impatient, {clicked: impatient.clicked + 1, latent: cell.textContent.trim()})
  cell.click()
  if (impatient.clicked >= 30) { clearInterval(clicking) }
}, 60)"""
"""Clicks on rows from when the first of them is there."""

LOOKS = """([canvases, cells]) => ({
  figures: canvases.map(canvas => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true})
    const greys = []
    copy.drawImage(canvas, 0, 0)
    const {data} = copy.getImageData(0, 0, canvas.width, canvas.height)
    for (let i = 0; i < data.length; i += 4) {
      const inks = [...data.slice(i, i + 3)]
      if (data[i + 3] > 200 && Math.max(...inks) - Math.min(...inks) < 40) { greys.push(inks[1]) }
    }
    greys.sort((a, b) => a - b)
    return [0.05, 0.95].map(share => greys[Math.floor(share * greys.length)])
  }),
  table: cells.map(cell => Number(getComputedStyle(cell).color.match(/[0-9.]+/g)[1])),
})"""
"""How light (0 to 255) the dark and the light end of grey ink are on each canvas, and the words in cells of a table."""
DARK = "rgb(24, 29, 35)"


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
    visit.page.locator(".page-latent .tabulator-row").first.wait_for()
    cell = visit.page.locator(".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]").nth(position)
    return cell, int(cell.inner_text())


def marked(visit: Visit, page: str = "latent") -> list[str]:
    """Latents of the rows that are marked in the table of a page."""
    return visit.page.locator(f".page-{page} .tabulator-selected [tabulator-field=latent]").all_inner_texts()


def sort_by_latent(visit: Visit) -> None:
    visit.page.locator(".page-latent .tabulator-col[tabulator-field=latent]").click()
    first = visit.page.locator(".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]").first
    first.filter(has_text=re.compile("^0$")).wait_for()


def looks(visit: Visit) -> dict[str, list[Any]]:
    """Lightness of what is written on figures in view and in rows of the table that are not selected."""
    visit.rest()
    canvases = visit.page.locator(".page-latent .tile canvas[data-painted]").element_handles()[:3]
    cells = visit.page.locator(".page-latent .tabulator-row:not(.tabulator-selected) .tabulator-cell:visible")
    found: dict[str, list[Any]] = visit.page.evaluate(LOOKS, [canvases, cells.element_handles()[:20]])
    return found


def away(a: float, b: float) -> float:
    return abs(math.remainder(a - b, 2 * math.pi))


def test_home_shows_a_latent_with_its_evidence_and_plots(visit: Visit) -> None:
    visit.open()
    card = visit.text(".page-latent section")
    assert "Tuned to heading" in card
    assert "Best of any control" in card
    assert visit.page.locator(".page-latent .tile").count() >= 9
    assert sum(visit.layers("median activation", kind="bars")[0]["top"]) > 5


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
    sort_by_latent(visit)
    assert [row(visit, position)[1] for position in range(4)] == [0, 1, 2, 3]
    cell, latent = row(visit, 3)
    cell.click()
    visit.wait_for_latent(latent)
    assert away(visit.direction(), preferred_direction(0, latent)) < 0.25


def test_row_of_the_latent_in_view_is_marked_and_no_other(visit: Visit) -> None:
    visit.open("?latent=11&variable=heading")
    mark = visit.page.locator(".page-latent .tabulator-selected [tabulator-field=latent]")
    mark.filter(has_text=re.compile("^11$")).wait_for()
    cell, latent = row(visit, 2)
    cell.click()
    visit.wait_for_latent(latent)
    assert marked(visit) == [str(latent)]
    sort_by_latent(visit)
    visit.page.locator(HEADING).click()
    visit.page.keyboard.press("j")
    visit.wait_for_latent(latent + 1)
    mark.filter(has_text=re.compile(f"^{latent + 1}$")).wait_for()
    for name in ("Map", "Mappings", "Latent"):
        visit.page.get_by_role("button", name=name, exact=True).click()
        shown = visit.page.locator(f".page-{name.lower()} .tabulator-selected [tabulator-field=latent]")
        shown.filter(has_text=re.compile(f"^{latent + 1}$")).wait_for(timeout=20_000)
        assert marked(visit, name.lower()) == [str(latent + 1)]


def test_clicks_while_the_page_is_on_its_way_lose_nothing(visit: Visit) -> None:
    """Panel drops what changes before the browser says that it is ready; tiles would stay away for good."""
    visit.page.add_init_script(IMPATIENT)
    visit.open()
    visit.page.wait_for_function("impatient.clicked == 30")
    latent = int(visit.page.evaluate("impatient.latent"))
    visit.wait_for_latent(latent)
    assert marked(visit) == [str(latent)]
    visit.page.locator(".page-latent h3", has_text=LAST_TILE).wait_for()
    assert visit.page.locator(".page-latent .tile").count() >= 13


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
    visit.page.locator(".page-overview p", has_text="2 dead").wait_for()
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


def test_forward_returns_after_back_and_nothing_is_loaded_again(visit: Visit) -> None:
    visit.open("?latent=7")
    visit.page.evaluate("window.marked = true")
    cell, latent = row(visit, 2)
    cell.click()
    visit.wait_for_latent(latent)
    visit.page.go_back()
    visit.wait_for_latent(7)
    visit.page.go_forward()
    visit.wait_for_latent(latent)
    visit.page.get_by_role("button", name="Overview").click()
    visit.page.locator(".page-overview table").first.wait_for()
    visit.page.go_back()
    visit.page.locator(HEADING).wait_for()
    assert visit.page.evaluate("window.marked")


def test_keys_step_through_the_table_as_it_is_sorted(visit: Visit) -> None:
    visit.open("?latent=3")
    sort_by_latent(visit)
    visit.page.locator(HEADING).click()
    for key, expected in (("j", 4), ("ArrowDown", 5), ("k", 4), ("ArrowUp", 3)):
        visit.page.keyboard.press(key)
        visit.wait_for_latent(expected)


def test_keys_are_letters_where_one_writes(visit: Visit) -> None:
    visit.open("?latent=3")
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("jk4")
    assert visit.page.evaluate(WRITTEN) == "jk4"
    visit.wait_for_latent(3)


def test_g_goes_to_a_number_and_says_so_where_there_is_none(visit: Visit) -> None:
    visit.open("?latent=3")
    for number, word in (("21", ""), ("999", "0 to 47")):
        visit.page.keyboard.press("g")
        visit.page.keyboard.type(number)
        visit.page.keyboard.press("Enter")
        if word:
            visit.page.locator(".alert", has_text=word).wait_for()
        else:
            visit.wait_for_latent(int(number))
    visit.wait_for_latent(21)


def test_p_pins_and_the_link_keeps_it(visit: Visit) -> None:
    visit.open("?latent=3")
    visit.page.keyboard.press("p")
    visit.page.wait_for_url(re.compile("pinned=3"))
    visit.page.keyboard.press("p")
    visit.page.wait_for_url(re.compile(r"latent=3(?!.*pinned)"))


def test_question_mark_lists_the_keys(visit: Visit) -> None:
    visit.open()
    visit.page.keyboard.press("?")
    dialog = visit.page.get_by_role("dialog")
    assert "next latent" in dialog.inner_text()
    visit.page.screenshot(path=SCREENSHOTS / "keys-light.png")
    visit.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    visit.page.get_by_role("button", name="Toggle theme").click()
    visit.page.wait_for_timeout(1000)
    visit.page.keyboard.press("?")
    dialog.wait_for()
    visit.page.screenshot(path=SCREENSHOTS / "keys-dark.png")
    visit.page.keyboard.press("Escape")
    visit.page.get_by_role("button", name="Toggle theme").click()


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
    assert len(visit.layers("mean direction", kind="line", colour="activation")[0]["x"]) == 61


def test_dead_latent_says_so(visit: Visit) -> None:
    visit.open("?latent=47&variable=heading")
    visit.wait_for_latent(47)
    assert "dead: never active" in visit.page.locator(HEADING).inner_text()


def test_run_without_mappings_says_how_to_get_one(visit: Visit) -> None:
    visit.open("?run=2026-03-02T10-22-05_bare_matryoshka-sae_7f3b")
    assert "nldisco map" in visit.text(".page-latent")
    assert len(visit.layers("mean direction", kind="line", colour="activation")[0]["x"]) == 61


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
    light = looks(visit)
    visit.page.get_by_role("button", name="Toggle theme").click()
    visit.page.wait_for_timeout(1000)
    visit.page.screenshot(path=SCREENSHOTS / "latent-dark.png")
    dark = looks(visit)
    ground = visit.page.locator(".page-latent .tile").first.evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground == DARK
    assert len(light["figures"]) == len(dark["figures"]) == 3
    assert max(darkest for darkest, _ in light["figures"]) < 110, "words of a figure are dark on a light page"
    assert min(lightest for _, lightest in dark["figures"]) > 150, "and light on a dark one"
    brighter = [b - a for (_, a), (_, b) in zip(light["figures"], dark["figures"], strict=True)]
    assert sorted(brighter)[1] > 40, "which two of three figures have nothing of on a light page"
    assert max(light["table"]) < 80
    assert min(dark["table"]) > 180


def test_every_plot_has_a_summary_in_words(visit: Visit) -> None:
    visit.open()
    tiles = visit.page.locator(".page-latent .tile")
    plotted = [tiles.nth(i) for i in range(tiles.count()) if tiles.nth(i).locator("canvas").count()]
    assert len(plotted) >= 6
    for tile in plotted:
        assert len(tile.locator("p").last.inner_text()) > 20
