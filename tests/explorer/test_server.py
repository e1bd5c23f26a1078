"""Servers asked by real requests over real sockets: hosts, origins, paths and the password."""

from __future__ import annotations

import base64
import json
import re
import runpy
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from nldisco_explorer.access import PASSWORD_VARIABLE, Access, ServeError, allowed_hosts, read_access, require_access

from nldisco_core.runs import Run

SERVED: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("served.py")))
COMMAND, PASSWORD, Served = SERVED["COMMAND"], SERVED["PASSWORD"], SERVED["Served"]
TOO_LONG = "a" * 121


def started(code: str, *arguments: str) -> AbstractContextManager[Any]:
    """A server in a process of its own."""
    served: AbstractContextManager[Any] = SERVED["started"](code, *arguments)
    return served


def serving(run: Run, *options: str) -> AbstractContextManager[Any]:
    """``nldisco serve`` as people start it."""
    return started(COMMAND, "serve", str(run.folder), "--port", "0", "--no-browser", *options)


@pytest.fixture(scope="module")
def open_house(written_run: Run) -> Iterator[Any]:
    """Served to this machine alone."""
    with serving(written_run) as served:
        yield served


@pytest.fixture(scope="module")
def guarded(written_run: Run) -> Iterator[Any]:
    """Served with a password to a few, under another name as well."""
    options = ("--auth", "password", "--allow-user", "ada", "--allow-user", TOO_LONG)
    with serving(written_run, *options, "--allow-origin", "lab.example.org:5006") as served:
        yield served


def test_own_page_opens_its_websocket(open_house: Any) -> None:
    assert open_house.ask("/").status == 200
    here = f"http://127.0.0.1:{open_house.port}"
    assert open_house.socket_answer(open_house.token(), Origin=here) == "ACK"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", ""])
def test_request_that_names_another_host_is_refused(open_house: Any, host: str) -> None:
    for path in ("/", "/autoload.js", "/ws", "/static/js/bokeh.min.js", "/nothing"):
        answer = open_house.ask(path, Host=host.format(port=open_house.port))
        assert answer.status == 403
        assert "--allow-origin" in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "file://"])
def test_forged_origin_opens_nothing(open_house: Any, origin: str) -> None:
    assert open_house.socket_answer(open_house.token(), Origin=origin) == "403"
    assert open_house.ask("/", Origin=origin).status == 403
    assert open_house.ask("/", "POST", body="x", Origin=origin).status == 403


def test_made_up_token_opens_no_session(open_house: Any) -> None:
    payload = {"session_id": "a" * 44, "session_expiry": 2_000_000_000}
    forged = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    here = f"http://127.0.0.1:{open_house.port}"
    assert open_house.socket_answer(forged, Origin=here) == "closed"
    assert open_house.socket_answer(forged + ".c2lnbmVk", Origin=here) == "closed"
    assert open_house.ask(f"/?bokeh-session-id={'a' * 44}").status == 403


@pytest.mark.parametrize("root", ["/static", "/static/js", "/static/extensions/panel", "/components", "", "/assets"])
def test_no_path_climbs_out(open_house: Any, root: str) -> None:
    for climb in ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "%252e%252e%252f", "....//"):
        answer = open_house.ask(f"{root}/{climb * 12}etc/passwd")
        assert answer.status in (400, 403, 404)
        assert "root:" not in answer.text


def test_files_of_the_run_are_not_served(open_house: Any, written_run: Run) -> None:
    for path in (str(written_run.folder / "run.json"), f"/{written_run.name}/run.json", "/run.json"):
        assert open_house.ask(path).status in (403, 404)


