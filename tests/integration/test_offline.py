"""Nothing leaves the machine: every socket that is not loopback is refused and counted, below Python and in it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import ROOT, environment

TELLING = {
    "LANGSMITH_TRACING": "true",
    "LANGSMITH_TRACING_V2": "true",
    "LANGSMITH_API_KEY": "lsv2_not_a_key",
    "LANGSMITH_ENDPOINT": "https://traces.example.com",
    "LANGCHAIN_TRACING": "true",
    "LANGCHAIN_TRACING_V2": "true",
    "LANGCHAIN_API_KEY": "lsv2_not_a_key",
    "LANGCHAIN_ENDPOINT": "https://traces.example.com",
}
CONVERSATION = [
    {"role": "user", "content": "My sister Ida moved to Bergen in spring."},
    {"role": "assistant", "content": "How does Ida like Bergen?"},
    {"role": "user", "content": "She likes the rain there, and the fish market."},
]


class Guarded:
    """Runs commands of which no packet may leave, and tells what they tried."""

    def __init__(self, folder: Path, shim: Path | None) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.log = folder / "attempts.log"
        paths = [ROOT / "tests" / "integration" / "guard", ROOT, ROOT / "tui"]
        self.env = {**TELLING, "SOCKET_GUARD_LOG": str(self.log), "PYTHONPATH": ":".join(map(str, paths))}
        if shim is not None:
            self.env |= {"LD_PRELOAD": str(shim), "SHIM_LOG": str(self.log)}

    def python(self, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        env = environment(self.home, **self.env)
        return subprocess.run(
            [sys.executable, *args], input=stdin, capture_output=True, text=True, env=env, cwd=self.home, timeout=100
        )

    def agentmem(self, *args: str, stdin: str = "") -> str:
        done = self.python("-m", "agentmem", *args, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def attempts(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture(params=["python", "libc"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Guarded:
    """Guarded in Python, which all platforms have, or below it, where libraries in C and Rust pass as well."""
    return Guarded(tmp_path, request.getfixturevalue("shim") if request.param == "libc" else None)


@pytest.mark.parametrize("call", ["create_connection(('192.0.2.1', 80), 1)", "getaddrinfo('traces.example.com', 443)"])
def test_the_guard_sees_and_refuses(call: str, guarded: Guarded) -> None:
    done = guarded.python("-c", f"import socket; socket.{call}")
    assert done.returncode != 0
    assert guarded.attempts()


def test_ingest_ask_recall_and_chat_stay_here(guarded: Guarded) -> None:
    file = guarded.home / "chat.json"
    file.write_text(json.dumps(CONVERSATION))
    guarded.agentmem("ingest", str(file))
    assert "Bergen" in guarded.agentmem("recall", "Where did Ida move?")
    assert "Bergen" in guarded.agentmem("ask", "Where did Ida move?")
    assert "Bergen" in guarded.agentmem("chat", "--plain", stdin="Where did my sister move?\n")
    guarded.agentmem("thoughts", "add", "Ida lives in Bergen")
    guarded.agentmem("stats")
    guarded.agentmem("doctor")
    guarded.agentmem("plugins")
    assert guarded.attempts() == []


def test_the_bulk_embedder_stays_here(guarded: Guarded) -> None:
    """A large ingest and `reindex` may go through sentence-transformers, which knows a hub."""
    file = guarded.home / "turns.jsonl"
    turns = [{"role": "user", "text": f"On day {n} it rained {n} times in Bergen"} for n in range(300)]
    file.write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    guarded.agentmem("ingest", str(file))
    guarded.agentmem("reindex")
    assert guarded.attempts() == []


def test_an_embedder_that_is_not_there_is_not_fetched(guarded: Guarded) -> None:
    guarded.env["AGENTMEM_EMBEDDER"] = "sentence-transformers/paraphrase-albert-small-v2"
    guarded.agentmem("thoughts", "add", "Ida lives in Bergen")
    done = guarded.python("-m", "agentmem", "reindex")
    assert done.returncode not in (0, 70)
    assert "Traceback" not in done.stderr
    assert guarded.attempts() == []


class Model(BaseHTTPRequestHandler):
    """As little of an OpenAI-compatible server as a chat needs; its words are fixed."""

    words = "Ida lives in Bergen, you said."

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": "fixed", "object": "model", "max_model_len": 4096}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "chat/completions" not in self.path:
            self.reply({"count": 7, "max_model_len": 4096, "tokens": [1] * 7})
        elif asked.get("stream"):
            self.stream()
        else:
            message = {"role": "assistant", "content": self.words}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14}
            self.reply(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "fixed",
                    "choices": [choice],
                    "usage": usage,
                }
            )

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": self.words}, {}]
        for delta in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
            piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fixed", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def reply(self, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_address[1]}/v1"
    listening.shutdown()
    listening.server_close()
    thread.join()


def test_a_model_on_loopback_is_the_only_one_called(guarded: Guarded, server: str) -> None:
    """LangChain's client traces to LangSmith when its environment says so, and the OpenAI client counts tokens with a
    table that it downloads: neither may happen."""
    model = ["--model", "fixed", "--base-url", server]
    assert Model.words in guarded.agentmem("ask", *model, "Where does Ida live?")
    assert Model.words in guarded.agentmem("chat", "--plain", *model, stdin="Where does Ida live?\nAnd now?\n")
    assert guarded.attempts() == []
