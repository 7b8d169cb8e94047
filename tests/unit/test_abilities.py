"""What doctor finds out about a model server: one that has little, one that is broken, one that is not there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agentmem import doctor
from agentmem.config import Settings
from agentmem.findings import Finding
from agentmem.models import abilities
from agentmem.models.abilities import look_at
from agentmem.models.select import Place
from agentmem.testing.model_server import NO_PARSER

Answer = tuple[int, Any]
Answers = Callable[[str, Mapping[str, Any]], Answer]
NOT_FOUND: Answer = (404, {"detail": "Not Found"})


class Able:
    """A server's answers by path, as vLLM gives them; a test takes abilities away, or breaks them."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = [
            {"id": "m", "object": "model", "max_model_len": 8192, "parent": None},
            {"id": "mem-1", "object": "model", "parent": "m"},
        ]
        self.bound: Answer = (200, said(json.dumps({"name": "agentmem"})))
        self.free: Answer = (200, said("Hello!"))
        self.tools: Answer = (200, said("", tool_calls=[{"function": {"name": "note_weather", "arguments": "{}"}}]))
        self.count: Answer = (200, {"count": 7})
        self.adapter: Answer = (404, error("Loading lora agentmem-doctor failed: No adapter found"))

    def get(self, path: str) -> Answer:
        pages: dict[str, Any] = {"/v1/models": {"object": "list", "data": self.models}, "/version": {"version": "0.32"}}
        return (200, pages[path]) if path in pages else NOT_FOUND

    def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        if path == "/v1/chat/completions":
            return self.bound if "response_format" in body else self.tools if "tools" in body else self.free
        return {"/tokenize": self.count, "/v1/load_lora_adapter": self.adapter}.get(path, NOT_FOUND)


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text, **more}, "finish_reason": "stop"}]}


def error(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}


@pytest.fixture
def able() -> Able:
    return Able()


@pytest.fixture
def place(able: Able) -> Iterator[Place]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(*able.get(self.path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.reply(*able.post(self.path, body))

        def reply(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Place(f"http://127.0.0.1:{server.server_address[1]}/v1", "m")
    server.shutdown()
    server.server_close()
    thread.join()


def found(place: Place, budget: int = 1500) -> dict[str, Finding]:
    return {finding.name: finding for finding in look_at(place, budget)}


def test_a_server_that_can_do_everything(place: Place) -> None:
    findings = found(place)
    assert {name: finding.state for name, finding in findings.items()} == dict.fromkeys(
        ["model", "context", "tokens", "json schema", "adapters", "tools"], "ok"
    )
    assert findings["model"].detail == f"m at {place.address} (vLLM 0.32)"
    assert findings["context"].detail == "8192 tokens"
    assert findings["adapters"].detail == "can be loaded at run time; loaded: mem-1"


def test_a_server_that_only_chats_is_told_of_what_it_lacks(able: Able, place: Place) -> None:
    able.models = [{"id": "m", "object": "model"}]
    able.bound, able.tools = (400, error("response_format is not known")), (400, error(NO_PARSER))
    able.count = able.adapter = NOT_FOUND
    findings = found(place)
    assert {finding.state for finding in findings.values()} == {"ok", "note"}
    notes = {name for name, finding in findings.items() if finding.state == "note"}
    assert notes == {"context", "tokens", "json schema", "adapters", "tools"}
    assert all(finding.remedy for name, finding in findings.items() if name in notes - {"context"})
    assert "response_format is not known" in findings["json schema"].detail
    assert "--tool-call-parser" in findings["tools"].detail
    assert all("\n" not in finding.detail for finding in findings.values())


def test_a_schema_that_is_not_heeded_is_noticed(able: Able, place: Place) -> None:
    able.bound = (200, said("Hello!"))
    assert "does not heed" in found(place)["json schema"].detail


def test_a_model_that_reasons_past_the_limit_is_not_judged(able: Able, place: Place) -> None:
    able.bound = (200, said("", reasoning="The user says hello, so"))
    assert "cannot be told" in found(place)["json schema"].detail


def test_an_adapter_is_looked_at_by_its_own_name(place: Place) -> None:
    findings = found(Place(place.address, "mem-1"))
    assert findings["context"].detail == "8192 tokens", "its model's"


def test_a_short_context_is_noted(place: Place) -> None:
    assert found(place, budget=7000)["context"].remedy is not None


@pytest.mark.parametrize("adapter", [(500, error("LoRA is not enabled. Use --enable-lora")), (404, {"detail": "x"})])
def test_adapters_that_cannot_be_loaded_are_noted(adapter: Answer, able: Able, place: Place) -> None:
    able.adapter = adapter
    assert found(place)["adapters"].state == "note"


def test_a_tool_call_in_plain_text_is_a_fault(able: Able, place: Place) -> None:
    able.tools = (200, said('<tool_call>{"name": "note_weather", "arguments": {"city": "Oslo"}}</tool_call>'))
    tools = found(place)["tools"]
    assert (tools.state, "<tool_call>" in tools.detail) == ("fault", True)
    assert "--tool-call-parser" in (tools.remedy or "")


def test_a_tool_that_is_not_called_is_noted(able: Able, place: Place) -> None:
    able.tools = (200, said("Noted."))
    assert found(place)["tools"].state == "note"


def test_a_model_that_is_not_served_is_the_one_fault(place: Place) -> None:
    findings = list(look_at(Place(place.address, "other"), 1500))
    assert [(finding.name, finding.state) for finding in findings] == [("model", "fault")]
    assert findings[0].remedy == "name one that it serves: --model m"


@pytest.mark.parametrize(
    ("status", "remedy"), [(400, "--chat-template"), (401, "AGENTMEM_API_KEY"), (404, "--base-url"), (500, "log")]
)
def test_a_server_that_does_not_chat_is_a_fault(status: int, remedy: str, able: Able, place: Place) -> None:
    able.bound = able.free = (status, error("no, thank you"))
    chat = found(place)["chat"]
    assert chat.state == "fault"
    assert remedy in (chat.remedy or "")
    assert "no, thank you" in chat.detail


def test_a_server_that_says_nothing_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (finding,) = look_at(Place(f"http://127.0.0.1:{silent.getsockname()[1]}/v1", "m"), 1500)
    assert (finding.state, "did not answer" in finding.detail) == ("fault", True)


def test_doctor_says_that_there_is_no_server() -> None:
    (finding,) = doctor._model(Settings(), local="http://127.0.0.1:9/v1")
    assert finding.state == "note"
    assert "agentmem serve" in (finding.remedy or "")
