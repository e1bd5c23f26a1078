"""The pages of session, map and comparison in a real browser: what a person drags, turns, clicks and draws round."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from nldisco_explorer.drawing.payload import Panel
from nldisco_explorer.plugin import nldisco_views

from nldisco_core.plugins import registry
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WRITTEN: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[1] / "explorer" / "reach_run.py"))
NAMES = ("2026-03-01T10-22-05_reach_matryoshka-sae_7f3c", "2026-03-02T10-22-05_reach_matryoshka-sae_7f3d")
LATENT = 3
DRAWING: str = runpy.run_path(str(Path(__file__).with_name("visiting.py")))["DRAWING"]
PIXELS = """const pixels = canvas => {
    const {width, height} = canvas
    const copy = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0)
    return copy.getImageData(0, 0, width, height).data
  }
"""
KEEP = f"canvas => {{ {PIXELS} canvas.kept = pixels(canvas) }}"
CHANGED = f"""(canvas, parts) => {{
  {PIXELS}
  const now = pixels(canvas), {{width, height}} = canvas, ratio = height / canvas.clientHeight
  return parts.map(([left, right, top, bottom]) => {{
    let n = 0
    for (let y = Math.round(top * ratio); y < bottom * ratio; y += 1) {{
      for (let x = Math.round(left * width); x < right * width; x += 1) {{
        const at = 4 * (y * width + x)
        n += [0, 1, 2, 3].some(i => now[at + i] !== canvas.kept[at + i])
      }}
    }}
    return n
  }})
}}"""
"""How many pixels of each part (shares of the width, then px) are others than those kept."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("pages")
    one, other = (WRITTEN["write_reach_run"](folder / name, seed=seed) for seed, name in enumerate(NAMES))
    return one, other


