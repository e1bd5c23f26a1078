"""The shared file in a real browser, opened from the disk with the network switched off."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nldisco_explorer.share.page import share

from nldisco_core.notes import Notes
from nldisco_core.runs import Run
from nldisco_core.selection import Selection

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENSHOTS = Path(__file__).parent / "screenshots"
HOSTILE = "<img src=x onerror='window.owned = 1'><script>window.owned = 1</script>"


@pytest.fixture(scope="module")
def shared_file(written_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    run = Run(shutil.copytree(written_folder, folder / written_folder.name))
    for latent in range(48):
        Notes(run.folder).add(Selection(run=run.name, latent=latent), name=f"{HOSTILE} {latent}", text=HOSTILE)
    return share(run, folder / "run.html", n_latents=6).file


@pytest.fixture
def complaints() -> list[str]:
    """What the page should not have done."""
    return []


@pytest.fixture
def page(chromium: Browser, shared_file: Path, complaints: list[str]) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000}, offline=True, accept_downloads=True)
    made = context.new_page()
    made.on("console", lambda message: complaints.append(message.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    local = (shared_file.as_uri(), "data:", "blob:")
    made.on("request", lambda asked: None if asked.url.startswith(local) else complaints.append(asked.url))
    made.goto(shared_file.as_uri())
    drawn(made)
    yield made
    context.close()
    assert complaints == []


def drawn(page: Page, what: str = "") -> None:
    page.wait_for_function("what => document.body.dataset.drawn?.startsWith(what)", arg=what, timeout=30_000)


def inked(page: Page, tile: str) -> float:
    """Share of the pixels of a tile's canvas that are not empty."""
    found: float = page.locator(f"article[data-tile={tile}] canvas[role=img]").first.evaluate(
        """async canvas => {
          for (let i = 0; i < 100 && !canvas.dataset.painted; i++) { await new Promise(requestAnimationFrame) }
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
          return data.filter((_, i) => i % 4 === 3 && data[i] > 0).length / (data.length / 4)
        }"""
    )
    return found


def cells(page: Page, column: str) -> list[str]:
    names = page.locator("#table th button").all_inner_texts()
    at = next(i for i, name in enumerate(names) if name.rstrip(" ↑↓") == column)
    return [row.locator("td").nth(at).inner_text() for row in page.locator("#table tbody tr").all()]


def test_first_latent_is_drawn_with_its_evidence(page: Page) -> None:
    first = cells(page, "latent")[0]
    assert f"Latent {first}" in page.locator("article[data-tile=latent-card]").inner_text()
    for tile in ("polar-tuning", "tuning-curve", "contributing-units", "activation-trace"):
        assert inked(page, tile) > 0.01
    page.screenshot(path=SCREENSHOTS / "shared-light.png")


def test_row_clicked_after_a_sort_is_the_latent_drawn(page: Page) -> None:
    page.get_by_role("button", name="mutual information").click()
    page.get_by_role("button", name="mutual information").click()
    scores = [float(text) for text in cells(page, "mutual information")]
    assert scores == sorted(scores, reverse=True)
    wanted = cells(page, "latent")[3]
    page.locator("#table tbody tr").nth(3).locator("td").first.click()
    drawn(page, f"Latent {wanted}")
    assert f"Latent {wanted}" in page.locator("article[data-tile=latent-card]").inner_text()
    assert page.url.endswith(f"#latent={wanted}")


def test_filter_by_words_and_by_a_comparison(page: Page) -> None:
    latents = cells(page, "latent")
    page.locator("#filter").fill("latent = " + latents[2])
    assert cells(page, "latent") == [latents[2]]
    page.locator("#filter").fill("q < 0.01")
    assert all(float(text) < 0.01 for text in cells(page, "q"))
    page.locator("#filter").fill("no such thing")
    assert page.locator("#table tbody tr").count() == 0
    assert page.locator("#count").inner_text().startswith("0 of 6 rows shown. 6 of 48 latents")


def test_link_back_and_keys_lead_to_latents(page: Page, shared_file: Path) -> None:
    latents = cells(page, "latent")
    page.keyboard.press("j")
    drawn(page, f"Latent {latents[1]}")
    page.keyboard.press("j")
    drawn(page, f"Latent {latents[2]}")
    page.go_back()
    drawn(page, f"Latent {latents[1]}")
    page.goto(f"{shared_file.as_uri()}#latent={latents[4]}")
    page.reload()
    drawn(page, f"Latent {latents[4]}")
    page.goto(f"{shared_file.as_uri()}#latent=nonsense")
    page.reload()
    drawn(page, "Latent")


def test_overview_and_dark_theme(page: Page) -> None:
    page.get_by_role("button", name="Overview").click()
    drawn(page, "overview")
    assert "random-encoder" in page.locator("article[data-tile=quality]").inner_text()
    page.get_by_role("button", name="Dark").click()
    assert page.locator("#overview article").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 20, 24)"
    page.get_by_role("button", name="Latent", exact=True).click()
    drawn(page, "Latent")
    assert inked(page, "polar-tuning") > 0.01
    page.screenshot(path=SCREENSHOTS / "shared-dark.png")


def test_script_in_notes_is_text(page: Page) -> None:
    assert "<script>window.owned" in page.locator("article[data-tile=notes]").inner_text()
    assert "<img src=x" in cells(page, "name")[0]
    page.wait_for_timeout(300)
    assert page.evaluate("window.owned") is None


def test_no_other_script_runs_even_where_html_was_not_escaped(page: Page, complaints: list[str]) -> None:
    """The policy is the second wall: what a careless plugin wrote into its words cannot run either."""
    page.evaluate(
        "html => { document.querySelector('.words').innerHTML = html }", "<img src='data:,' onerror='window.owned = 1'>"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.owned") is None
    assert "Content Security Policy" in complaints.pop()


def test_table_is_downloaded_as_it_stands(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download table as CSV").click()
    saved.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["latent"] for row in rows] == cells(page, "latent")
    assert rows[0]["name"] == cells(page, "name")[0]
    assert math.isclose(float(rows[0]["q"]), float(cells(page, "q")[0]))


def test_every_drawing_has_a_summary_and_axe_finds_nothing(page: Page) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for theme in ("Dark", "Light"):
        for where in ("Overview", "Latent"):
            page.get_by_role("button", name=where, exact=True).click()
            drawn(page, where[:6] if where == "Latent" else "overview")
            for canvas in page.locator("article:visible canvas[role=img]").all():
                assert len(canvas.get_attribute("aria-label") or "") > 20
            found = axe.run(page).response["violations"]
            assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
        page.get_by_role("button", name=theme, exact=True).click()
