"""Logging in through a provider, all the way, with a stand-in for the provider and real requests over real sockets."""

from __future__ import annotations

import re
import runpy
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from nldisco_explorer.access import Access, ServeError, read_access
from nldisco_explorer.login import Door
from nldisco_explorer.oauth import CLIENT, PROVIDERS

from nldisco_core.notes import Notes
from nldisco_core.runs import Run

SERVED: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("served.py")))
STAND_IN: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("stand_in_provider.py")))
COMMAND, started, change = SERVED["COMMAND"], SERVED["started"], SERVED["change"]
SECRET = STAND_IN["SECRET"]
ADA, BOB, EVE = ({"email": f"{name}@lab.example"} for name in ("ada", "bob", "eve"))
FAULTS = {"expired": 401, "denied": 401, "broken": 502, "no JSON": 502, "no answer": 502}
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "explore-and-share.md"
BRIEF = """
import sys
from nldisco_core.cli import main
from nldisco_explorer import login

login.LASTS_S = 4.0
main(sys.argv[1:])
"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a browser was shown in the end."""

    status: int
    url: str
    text: str

    @property
    def token(self) -> str:
        """What opens its websocket; empty where it has none."""
        found = re.search(r'"token"\s*:\s*"([^"]+)"', self.text)
        return found[1] if found else ""


class Visitor:
    """A browser with cookies of its own that follows wherever it is sent."""

    def __init__(self, served: Any) -> None:
        self._served = served
        self._jar = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._jar))

    def goes_to(self, path: str) -> Page:
        try:
            with self._opener.open(self._served.here + path, timeout=60) as answer:
                return Page(status=answer.status, url=answer.url, text=answer.read().decode(errors="replace"))
        except HTTPError as answer:
            with answer:
                return Page(status=answer.code, url=answer.url, text=answer.read().decode(errors="replace"))

    def logs_in(self) -> Page:
        """Goes by the provider to a file, which takes the explorer less than a page of it."""
        return self.goes_to("/login?next=/favicon.ico")

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._jar)

    @property
    def is_in(self) -> bool:
        return bool(self._served.ask("/", Cookie=self.cookies).status == 200)

    def headers(self) -> dict[str, str]:
        """Of a request from a page of the explorer."""
        return {"Origin": self._served.here, "Cookie": self.cookies}


@pytest.fixture(scope="module")
def standing() -> Iterator[Any]:
    with STAND_IN["standing_in"]() as stand_in:
        yield stand_in


@pytest.fixture
def provider(standing: Any) -> Any:
    """The stand-in, without fault; whoever it is asked about is Ada."""
    standing.account, standing.fault, standing.gives_id_token = dict(ADA), "", False
    standing.asked.clear()
    return standing


