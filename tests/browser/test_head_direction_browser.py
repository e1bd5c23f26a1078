"""The explorer on a real run, the demo's: every page whole and quiet, plots in step with the table, no click lost."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
from nldisco_explorer.host import offered

from nldisco_core.runs import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

ROOT = Path(__file__).parents[2]
BENCHMARK: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "explorer.py"))
Visit: Any = runpy.run_path(str(Path(__file__).with_name("visiting.py")))["Visit"]
PAGES = ("latent", "mappings", "session", "map", "compare", "overview")
ROWS = ".page-latent .tabulator-row .tabulator-cell[tabulator-field=latent]"
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(24, 29, 35)"
EARLY = """window.early = {clicked: [], tiles: null}
const below = each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]
const all = root => [...root.querySelectorAll("*")].flatMap(below)
const clicking = setInterval(() => {
  const parts = all(document), cells = parts.filter(each => each.matches(".tabulator-row [tabulator-field=latent]"))
  if (cells.length < 9) { return }
  early.tiles ??= parts.filter(each => each.matches(".tile")).length
  const cell = cells[[3, 1, 6, 2, 8][early.clicked.length]]
  early.clicked.push(Number(cell.textContent))
  cell.click()
  if (early.clicked.length == 5) { clearInterval(clicking) }
}, 30)"""
"""Clicks on five rows as soon as there are any; says how many tiles there were by then."""


@pytest.fixture(scope="module")
def url(demo: tuple[Run, str]) -> Iterator[str]:
    with BENCHMARK["served"](demo[0].folder.parent) as server:
        yield server.url


@pytest.fixture(scope="module")
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """With a screen high enough for all tiles of the latent's page: what is out of sight is not drawn."""
    made = chromium.new_context(viewport={"width": 1440, "height": 4200})
    yield made
    made.close()


@pytest.fixture
def enter(context: BrowserContext, url: str) -> Iterator[Callable[[], Any]]:
    """Makes visits of their own; none may complain."""
    visits: list[Any] = []

    def entered() -> Any:
        visits.append(Visit(context.new_page(), url))
        return visits[-1]

    yield entered
    for each in visits:
        each.page.close()
    assert [each.complaints for each in visits] == [[]] * len(visits)


@pytest.fixture
def visit(enter: Callable[[], Any]) -> Any:
    return enter()


def placed(run: Run, page: str) -> tuple[list[str], list[str]]:
    """Titles of the views that have a tile on a page, and of those that the run has not the data for."""
    views = [each for each in offered() if each.page == page]
    return (
        [each.title for each in views if each.needs <= run.offers],
        [each.title for each in views if not each.needs <= run.offers],
    )


def n_tiles(run: Run, page: str) -> int:
    shown, absent = placed(run, page)
    return len(shown) + bool(absent)


def latent_in(address: str) -> int:
    return int(parse_qs(urlsplit(address).query)["latent"][0])


def same_as_in_a_fresh_visit(visit: Any, enter: Callable[[], Any], run: Run) -> int:
    """Latent of the address, once header and every tile are found to be those of whoever opens that address anew."""
    visit.whole("latent", n_tiles(run, "latent"))
    fresh = enter()
    fresh.open(f"?{urlsplit(visit.page.url).query}")
    fresh.whole("latent", n_tiles(run, "latent"))
    assert visit.text(".page-latent section") == fresh.text(".page-latent section")
    found, expected = (
        [(each["title"], each["words"], each["labels"], each["painted"]) for each in of.tiles("latent")]
        for of in (visit, fresh)
    )
    assert found == expected
    return latent_in(visit.page.url)


