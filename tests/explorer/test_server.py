"""A server in this process, asked by real requests over real sockets."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from nldisco_explorer.access import PASSWORD_VARIABLE, Access, ServeError, allowed_hosts, read_access, require_access

from nldisco_core.runs import Run

PASSWORD = "correct horse battery"


class Served:
    """A running server, and how to ask it things."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> http.client.HTTPResponse:
        """One request as it is written, without any tidying of its path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {"Host": f"127.0.0.1:{self.port}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        connection.putrequest(method, path, skip_host=True)
        for name, text in (named | ({"Content-Length": str(len(body))} if body else {})).items():
            connection.putheader(name, text)
        connection.endheaders(body.encode() or None)
        answer = connection.getresponse()
        with answer:
            answer.text = answer.read().decode(errors="replace")  # type: ignore[attr-defined]  # kept beside the answer
        connection.close()
        return answer

    def token(self, **headers: str) -> str:
        """The token that the page carries to its websocket."""
        page = self.ask("/", **headers).text  # type: ignore[attr-defined]  # see `ask`
        found = re.search(r'"token"\s*:\s*"([^"]+)"', page)
        assert found is not None, page[:500]
        return found[1]

    def socket_answer(self, token: str, **headers: str) -> str:
        """What the websocket answers first: a message's type, ``closed``, or the HTTP status that refused it."""
        named = {"Host": f"127.0.0.1:{self.port}", "Connection": "Upgrade", "Upgrade": "websocket"} | headers
        named |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(b"k" * 16).decode()}
        named |= {"Sec-WebSocket-Protocol": f"bokeh, {token}"}
        lines = ["GET /ws HTTP/1.1", *(f"{name}: {text}" for name, text in named.items()), "", ""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as opened, opened.makefile("rb") as stream:
            opened.sendall("\r\n".join(lines).encode())
            status = stream.readline().split()[1].decode()
            while stream.readline().strip():
                pass
            if status != "101":
                return status
            opcode, length = stream.read(2)
            return str(json.loads(stream.read(length))["msgtype"]) if opcode & 0x0F == 1 else "closed"


COMMAND = "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"
GUEST_LIST = """
import sys
from pathlib import Path
from nldisco_core.runs import Run
from nldisco_explorer.access import Access
from nldisco_explorer.server import serve

access = Access(password=sys.argv[2], users=frozenset({"ada"}))
say = lambda url: print(url, flush=True)
serve(Run(Path(sys.argv[1])), port=0, access=access, open_browser=False, announce=say)
"""


@contextmanager
def started(code: str, *arguments: str) -> Iterator[Served]:
    """A server in a process of its own."""
    environment = os.environ | {PASSWORD_VARIABLE: PASSWORD, "PANEL_OAUTH_KEY": "key", "PANEL_OAUTH_SECRET": "secret"}
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as server:
        assert server.stdout is not None
        found = re.search(r"http://127.0.0.1:(\d+)/", server.stdout.readline())
        assert found is not None
        yield Served(int(found[1]))
        server.terminate()


def serving(run: Run, *options: str) -> AbstractContextManager[Served]:
    """``nldisco serve`` as people start it."""
    return started(COMMAND, "serve", str(run.folder), "--port", "0", "--no-browser", *options)


@pytest.fixture(scope="module")
def open_house(written_run: Run) -> Iterator[Served]:
    """Served to this machine alone."""
    with serving(written_run) as served:
        yield served


@pytest.fixture(scope="module")
def guarded(written_run: Run) -> Iterator[Served]:
    """Served with a password, under another name as well."""
    with serving(written_run, "--auth", "password", "--allow-origin", "lab.example.org:5006") as served:
        yield served


def test_own_page_opens_its_websocket(open_house: Served) -> None:
    assert open_house.ask("/").status == 200
    here = f"http://127.0.0.1:{open_house.port}"
    assert open_house.socket_answer(open_house.token(), Origin=here) == "ACK"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", ""])
def test_request_that_names_another_host_is_refused(open_house: Served, host: str) -> None:
    for path in ("/", "/autoload.js", "/ws", "/static/js/bokeh.min.js", "/nothing"):
        answer = open_house.ask(path, Host=host.format(port=open_house.port))
        assert answer.status == 403
        assert "--allow-origin" in answer.text  # type: ignore[attr-defined]  # see `ask`


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "null", "file://"])
def test_forged_origin_opens_nothing(open_house: Served, origin: str) -> None:
    assert open_house.socket_answer(open_house.token(), Origin=origin) == "403"
    assert open_house.ask("/", Origin=origin).status == 403
    assert open_house.ask("/", "POST", body="x", Origin=origin).status == 403


def test_made_up_token_opens_no_session(open_house: Served) -> None:
    payload = {"session_id": "a" * 44, "session_expiry": 2_000_000_000}
    forged = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    here = f"http://127.0.0.1:{open_house.port}"
    assert open_house.socket_answer(forged, Origin=here) == "closed"
    assert open_house.socket_answer(forged + ".c2lnbmVk", Origin=here) == "closed"
    assert open_house.ask(f"/?bokeh-session-id={'a' * 44}").status == 403


@pytest.mark.parametrize("root", ["/static", "/static/js", "/static/extensions/panel", "/components", "", "/assets"])
def test_no_path_climbs_out(open_house: Served, root: str) -> None:
    for climb in ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "%252e%252e%252f", "....//"):
        answer = open_house.ask(f"{root}/{climb * 12}etc/passwd")
        assert answer.status in (400, 403, 404)
        assert "root:" not in answer.text  # type: ignore[attr-defined]  # see `ask`


def test_files_of_the_run_are_not_served(open_house: Served, written_run: Run) -> None:
    for path in (str(written_run.folder / "run.json"), f"/{written_run.name}/run.json", "/run.json"):
        assert open_house.ask(path).status in (403, 404)


