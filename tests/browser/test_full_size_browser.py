"""The explorer at full size: rows of any page of the table, sorted, searched or caught by a lasso; keys; links."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from nldisco_explorer.ranking import ranked
from nldisco_explorer.readings import readings

from nldisco_core.binned import SPLITS
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

ROOT = Path(__file__).parents[2]
BENCHMARK: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "explorer.py"))
Visit: Any = runpy.run_path(str(Path(__file__).with_name("visiting.py")))["Visit"]
WINDOW = {"width": 1440, "height": 1000}
BY_DIRECTION = "?variable=hand_direction&split=test"
COPIED = (
    "page=session&instance=1&latent=45&variable=hand_direction&condition=60+to+90°&align=go_cue_s&by=num_barriers"
    "&split=train&pinned=45,7&lasso=4,40-60&window=100.0,160.0"
)


@pytest.fixture(scope="module")
def url(full_size_run: Run) -> Iterator[str]:
    with BENCHMARK["served"](full_size_run.folder.parent) as server:
        yield server.url


@pytest.fixture(scope="module")
def order(full_size_run: Run) -> list[int]:
    """Latents as the table lists them by direction."""
    choice = Selection(run=full_size_run.name, variable="hand_direction", split="test", mapper="selectivity")
    return [int(latent) for latent in ranked(readings(full_size_run), choice)["latent"]]


@pytest.fixture(scope="module")
def points(full_size_run: Run) -> Callable[[int], float]:
    """Where a latent of the first instance points on test bins (rad): mean over the means in 60 directions, or NaN."""
    data, code = full_size_run.counts, full_size_run.latents.main.codes[0]
    heading = data.covariate("hand_direction").values[:, 0]
    counted = np.flatnonzero((data.split == SPLITS.index("test")) & np.isfinite(heading))
    part = np.floor(heading[counted] % (2 * np.pi) / (np.pi / 30)).astype(int)

    def towards(latent: int) -> float:
        active = code[:, [latent]].toarray()[counted, 0]
        means = np.array([active[part == each].mean() for each in range(60)])
        resultant = (means * np.exp(1j * (np.arange(60) + 0.5) * np.pi / 30)).sum()
        return float(np.angle(resultant)) if active.any() else math.nan

    return towards


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport=WINDOW)
    yield made
    made.close()


@pytest.fixture
def visit(context: BrowserContext, url: str) -> Iterator[Any]:
    made = Visit(context.new_page(), url)
    yield made
    made.page.close()
    assert made.complaints == []


def cells(visit: Any, page: str = "latent") -> Any:
    return visit.page.locator(f".page-{page} .tabulator-row .tabulator-cell[tabulator-field=latent]")


def listed(visit: Any, page: str = "latent") -> list[int]:
    return [int(text) for text in cells(visit, page).all_inner_texts()]


def until_listed(visit: Any, others_than: list[int], page: str = "latent") -> list[int]:
    """Latents of the rows once they are others."""
    for _ in range(200):
        now = listed(visit, page)
        if now and now != others_than:
            visit.rest()
            return listed(visit, page)
        visit.page.wait_for_timeout(50)
    raise AssertionError(f"the table still lists {others_than}")


def turn_over(visit: Any, page: str = "latent") -> list[int]:
    """Show the table's second page; its latents."""
    before = listed(visit, page)
    visit.page.locator(f".page-{page} .tabulator-page[data-page=next]").click()
    return until_listed(visit, before, page)


def assert_drawn(visit: Any, towards: float) -> None:
    """The polar plot comes to point in a direction (rad); on a page just turned to it is drawn once it is seen."""
    away = math.inf
    for _ in range(100):
        away = abs(math.remainder(visit.direction() - towards, 2 * math.pi))
        if away < 1e-3:
            return
        visit.page.wait_for_timeout(50)
    raise AssertionError(f"the polar plot is {away} rad from where the latent points")


def sort_by_latent(visit: Any) -> str:
    before = listed(visit)
    visit.page.locator(".page-latent .tabulator-col[tabulator-field=latent]").click()
    assert until_listed(visit, before)[:3] == [0, 1, 2]
    return "latent"


def search(visit: Any) -> str:
    before = listed(visit)
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("90 to 120")
    until_listed(visit, before)
    visit.page.get_by_text("hidden by the search").wait_for()
    return "latent"


def catch_on_the_map(visit: Any) -> str:
    visit.page.get_by_role("button", name="Map", exact=True).click()
    drawn = visit.page.locator(".page-map canvas[data-painted]").first
    drawn.wait_for(timeout=30_000)
    visit.rest()
    box = drawn.bounding_box()
    x, y = box["x"] + 0.45 * box["width"], box["y"] + 0.45 * box["height"]
    visit.page.mouse.move(x - 130, y - 130)
    visit.page.mouse.down()
    for dx, dy in ((130, -130), (130, 130), (-130, 130), (-130, -130)):
        visit.page.mouse.move(x + dx, y + dy, steps=4)
    visit.page.mouse.up()
    visit.page.wait_for_url(re.compile("[?&]lasso="), timeout=20_000)
    visit.page.locator(".page-map").get_by_text("those caught on the map").wait_for()
    visit.rest()
    return "map"