@pytest.fixture(scope="module")
def folder(written_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that visitors write notes into."""
    copy = tmp_path_factory.mktemp("noted") / written_run.name
    shutil.copytree(written_run.folder, copy)
    return copy


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the explorer says."""
    return tmp_path_factory.mktemp("log") / "said"


@pytest.fixture(scope="module")
def explorer(folder: Path, standing: Any, log: Path) -> Iterator[Any]:
    """Served for Ada and Bob, who are asked for by the provider; also behind a server that speaks https."""
    options = ("--port", "0", "--no-browser", "--auth", "generic", "--allow-origin", "https://explorer.lab.example")
    allowed = ("--allow-user", ADA["email"], "--allow-user", BOB["email"])
    with started(COMMAND, "serve", str(folder), *options, *allowed, log=log, settings=standing.settings()) as served:
        yield served


@pytest.mark.parametrize("gives_id_token", [True, False])
def test_named_visitor_is_let_in_and_led_to_the_link(explorer: Any, provider: Any, gives_id_token: bool) -> None:
    provider.gives_id_token = gives_id_token
    ada = Visitor(explorer)
    page = ada.goes_to("/?latent=3")
    assert (page.status, page.url) == (200, f"{explorer.here}/?latent=3")
    assert explorer.socket_answer(page.token, **ada.headers()) == "ACK"
    asked = [path for path, _ in provider.asked]
    assert asked == (["/authorize", "/token"] if gives_id_token else ["/authorize", "/token", "/userinfo"])


def test_note_is_signed_with_the_name_from_the_provider_and_no_other(
    explorer: Any, provider: Any, folder: Path
) -> None:
    ada = Visitor(explorer)
    with explorer.opened(ada.goes_to("/?latent=7").token, **ada.headers()) as (_, talk):
        talk.load()
        talk.type_note("seen")
        author = next(each for each in talk.objects() if _label(each) == "your name")
        assert talk.patch(change(author, "value_input", "mallory"), change(author, "value", "mallory")) == "OK"
        talk.type_note_again("seen twice")
    notes = Notes(folder).all()
    assert [(note.name, note.author) for note in notes] == [("seen", ADA["email"]), ("seen twice", ADA["email"])]


def _label(model: dict[str, Any]) -> Any:
    data = model["attributes"].get("data")
    return data["attributes"].get("label") if isinstance(data, dict) and "attributes" in data else None


@pytest.mark.parametrize(
    ("account", "status"),
    [
        (EVE, 403),
        ({"email": ADA["email"].upper()}, 403),
        ({"email": [ADA["email"]]}, 502),
        ({"email": None}, 403),
        ({"email": ADA["email"], "email_verified": False}, 403),
        ({"name": ADA["email"]}, 401),
    ],
)
def test_who_is_not_named_is_refused(explorer: Any, provider: Any, account: dict[str, Any], status: int) -> None:
    other = Visitor(explorer)
    provider.account = account
    page = other.goes_to("/?latent=3")
    assert (page.status, urlsplit(page.url).path) == (status, "/login")
    assert "not logged in" in page.text
    assert not other.is_in
    for path in ("/autoload.js?bokeh-autoload-element=x", "/metadata"):
        assert explorer.ask(path, Cookie=other.cookies).status == 403


def test_id_token_without_the_name_lets_nobody_in(explorer: Any, provider: Any) -> None:
    provider.gives_id_token, provider.account = True, {"sub": "17"}
    page = Visitor(explorer).goes_to("/")
    assert page.status == 401
    assert page.token == ""


def test_without_a_cookie_nothing_is_shown(explorer: Any, provider: Any) -> None:
    token = Visitor(explorer).goes_to("/").token
    answer = explorer.ask("/?latent=3")
    assert (answer.status, answer.headers["Location"]) == (302, "./login?next=%2F%3Flatent%3D3")
    assert explorer.socket_answer(token, Origin=explorer.here) == "403"
    provider.account, eve = EVE, Visitor(explorer)
    eve.logs_in()
    assert explorer.socket_answer(token, **eve.headers()) == "403"
    for cookie in ('user="2|1:0|10:1|4:user|4:YWRh|forged"', f"nldisco-visit-{explorer.port}=guess", "is_guest=1"):
        assert explorer.ask("/", Cookie=cookie).status == 302
        assert explorer.socket_answer(token, Origin=explorer.here, Cookie=cookie) == "403"


def test_visitor_cannot_take_up_the_page_of_another(explorer: Any, provider: Any) -> None:
    ada, bob = Visitor(explorer), Visitor(explorer)
    token = ada.goes_to("/").token
    provider.account = BOB
    own = bob.goes_to("/").token
    assert explorer.socket_answer(token, **bob.headers()) == "403"
    assert explorer.ask(f"/?bokeh-token={quote(token)}", Cookie=bob.cookies).status == 403
    assert explorer.socket_answer(own, **bob.headers()) == "ACK"


@pytest.mark.parametrize("state", ["", "&state=", "&state=forged", "&state={other}"])
def test_forged_state_logs_nobody_in(explorer: Any, provider: Any, state: str) -> None:
    victim = Visitor(explorer)
    other = parse_qs(urlsplit(explorer.ask("/login").headers["Location"]).query)["state"][0]
    page = victim.goes_to(f"/login?code={provider.code(explorer.here + '/login')}{state.format(other=other)}")
    assert page.status == 401
    assert not victim.is_in
    assert [path for path, _ in provider.asked] == []


def test_way_back_from_the_provider_is_gone_once(explorer: Any, provider: Any) -> None:
    answer = explorer.ask("/login")
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    state = parse_qs(urlsplit(answer.headers["Location"]).query)["state"][0]
    back = f"/login?code={provider.code(explorer.here + '/login')}&state={state}"
    assert [explorer.ask(back, Cookie=cookie).status for _ in range(2)] == [302, 401]


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "///evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "evil.example",
     "javascript:alert(1)", "\x01//evil.example", " //evil.example", "/\r\nSet-Cookie: a=b", "//evil.example/?code=1"],
)  # fmt: skip
def test_login_leads_to_no_other_site(explorer: Any, provider: Any, elsewhere: str) -> None:
    answer = explorer.ask(f"/login?next={quote(elsewhere, safe='')}")
    assert (answer.status, answer.headers["Location"], answer.headers["Set-Cookie"]) == (400, None, None)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_provider_is_a_clear_page(explorer: Any, provider: Any, log: Path, fault: str) -> None:
    provider.fault = fault
    visitor = Visitor(explorer)
    page = visitor.goes_to("/")
    assert page.status == FAULTS[fault]
    assert "Log in again." in page.text if page.status == 401 else "Try again later." in page.text
    assert not visitor.is_in
    for word in ("Traceback", "<script", "http:", "https:", "invalid_grant", "maintenance"):
        assert word not in page.text
    provider.fault = ""
    assert visitor.logs_in().status == 200
    assert "Traceback" not in log.read_text()


