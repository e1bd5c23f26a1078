"""Who may reach a served explorer: addresses, hosts and origins, and the password or provider that asks for a name."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import OutputTransform, RequestHandler

from nldisco_core.errors import NLDiscoError
from nldisco_explorer.oauth import REDIRECT_VARIABLE, missing

__all__ = [
    "PASSWORD_VARIABLE",
    "Access",
    "Framable",
    "Guarded",
    "ServeError",
    "allowed_hosts",
    "https_hosts",
    "read_access",
    "refusals",
    "require_access",
    "with_port",
]

PASSWORD_VARIABLE = "NLDISCO_PASSWORD"
SHORTEST_PASSWORD = 12
LOOPBACK = ("localhost", "127.0.0.1")  # Bokeh's list takes no address in brackets; ::1 is reached as localhost


class ServeError(NLDiscoError):
    """The explorer cannot be served as asked."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a visitor shows who they are.

    Attributes
    ----------
    password : everybody's, None where a provider is asked
    provider : name of the OAuth provider, see `PROVIDERS`
    users : names of those who come in; empty for everybody who knows the password
    """

    password: str | None = None
    provider: str | None = None
    users: frozenset[str] = frozenset()


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
        The password is missing or short, or a provider is asked without its settings or without users.
    """
    if kind == "password":
        return Access(password=_password(password_file, environment), users=frozenset(users))
    if absent := missing(kind, environment):
        raise ServeError(f"{kind} needs {', '.join(absent)} in the environment (see `nldisco serve --help`)")
    returns = environment.get(REDIRECT_VARIABLE, "")
    if returns and urlsplit(returns).path != "/login":
        raise ServeError(f"{REDIRECT_VARIABLE} is {returns}; expected the explorer's address with the path /login")
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


def https_hosts(origins: Iterable[str]) -> frozenset[str]:
    """Those of the hosts, with ports, that visitors reach through https: a server before this one speaks it."""
    return frozenset(_host(origin) for origin in origins if origin.lower().startswith("https://"))


def _host(origin: str) -> str:
    """``host:port`` of an origin."""
    parts = urlsplit(origin if "//" in origin else f"//{origin}")
    if not parts.hostname or "*" in origin or ":" in parts.hostname or parts.path.strip("/"):
        raise ServeError(f"origin {origin!r}; expected a name, such as lab.example.org:5006, without a path or *")
    return with_port(parts.hostname if parts.port in (None, 443) else f"{parts.hostname}:{parts.port}")


def with_port(host: str) -> str:
    """A host with its port: a browser leaves out the usual one, which Bokeh reads as 80, for https too."""
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
        Rule(Unasked(), Refused, {"reason": "No page of the explorer asks this."}),
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
        return None if all(with_port(host) in self._allowed for host in named) else {}


class Climbing(Matcher):
    """Matches paths with a step upwards or a zero, however it is written: no file of this server has one."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Arguments for the handler where the path climbs, None where it does not."""
        path = unquote(unquote(request.path))
        return {} if ".." in path or "\0" in path else None


class Unasked(Matcher):
    """Matches what Bokeh and Panel would answer and none of our pages asks.

    That is the page as a script for other sites, a session that the browser names itself, and modules that nothing has
    imported yet: Panel imports whatever is named in a path, before anybody is asked who they are.
    """

    ENDS = ("/autoload.js", "/metadata")
    NAMED = ("bokeh-token", "bokeh-session-id")
    MODULE = re.compile(r"(?:/[^/]+)?/components/([^/]*)")

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Arguments for the handler where no page asks this, None where one may."""
        path = unquote(request.path)
        module = self.MODULE.match(path)
        named = "Bokeh-Session-Id" in request.headers or any(name in request.arguments for name in self.NAMED)
        asked = not named and not path.endswith(self.ENDS) and (module is None or module[1] in sys.modules)
        return None if asked else {}


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


class Guarded(OutputTransform):
    """Says with every answer that no other site may show it in a frame, run it as a script or hear its address."""

    HEADERS: ClassVar[dict[str, str]] = {
        "X-Frame-Options": "SAMEORIGIN",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """The same answer with these headers."""
        headers.update(self.HEADERS)
        return status_code, headers, chunk


class Framable(Guarded):
    """The same, but in a frame: for a server whose address is a secret of the page that shows it."""

    HEADERS: ClassVar[dict[str, str]] = {
        name: said for name, said in Guarded.HEADERS.items() if name != "X-Frame-Options"
    }
