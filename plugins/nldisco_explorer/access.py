"""Who may reach a served explorer: addresses, hosts and origins, and the password or provider that asks for a name."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import RequestHandler

from nldisco_core.errors import NLDiscoError

__all__ = ["PASSWORD_VARIABLE", "Access", "ServeError", "allowed_hosts", "read_access", "refusals", "require_access"]

PASSWORD_VARIABLE = "NLDISCO_PASSWORD"
GUEST_VARIABLES = ("PANEL_OAUTH_OPTIONAL", "PANEL_OAUTH_GUEST_ENDPOINTS")
SHORTEST_PASSWORD = 12
LOGIN_PAGE = Path(__file__).with_name("login.html")
LOOPBACK = ("localhost", "127.0.0.1")  # Bokeh's list takes no address in brackets; ::1 is reached as localhost


class ServeError(NLDiscoError):
    """The explorer cannot be served as asked."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a visitor shows who they are.

    Attributes
    ----------
    password : everybody's, None where a provider is asked
    provider : name of the OAuth provider, with Panel's own settings (``PANEL_OAUTH_KEY``, ``PANEL_OAUTH_SECRET``, …)
    users : names of those who come in; empty for everybody who knows the password
    """

    password: str | None = None
    provider: str | None = None
    users: frozenset[str] = frozenset()

    def server_options(self) -> dict[str, Any]:
        """What Panel's server needs to ask for it."""
        options: dict[str, Any] = {"cookie_secret": secrets.token_urlsafe(32), "login_template": str(LOGIN_PAGE)}
        if self.password is not None:
            return options | {"basic_auth": self.password}
        return options | {"oauth_provider": self.provider}


def read_access(
    kind: str, *, password_file: Path | None, users: Iterable[str], environment: Mapping[str, str]
) -> Access:
    """The access that ``--auth`` asks for; a password is never taken from the command line, which others can see.

    Parameters
    ----------
    kind : ``password`` or the name of one of Panel's OAuth providers
    password_file : holds the password in its first line
    users : who may come in through a provider

    Raises
    ------
    ServeError
        The password is missing or short, or a provider is asked without users.
    """
    for variable in GUEST_VARIABLES:
        if environment.get(variable):
            raise ServeError(f"{variable} is set, which lets in people who have not logged in; unset it")
    if kind == "password":
        return Access(password=_password(password_file, environment))
    if not environment.get("PANEL_OAUTH_KEY") or not environment.get("PANEL_OAUTH_SECRET"):
        raise ServeError(
            f"{kind} needs PANEL_OAUTH_KEY and PANEL_OAUTH_SECRET in the environment; see Panel's OAuth guide"
        )
    allowed = frozenset(users)
    if not allowed:
        raise ServeError(f"everybody with an account at {kind} could log in; name who may with --allow-user")
    return Access(provider=kind, users=allowed)


def _password(file: Path | None, environment: Mapping[str, str]) -> str:
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ServeError(f"the password file {file} cannot be read: {error}") from error
        found = lines[0] if lines else ""
    else:
        found = environment.get(PASSWORD_VARIABLE, "")
    if len(found) < SHORTEST_PASSWORD:
        where = f"the first line of {file}" if file is not None else f"the environment variable {PASSWORD_VARIABLE}"
        raise ServeError(
            f"the password has {len(found)} characters; put at least {SHORTEST_PASSWORD} into {where} "
            "(--password-file names a file)"
        )
    if Path(found).is_file():
        raise ServeError("the password is the name of a file here, which Panel would read in its place; choose another")
    return found


def require_access(address: str, origins: Iterable[str], *, has_access: bool) -> None:
    """Refuse to let other machines in unasked.

    Parameters
    ----------
    address : that the server listens on
    origins : further hosts, such as ``lab.example.org:5006`` or ``https://lab.example.org``
    has_access : whether visitors are asked who they are

    Raises
    ------
    ServeError
        Other machines would be let in without being asked, or no origin is named for a public address.
    """
    named = [_host(origin) for origin in origins]
    public = not _is_loopback(address)
    if public and not named:
        raise ServeError(
            f"address {address!r} lets other machines in; name the host that they will type with --allow-origin, "
            "such as lab.example.org:5006, and add --auth password"
        )
    if not has_access and (public or not all(_is_loopback(host.rpartition(":")[0]) for host in named)):
        raise ServeError(
            f"address {address!r} with {', '.join(named)} would let other machines in unasked; add --auth password, or "
            "serve on 127.0.0.1 alone and reach it through an SSH tunnel"
        )


def allowed_hosts(address: str, port: int, origins: Iterable[str]) -> frozenset[str]:
    """Hosts, with ports, that a browser may name when it asks this server for anything; see `require_access`."""
    own = (address, *LOOPBACK) if _is_loopback(address) and ":" not in address else LOOPBACK
    return frozenset((*(f"{name}:{port}" for name in own), *map(_host, origins)))


def _host(origin: str) -> str:
    """``host:port`` of an origin."""
    parts = urlsplit(origin if "//" in origin else f"//{origin}")
    if not parts.hostname or "*" in origin or ":" in parts.hostname or parts.path.strip("/"):
        raise ServeError(f"origin {origin!r}; expected a name, such as lab.example.org:5006, without a path or *")
    return _with_port(parts.hostname if parts.port in (None, 443) else f"{parts.hostname}:{parts.port}")


def _with_port(host: str) -> str:
    """A browser leaves out the usual port; Bokeh reads that as 80, for https too."""
    return host.lower() if re.search(r":\d+$", host) else f"{host.lower()}:80"


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def refusals(allowed: frozenset[str]) -> list[Rule]:
    """Rules that stand before all others of a server and refuse what none of its own pages asks."""
    foreign = "This host or origin is not allowed here; start `nldisco serve` with --allow-origin HOST:PORT."
    return [
        Rule(Foreign(allowed), Refused, {"reason": foreign}),
        Rule(Climbing(), Refused, {"reason": "No path here leads upwards."}),
    ]


class Foreign(Matcher):
    """Matches requests that name a host or come from a page that is not allowed.

    A page of another site that makes its own name point here (DNS rebinding) still has to name itself.
    """

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Arguments for the handler where the request is foreign, None where it is not."""
        named = [request.host]
        if "Origin" in request.headers:
            named.append(urlsplit(request.headers["Origin"]).netloc)
        return None if all(_with_port(host) in self._allowed for host in named) else {}


class Climbing(Matcher):
    """Matches paths with a step upwards, however it is written: no file of this server has one."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Arguments for the handler where the path climbs, None where it does not."""
        return {} if ".." in unquote(unquote(request.path)) else None


class Refused(RequestHandler):
    """Answers 403 to whatever is asked."""

    def initialize(self, reason: str) -> None:
        """Tornado hands over what the rule says."""
        self._said = reason

    def check_xsrf_cookie(self) -> None:
        """Nothing is done here that a forged form could want."""

    def prepare(self) -> None:
        """Refuse before any method is looked at."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._said}\n")
