"""The explorer under fingers on a tablet held upright: the page scrolls, a pinch zooms, the table is out of the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

TABLET = {"width": 820, "height": 1180}


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport=TABLET, has_touch=True)
    yield context.new_page()
    context.close()


def drawn(page: Page, address: str) -> Locator:
    """Canvases of a page, once the first is painted and nothing is on its way."""
    page.goto(address)
    found = page.locator("canvas[data-painted]:visible")
    found.first.wait_for(timeout=60_000)
    page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle", timeout=60_000)
    page.wait_for_timeout(500)
    return found


def middle(canvas: Locator) -> tuple[float, float]:
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + min(box["height"], 220) / 2


def drag(page: Page, places: list[list[tuple[float, float]]]) -> None:
    """Put fingers down at the first places, move them along the others, and lift them."""
    session = page.context.new_cdp_session(page)
    for number, fingers in enumerate([*places, []]):
        kind = "touchStart" if number == 0 else "touchMove" if fingers else "touchEnd"
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(fingers)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(16)


def test_finger_that_starts_on_a_plot_without_anything_to_drag_scrolls_the_page(page: Page, explorer_url: str) -> None:
    canvases = drawn(page, f"{explorer_url}?latent=11&variable=heading")
    actions = canvases.evaluate_all("all => all.map(canvas => canvas.style.touchAction)")
    still = canvases.nth(actions.index("auto"))
    still.scroll_into_view_if_needed()
    x, y = middle(still)
    drag(page, [[(x, y - 20 * step)] for step in range(16)])
    page.wait_for_timeout(300)
    assert middle(still)[1] < y - 150


def test_pinch_zooms_the_session_and_leaves_the_page_as_large_as_it_is(page: Page, explorer_url: str) -> None:
    session = drawn(page, f"{explorer_url}?page=session&latent=11&window=100.0,200.0").first
    x, y = middle(session)
    drag(page, [[(x - 40 - 8 * step, y), (x + 40 + 8 * step, y)] for step in range(11)])
    page.wait_for_function("() => !location.search.includes('window=100.0,200.0')", timeout=20_000)
    low, high = map(float, parse_qs(urlsplit(page.url).query)["window"][0].split(","))
    assert 100 < low < high < 200
    assert high - low < 80
    assert page.evaluate("visualViewport.scale") == 1


def test_table_stands_folded_above_the_plots_and_opens(page: Page, explorer_url: str) -> None:
    plot = drawn(page, f"{explorer_url}?latent=11&variable=heading").first
    table = page.locator(".page-latent .folding")
    folded, beside = table.bounding_box(), plot.bounding_box()
    assert folded is not None
    assert beside is not None
    assert folded["height"] <= 170
    assert folded["width"] > 0.9 * TABLET["width"]
    assert beside["y"] > folded["y"] + folded["height"]
    assert beside["width"] > 0.4 * TABLET["width"]
    page.get_by_role("button", name="Show or fold the table").tap()
    row = page.locator(".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]").nth(3)
    page.wait_for_function("table => table.clientHeight > 400", arg=table.element_handle(), timeout=20_000)
    latent = row.inner_text()
    row.tap()
    page.wait_for_url(f"**latent={latent}*", timeout=20_000)
