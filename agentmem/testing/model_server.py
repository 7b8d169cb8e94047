"""An OpenAI-compatible server on loopback whose words are fixed beforehand, with the manners of vLLM.

For tests of what goes over the wire: `FakeChatModel` stands in for a model, this for its server.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

from langchain_core.messages import AIMessage

Said: TypeAlias = "str | AIMessage | Refusal"
Step: TypeAlias = "Said | Callable[[Mapping[str, Any]], Said]"
NO_PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
_USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error in place of an answer."""

    status: int
    message: str


def count(request: Mapping[str, Any]) -> int:
    """The tokens of a request: four bytes of its messages and tools make one, and a message is eight more."""
    written = json.dumps([request["messages"], request.get("tools") or []], ensure_ascii=False)
    return len(written.encode()) // 4 + 8 * len(request["messages"])


@dataclass
class ModelServer:
    """Answers chat completions from a script, one step a call, the last one over and over; streams word by word.

    A step is a text, an AIMessage (`fake_model.tool_call` makes one that calls a tool; `reasoning_content` among its
    `additional_kwargs` is sent apart), a Refusal, or a function from the request's body to one of them. `window` is its
    `max_model_len` in tokens as `count` has them (None: it names none, and has no /tokenize); longer prompts are
    refused in vLLM's words. Without a `parser` it refuses tools. `adapters` are those that were loaded, by name with
    their folder (None: it takes none).
    `requests` holds path and body of each POST.

        with ModelServer(["Hello."]) as server:
            choose_model(Settings(base_url=server.url))
    """

    script: Sequence[Step]
    window: int | None = None
    parser: bool = True
    model: str = "scripted"
    tokenizer: Callable[[Mapping[str, Any]], int] = count
    adapters: dict[str, str] | None = None
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    def begin(self, script: Sequence[Step]) -> None:
        """Go on with another script, as if nothing had been asked."""
        self.script = script
        self.requests.clear()
        self._answered = 0

    def __enter__(self) -> Self:
        self._answered = 0
        self._lock = threading.Lock()
        self._listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._listening.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listening.server_address[1]}/v1"
        return self

    def __exit__(self, *_error: object) -> None:
        self._listening.shutdown()
        self._listening.server_close()
        self._thread.join()

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the requests for an answer."""
        return [body for path, body in self.requests if path.endswith("/chat/completions")]

    def models(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": self.model, "object": "model"}
        first = entry if self.window is None else entry | {"max_model_len": self.window}
        more = [entry | {"id": n, "root": at, "parent": self.model} for n, at in (self.adapters or {}).items()]
        return {"object": "list", "data": [first, *more]}

    def change(self, path: str, body: Mapping[str, str]) -> bool:
        """Load or unload an adapter; whether that is what the path is for."""
        if self.adapters is None or path not in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
            return False
        self.adapters.pop(body["lora_name"], None)
        if "lora_path" in body:
            self.adapters[body["lora_name"]] = body["lora_path"]
        return True

    def answer(self, request: Mapping[str, Any]) -> Said:
        """What is said to a request for an answer."""
        length = self.tokenizer(request)
        asked = length + (request.get("max_tokens") or request.get("max_completion_tokens") or 1)
        if self.window is not None and asked > self.window:
            return Refusal(
                400,
                f"This model's maximum context length is {self.window} tokens. However, your request has {length} "
                "input tokens. Please reduce the length of the input messages.",
            )
        if request.get("tools") and not self.parser:
            return Refusal(400, NO_PARSER)
        with self._lock:
            step = self.script[min(self._answered, len(self.script) - 1)]
            self._answered += 1
        return step(request) if callable(step) else step


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, server.models())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, body))
            if self.path == "/tokenize" and server.window is not None:
                self.reply(200, {"count": server.tokenizer(body), "max_model_len": server.window})
            elif server.change(self.path, body):
                self.reply(200, {})
            elif self.path != "/v1/chat/completions":
                self.reply(404, {"error": {"message": "not found", "code": 404}})
            else:
                counted = bool((body.get("stream_options") or {}).get("include_usage"))
                self.say(server.answer(body), streamed=bool(body.get("stream")), counted=counted)

        def say(self, said: Said, *, streamed: bool, counted: bool) -> None:
            if isinstance(said, Refusal):
                self.reply(said.status, {"error": {"message": said.message, "code": said.status}})
                return
            message = AIMessage(said) if isinstance(said, str) else said
            if not streamed:
                self.reply(200, _completion(message, server.model))
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for event in _events(message, server.model, counted=counted):
                self.wfile.write(event)

        def reply(self, status: int, body: Mapping[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


def _completion(said: AIMessage, model: str) -> dict[str, Any]:
    """An answer in one piece, as what is asked behind an answer wants it: no tools."""
    finish = said.response_metadata.get("finish_reason", "stop")
    choice = {"index": 0, "message": {"role": "assistant", "content": said.text}, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": _USAGE}


def _events(said: AIMessage, model: str, *, counted: bool) -> Iterator[bytes]:
    """An answer as a stream of server-sent events, with its tokens at the end where they are asked for."""
    yield _event({"role": "assistant", "content": ""}, model)
    if thought := said.additional_kwargs.get("reasoning_content"):
        yield _event({"reasoning_content": thought, "reasoning": thought}, model)
    for word in re.findall(r"\S+\s*|\s+", said.text):
        yield _event({"content": word}, model)
    for number, call in enumerate(said.tool_calls):
        function = {"name": call["name"], "arguments": json.dumps(call["args"])}
        called = {"index": number, "id": call["id"], "type": "function", "function": function}
        yield _event({"tool_calls": [called]}, model)
    yield _event({}, model, "tool_calls" if said.tool_calls else "stop")
    if counted:
        yield _sent([], model, usage=_USAGE)
    yield b"data: [DONE]\n\n"


def _event(delta: Mapping[str, Any], model: str, finish: str | None = None) -> bytes:
    return _sent([{"index": 0, "delta": delta, "finish_reason": finish}], model)


def _sent(choices: Sequence[Mapping[str, Any]], model: str, **more: Any) -> bytes:
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices, **more}
    return f"data: {json.dumps(event)}\n\n".encode()
