"""A real browser goes to a provider and comes back, signs a note, and leaves."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nldisco_core.notes import Notes

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

EXPLORER_TESTS = Path(__file__).parents[1] / "explorer"
SERVED: dict[str, Any] = runpy.run_path(str(EXPLORER_TESTS / "served.py"))
STAND_IN: dict[str, Any] = runpy.run_path(str(EXPLORER_TESTS / "stand_in_provider.py"))
VISITING: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("visiting.py")))
ADA = "ada@lab.example"


@pytest.fixture
def folder(written_folder: Path, tmp_path: Path) -> Path:
    """A run that a visitor writes into."""
    return Path(shutil.copytree(written_folder, tmp_path / written_folder.name))


@pytest.fixture
def served(folder: Path) -> Iterator[Any]:
    """``nldisco serve`` for Ada, whom the provider knows."""
    options = ("--port", "0", "--no-browser", "--auth", "generic", "--allow-user", ADA)
    with STAND_IN["standing_in"]() as provider:
        provider.account = {"email": ADA}
        started = SERVED["started"](SERVED["COMMAND"], "serve", str(folder), *options, settings=provider.settings())
        with started as explorer:
            yield explorer


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    yield context.new_page()
    context.close()


def test_visitor_goes_by_the_provider_signs_a_note_and_leaves(page: Page, served: Any, folder: Path) -> None:
    visit = VISITING["Visit"](page, served.here)
    visit.open("/?latent=13")
    page.locator(VISITING["HEADING"]).filter(has_text=re.compile(r"^Latent 13\b")).wait_for(timeout=30_000)
    assert page.evaluate("document.cookie") == ""
    page.locator(".note-write button").click()
    page.locator(".note-name input").fill("seen by ada")
    page.locator(".note-save button").click()
    page.locator(VISITING["HEADING"]).filter(has_text="seen by ada").wait_for(timeout=30_000)
    assert Notes(folder).current()[("model", 0, 13, 0)].author == ADA
    assert visit.complaints == []
    page.goto(f"{served.here}/logout")
    assert "You are logged out" in page.locator("h1").inner_text()
    assert page.context.cookies() == []
    assert visit.complaints == []
