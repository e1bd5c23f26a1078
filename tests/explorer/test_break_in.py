"""What somebody who writes their own requests gets from an explorer that is read-only and asks for no password."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bokeh.util.token import get_session_id

from nldisco_core.runs import Run

SERVED: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("served.py")))
COMMAND, started, change, click, event = (SERVED[name] for name in ("COMMAND", "started", "change", "click", "event"))
TRAP = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch()\n"
HUGE, LARGE = 1 << 30, 1 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the explorer's path with a module that leaves a trace where it is imported."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "nldisco_trap.py").write_text(TRAP, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def explorer(written_run: Run, place: Path) -> Iterator[Any]:
    """``nldisco serve --read-only``."""
    options = ("--port", "0", "--no-browser", "--read-only")
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH"))))}
    with started(COMMAND, "serve", str(written_run.folder), *options, log=place / "log", settings=settings) as served:
        yield served


def test_read_only_explorer_takes_no_note_from_crafted_messages(explorer: Any, written_run: Run) -> None:
    with explorer.opened(explorer.token(), Origin=explorer.here) as (_, talk):
        talk.load()
        talk.model("note-write")
        heard = [model for model in talk.objects() if "esm" in model["attributes"]]
        kinds = {"type": "map", "entries": [["kind", "name"]]}
        assert talk.patch(change(talk.model("note-write"), "disabled", False)) == "OK"
        assert talk.patch(*(click(model) for model in heard)) == "OK"
        assert talk.patch(*(event("data_event", model={"id": model["id"]}, data=kinds) for model in heard)) == "OK"
        assert not [model for model in talk.objects() if "note-save" in model["attributes"].get("css_classes", [])]
    assert not (written_run.folder / "notes.jsonl").exists()


def test_no_module_is_imported_for_a_visitor(explorer: Any, place: Path) -> None:
    for module in ("nldisco_trap", "nldisco%5Ftrap", "antigravity"):
        assert explorer.ask(f"/components/{module}/a/css/b").status in (403, 404)
    assert not (place / "sprung").exists()
    assert explorer.ask("/components/panel.io.server/Server/_css/x").status != 200


@pytest.mark.parametrize("path", ["/autoload.js?bokeh-autoload-element=x", "/metadata", "/%6detadata", "/autoload.js"])
def test_page_is_no_script_for_other_sites(explorer: Any, path: str) -> None:
    answer = explorer.ask(path)
    assert (answer.status, "token" in answer.text) == (403, False)


def test_browser_names_no_session(explorer: Any) -> None:
    token = explorer.token()
    session = get_session_id(token)
    assert explorer.ask(f"/?bokeh-session-id={quote(session)}").status == 403
    assert explorer.ask(f"/?bokeh-token={quote(token)}").status == 403
    assert explorer.ask("/", Bokeh_Session_Id=session).status == 403


@pytest.mark.parametrize(
    "path",
    ["/liveness", "/metrics", "/admin", "/rest/session_info", "/rest", "//evil.example/", "http://evil.example/"],
)
def test_servers_inside_is_not_shown(explorer: Any, path: str) -> None:
    assert explorer.ask(path).status == 404


@pytest.mark.parametrize("path", ["/static/%00", "/static/extensions/panel/%00", "/components/%00", "/%2500"])
def test_zero_in_a_path_breaks_nothing(explorer: Any, place: Path, path: str) -> None:
    assert explorer.ask(path).status == 403
    assert "null byte" not in (place / "log").read_text()


def test_no_other_site_may_frame_run_or_hear_the_explorer(explorer: Any) -> None:
    for path in ("/", "/static/js/bokeh.min.js", "/nothing", "/metadata"):
        headers = explorer.ask(path).headers
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def test_page_does_not_repeat_the_cookies_of_other_programs(explorer: Any) -> None:
    token = explorer.token(Cookie="jupyter=a-secret; is_guest=1; user=root", Authorization="Bearer a-secret")
    said = SERVED["payload"](token)
    assert said["cookies"] == {}
    assert "secret" not in str(said)
    assert not {"Cookie", "Authorization"} & set(said["headers"])


def test_too_large_messages_and_forms_are_not_read(explorer: Any) -> None:
    with explorer.opened(explorer.token(), Origin=explorer.here) as (_, talk):
        talk.heard("ACK")
        talk.announce(HUGE)
        assert talk.is_closed
    assert explorer.ask("/", "POST", Content_Length=str(LARGE)).status == 400
    assert explorer.ask("/").status == 200


def test_garbled_messages_harm_nobody_else(explorer: Any) -> None:
    here = {"Origin": explorer.here}
    with explorer.opened(explorer.token(), **here) as (_, own), explorer.opened(explorer.token(), **here) as (_, other):
        own.load()
        other.load()
        assert own.patch({"kind": "ModelChanged", "model": {"id": "p0"}, "attr": "x", "new": 1}) != "OK"
        for garbled in (b"{", b"\x00\xff", b"[]", b'{"msgtype": "PUSH-DOC"}'):
            own.say(garbled)
        own.message("PUSH-DOC", {"doc": {"title": "owned", "version": "3", "roots": []}})
        assert other.patch() == "OK"
        assert len(other.objects()) > 50
