"""A proxy on loopback before a model server: it keeps what was sent and said, and breaks answers on request.

    with Proxy("http://127.0.0.1:8000/v1") as proxy:
        settings = Settings(base_url=proxy.url)
        …
        with proxy.failing("drop"):
            …                       # answers end in the middle
        proxy.requests              # bodies of the chat completions so far

Standard library only. Whatever is no chat completion is passed on as it is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

Fault: TypeAlias = Literal["truncate", "repeat", "error", "slow", "drop", "wrong_model", "overflow"]
"""How a chat completion goes wrong: what it says is cut in half, as where a server stops at its limit of tokens; it
says the same over and over until that limit; the server fails with status 500; each piece comes late; the connection
breaks in the middle; the server is asked for a model that it has not; the prompt is longer than its context. The last
two change what is asked, so the server's own answer comes back."""

_CHAT = "/chat/completions"
_REPEATED = "the same again "
_LIMIT = 512
"""Tokens at which a repetition ends where the request has no `max_tokens`."""
_SECONDS = 600.0
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


@dataclass
class Exchange:
    """One chat completion: the request's body, the answer's status and body as the server gave them, the fault."""

    request: dict[str, Any]
    fault: Fault | None
    status: int | None = None
    body: bytes = b""

    @property
    def sent(self) -> str:
        """All that the request held, as text to look for words in."""
        return json.dumps(self.request, ensure_ascii=False)


@dataclass
class _Failing:
    fault: Fault
    left: int | None
    delay: float