def test_nobody_comes_in_without_the_password(guarded: Any, open_house: Any) -> None:
    answer = guarded.ask("/?latent=3")
    assert (answer.status, answer.headers["Location"].split("?")[0]) == (302, "./login")
    assert "Latent" not in answer.text
    assert guarded.ask("/autoload.js?bokeh-autoload-element=1").status == 403
    here = f"http://127.0.0.1:{guarded.port}"
    assert guarded.socket_answer(open_house.token(), Origin=here) in ("403", "closed")
    assert guarded.socket_answer(guarded_token(guarded), Origin=here) in ("403", "closed")


def guarded_token(guarded: Any) -> str:
    """A token of the guarded server that was made for somebody who had logged in."""
    return guarded.token(Cookie=logged_in(guarded))


def logged_in(guarded: Any, name: str = "ada", password: str = PASSWORD) -> str:
    form = urlencode({"username": name, "password": password})
    answer = guarded.ask("/login", "POST", form, Content_Type="application/x-www-form-urlencoded")
    return "; ".join(text.split(";")[0] for text in answer.headers.get_all("Set-Cookie") or [])


def test_password_lets_in_and_a_wrong_one_does_not(guarded: Any) -> None:
    cookie = logged_in(guarded)
    assert guarded.ask("/", Cookie=cookie).status == 200
    here = f"http://127.0.0.1:{guarded.port}"
    assert guarded.socket_answer(guarded.token(Cookie=cookie), Origin=here, Cookie=cookie) == "ACK"
    for wrong in ("", "wrong horse battery", PASSWORD.upper(), f" {PASSWORD}", f"{PASSWORD}é"):
        assert logged_in(guarded, password=wrong) == ""
    assert logged_in(guarded, name="") == ""
    assert logged_in(guarded, name=TOO_LONG) == ""
    assert guarded.ask("/", Cookie='user="2|1:0|10:1|4:user|4:YWRh|forged"').status == 302


def test_who_is_not_on_the_list_stays_outside(guarded: Any) -> None:
    form = urlencode({"username": "eve", "password": PASSWORD})
    outside = guarded.ask("/login", "POST", form, Content_Type="application/x-www-form-urlencoded")
    assert (outside.status, outside.headers["Set-Cookie"]) == (403, None)
    assert "not among those who may come in" in outside.text


