"""Logging in and out of a served explorer: who came in, for how long, and the pages that ask for a name."""

from __future__ import annotations

import logging
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import urlencode, urlsplit
from weakref import WeakSet

from bokeh.server.auth_provider import AuthProvider
from bokeh.util.token import get_token_payload
from panel.auth import AUTH_PROVIDERS, OAuthLoginHandler
from panel.config import config
from panel.util import decode_token
from tornado.httpclient import HTTPClientError
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.template import Template
from tornado.web import HTTPError, RequestHandler, create_signed_value, decode_signed_value
from tornado.websocket import WebSocketHandler

from nldisco_explorer.access import Access, with_port

__all__ = ["LASTS_S", "Door", "login_page"]

logger = logging.getLogger(__name__)

LASTS_S = 86_400.0
STATE_LASTS_DAYS = 1 / 96  # a quarter of an hour to log in at the provider
LONGEST_NAME = 120
STATE = "nldisco-login"
PATH_HERE = re.compile(r"/(?!/)[!-\[\]-~]*")
"""A path of this server, without a backslash: browsers read ``//name``, ``///name`` and ``/\\name`` as another one."""

PAGE = Template(Path(__file__).with_name("login.html").read_text(encoding="utf-8"))
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'"
REFUSED = {
    400: "This link leads away from the explorer.",
    401: "The login did not come to its end: it was broken off, was opened twice, or took too long. Log in again.",
    403: "You are not among those who may come in here. Ask whoever started this explorer to name you.",
    502: "The provider that is asked who you are does not answer as it should. Try again later.",
}


def login_page(*, asks: bool = False, title: str = "nldisco explorer", said: str = "", to: str = "/") -> bytes:
    """HTML of a page at the door.

    Parameters
    ----------
    asks : whether it has fields for a name and the password; else it leads to where one logs in
    said : what it says to the visitor
    to : path of this server that the login leads to
    """
    return PAGE.generate(asks=asks, title=title, said=said, to=to)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Visit:
    """Somebody who logged in, and the websockets that they opened."""

    name: str
    sockets: WeakSet[WebSocketHandler] = field(default_factory=WeakSet)


class Door(AuthProvider):  # type: ignore[misc]  # Bokeh's providers have no types
    """Knows who is in.

    A browser holds one random word that means nothing elsewhere and nothing after a logout. What the provider said is
    not kept. Panel reads a visitor's name from a signed cookie; it is written into the request here, never sent.

    Parameters
    ----------
    access : how visitors show who they are
    https : hosts, with ports, that are reached through https, see `https_hosts`
    """

    login_url, logout_url = "/login", "/logout"

    def __init__(self, access: Access, *, https: frozenset[str] = frozenset()) -> None:
        self.access, self._https = access, https
        self._visits: dict[str, _Visit] = {}
        super().__init__()

    @property
    def get_user(self) -> Callable[[RequestHandler], str | None]:
        """Gives the name of who asks; None where they have not logged in."""
        return self._visitor

    @property
    def login_handler(self) -> type[RequestHandler]:
        """Asks for the password, or for a provider's word."""
        provider = self.access.provider
        if provider is None:
            return PasswordLogin
        return type("Login", (ProviderLogin, AUTH_PROVIDERS[provider]), {})

    @property
    def logout_handler(self) -> type[RequestHandler]:
        """Ends a visit."""
        return Logout

    def is_https(self, request: HTTPServerRequest) -> bool:
        """Whether a request came through https, here or at the server before this one."""
        return request.protocol == "https" or with_port(request.host) in self._https

    def may_enter(self, name: object) -> TypeGuard[str]:
        """Whether somebody of this name may come in, once they have shown that it is theirs."""
        users = self.access.users
        return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and (not users or name in users)

    def let_in(self, handler: RequestHandler, name: str) -> None:
        """Begin a visit; it ends by itself after `LASTS_S`."""
        word = secrets.token_urlsafe(32)
        self._visits[word] = _Visit(name=name)
        IOLoop.current().call_later(LASTS_S, self._end, word)
        handler.set_cookie(self._cookie(handler), word, max_age=int(LASTS_S))

    def see_out(self, handler: RequestHandler) -> None:
        """End the visit of who asks; their open pages hear no more."""
        self._end(handler.get_cookie(self._cookie(handler), "") or "")
        handler.clear_cookie(self._cookie(handler))

    def _end(self, word: str) -> None:
        if (visit := self._visits.pop(word, None)) is not None:
            for opened in list(visit.sockets):
                opened.close(1008, "logged out")

    def _visitor(self, handler: RequestHandler) -> str | None:
        visit = self._visits.get(handler.get_cookie(self._cookie(handler), "") or "")
        if visit is None:
            return None
        if isinstance(handler, WebSocketHandler):
            if _made_for(handler.request) != visit.name:
                return None
            visit.sockets.add(handler)
        signed = create_signed_value(config.cookie_secret, "user", visit.name).decode()
        handler.request.cookies["user"] = SimpleCookie({"user": signed})["user"]
        return visit.name

    @staticmethod
    def _cookie(handler: RequestHandler) -> str:
        """Browsers send a cookie to every port of a host, so that two explorers would log each other out."""
        return f"nldisco-visit-{urlsplit(f'//{handler.request.host}').port or 80}"


def _made_for(request: HTTPServerRequest) -> str | None:
    """Name of whom the page was made for whose token opens a websocket; Bokeh checks the token itself afterwards."""
    token = request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2].strip()
    try:
        name = decode_signed_value(config.cookie_secret, "user", get_token_payload(token)["cookies"]["user"])
    except (ValueError, KeyError, TypeError, zlib.error):
        return None
    return None if name is None else name.decode()