def test_nobody_comes_in_without_the_password(guarded: Served, open_house: Served) -> None:
    answer = guarded.ask("/?latent=3")
    assert (answer.status, answer.headers["Location"].split("?")[0]) == (302, "./login")
    assert "Latent" not in answer.text  # type: ignore[attr-defined]  # see `ask`
    assert guarded.ask("/autoload.js?bokeh-autoload-element=1").status in (302, 403)
    here = f"http://127.0.0.1:{guarded.port}"
    assert guarded.socket_answer(open_house.token(), Origin=here) in ("403", "closed")
    assert guarded.socket_answer(guarded_token(guarded), Origin=here) in ("403", "closed")


def guarded_token(guarded: Served) -> str:
    """A token of the guarded server that was made for somebody who had logged in."""
    return guarded.token(Cookie=logged_in(guarded))


def logged_in(guarded: Served, name: str = "ada", password: str = PASSWORD) -> str:
    form = urlencode({"username": name, "password": password})
    answer = guarded.ask("/login", "POST", form, Content_Type="application/x-www-form-urlencoded")
    return "; ".join(text.split(";")[0] for text in answer.headers.get_all("Set-Cookie") or [])


def test_password_lets_in_and_a_wrong_one_does_not(guarded: Served) -> None:
    cookie = logged_in(guarded)
    assert guarded.ask("/", Cookie=cookie).status == 200
    here = f"http://127.0.0.1:{guarded.port}"
    assert guarded.socket_answer(guarded.token(Cookie=cookie), Origin=here, Cookie=cookie) == "ACK"
    for wrong in ("", "wrong horse battery", PASSWORD.upper()):
        assert "user=" not in logged_in(guarded, password=wrong)
    assert guarded.ask("/", Cookie='user="2|1:0|10:1|4:user|4:YWRh|forged"').status == 302


def test_who_is_not_on_the_list_stays_outside(written_run: Run) -> None:
    with started(GUEST_LIST, str(written_run.folder), PASSWORD) as served:
        inside = served.ask("/", Cookie=logged_in(served, "ada"))
        assert '"token"' in inside.text  # type: ignore[attr-defined]  # see `ask`
        outside = served.ask("/", Cookie=logged_in(served, "eve"))
        assert outside.status in (302, 403)
        assert '"token"' not in outside.text  # type: ignore[attr-defined]  # see `ask`


def test_login_page_asks_no_other_machine_and_shows_no_script(guarded: Served) -> None:
    page = guarded.ask("/login?error=%3Cscript%3Ealert(1)%3C/script%3E").text  # type: ignore[attr-defined]  # see `ask`
    assert "<script" not in page
    assert not re.findall(r"https?://", page)


def test_login_does_not_lead_to_another_site(guarded: Served) -> None:
    form = urlencode({"username": "ada", "password": PASSWORD})
    for elsewhere in ("https://evil.example/", "//evil.example/", '"/\\\\evil.example"'):
        answer = guarded.ask(
            "/login", "POST", form, Content_Type="application/x-www-form-urlencoded", Cookie=f"next_url={elsewhere}"
        )
        assert (answer.status, answer.headers["Location"]) == (400, None)


def test_allowed_origin_is_let_in(guarded: Served) -> None:
    assert guarded.ask("/login", Host="lab.example.org:5006").status == 200
    assert guarded.ask("/login", Host="lab.example.org:5007").status == 403


def test_serving_twice_gives_two_keys(written_run: Run, open_house: Served) -> None:
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
    with pytest.raises(ServeError, match="name of a file"):
        read(**{PASSWORD_VARIABLE: str(tmp_path / "password")})
    with pytest.raises(ServeError, match="have not logged in"):
        read(**{PASSWORD_VARIABLE: PASSWORD, "PANEL_OAUTH_OPTIONAL": "true"})


def test_provider_needs_its_settings_and_names_of_people() -> None:
    settings = {"PANEL_OAUTH_KEY": "k", "PANEL_OAUTH_SECRET": "s"}
    with pytest.raises(ServeError, match="PANEL_OAUTH_KEY"):
        read_access("github", password_file=None, users=["ada"], environment={})
    with pytest.raises(ServeError, match="--allow-user"):
        read_access("github", password_file=None, users=[], environment=settings)
    assert read_access("github", password_file=None, users=["ada"], environment=settings).users == {"ada"}


def test_provider_is_asked_before_anything_is_shown(written_run: Run) -> None:
    with serving(written_run, "--auth", "github", "--allow-user", "ada") as served:
        answer = served.ask("/?latent=3")
        assert (answer.status, answer.headers["Location"].split("?")[0]) == (302, "./login")
        asked = served.ask("/login")
        assert (asked.status, urlsplit(asked.headers["Location"]).hostname) == (302, "github.com")
        assert "client_id=key" in asked.headers["Location"]
        assert "secret" not in asked.headers["Location"]
        assert served.ask("/", Cookie='user="2|1:0|10:1|4:user|4:YWRh|forged"').status == 302


def test_public_bind_without_auth_is_one_line_and_exit_1(written_run: Run, nldisco: Callable[..., Any]) -> None:
    outcome = nldisco("serve", written_run.folder, "--address", "0.0.0.0", "--allow-origin", "lab.example.org:5006")
    assert outcome.code == 1
    assert "--auth password" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_password_is_no_option_of_the_command_line(nldisco: Callable[..., Any]) -> None:
    assert "--password " not in nldisco("serve", "--help").out


def test_server_listens_where_it_was_told_and_nowhere_else(open_house: Served) -> None:
    own = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in own:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, open_house.port), timeout=5)