def test_login_page_asks_no_other_machine_and_shows_no_script(guarded: Any) -> None:
    page = guarded.ask("/login?error=%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "<script" not in page
    assert not re.findall(r"https?://", page)


def test_login_page_repeats_no_words_of_its_address(guarded: Any) -> None:
    assert "expired" not in guarded.ask("/login?error=Your+password+has+expired").text


def test_password_login_does_not_lead_to_another_site(guarded: Any) -> None:
    form = urlencode({"username": "ada", "password": PASSWORD})
    for elsewhere in ("https://evil.example/", "//evil.example/", "///evil.example/", "/\\evil.example", "/\t/evil"):
        path = f"/login?{urlencode({'next': elsewhere})}"
        answer = guarded.ask(path, "POST", form, Content_Type="application/x-www-form-urlencoded")
        assert (answer.status, answer.headers["Location"], answer.headers["Set-Cookie"]) == (400, None, None)
        assert guarded.ask(path).status == 400


def test_password_login_leads_to_the_link_and_the_page_to_the_form(guarded: Any) -> None:
    link = "/?latent=3&page=map"
    shown = guarded.ask(f"/login?{urlencode({'next': link})}").text
    assert f'action="./login?{urlencode({"next": link})}"' in shown
    form = urlencode({"username": "ada", "password": PASSWORD})
    path = f"/login?{urlencode({'next': link})}"
    answer = guarded.ask(path, "POST", form, Content_Type="application/x-www-form-urlencoded")
    assert (answer.status, answer.headers["Location"]) == (302, link)


def test_logout_of_a_password_ends_the_visit(guarded: Any) -> None:
    cookie = logged_in(guarded)
    assert guarded.ask("/logout", Cookie=cookie).status == 200
    assert guarded.ask("/", Cookie=cookie).status == 302


def test_large_form_is_not_read(guarded: Any) -> None:
    assert guarded.ask("/login", "POST", Content_Length=str(1 << 20)).status == 400


def test_allowed_origin_is_let_in(guarded: Any) -> None:
    assert guarded.ask("/login", Host="lab.example.org:5006").status == 200
    assert guarded.ask("/login", Host="lab.example.org:5007").status == 403


def test_serving_twice_gives_two_keys(written_run: Run, open_house: Any) -> None:
    with serving(written_run) as other:
        here = f"http://127.0.0.1:{other.port}"
        assert other.socket_answer(open_house.token(), Origin=here) == "closed"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_public_address_asks_for_access_and_for_origins(address: str) -> None:
    with pytest.raises(ServeError, match="--allow-origin"):
        require_access(address, [], has_access=True)
    with pytest.raises(ServeError, match="--auth"):
        require_access(address, ["lab.example.org:5006"], has_access=False)
    require_access(address, ["https://lab.example.org"], has_access=True)
    allowed = allowed_hosts(address, 5006, ["https://lab.example.org"])
    assert "lab.example.org:80" in allowed
    assert f"{address}:5006" not in allowed


def test_foreign_origin_needs_access_and_one_of_this_machine_does_not() -> None:
    with pytest.raises(ServeError, match="--auth"):
        require_access("127.0.0.1", ["lab.example.org"], has_access=False)
    require_access("127.0.0.1", ["localhost:9000"], has_access=False)
    assert "localhost:9000" in allowed_hosts("127.0.0.1", 5006, ["localhost:9000"])


@pytest.mark.parametrize("origin", ["*", "*.example.org", "lab.example.org/path", "", "http://", "[::1]:5006"])
def test_strange_origins_are_refused(origin: str) -> None:
    with pytest.raises(ServeError, match="expected a name"):
        require_access("127.0.0.1", [origin], has_access=True)


def test_password_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    def read(file: Path | None = None, **environment: str) -> Access:
        return read_access("password", password_file=file, users=(), environment=environment)

    assert read(**{PASSWORD_VARIABLE: PASSWORD}).password == PASSWORD
    (tmp_path / "password").write_text(PASSWORD + "\nrest\n")
    assert read(tmp_path / "password").password == PASSWORD
    with pytest.raises(ServeError, match=PASSWORD_VARIABLE):
        read()
    with pytest.raises(ServeError, match="at least 12"):
        read(**{PASSWORD_VARIABLE: "short"})
    with pytest.raises(ServeError, match="cannot be read"):
        read(tmp_path / "nothing")
    named_like_a_file = str(tmp_path / "password")
    assert read(**{PASSWORD_VARIABLE: named_like_a_file}).password == named_like_a_file


def test_provider_needs_its_settings_and_names_of_people() -> None:
    settings = {"PANEL_OAUTH_KEY": "k", "PANEL_OAUTH_SECRET": "s"}
    with pytest.raises(ServeError, match="PANEL_OAUTH_KEY"):
        read_access("github", password_file=None, users=["ada"], environment={})
    with pytest.raises(ServeError, match="--allow-user"):
        read_access("github", password_file=None, users=[], environment=settings)
    assert read_access("github", password_file=None, users=["ada"], environment=settings).users == {"ada"}


def test_public_bind_without_auth_is_one_line_and_exit_1(written_run: Run, nldisco: Callable[..., Any]) -> None:
    outcome = nldisco("serve", written_run.folder, "--address", "0.0.0.0", "--allow-origin", "lab.example.org:5006")
    assert outcome.code == 1
    assert "--auth password" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_password_is_no_option_of_the_command_line(nldisco: Callable[..., Any]) -> None:
    assert "--password " not in nldisco("serve", "--help").out


def test_server_listens_where_it_was_told_and_nowhere_else(open_house: Any) -> None:
    own = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in own:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, open_house.port), timeout=5)