@pytest.mark.parametrize("arrange", [lambda _: "latent", sort_by_latent, search, catch_on_the_map])
def test_row_of_the_second_page_of_the_table_is_the_one_drawn(
    visit: Any, order: list[int], points: Callable[[int], float], arrange: Callable[[Any], str]
) -> None:
    visit.open(f"{BY_DIRECTION}&latent={order[0]}")
    page = arrange(visit)
    latents = turn_over(visit, page)
    position, latent = next((at, each) for at, each in enumerate(latents) if at > 3 and not math.isnan(points(each)))
    cells(visit, page).nth(position).click()
    visit.page.wait_for_url(re.compile(rf"[?&]latent={latent}(&|$)"), timeout=20_000)
    visit.rest()
    assert listed(visit, page) == latents
    marked = visit.page.locator(f".page-{page} .tabulator-selected [tabulator-field=latent]")
    assert marked.all_inner_texts() == [str(latent)]
    visit.page.get_by_role("button", name="Latent", exact=True).click()
    visit.wait_for_latent(latent)
    assert_drawn(visit, points(latent))
    if page == "map":
        assert set(latents) <= lassoed(visit.page.url)


def lassoed(address: str) -> set[int]:
    caught: set[int] = set()
    for part in parse_qs(urlsplit(address).query)["lasso"][0].split(","):
        first, _, last = part.partition("-")
        caught |= set(range(int(first), int(last or first) + 1))
    return caught


def test_table_opens_at_the_page_of_its_latent_and_says_so(visit: Any, order: list[int]) -> None:
    visit.open(f"{BY_DIRECTION}&latent={order[100]}")
    footer = visit.page.locator(".page-latent .tabulator-footer")
    footer.locator("[data-page='6'].active").wait_for(state="attached")
    assert listed(visit) == order[90:108]
    footer.locator("[data-page=prev]").click()
    assert until_listed(visit, order[90:108]) == order[72:90]


def test_key_held_while_the_table_is_turned_over_draws_the_row_it_came_to(
    visit: Any, order: list[int], points: Callable[[int], float]
) -> None:
    visit.open(f"{BY_DIRECTION}&latent={order[0]}")
    assert listed(visit) == order[:18]
    visit.page.locator(".page-latent section h2").click()
    for press in range(60):
        visit.page.keyboard.press("j")
        if press in (15, 40):
            visit.page.locator(".page-latent .tabulator-page[data-page=next]").click(no_wait_after=True)
    visit.wait_for_latent(order[60])
    visit.rest()
    assert listed(visit) == order[54:72]
    marked = visit.page.locator(".page-latent .tabulator-selected [tabulator-field=latent]")
    assert marked.all_inner_texts() == [str(order[60])]
    assert_drawn(visit, points(order[60]))


def test_copied_link_restores_the_whole_place_elsewhere(visit: Any, chromium: Browser) -> None:
    """Page, latent, instance, condition, align, by, split, pins, window and lasso, for somebody with no past."""
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=visit.url)
    visit.open(f"?{COPIED}", ".page-session canvas[data-painted]")
    visit.page.keyboard.press("j")
    visit.page.wait_for_url(lambda address: "latent=45&" not in address)
    visit.page.keyboard.press("p")
    visit.page.wait_for_url(re.compile("pinned=45,7,"))
    visit.page.get_by_role("button", name="next").click()
    visit.page.wait_for_url(lambda address: "window=100.0,160.0" not in address)
    visit.rest()
    visit.page.get_by_role("button", name="Copy link").click()
    visit.page.get_by_text("Link copied.").wait_for()
    link = visit.page.evaluate("navigator.clipboard.readText()")
    assert link == visit.page.url
    held = {name: value for name, (value,) in parse_qs(urlsplit(link).query).items()}
    assert {name: held[name] for name in ("page", "instance", "condition", "align", "by", "split", "lasso")} == {
        "page": "session",
        "instance": "1",
        "condition": "60 to 90°",
        "align": "go_cue_s",
        "by": "num_barriers",
        "split": "train",
        "lasso": "4,40-60",
    }
    elsewhere = chromium.new_context(viewport=WINDOW)
    fresh = Visit(elsewhere.new_page(), link)
    fresh.open("", ".page-session canvas[data-painted]")
    assert fresh.page.url == link
    for page, drawn in (("session", "canvas"), ("map", "canvas"), ("latent", "section")):
        for each in (visit, fresh):
            each.page.get_by_role("button", name=page.capitalize(), exact=True).click()
            each.page.locator(f".page-{page} {drawn}").first.wait_for(timeout=30_000)
            each.rest()
        for _ in range(40):  # tiles arrive one after the other
            if standing(visit, page) == standing(fresh, page):
                break
            fresh.page.wait_for_timeout(500)
        assert standing(visit, page) == standing(fresh, page), page
    said_of_all = fresh.text(".page-latent")
    for expected in ("22 of 1024 latents of instance 1", "those caught on the map", f"⚑ {held['latent']}", "⚑ 7"):
        assert expected in said_of_all
    elsewhere.close()
    assert fresh.complaints == []


def standing(visit: Any, page: str) -> tuple[Any, ...]:
    """What a page shows of the place: its pickers, its rows, and what its canvases say they show."""
    pickers = visit.page.locator(f".page-{page} [role=combobox]:visible").all_inner_texts()
    said = visit.page.locator(f".page-{page} canvas[role=img]:visible")
    return pickers, listed(visit, page), [each.get_attribute("aria-label") for each in said.all()]