def test_logout_ends_the_visit_everywhere(explorer: Any, provider: Any) -> None:
    ada, elsewhere = Visitor(explorer), Visitor(explorer)
    page, _ = ada.goes_to("/"), elsewhere.logs_in()
    kept = ada.headers()
    with explorer.opened(page.token, **kept) as (_, talk):
        talk.heard("ACK")
        out = ada.goes_to("/logout")
        assert (out.status, "You are logged out" in out.text, "http" in out.text) == (200, True, False)
        assert talk.is_closed
    assert explorer.ask("/", Cookie=kept["Cookie"]).status == 302
    assert explorer.socket_answer(page.token, **kept) == "403"
    assert f"nldisco-visit-{explorer.port}" not in ada.cookies
    assert elsewhere.is_in


def test_cookies_are_kept_from_scripts_other_sites_and_plain_http(explorer: Any, provider: Any) -> None:
    def flags(host: str, path: str, **headers: str) -> list[set[str]]:
        found = explorer.ask(path, Host=host, **headers).headers.get_all("Set-Cookie")
        return [{flag.strip().lower() for flag in cookie.split(";")[1:]} for cookie in found or []]

    local, proxied = f"127.0.0.1:{explorer.port}", "explorer.lab.example"
    for host, secure in ((local, False), (proxied, True)):
        answer = explorer.ask("/login", Host=host)
        to = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert to["redirect_uri"] == [f"{'https' if secure else 'http'}://{host}/login"]
        cookie = answer.headers["Set-Cookie"].split(";")[0]
        back = f"/login?code={provider.code(to['redirect_uri'][0])}&state={to['state'][0]}"
        set_ = [*flags(host, "/login"), *flags(host, back, Cookie=cookie), *flags(host, "/logout")]
        assert len(set_) == 5  # the state, its end, the visit, what Panel clears, the visit's end
        for each in set_:
            assert {"httponly", "samesite=lax", "path=/"} <= each
            assert ("secure" in each) == secure


def test_secret_and_tokens_are_in_no_page_no_cookie_and_no_log(explorer: Any, provider: Any, log: Path) -> None:
    ada = Visitor(explorer)
    shown = [ada.goes_to(path).text + ada.cookies for path in ("/", "/logout")]
    for provider.fault in FAULTS:
        shown.append(Visitor(explorer).goes_to("/").text)
    provider.fault, provider.account = "", EVE
    shown.append(Visitor(explorer).goes_to("/").text)
    codes = {asked["code"] for path, asked in provider.asked if path == "/token"}
    assert len(codes) >= 5
    for word in (SECRET, "opaque-token", *codes):
        assert not [text for text in [*shown, log.read_text()] if re.search(rf"\b{word}\b", text)]
    assert {path for path, asked in provider.asked if SECRET in asked.values()} == {"/token"}