@pytest.fixture(scope="module")
def url(runs: tuple[Run, Run]) -> Iterator[str]:
    """``nldisco serve`` of both runs in a process of its own."""
    folder = runs[0].folder.parent
    command = [
        *(sys.executable, "-c", "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"),
        *("serve", *NAMES, "--runs-dir", str(folder), "--port", "0", "--no-browser"),
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=dict(os.environ))
        assert server.stdout is not None
        found = next((word for line in server.stdout for word in line.split() if word.startswith("http://")), None)
        assert found is not None, (folder / "server.log").read_text()
        yield found
        server.terminate()
        server.wait(timeout=10)
        server.stdout.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page that may neither complain nor ask another machine for anything."""
    made = chromium.new_page(viewport={"width": 1440, "height": 1000})
    complaints: list[str] = []
    made.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("request", lambda request: complaints.append(request.url) if _leaves(request.url) else None)
    yield made
    made.close()
    assert complaints == []


def _leaves(url: str) -> bool:
    return urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).hostname != "127.0.0.1"


def canvas(page: Page, url: str, name: str, **query: object) -> Locator:
    """The first painted canvas of a page, as a link opens it."""
    page.goto(f"{url}?page={name}&" + "&".join(f"{key}={value}" for key, value in query.items()))
    made = page.locator(f".page-{name} canvas[data-painted]").first
    made.wait_for(timeout=60_000)
    page.wait_for_function("() => Bokeh.documents.length && Bokeh.documents[0].is_idle", timeout=60_000)
    made.scroll_into_view_if_needed()
    return made


def window(page: Page) -> tuple[float, float]:
    low, high = parse_qs(urlsplit(page.url).query)["window"][0].split(",")
    return float(low), float(high)


def wait_for_another(page: Page, before: tuple[float, float]) -> tuple[float, float]:
    """The window once it is another one and has come to rest: a slow drag is told in several steps."""
    page.wait_for_function(f"() => !decodeURIComponent(location.search).includes('window={before[0]!r},{before[1]!r}')")
    now = window(page)
    for _ in range(20):
        page.wait_for_timeout(500)
        now, last = window(page), now
        if now == last:
            return now
    raise AssertionError(f"the window never came to rest: {now}")


def place_of(panel: Panel, x: float, y: float, *, width: float, top: float, height: float) -> tuple[float, float]:
    """Pixel of a place in a panel of one column, whose unit is as long on both axes."""
    above, right, below, left = panel.margins
    across, up = width - left - right, height - above - below
    unit = max((panel.x.high - panel.x.low) / across, (panel.y.high - panel.y.low) / up)
    middle = (panel.x.low + panel.x.high) / 2, (panel.y.low + panel.y.high) / 2
    return left + across / 2 + (x - middle[0]) / unit, top + above + up / 2 - (y - middle[1]) / unit


def test_session_is_zoomed_panned_and_pressed(page: Page, url: str) -> None:
    drawn = canvas(page, url, "session", latent=LATENT, window="20.0,80.0")
    box = drawn.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 110)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -120)
    page.keyboard.up("Control")
    closer = wait_for_another(page, (20.0, 80.0))
    assert 20 < closer[0] < closer[1] < 80
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 200, box["y"] + 110, steps=5)
    page.mouse.up()
    earlier = wait_for_another(page, closer)
    assert earlier[1] - earlier[0] == pytest.approx(closer[1] - closer[0], abs=1e-3)
    assert earlier[0] < closer[0]
    page.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 25)
    pressed = wait_for_another(page, earlier)
    assert 120 < sum(pressed) / 2 < 160
    page.keyboard.press("ArrowRight")
    later = wait_for_another(page, pressed)
    assert later[0] > pressed[0]
    page.get_by_role("button", name="next").click()
    jumped = wait_for_another(page, later)
    assert sum(jumped) > sum(later)
    words = drawn.get_attribute("aria-label")
    assert words is not None
    assert f"Latent {LATENT}" in words


def test_click_on_the_map_selects_and_lasso_fills_the_table(page: Page, url: str, runs: tuple[Run, Run]) -> None:
    drawn = canvas(page, url, "map", latent=LATENT, variable="target", split="test")
    listed = registry().listed("view", "latent-map")
    assert listed.name in {provider.name for provider in nldisco_views()}
    live: Any = listed.make().build(runs[0])
    live.show(Selection(run=NAMES[0], latent=LATENT, variable="target", mapper="selectivity", split="test"))
    panel = next(each for each in live.drawing.panels if each.id == "map")
    points = [layer for layer in panel.layers if layer.kind == "points"]
    place = {
        item: (x, y)
        for layer in points
        for item, x, y in zip(layer.style["items"], layer.arrays["x"], layer.arrays["y"], strict=True)
    }
    box = drawn.bounding_box()
    assert box is not None
    top, height = live.drawing.rows
    pixel = {
        latent: np.add(place_of(panel, x, y, width=box["width"], top=top, height=height), [box["x"], box["y"]])
        for latent, (x, y) in place.items()
    }
    alone = max(pixel, key=lambda one: min(np.hypot(*(pixel[one] - pixel[other])) for other in pixel if other != one))
    page.mouse.click(*pixel[alone])
    page.wait_for_url(re.compile(rf"[?&]latent={alone}(&|$)"), timeout=20_000)
    x, y = pixel[alone]
    page.mouse.move(x - 14, y - 14)
    page.mouse.down()
    for dx, dy in ((14, -14), (14, 14), (-14, 14), (-14, -14)):
        page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"[?&]lasso="), timeout=20_000)
    caught = parse_qs(urlsplit(page.url).query)["lasso"][0]
    expected = [latent for latent, at in pixel.items() if np.abs(at - pixel[alone]).max() < 14]
    assert caught.split(",") == [str(latent) for latent in sorted(expected)]
    cells = page.locator(".page-map .tabulator-row .tabulator-cell[tabulator-field=latent]")
    page.wait_for_function("n => document.querySelector('body') && n > 0", arg=len(expected))
    page.get_by_text("those caught on the map").wait_for(timeout=20_000)
    assert sorted(int(text) for text in cells.all_inner_texts()) == sorted(expected)
    page.get_by_role("button", name="clear lasso").click()
    page.wait_for_function("() => !location.search.includes('lasso')")


def test_two_runs_are_compared_and_a_pair_is_drawn(page: Page, url: str) -> None:
    drawn = canvas(page, url, "compare", latent=LATENT, against=NAMES[1])
    page.wait_for_function(
        "canvas => canvas.getAttribute('aria-label').includes('(blue) and its partner')",
        arg=drawn.element_handle(),
        timeout=30_000,
    )
    words = drawn.get_attribute("aria-label")
    assert words is not None
    assert f"Latent {LATENT} (blue) and its partner {LATENT} (orange)" in words
    before, stamp = page.evaluate(DRAWING, "(blue) and its partner")["layers"], drawn.get_attribute("data-painted")
    row = page.locator(".page-compare .tabulator-row").nth(4)
    cells = {
        name: row.locator(f".tabulator-cell[tabulator-field={name}]") for name in ("latent", "partner", "similarity")
    }
    latent, partner, similarity = (cell.inner_text() for cell in cells.values())
    assert int(latent) != LATENT
    cells["latent"].click()
    page.wait_for_url(re.compile(rf"[?&]latent={latent}(&|$)"), timeout=20_000)
    page.wait_for_function(
        "([canvas, words, stamp]) => canvas.ariaLabel.includes(words) && canvas.dataset.painted != stamp",
        arg=[drawn.element_handle(), f"Latent {latent} (blue) and its partner {partner} (orange)", stamp],
        timeout=30_000,
    )
    after = page.evaluate(DRAWING, "(blue) and its partner")["layers"]
    (ring,) = (layer["arrays"]["y"] for layer in after if layer["kind"] == "rings")
    assert ring == [pytest.approx(float(similarity), abs=5e-4)]
    drawings = [
        {layer["panel"]: [each["arrays"] for each in layers if each["panel"] == layer["panel"]] for layer in layers}
        for layers in (before, after)
    ]
    of_one, of_other = ([arrays for name, arrays in drawing.items() if name != "pairs"] for drawing in drawings)
    assert len(of_one) == len(of_other) >= 2
    assert all(one != other for one, other in zip(of_one, of_other, strict=True)), f"latent {LATENT} is still drawn"


def test_space_is_turned_without_asking_the_server(page: Page, url: str) -> None:
    canvas(page, url, "latent", model="pca", latent=0, sign=1, split="all")
    drawn = page.locator(".tile").filter(has_text="Latent space").locator("canvas[data-painted]").first
    drawn.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = drawn.bounding_box()
    assert box is not None
    drawn.evaluate(KEEP)
    stamp = drawn.get_attribute("data-painted")
    columns, rows = [(i / 3, (i + 1) / 3) for i in range(3)], (0, 42, 382)
    parts = [(*column, *rows[i : i + 2]) for i in range(2) for column in columns]
    assert drawn.evaluate(CHANGED, parts) == [0] * 6
    page.mouse.move(box["x"] + 150, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 230, box["y"] + 240, steps=6)
    page.mouse.up()
    page.wait_for_timeout(300)
    *legends, one, other, flow = drawn.evaluate(CHANGED, parts)
    assert min(one, other) > 2000, "both clouds are turned by dragging one of them"
    assert [*legends, flow] == [0] * 4, "and nothing else"
    assert drawn.get_attribute("data-painted") == stamp


@pytest.mark.parametrize("name", ["latent", "session", "map", "compare"])
def test_page_fits_a_tablet(page: Page, url: str, name: str) -> None:
    page.set_viewport_size({"width": 820, "height": 1180})
    drawn = canvas(page, url, name, latent=LATENT, split="all")
    page.wait_for_timeout(500)
    box = drawn.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 820


def test_pointer_tells_what_lies_under_it(page: Page, url: str) -> None:
    drawn = canvas(page, url, "session", latent=LATENT, window="20.0,80.0")
    box = drawn.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 120)
    told = page.locator(".page-session .drawing output").first
    told.wait_for(state="visible")
    time, activation = told.inner_text().split("\n")
    assert re.fullmatch(r"time \(s\) [\d.]+", time)
    assert activation.startswith("activation ")
