"""Pins, keys and links in a real browser: what a person sets is in the address, and the address gives it back."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HERE = Path(__file__).parent
VISITING: dict[str, Any] = runpy.run_path(str(HERE / "visiting.py"))
HEADING, Visit = VISITING["HEADING"], VISITING["Visit"]
REACH: dict[str, Any] = runpy.run_path(str(HERE.parent / "explorer" / "reach_run.py"))
NAMES = ("2026-03-01T10-22-05_reach_matryoshka-sae_7f3c", "2026-03-02T10-22-05_reach_matryoshka-sae_7f3d")
FOCUSED = """() => {
  let at = document.activeElement
  while (at?.shadowRoot?.activeElement) { at = at.shadowRoot.activeElement }
  return at && at.tagName == "INPUT" ? at.value : null
}"""
STATE = """root => {
  const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
  const all = root => [...root.querySelectorAll("*")].flatMap(below)
  const shown = all(root).filter(each => each.checkVisibility())
  const those = (selector, say) => shown.filter(each => each.matches(selector)).map(say)
  return {
    fields: those("input", each => each.type == "checkbox" ? each.checked : each.value),
    chosen: those("[role=combobox], [aria-pressed=true], .MuiButton-contained, .MuiChip-label",
      each => each.textContent),
    rows: those(".tabulator-row", each => each.textContent),
    words: those("p, dt, dd, h2", each => each.textContent),
    drawn: those("canvas[role=img]", each => each.getAttribute("aria-label")),
  }
}"""
"""All that a person sees of a page: fields, choices, rows of tables, words, and what canvases say they show."""


@pytest.fixture(scope="module")
def reach_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``nldisco serve`` of two runs of trials in two sessions."""
    folder = tmp_path_factory.mktemp("linked")
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
        yield found
        server.terminate()
        server.wait(timeout=10)
        server.stdout.close()


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Callable[[str], Any]]:
    """Visits in a context of their own each; none may complain."""
    made = []

    def visit(url: str) -> Any:
        made.append(Visit(chromium.new_context(viewport={"width": 1440, "height": 1000}).new_page(), url))
        return made[-1]

    yield visit
    for each in made:
        each.page.context.close()
        assert each.complaints == []


def pick(visit: Any, page: str, label: str, option: str) -> None:
    """Choose from a select."""
    visit.page.locator(f".page-{page}").get_by_label(label, exact=True).click()
    visit.page.locator("li:visible").filter(has_text=re.compile(f"^{re.escape(option)}$")).click()
    visit.page.locator("li:visible").first.wait_for(state="hidden")
    visit.rest()


def turn_to(visit: Any, title: str) -> None:
    visit.page.get_by_role("button", name=title, exact=True).click()
    visit.page.locator(f".page-{title.lower()}").wait_for()
    visit.rest()


def test_pin_of_a_link_is_one_press_away_and_does_not_open_by_itself(
    visitor: Callable[[str], Any], reach_url: str
) -> None:
    visit = visitor(reach_url)
    visit.open("?latent=3")
    visit.page.keyboard.press("p")
    visit.page.wait_for_url(re.compile("pinned=3"))
    visit.page.locator(".page-latent .tabulator-row [tabulator-field=latent]").filter(
        has_not_text=re.compile("^3$")
    ).first.click()
    visit.page.wait_for_url(re.compile(r"latent=(?!3&)"))
    other = int(parse_qs(urlsplit(visit.page.url).query)["latent"][0])
    visit.open("?" + urlsplit(visit.page.url).query)
    visit.wait_for_latent(other)
    visit.page.locator(".page-latent .pin", has_text="3").click()
    visit.wait_for_latent(3)
    assert "pinned=3" in visit.page.url


def test_l_waits_for_the_field_and_no_letter_meant_for_it_is_a_key(
    visitor: Callable[[str], Any], reach_url: str
) -> None:
    visit = visitor(reach_url)
    visit.open("?latent=3&page=overview", ".page-overview table")
    visit.page.keyboard.press("l")
    visit.page.keyboard.type("pjk")
    visit.page.wait_for_function(f"() => ({FOCUSED})() !== null", timeout=20_000)
    visit.page.keyboard.type("left turn")
    assert visit.page.evaluate(FOCUSED) == "left turn"
    assert parse_qs(urlsplit(visit.page.url).query)["latent"] == ["3"]
    assert "pinned" not in visit.page.url


@pytest.mark.parametrize("page", ["session", "compare", "overview"])
def test_slash_turns_to_the_table_where_the_page_has_none(
    visitor: Callable[[str], Any], reach_url: str, page: str
) -> None:
    visit = visitor(reach_url)
    visit.open(f"?latent=3&page={page}", f".page-{page} .tile")
    visit.page.keyboard.press("/")
    visit.page.wait_for_url(re.compile("page=mappings"))
    visit.page.wait_for_function(f"() => ({FOCUSED})() !== null")
    visit.page.keyboard.type("1")
    visit.page.wait_for_url(re.compile("table.search=1"))


def test_link_holds_every_field_of_the_selection_and_every_setting_of_a_tile(
    visitor: Callable[[str], Any], reach_url: str
) -> None:
    one, other = visitor(reach_url), visitor(reach_url)
    by_link = "pinned=1p,0m&lasso=0-2&window=20.0,40.0&against=model:model&session-timeline.behaviour=speed"
    one.open(f"?run={NAMES[1]}&model=pca&latent=2&sign=-1&variable=target&split=train&{by_link}")
    pick(one, "latent", "aligned to", "move onset")
    pick(one, "latent", "grouped by", "target")
    pick(one, "latent", "trials", "by target")
    pick(one, "latent", "with", "NW")
    pick(one, "latent", "coloured by", "time")
    pick(one, "latent", "flow against latent", "1")
    one.page.locator(".page-latent").get_by_label("supported only").check()
    one.page.locator(".page-latent .tabulator-col[tabulator-field=latent]").click()
    one.page.wait_for_url(re.compile("table.sort=latent"))
    turn_to(one, "Map")
    pick(one, "map", "laid out by", "t-SNE")
    pick(one, "map", "coloured by", "density")
    one.page.wait_for_url(re.compile("latent-map.colour=density"))
    link = urlsplit(one.page.url).query
    for part in ("trials=", "align=", "by=target", "pinned=1p,0m", "state-space.flow=1", "latent-map.layout=t-SNE"):
        assert part in link
    other.open(f"?{link}", ".page-map .tabulator-row")
    for title in ("Map", "Latent", "Session"):
        found = []
        for visit in (one, other):
            turn_to(visit, title)
            visit.page.locator(f".page-{title.lower()} canvas[data-painted]").first.wait_for()
            visit.page.wait_for_timeout(1500)
            visit.rest()
            found.append(visit.page.locator(f".page-{title.lower()}").evaluate(STATE))
        assert found[0] == found[1]
        assert urlsplit(one.page.url).query == urlsplit(other.page.url).query
    assert "session-timeline.behaviour=speed" in urlsplit(other.page.url).query
