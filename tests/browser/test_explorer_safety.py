"""Several people at one explorer, notes that hold scripts, passwords, and that nothing leaves the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pandas as pd
import pytest

from nldisco_core.notes import Notes
from nldisco_core.selection import Selection

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

HEADING = ".page-latent section h2"
PASSWORD = "correct horse battery"
HOSTILE = "<img src=x onerror='window.owned = 1'><script>window.owned = 1</script>"
SAVE_AT = "(button, moment) => { setTimeout(() => button.click(), moment - Date.now()) }"
PAGES = ("Mappings", "Session", "Map", "Compare", "Overview", "Latent")


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """``nldisco serve`` in a process of its own."""
    command = [
        *(sys.executable, "-c", "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"),
        *("serve", str(folder), "--port", "0", "--no-browser", *options),
    ]
    environment = os.environ | {"NLDISCO_PASSWORD": PASSWORD}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        found = re.search(r"http://127.0.0.1:\d+/", server.stdout.readline())
        assert found is not None
        yield found[0]
        server.terminate()


@pytest.fixture(scope="module")
def folder(written_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that people write notes into; latent 3 has a hostile one."""
    copy = tmp_path_factory.mktemp("noted") / written_folder.name
    shutil.copytree(written_folder, copy)
    Notes(copy).add(Selection(run=copy.name, latent=3), name=HOSTILE, text=HOSTILE, author=HOSTILE, stars=2)
    return copy


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(folder) as found:
        yield found