class _AtTheDoor(RequestHandler):
    """What the pages at the door have in common."""

    _said = ""

    @property
    def door(self) -> Door:
        """Whose door it is."""
        door: Door = self.application.auth_provider  # type: ignore[attr-defined]  # Bokeh's application has one
        return door

    @property
    def to(self) -> str:
        """Path that the login leads to."""
        return str(self.get_argument("next", "/"))

    def set_default_headers(self) -> None:
        """Neither kept by the browser nor shown in a frame."""
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Refuse to lead to another site."""
        if PATH_HERE.fullmatch(self.to) is None:
            raise HTTPError(400)

    def set_cookie(self, name: str, value: str | bytes, *args: Any, **named: Any) -> None:
        """A cookie that scripts cannot read, that other sites' pages do not send, and https keeps to itself."""
        flags = {"httponly": True, "samesite": "Lax", "secure": self.door.is_https(self.request)}
        super().set_cookie(name, value, *args, **(named | flags))

    def write_error(self, status_code: int, **_: Any) -> None:
        """Say what went wrong in our own words; what the request or the provider said is not repeated."""
        said = " ".join(filter(None, (self._said, REFUSED.get(status_code, "This is not answered here."))))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(login_page(title="You are not logged in", said=said))

    def _request_summary(self) -> str:
        """What Tornado logs of a request: without its query, which holds the provider's code."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"


class PasswordLogin(_AtTheDoor):
    """Asks for a name and the password."""

    def get(self) -> None:
        """The page that asks."""
        said = "Invalid name or password." if self.get_argument("error", "") else ""
        self.finish(login_page(asks=True, to=self.to, said=said))

    def post(self) -> None:
        """Let in who knows the password."""
        name, password = self.get_body_argument("username", ""), self.get_body_argument("password", "", strip=False)
        if not name or not secrets.compare_digest(password.encode(), (self.door.access.password or "").encode()):
            logger.warning("somebody at %s gave a wrong password", self.request.remote_ip)
            self.redirect(f"./login?{urlencode({'next': self.to, 'error': 1})}")
        elif not self.door.may_enter(name):
            raise HTTPError(403)
        else:
            self.door.let_in(self, name)
            self.redirect(self.to)


class ProviderLogin(_AtTheDoor, OAuthLoginHandler):  # type: ignore[misc]  # Panel has no types
    """Asks an OAuth provider; stands before Panel's handler of one, which knows its addresses and what it answers."""

    _told: dict[str, Any]

    def initialize(self) -> None:
        """Nothing is known yet."""
        self._told = {}

    async def get(self) -> None:
        """Send the visitor to the provider; when they come back with a code, ask it who they are."""
        if self.get_argument("error", None) is not None:
            raise HTTPError(401)
        if code := self.get_argument("code", ""):
            to = self._went_out_to(self.get_argument("state", ""))
            await self._ask_who(code)
            self._admit()
            self.redirect(to)
            return
        state = secrets.token_urlsafe(32)
        self.set_signed_cookie(STATE, f"{state} {self.to}", expires_days=STATE_LASTS_DAYS)
        await self.get_authenticated_user(redirect_uri=self._redirect_uri, client_id=config.oauth_key, state=state)

    @property
    def _redirect_uri(self) -> str:
        scheme = "https" if self.door.is_https(self.request) else self.request.protocol
        return config.oauth_redirect_uri or f"{scheme}://{self.request.host}{Door.login_url}"

    def _went_out_to(self, state: str) -> str:
        """Where this browser wanted to go when it was sent to the provider with this state."""
        kept, _, to = (self.get_signed_cookie(STATE, max_age_days=STATE_LASTS_DAYS) or b"").decode().partition(" ")
        self.clear_cookie(STATE)
        if not kept or not secrets.compare_digest(kept.encode(), state.encode()):
            raise HTTPError(401)
        return to

    async def _ask_who(self, code: str) -> None:
        """Hear who the visitor is; what Panel would keep in cookies stands in ``_told`` then."""
        try:
            await self._fetch_access_token(
                config.oauth_key, self._redirect_uri, client_secret=config.oauth_secret, code=code
            )
        except (OSError, ValueError, TypeError, HTTPClientError) as error:  # no connection, no answer, another form
            logger.warning("the provider cannot be asked: %s", type(error).__name__)
            raise HTTPError(502) from error

    def _admit(self) -> None:
        """Let in whom the provider named, where they may come in."""
        name, claims = self._told.get("user"), decode_token(self._told["id_token"])
        if claims.get("email_verified") is False and name == claims.get("email"):
            self._said = "The provider has not verified your e-mail address."
            raise HTTPError(403)
        if not self.door.may_enter(name):
            self._said = f"The provider says that you are {name}."
            raise HTTPError(403)
        self.door.let_in(self, name)

    def set_secure_cookie(self, name: str, value: Any, *_: Any, **__: Any) -> None:
        """Panel hands over here what the provider said; it is heard and not kept."""
        self._told[name] = value

    def _raise_error(self, response: Any, body: Any = None, status: int = 400) -> None:
        """Panel calls this where the provider's answer is not the one that was hoped for."""
        answered = None if response is None else response.code
        logger.warning("the provider did not say who came; it answered %s", answered or "nothing")
        raise HTTPError(401 if answered is not None and answered < 500 else 502)


class Logout(_AtTheDoor):
    """Ends a visit."""

    def get(self) -> None:
        """See the visitor out."""
        self.door.see_out(self)
        self.finish(
            login_page(
                title="You are logged out",
                said="Notes that you saved are kept. Pages that you left open draw nothing new.",
            )
        )
