"""For those who do not see the plots, or see colours otherwise: what axe finds, and that every plot is put in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from nldisco_explorer.access import LOGIN_PAGE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("Latent", "Mappings", "Session", "Map", "Compare", "Overview")
OF_OTHERS = {
    "aria-progressbar-name": ".MuiLinearProgress-root",  # panel_material_ui's page draws one without a name
    "empty-heading": "h5",  # and a heading of a blank
    "heading-order": "h5",
    "page-has-heading-one": "html",
    "region": "[data-pmui-layer",  # and the layer of its menus stands outside all landmarks
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


CONTRAST = "color-contrast"


def violations(page: Page, *rules: str) -> list[tuple[str, str]]:
    """Rule and place of all that axe finds, by all rules or those named, without what is known of others' parts."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = []
    options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else None
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
    page.get_by_role("button", name=name, exact=True).first.click()
    page.locator(f".page-{name.lower()}").wait_for(timeout=30_000)
    page.wait_for_timeout(1200)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_of_ours(page: Page, theme: str) -> None:
    rules = (CONTRAST,) if theme == "dark" else ()  # the others know no colours
    if theme == "dark":
        page.get_by_role("button", name="Toggle theme").click()
    found = []
    for name in PAGES:
        turn_to(page, name)
        # Rows of a table reach far beyond its frame, where axe takes their colour for the ground of what is there: so
        # contrast is looked at without tables, and of the tables in their cells.
        whole = [each for each in violations(page, *rules) if each[0] != CONTRAST or "tabulator-cell" in each[1]]
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


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_login_page_passes_axe(chromium: Browser, tmp_path: Path, theme: Any) -> None:
    text = LOGIN_PAGE.read_text(encoding="utf-8")
    filled = text.replace("{{ login_endpoint }}", "/login").replace("{{ errormessage|escape }}", "Invalid password!")
    (tmp_path / "login.html").write_text(filled, encoding="utf-8")
    context = chromium.new_context(color_scheme=theme)
    page = context.new_page()
    page.goto((tmp_path / "login.html").as_uri())
    assert violations(page) == []
    context.close()