@pytest.fixture
def enter(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page as a visitor of their own; whatever it asks of another machine is stopped and reported."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def ask(route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            complaints.append(f"left the machine: {route.request.url}")
            route.abort()

    def opened(address: str, waiting_for: str = HEADING) -> Page:
        context = chromium.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
        contexts.append(context)
        context.route("**/*", ask)
        page = context.new_page()
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("websocket", lambda s: None if "//127.0.0.1:" in s.url else complaints.append(s.url))
        page.goto(address)
        page.locator(waiting_for).first.wait_for(timeout=60_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def on_latent(page: Page, latent: int) -> None:
    page.locator(HEADING).filter(has_text=re.compile(rf"^Latent {latent}\b")).wait_for(timeout=30_000)


def type_name(page: Page, name: str) -> None:
    """Type a name and leave it unsaved."""
    page.locator(".note-write button").click()
    field = page.locator(".note-name input")
    field.wait_for(timeout=30_000)
    field.fill(name)


def write(page: Page, name: str) -> None:
    """Type a name and save the note."""
    type_name(page, name)
    page.locator(".note-save button").click()
    page.locator(HEADING).filter(has_text=name).wait_for(timeout=30_000)


def test_no_page_asks_another_machine_in_either_theme(enter: Callable[..., Page], url: str) -> None:
    page = enter(url)
    for _ in ("light", "dark"):
        for name in PAGES:
            page.get_by_role("button", name=name, exact=True).first.click()
            page.locator(f".page-{name.lower()}").wait_for(timeout=30_000)
            page.wait_for_timeout(700)
        page.get_by_role("button", name="Toggle theme").click()


def test_script_in_a_note_is_shown_as_text_everywhere(enter: Callable[..., Page], url: str) -> None:
    page = enter(f"{url}?latent=3")
    on_latent(page, 3)
    assert "<script>window.owned" in page.locator(HEADING).inner_text()
    page.locator(".note-write button").click()
    page.locator(".note-name input").wait_for(timeout=30_000)
    assert page.locator(".note-name input").input_value() == HOSTILE
    page.get_by_role("button", name="Mappings", exact=True).first.click()
    cell = page.locator(".page-mappings .tabulator-cell[tabulator-field=name]").filter(has_text="<script>")
    cell.first.wait_for(timeout=30_000)
    assert page.evaluate("window.owned") is None


def test_two_visitors_do_not_see_each_others_latent(enter: Callable[..., Page], url: str) -> None:
    one, other = enter(f"{url}?latent=5"), enter(f"{url}?latent=9")
    on_latent(one, 5)
    on_latent(other, 9)
    other.locator(".page-latent .tabulator-selected").wait_for(timeout=30_000)  # the table is built
    row = other.locator(".page-latent .tabulator-row:not(.tabulator-selected)").nth(4)
    latent = int(row.locator(".tabulator-cell[tabulator-field=latent]").inner_text())
    row.locator(".tabulator-cell[tabulator-field=latent]").click()
    on_latent(other, latent)
    one.wait_for_timeout(500)
    on_latent(one, 5)


def test_notes_saved_at_once_in_pages_of_two_servers_are_all_kept(
    enter: Callable[..., Page], url: str, folder: Path
) -> None:
    with serving(folder) as another:
        pages = [enter(f"{address}?latent=11") for address in (url, another, url, another)]
        names = [f"what visitor {number} saw" for number in range(len(pages))]
        for page, name in zip(pages, names, strict=True):
            on_latent(page, 11)
            type_name(page, name)
        moment = time.time() * 1000 + 500
        for page in pages:
            page.locator(".note-save button").evaluate(SAVE_AT, moment)
        for page, name in zip(pages, names, strict=True):
            page.locator(".tile p", has_text=name).first.wait_for(timeout=30_000)
    about = [note for note in Notes(folder).all() if note.latent == 11]
    assert sorted(note.name for note in about) == names
    assert [note.supersedes for note in about] == [""] * len(names)
    assert Notes(folder).n_unreadable == 0
    late = enter(f"{url}?latent=11")
    on_latent(late, 11)
    assert about[-1].name in late.locator(HEADING).inner_text()


def test_tile_is_saved_as_it_is_drawn(enter: Callable[..., Page], url: str, tmp_path: Path) -> None:
    page = enter(f"{url}?latent=7")
    on_latent(page, 7)
    for kind in ("csv", "svg"):
        with page.expect_download(timeout=30_000) as saved:
            page.locator("summary[aria-label='Export what is drawn in Tuning curve']").click()
            page.locator(f"button[data-tile=tuning-curve][data-save={kind}]").click()
        assert saved.value.suggested_filename.endswith(f"tuning-curve-model-0-7.{kind}")
        saved.value.save_as(tmp_path / f"curve.{kind}")
    assert len(pd.read_csv(tmp_path / "curve.csv")) >= 20
    drawn = (tmp_path / "curve.svg").read_text()
    assert "Latent 7 of instance 0" in drawn
    assert "latent=7" in drawn


def test_read_only_explorer_takes_no_note(enter: Callable[..., Page], folder: Path) -> None:
    before = Notes(folder).path.read_bytes()
    with serving(folder, "--read-only") as address:
        page = enter(f"{address}?latent=3")
        on_latent(page, 3)
        page.get_by_text("This explorer shows notes and takes none.").wait_for(timeout=30_000)
        assert not page.locator(".note-write button").is_visible()
        page.locator(".note-write button").evaluate_all("buttons => buttons.forEach(button => button.click())")
        page.keyboard.press("l")
        page.wait_for_timeout(1000)
        assert page.locator(".note-name").count() == 0
    assert Notes(folder).path.read_bytes() == before


def test_visitor_logs_in_and_signs_notes_with_that_name(enter: Callable[..., Page], folder: Path) -> None:
    with serving(folder, "--auth", "password") as address:
        page = enter(address, waiting_for="input[name=password]")
        for password in ("wrong horse battery", PASSWORD):
            page.get_by_label("Your name").fill("ada")
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_load_state()
            if password != PASSWORD:
                assert "Invalid" in page.get_by_role("alert").inner_text()
        page.locator(HEADING).first.wait_for(timeout=60_000)
        page.goto(f"{address}?latent=13")
        on_latent(page, 13)
        write(page, "seen by ada")
        page.get_by_text("Log out", exact=True).click()
        page.get_by_text("You are logged out").wait_for()
    assert Notes(folder).current()[("model", 0, 13, 0)].author == "ada"
