"""For those who do not see the plots, or see colours otherwise: what axe finds, and that every plot is put in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nldisco_explorer.login import login_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("Latent", "Mappings", "Session", "Map", "Compare", "Overview")
OF_OTHERS = {
    "region": "[data-pmui-layer",  # the layer of panel_material_ui's menus stands outside all landmarks
    "aria-required-children": "tabulator",  # Tabulator's grid holds a div that takes the focus
    "empty-table-header": "tabulator-col",  # and the header of a column without a title
}
"""Rules that components of others break in ways that cannot be mended from here, and the mark of those components."""

SHOW_TABLES = """shown => {
  const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
  const all = root => [...root.querySelectorAll("*")].flatMap(below)
  for (const table of all(document).filter(each => each.classList.contains("tabulator"))) {
    table.style.visibility = shown ? "" : "hidden"
  }
}"""


AT_REST = """() => {
  const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
  const all = root => [...root.querySelectorAll("*")].flatMap(below)
  return !all(document).some(each => each.getAnimations().some(change => change instanceof CSSTransition))
}"""

CONTRAST = "color-contrast"


def violations(page: Page, *rules: str) -> list[tuple[str, str]]:
    """Rule and place of all that axe finds, by all rules or those named, without what is known of others' parts."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = []
    options: dict[str, Any] = {"resultTypes": ["violations"]}  # to name all that passes takes longer than to look
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    for each in axe.run(page, options=options).response["violations"]:
        for node in each["nodes"]:
            mark = OF_OTHERS.get(each["id"])
            if mark is None or (mark not in str(node["target"]) and mark not in node["html"]):
                found.append((each["id"], f"{node['html'][:160]} {node.get('failureSummary', '')[:200]}"))
    return found


@pytest.fixture(scope="module")
def page(chromium: Browser, explorer_url: str) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    made = context.new_page()
    made.goto(f"{explorer_url}?latent=7")
    made.locator(".page-latent section h2").first.wait_for(timeout=60_000)
    yield made
    context.close()


def turn_to(page: Page, name: str) -> None:
    """Turn to a page and wait until nothing on it changes its colour any more."""
    page.get_by_role("button", name=name, exact=True).first.click()
    page.locator(f".page-{name.lower()}").wait_for(timeout=30_000)
    page.wait_for_timeout(1200)
    page.wait_for_function(AT_REST)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_of_ours(page: Page, theme: str) -> None:
    if theme == "dark":
        page.get_by_role("button", name="Toggle theme").click()
    found = []
    for name in PAGES:
        turn_to(page, name)
        # Rows of a table reach far beyond its frame, where axe takes their colour for the ground of what is there: so
        # contrast is looked at without tables, and of the tables in their cells.
        whole = [each for each in violations(page) if each[0] != CONTRAST or "tabulator-cell" in each[1]]
        page.evaluate(SHOW_TABLES, False)
        found += [(name, *each) for each in [*whole, *violations(page, CONTRAST)]]
        page.evaluate(SHOW_TABLES, True)
    assert found == []


def test_every_plot_is_put_in_words(page: Page) -> None:
    n_plots = 0
    for name in PAGES:
        turn_to(page, name)
        plots = page.locator(f".page-{name.lower()} .tile canvas[role=img]:visible")
        for i in range(plots.count()):
            said = plots.nth(i).get_attribute("aria-label") or ""
            assert len(said.split()) > 4, f"plot {i} of {name} says {said!r}"
        n_plots += plots.count()
    assert n_plots >= 12


def test_every_menu_says_whose_it_is(page: Page) -> None:
    turn_to(page, "Latent")
    labels = [
        each.get_attribute("aria-label") for each in page.locator(".page-latent summary[aria-label^=Export]").all()
    ]
    assert len(labels) == len(set(labels)) >= 8


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_login_page_passes_axe(chromium: Browser, tmp_path: Path, theme: Any, asks: bool) -> None:
    (tmp_path / "login.html").write_bytes(login_page(asks=asks, said="Invalid name or password."))
    context = chromium.new_context(color_scheme=theme)
    page = context.new_page()
    page.goto((tmp_path / "login.html").as_uri())
    assert violations(page) == []
    context.close()