@dataclass
class Proxy:
    """Listens on a free port of loopback while it is used as a context; `url` is its address, `target` the server's.

    Both end in `/v1`. `exchanges` are the chat completions in the order in which they began.
    """

    target: str
    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    _failing: _Failing | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Proxy:
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Listening(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{urlsplit(self.target).path}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [exchange.request for exchange in self.exchanges]

    @contextmanager
    def failing(self, fault: Fault, *, times: int | None = None, delay: float = 0.2) -> Iterator[None]:
        """Chat completions that begin inside fail; only so many of them where `times` is given.

        `delay` is how many seconds each piece of a slow answer takes. The OpenAI client asks again by itself after a
        500, so one of these is often not seen.
        """
        with self._lock:
            before, self._failing = self._failing, _Failing(fault, times, delay)
        try:
            yield
        finally:
            with self._lock:
                self._failing = before

    def _begin(self, request: dict[str, Any]) -> tuple[Exchange, float]:
        with self._lock:
            failing = self._failing
            if failing is None or failing.left == 0:
                exchange, delay = Exchange(request, None), 0.0
            else:
                failing.left = None if failing.left is None else failing.left - 1
                exchange, delay = Exchange(request, failing.fault), failing.delay
            self.exchanges.append(exchange)
            return exchange, delay


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet: clients that leave in the middle are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    owner: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._forward(None, self._pass)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith(_CHAT):
            self._chat(json.loads(body))
        else:
            self._forward(body, self._pass)

    def _chat(self, request: dict[str, Any]) -> None:
        exchange, delay = self.owner._begin(request)
        if exchange.fault == "error":
            self._reply(500, {"error": {"message": "it broke", "type": "InternalServerError", "code": 500}})
            return

        def answer_with(answer: HTTPResponse) -> None:
            exchange.status = answer.status
            if answer.status != 200 or exchange.fault in (None, "wrong_model", "overflow"):
                self._pass(answer, exchange)
            elif request.get("stream"):
                self._stream(answer, exchange, delay)
            else:
                self._whole(answer, exchange, delay)

        self._forward(json.dumps(_changed(request, exchange.fault)).encode(), answer_with)

    def _forward(self, body: bytes | None, answer_with: Callable[[HTTPResponse], None]) -> None:
        """The same request to the server, and what is made of its answer; 502 where it gives none."""
        target = urlsplit(self.owner.target)
        server = HTTPConnection(target.hostname or "", target.port, timeout=_SECONDS)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "host"}}
        try:
            server.request(self.command, self.path, body, headers)
            answer = server.getresponse()
        except OSError as error:
            self._reply(502, {"error": {"message": f"no answer from {self.owner.target}: {error}", "code": 502}})
        else:
            answer_with(answer)
        finally:
            server.close()

    # -- answers as they are -----------------------------------------------------------------------------------------

    def _pass(self, answer: HTTPResponse, exchange: Exchange | None = None) -> None:
        self._begin_pieces(answer)
        while piece := answer.read1(65536):
            if exchange is not None:
                exchange.body += piece
            self._piece(piece)
        self._piece(b"")

    def _begin_pieces(self, answer: HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _piece(self, data: bytes) -> None:
        """One piece of the body; an empty one is its end."""
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _reply(self, status: int, content: Mapping[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    # -- answers that fail -------------------------------------------------------------------------------------------

    def _whole(self, answer: HTTPResponse, exchange: Exchange, delay: float) -> None:
        exchange.body = answer.read()
        said = json.loads(exchange.body)
        if exchange.fault in ("truncate", "repeat"):
            for choice in said["choices"]:
                text = choice["message"].get("content") or ""
                choice["message"]["content"] = (
                    text[: len(text) // 2] if exchange.fault == "truncate" else _loop(exchange)
                )
                choice["finish_reason"] = "length"
        body = json.dumps(said).encode()
        self._begin_pieces(answer)
        for piece in (body[: len(body) // 2], body[len(body) // 2 :]):
            time.sleep(delay if exchange.fault == "slow" else 0)
            self._piece(piece)
            if exchange.fault == "drop":
                self._break_off()
                return
        self._piece(b"")

    def _stream(self, answer: HTTPResponse, exchange: Exchange, delay: float) -> None:
        """The answer's events, as `_events` has them."""
        exchange.body = answer.read() if exchange.fault != "slow" else b""
        self._begin_pieces(answer)
        for event in _events(answer, exchange):
            time.sleep(delay if exchange.fault == "slow" else 0)
            self._piece(event)
        if exchange.fault == "drop":
            self._break_off()
        else:
            self._piece(b"")

    def _break_off(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def _changed(request: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    if fault == "wrong_model":
        return {**request, "model": f"{request['model']}-that-is-not-there"}
    if fault == "overflow":
        first, *others = request["messages"]
        return {**request, "messages": [{**first, "content": "far too much " * 200_000}, *others]}
    return request


def _loop(exchange: Exchange) -> str:
    words = exchange.request.get("max_completion_tokens") or exchange.request.get("max_tokens") or _LIMIT
    return _REPEATED * (int(words) // len(_REPEATED.split()))


def _events(answer: HTTPResponse, exchange: Exchange) -> Iterator[bytes]:
    if exchange.fault == "slow":
        for line in iter(answer.readline, b""):
            exchange.body += line
            if line.strip():
                yield line + b"\n"
        return
    events = [line + b"\n\n" for line in exchange.body.split(b"\n") if line.strip()]
    change: Mapping[str, Callable[[list[bytes]], list[bytes]]] = {
        "truncate": _cut,
        "drop": lambda found: found[: len(found) // 2],
        "repeat": lambda found: _repeated(found, _loop(exchange)),
    }
    yield from change[exchange.fault or ""](events)


def _cut(events: list[bytes]) -> list[bytes]:
    """The first half of the pieces, then an end as at the limit of tokens."""
    pieces = [event for event in events if _delta(event)]
    return [*events[: events.index(pieces[0])], *pieces[: len(pieces) // 2], *_end(pieces[0])] if pieces else events


def _repeated(events: list[bytes], text: str) -> list[bytes]:
    pieces = [event for event in events if _delta(event)]
    if not pieces:
        return events
    count = len(text) // len(_REPEATED)
    return [*events[: events.index(pieces[0])], *[_with(pieces[0], _REPEATED)] * count, *_end(pieces[0])]


def _delta(event: bytes) -> bool:
    """Whether an event brings text."""
    if not event.startswith(b"data: {"):
        return False
    choices = json.loads(event[6:]).get("choices") or []
    return any(choice.get("delta", {}).get("content") for choice in choices)


def _with(event: bytes, text: str | None, finish: str | None = None) -> bytes:
    said = json.loads(event[6:])
    for choice in said["choices"]:
        choice["delta"] = {"content": text} if text else {}
        choice["finish_reason"] = finish
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def _end(event: bytes) -> list[bytes]:
    return [_with(event, None, "length"), b"data: [DONE]\n\n"]