def test_page_carries_nothing_that_logs_in(explorer: Any, provider: Any) -> None:
    ada = Visitor(explorer)
    page = ada.goes_to("/")
    word = ada.cookies.partition("=")[2]
    assert len(word) >= 40
    payload = SERVED["payload"](page.token)
    assert word not in page.text + str(payload)
    assert explorer.ask("/", Cookie=f"user={payload['cookies']['user']}").status == 302


def test_login_ends_by_itself_and_a_provider_that_is_down_is_said(written_run: Run) -> None:
    options = ("--port", "0", "--no-browser", "--auth", "generic", "--allow-user", ADA["email"])
    guests = {"PANEL_OAUTH_OPTIONAL": "true", "PANEL_OAUTH_GUEST_ENDPOINTS": "['/']"}
    with ExitStack() as stack:
        with STAND_IN["standing_in"]() as stand_in:
            serving = started(BRIEF, "serve", str(written_run.folder), *options, settings=stand_in.settings() | guests)
            served = stack.enter_context(serving)
            assert served.ask("/").status == 302  # Panel's settings for guests let nobody in
            ada = Visitor(served)
            page = ada.goes_to("/")
            with served.opened(page.token, **ada.headers()) as (_, talk):
                talk.heard("ACK")
                assert talk.is_closed
            assert not ada.is_in
            assert served.socket_answer(page.token, **ada.headers()) == "403"
        answer = served.ask("/login")
        state = parse_qs(urlsplit(answer.headers["Location"]).query)["state"][0]
        down = served.ask(f"/login?code=any&state={state}", Cookie=answer.headers["Set-Cookie"].split(";")[0])
        assert (down.status, "does not answer" in down.text) == (502, True)


@pytest.mark.parametrize("provider_name", PROVIDERS)
def test_each_provider_asks_for_its_settings(provider_name: str) -> None:
    needed = [*CLIENT, *PROVIDERS[provider_name]]
    settings = dict.fromkeys(needed, "x")
    access = read_access(provider_name, password_file=None, users=["ada"], environment=settings)
    assert (access.provider, access.users) == (provider_name, {"ada"})
    for name in needed:
        with pytest.raises(ServeError, match=f"{provider_name} needs {name} in"):
            read_access(provider_name, password_file=None, users=["ada"], environment=settings | {name: ""})


@pytest.mark.parametrize("provider_name", sorted(set(PROVIDERS) - {"generic"}))
def test_provider_with_an_address_of_its_own_is_asked_there(
    provider_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANEL_OAUTH_EXTRA_PARAMS", "{'subdomain': 'lab', 'url': 'id.lab.example'}")
    handler = Door(Access(provider=provider_name, users=frozenset({"ada"}))).login_handler
    asked = handler._OAUTH_AUTHORIZE_URL
    url = urlsplit(asked if isinstance(asked, str) else asked.fget(handler))
    assert url.scheme == "https"
    assert url.hostname in {
        *("lab.auth0.com", "login.microsoftonline.com", "bitbucket.org", "github.com", "id.lab.example"),
        "accounts.google.com",
    }


def test_provider_sends_people_back_to_the_login(tmp_path: Path) -> None:
    settings = dict.fromkeys(CLIENT, "x")
    for address in ("https://lab.example/login", ""):
        environment = settings | {"PANEL_OAUTH_REDIRECT_URI": address}
        assert read_access("github", password_file=None, users=["ada"], environment=environment).provider == "github"
    with pytest.raises(ServeError, match="expected the explorer's address with the path /login"):
        environment = settings | {"PANEL_OAUTH_REDIRECT_URI": "https://lab.example"}
        read_access("github", password_file=None, users=["ada"], environment=environment)


def test_help_and_guide_name_every_provider_and_what_it_needs(nldisco: Any) -> None:
    said, guide = nldisco("serve", "--help").out, GUIDE.read_text(encoding="utf-8")
    for name, needed in PROVIDERS.items():
        for word in (name, *CLIENT, *needed):
            assert word in said
            assert re.search(rf"`(--auth )?{word}`", guide)