@pytest.mark.parametrize("name", PAGES)
def test_every_tile_is_drawn_in_words_and_ink_in_both_themes_or_says_why_not(visit: Any, demo: Any, name: str) -> None:
    shown, absent = placed(demo[0], name)
    visit.open(f"?page={name}", f".page-{name} .tile")
    inks = []
    for ground in (LIGHT, DARK):
        visit.whole(name, n_tiles(demo[0], name))
        frame = visit.page.locator(f".page-{name} .tiles > .tile").first
        assert frame.evaluate("each => getComputedStyle(each).backgroundColor") == ground
        tiles = visit.tiles(name)
        if absent:
            assert tiles[-1]["title"] == "Not shown for this run"
            assert [title for title in absent if title not in tiles[-1]["words"]] == []
            assert len([said for said in tiles[-1]["words"] if len(said) > 12]) >= len(absent)
        drawn = [each for each in tiles[: len(shown)] if each["shown"]]
        assert [each["title"] for each in drawn if sum(map(len, each["words"] + each["labels"])) < 20] == []
        assert "This tile failed" not in visit.text(f".page-{name}")
        for tile in drawn:
            ours = [each for each in tile["painted"] if each["ours"]]
            assert all(each["inked"] for each in ours), tile["title"]
            assert all(len(each) > 20 for each, of in zip(tile["labels"], tile["painted"], strict=True) if of["ours"])
            assert not tile["painted"] or any(len(said) > 20 for said in tile["words"]), tile["title"]
        inks.append([each["light"] for tile in drawn for each in tile["painted"] if each["ours"]])
        visit.page.get_by_role("button", name="Toggle theme").click()
        visit.page.wait_for_timeout(400)  # for the canvases to notice
    assert [light != dark for light, dark in zip(*inks, strict=True)] == [True] * len(inks[0])


@pytest.mark.parametrize("instance", [0, 4])
def test_polar_plot_points_where_the_mapping_table_says(visit: Any, demo: Any, instance: int) -> None:
    table = pd.read_parquet(demo[0].folder / "mappings" / "selectivity" / "table.parquet")
    whole = table[table["condition"].isna() & (table["variable"] == "head_direction") & (table["split"] == "test")]
    tuned = whole[(whole["instance"] == instance) & (whole["q"] < 0.05)].set_index("latent")
    assert len(tuned) >= 6
    visit.open(f"?instance={instance}&variable=head_direction&split=test")
    cells = visit.page.locator(ROWS)
    position = {int(text): at for at, text in enumerate(cells.all_inner_texts())}
    for latent, row in tuned.iterrows():
        cells.nth(position[int(latent)]).click()
        visit.wait_for_latent(int(latent))
        (line,) = visit.layers("mean direction", kind="line", colour="behaviour")
        x, y = line["x"][1], line["y"][1]
        assert math.hypot(x, y) == pytest.approx(row["resultant_length"], abs=1e-3)
        assert math.remainder(math.atan2(y, x) - row["preferred_direction"], 2 * math.pi) == pytest.approx(0, abs=1e-3)
        said = re.search(r"mean direction (\d+)°", visit.text(".page-latent .tile:has-text('Tuning to direction')"))
        assert said is not None
        assert int(said[1]) % 360 == round(float(np.rad2deg(row["preferred_direction"]))) % 360
        assert str(row["preferred"]) in visit.text(".page-latent section")


def test_rows_clicked_while_tiles_load_leave_the_last_one_everywhere(
    visit: Any, enter: Callable[[], Any], demo: Any
) -> None:
    visit.page.add_init_script(EARLY)
    visit.page.goto(f"{visit.url}?latent=9")
    visit.page.wait_for_function("window.early.clicked.length == 5", timeout=60_000)
    clicked = visit.page.evaluate("early")
    assert clicked["tiles"] < n_tiles(demo[0], "latent")
    visit.wait_for_latent(clicked["clicked"][-1])
    assert same_as_in_a_fresh_visit(visit, enter, demo[0]) == clicked["clicked"][-1]


def test_rows_clicked_in_quick_succession_leave_the_last_one_everywhere(
    visit: Any, enter: Callable[[], Any], demo: Any
) -> None:
    visit.open()
    cells = visit.page.locator(ROWS)
    latents = [int(text) for text in cells.all_inner_texts()]
    for position in (2, 7, 4, 9, 5):
        cells.nth(position).click(no_wait_after=True)
    visit.wait_for_latent(latents[5])
    assert same_as_in_a_fresh_visit(visit, enter, demo[0]) == latents[5]


def test_keys_held_down_stop_at_the_last_row_and_draw_it(visit: Any, enter: Callable[[], Any], demo: Any) -> None:
    visit.open()
    latents = [int(text) for text in visit.page.locator(ROWS).all_inner_texts()]
    visit.page.locator(".page-latent section h2").click()
    for _ in range(len(latents) + 4):
        visit.page.keyboard.press("j")
    visit.wait_for_latent(latents[-1])
    visit.page.keyboard.press("k")
    visit.wait_for_latent(latents[-2])
    assert same_as_in_a_fresh_visit(visit, enter, demo[0]) == latents[-2]
