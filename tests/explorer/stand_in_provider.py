"""An OAuth provider on this machine that logs everybody in as the account it was told, for Panel's ``generic``."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

KEY, SECRET = "nldisco-at-the-lab", "the-secret-of-the-client"


class StandIn:
    """What the provider answers, and what it was asked.

    Attributes
    ----------
    account : claims about whoever asks to be let in
    gives_id_token : whether the token's answer says who it is, so that nobody need ask further
    fault : what the token's endpoint does wrong; empty where it works
    asked : endpoint and fields of every request, in order
    """

    def __init__(self) -> None:
        self.account: dict[str, Any] = {"email": "ada@lab.example"}
        self.gives_id_token = False
        self.fault = ""
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""
        self._codes: dict[str, str] = {}
        self._n = 0

    def settings(self) -> dict[str, str]:
        """The environment that makes Panel ask here."""
        return {
            "PANEL_OAUTH_KEY": KEY,
            "PANEL_OAUTH_SECRET": SECRET,
            "PANEL_OAUTH_AUTHORIZE_URL": f"{self.url}/authorize",
            "PANEL_OAUTH_TOKEN_URL": f"{self.url}/token",
            "PANEL_OAUTH_USER_URL": f"{self.url}/userinfo",
        }

    def code(self, redirect_uri: str) -> str:
        """A code for the account, as anybody with an account gets one."""
        self._n += 1
        self._codes[f"code-{self._n}"] = redirect_uri
        return f"code-{self._n}"

    def authorize(self, asked: dict[str, str]) -> tuple[int, str]:
        """Where the browser is sent, logged in."""
        assert asked["client_id"] == KEY
        assert asked["response_type"] == "code"
        if self.fault == "denied":
            found = {"error": "access_denied", "error_description": "<script>no</script>", "state": asked["state"]}
        else:
            found = {"code": self.code(asked["redirect_uri"]), "state": asked["state"]}
        return 302, f"{asked['redirect_uri']}?{urlencode(found)}"

    def token(self, asked: dict[str, str]) -> tuple[int, str]:
        """A token for a code, once."""
        if self.fault in ("broken", "no answer"):
            return 500, "Traceback: the provider is broken"
        if self.fault == "no JSON":
            return 200, "<html>maintenance</html>"
        meant = self._codes.pop(asked.get("code", ""), None)
        known = (asked["client_id"], asked["client_secret"], asked["grant_type"]) == (KEY, SECRET, "authorization_code")
        if not known or meant != asked["redirect_uri"] or self.fault == "expired":
            return 400, json.dumps({"error": "invalid_grant", "error_description": "the code has expired"})
        answer: dict[str, Any] = {"access_token": "opaque-token", "token_type": "Bearer", "expires_in": 1}
        if self.gives_id_token:
            parts = ({"alg": "RS256"}, self.account, "signature")
            answer["id_token"] = ".".join(
                base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
            )
        return 200, json.dumps(answer)

    def userinfo(self, bearer: str) -> tuple[int, str]:
        """The account, for who has the token."""
        return (200, json.dumps(self.account)) if bearer == "Bearer opaque-token" else (401, "{}")


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """A provider that answers while the block runs."""
    provider = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(path.query).items()}
            self._answer(path.path, asked)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(self.path, {name: values[0] for name, values in parse_qs(body).items()})

        def _answer(self, path: str, asked: dict[str, str]) -> None:
            provider.asked.append((path, asked))
            if path == "/token" and provider.fault == "no answer":
                self.close_connection = True
                return
            answers: dict[str, Callable[[], tuple[int, str]]] = {
                "/authorize": lambda: provider.authorize(asked),
                "/token": lambda: provider.token(asked),
                "/userinfo": lambda: provider.userinfo(self.headers["Authorization"]),
            }
            status, content = answers[path]()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", content)
            self.send_header("Content-Length", str(len(content.encode())))
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield provider
        server.shutdown()
        thread.join()
