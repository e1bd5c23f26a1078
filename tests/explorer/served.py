"""Servers in processes of their own and how to ask them things over real sockets; read by the tests that serve."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bokeh.util.token import get_token_payload

COMMAND = "import sys; from nldisco_core.cli import main; main(sys.argv[1:])"
PASSWORD = "correct horse battery"


class Served:
    """A running server, and how to ask it things."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def here(self) -> str:
        """Its origin, as its own pages name it."""
        return f"http://127.0.0.1:{self.port}"

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

    @contextmanager
    def opened(self, token: str, **headers: str) -> Iterator[tuple[str, Talk | None]]:
        """The HTTP status that a websocket is answered with and, where that is 101, the websocket."""
        named = {"Host": f"127.0.0.1:{self.port}", "Connection": "Upgrade", "Upgrade": "websocket"} | headers
        named |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(b"k" * 16).decode()}
        named |= {"Sec-WebSocket-Protocol": f"bokeh, {token}"}
        lines = ["GET /ws HTTP/1.1", *(f"{name}: {text}" for name, text in named.items()), "", ""]
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as opened, opened.makefile("rwb") as stream:
            opened.sendall("\r\n".join(lines).encode())
            status = stream.readline().split()[1].decode()
            while stream.readline().strip():
                pass
            yield status, Talk(stream) if status == "101" else None

    def socket_answer(self, token: str, **headers: str) -> str:
        """What the websocket answers first: a message's type, ``closed``, or the HTTP status that refused it."""
        with self.opened(token, **headers) as (status, talk):
            if talk is None:
                return status
            first = talk.hear()
            return "closed" if first is None else str(json.loads(first)["msgtype"])


class Talk:
    """One websocket, by the frame."""

    def __init__(self, stream: io.BufferedRWPair) -> None:
        self._stream = stream

    def hear(self) -> bytes | None:
        """The next frame of data; None once the other side has closed."""
        while True:
            head = self._stream.read(2)
            if len(head) < 2:
                return None
            opcode, length = head[0] & 0x0F, head[1]
            if length >= 126:
                length = int.from_bytes(self._stream.read(2 if length == 126 else 8))
            content = self._stream.read(length)
            if opcode == 8:
                return None
            if opcode in (1, 2):
                return content

    @property
    def is_closed(self) -> bool:
        """Whether the other side closes, which is waited for, and whatever it says until then is let pass."""
        while self.hear() is not None:
            pass
        return True

    def say(self, content: bytes) -> None:
        """One frame of text, masked with zeros as a browser masks with noise."""
        length = len(content)
        size = bytes([0x80 | length]) if length < 126 else b"\xff" + length.to_bytes(8)
        self._stream.write(b"\x81" + size + bytes(4) + content)
        self._stream.flush()

    def announce(self, length: int) -> None:
        """The beginning of a frame of so many bytes, which do not follow."""
        self._stream.write(b"\x81\xff" + length.to_bytes(8) + bytes(4))
        self._stream.flush()

    def message(self, kind: str, content: object) -> None:
        """Send one message of Bokeh's protocol."""
        for part in ({"msgid": "1", "msgtype": kind}, {}, content):
            self.say(json.dumps(part).encode())

    def heard(self, kind: str) -> Any:
        """The content of the next message of a kind; others are let pass."""
        while (head := self.hear()) is not None:
            header = json.loads(head)
            _, content, *_ = [self.hear() for _ in range(2 + 2 * header.get("num_buffers", 0))]
            if header["msgtype"] == kind:
                return json.loads(content or b"")
        raise ConnectionError(f"closed before {kind}")

    def objects(self) -> list[dict[str, Any]]:
        """All models of the page, as Bokeh writes them."""
        self.message("PULL-DOC-REQ", {})
        return list(_objects(self.heard("PULL-DOC-REPLY")))

    def model(self, css_class: str) -> dict[str, Any]:
        """The model of the page with this class, once it is there."""
        for _ in range(100):
            if found := [each for each in self.objects() if css_class in each["attributes"].get("css_classes", [])]:
                return found[0]
            time.sleep(0.1)
        raise LookupError(f"the page has no {css_class}")

    def load(self) -> None:
        """Do as a browser that has drawn the page, once the other side is ready."""
        self.heard("ACK")
        assert self.patch(event("document_ready")) == "OK"

    def type_note(self, name: str) -> None:
        """Write a note with this name, by messages alone."""
        assert self.patch(click(self.model("note-write"))) == "OK"
        self.type_note_again(name)

    def type_note_again(self, name: str) -> None:
        """Change the note in the fields that stand open."""
        assert self.patch(change(self.model("note-name"), "value_input", name)) == "OK"
        assert self.patch(click(self.model("note-save"))) == "OK"

    def patch(self, *events: dict[str, Any]) -> str:
        """Change the page's document; the type of the answer."""
        self.message("PATCH-DOC", {"events": events})
        while (head := self.hear()) is not None:
            header = json.loads(head)
            for _ in range(2 + 2 * header.get("num_buffers", 0)):
                self.hear()
            if header["msgtype"] in ("OK", "ERROR"):
                return str(header["msgtype"])
        return "closed"


@contextmanager
def started(
    code: str, *arguments: str, log: Path = Path(os.devnull), settings: Mapping[str, str] = {}
) -> Iterator[Served]:
    """A server in a process of its own.

    Parameters
    ----------
    log : where all that it says goes
    settings : of its environment, beside a password
    """
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=os.environ | {"NLDISCO_PASSWORD": PASSWORD} | settings,
        ) as server,
    ):
        assert server.stdout is not None
        try:
            found = re.search(r"http://127.0.0.1:(\d+)/", server.stdout.readline())
            assert found is not None
            yield Served(int(found[1]))
        finally:
            server.terminate()


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every model in a document."""
    if isinstance(node, dict):
        if "attributes" in node:
            yield node
        for each in node.values():
            yield from _objects(each)
    elif isinstance(node, list):
        for each in node:
            yield from _objects(each)


def event(name: str, **values: Any) -> dict[str, Any]:
    """Something that happened in the browser, as Bokeh's protocol writes it."""
    said = {
        "type": "event",
        "name": name,
        "values": {"type": "map", "entries": [list(item) for item in values.items()]},
    }
    return {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": said}


def click(model: dict[str, Any]) -> dict[str, Any]:
    """A click on a button."""
    return event("dom_event", model={"id": model["id"]}, node="click", data={"type": "map", "entries": []})


def change(model: dict[str, Any], attribute: str, value: Any) -> dict[str, Any]:
    """Another value in a field."""
    of = model["attributes"]["data"]["id"]
    return {"kind": "ModelChanged", "model": {"id": of}, "attr": attribute, "new": value}


def payload(token: str) -> dict[str, Any]:
    """What a token says to whoever reads it."""
    found: dict[str, Any] = dict(get_token_payload(token))
    return found
