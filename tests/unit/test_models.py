"""The choice of a model, and the edge to a real OpenAI-compatible client on a loopback server that misbehaves."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.tools import tool
from pydantic import SecretStr

from agentmem.agent import Agent, choose_model
from agentmem.config import Settings
from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem.models.chat import explain, label_of, tool_calls
from agentmem.models.extractive import STAND_IN
from agentmem.models.structured import Asker, Reply, Usage
from agentmem.testing.fake_model import FakeChatModel
from agentmem.thinking.asking import EXTRACT

NS = ("ada",)
MODELS = {"object": "list", "data": [{"id": "small", "object": "model"}, {"id": "adapter", "object": "model"}]}


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    said = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "small", "choices": [choice]}
    return f"data: {json.dumps(said)}\n\n".encode()


def call_of(name: str, arguments: str) -> dict[str, Any]:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


WORDS = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hello "}), chunk({"content": "Ada."})]
WHOLE = [*WORDS, chunk({}, "stop"), b"data: [DONE]\n\n"]


@dataclass
class Server:
    """A loopback server: what it says to GET /v1/models and, one after another, to completions; what it was sent."""

    url: str = ""
    models: Any = field(default_factory=lambda: MODELS)
    models_status: int = 200
    answers: list[Any] = field(default_factory=list)
    """Each a list of event-stream pieces (an exact count is announced when it is cut: "drop"), or a status."""
    drop: bool = False
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


def handler_for(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, None))
            body = server.models if isinstance(server.models, bytes) else json.dumps(server.models).encode()
            self.reply(server.models_status, body)

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, sent))
            answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
            if isinstance(answer, int):
                self.reply(answer, b'{"error": {"message": "it broke: maximum context length is 9"}}')
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            if server.drop:
                self.send_header("Content-Length", "100000")
            self.end_headers()
            for piece in answer:
                self.wfile.write(piece)

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status in (301, 307, 308):
                self.send_header("Location", "http://192.0.2.1/v1/models")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    told = Server(answers=[WHOLE])
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(told))
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    told.url = f"http://localhost:{listening.server_address[1]}/v1"
    yield told
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture
def notes() -> Iterator[Memory]:
    with Memory("memory:", embedder=None, settings=Settings()) as opened:
        yield opened


def agent_of(server: Server, notes: Memory, **how: Any) -> Agent:
    return Agent(
        notes, choose_model(Settings(model="small", base_url=server.url)).model, namespace=NS, think=False, **how
    )


# -- the choice -------------------------------------------------------------------------------------------------


def test_a_named_server_gives_its_first_model(server: Server) -> None:
    chosen = choose_model(Settings(base_url=server.url, api_key=SecretStr("sesame")))
    assert (chosen.label, chosen.notice) == ("small", None)
    assert chosen.model is not None
    assert label_of(chosen.model) == "small"
    path, headers, _ = server.requests[0]
    assert (path, headers["authorization"]) == ("/v1/models", "Bearer sesame")


def test_a_named_model_is_taken_though_the_server_lists_another(server: Server) -> None:
    assert choose_model(Settings(base_url=server.url, model="alias")).label == "alias"
    server.models_status, server.models = 404, b"no such page"
    assert choose_model(Settings(base_url=server.url, model="alias")).label == "alias"


def test_a_model_without_a_server_is_looked_for_here(server: Server, nobody: str) -> None:
    assert choose_model(Settings(model="adapter"), local=server.url).label == "adapter"
    with pytest.raises(ModelError, match="no model server answers"):
        choose_model(Settings(model="adapter"), local=nobody)


def test_a_named_server_that_does_not_answer_is_an_error(nobody: str) -> None:
    with pytest.raises(ModelError, match=rf"no model server answers at {nobody} .*agentmem serve") as caught:
        choose_model(Settings(base_url=nobody))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "models", "said"),
    [
        (401, {}, "refused the API key"),
        (200, {"object": "list", "data": []}, "lists no model"),
        (200, b"<html>", "lists no model"),
        (500, {}, "lists no model"),
        (307, {}, "lists no model"),
    ],
)
def test_a_named_server_without_a_model_is_an_error(server: Server, status: int, models: Any, said: str) -> None:
    server.models_status, server.models = status, models
    with pytest.raises(ModelError, match=said):
        choose_model(Settings(base_url=server.url))


@pytest.mark.parametrize("address", ["localhost:8000", "file:///etc/passwd", "", " ", "http://"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ModelError):
        choose_model(Settings(base_url=address, model="small"), local="nowhere")


def test_a_bare_address_gets_its_v1(server: Server) -> None:
    assert choose_model(Settings(base_url=server.url.removesuffix("/v1"))).label == "small"


def test_a_server_found_here_is_used_and_said(server: Server) -> None:
    chosen = choose_model(Settings(api_key=SecretStr("for another server")), local=server.url)
    assert chosen.label == "small"
    assert server.url in (chosen.notice or "")
    assert "authorization" not in server.requests[0][1]


@pytest.mark.parametrize(
    ("status", "models"),
    [
        (404, b""),
        (200, b"<html>hello</html>"),
        (200, {"data": [{"id": "x", "object": "model"}]}),
        (200, {"object": "list", "data": [{"id": "x"}]}),
        (200, {"object": "list", "data": "x"}),
        (200, ["x"]),
        (200, {"object": "list", "data": [{"id": 7, "object": "model"}]}),
        (307, {}),
    ],
)
def test_what_does_not_look_like_a_model_server_is_left_alone(server: Server, status: int, models: Any) -> None:
    server.models_status, server.models = status, models
    chosen = choose_model(Settings(), local=server.url)
    assert (chosen.model, chosen.label) == (None, STAND_IN)
    assert "agentmem serve" in (chosen.notice or "")
    assert "--base-url" in (chosen.notice or "")


def test_without_a_server_there_is_the_stand_in(nobody: str) -> None:
    assert choose_model(Settings(), local=nobody).model is None


def test_a_server_that_hangs_is_not_waited_for() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert choose_model(Settings(), local=f"http://127.0.0.1:{mute.getsockname()[1]}/v1").model is None


# -- the conversation -------------------------------------------------------------------------------------------


def test_the_answer_is_streamed(server: Server, notes: Memory) -> None:
    agent = agent_of(server, notes)
    assert list(agent.stream("Hello?")) == ["Hello ", "Ada."]
    path, headers, sent = server.requests[-1]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer none"
    assert sent["stream"] is True
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]


async def test_the_answer_is_streamed_to_async_callers(server: Server, notes: Memory) -> None:
    agent = agent_of(server, notes)
    assert [piece async for piece in agent.astream("Hello?")] == ["Hello ", "Ada."]


def test_keys_and_proxies_of_the_environment_stay_out(
    server: Server, notes: Memory, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "OPENAI_BASE_URL", "OPENAI_API_BASE", "LANGSMITH_GATEWAY"):
        monkeypatch.setenv(name, nobody)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for name in ("OPENAI_API_KEY", "LANGSMITH_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "not for you")
    assert agent_of(server, notes).ask("Hello?").text == "Hello Ada."
    assert "not for you" not in str(server.requests)


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def test_a_tool_call_comes_through_the_protocol(server: Server, notes: Memory) -> None:
    first, second = (
        call_of("weather", '{"ci'),
        {"tool_calls": [{"index": 0, "function": {"arguments": 'ty": "Rome"}'}}]},
    )
    server.answers = [[chunk(first), chunk(second), chunk({}, "tool_calls"), b"data: [DONE]\n\n"], WHOLE]
    assert agent_of(server, notes, tools=[weather]).ask("Weather?").text == "Hello Ada."
    sent = server.requests[-1][2]
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "tool"]
    assert sent["messages"][-1]["content"] == "sunny in Rome"
    assert sent["tools"][0]["function"]["name"] == "weather"


def test_a_tool_call_that_was_cut_off_is_not_run(server: Server, notes: Memory) -> None:
    """LangChain would complete the JSON and call the tool with what came."""
    server.answers = [[chunk(call_of("weather", '{"city": "Rom')), chunk({}, "length"), b"data: [DONE]\n\n"], WHOLE]
    agent_of(server, notes, tools=[weather]).ask("Weather?")
    assert server.requests[-1][2]["messages"][-1]["content"] == "Error: the arguments are not valid JSON"


@pytest.mark.parametrize("arguments", ["[]", "7", "{", ""])
def test_arguments_are_an_object_or_refused(arguments: str) -> None:
    from langchain_core.messages import AIMessageChunk

    message = AIMessageChunk(
        content="",
        tool_call_chunks=[{"name": "weather", "args": arguments, "id": None, "index": 0, "type": "tool_call_chunk"}],
    )
    ((call, fault),) = tool_calls(message, 1)
    assert call["id"]
    assert bool(fault) is (arguments != "")


def failing(server: Server, notes: Memory) -> str:
    agent = agent_of(server, notes)
    with pytest.raises(ModelError) as caught:
        agent.ask("Hello?")
    said = str(caught.value)
    assert "\n" not in said
    assert notes.turns(namespace=NS)[0].text == "Hello?"
    return said


def partial(notes: Memory) -> list[tuple[str, str]]:
    return [(turn.status, turn.text) for turn in notes.turns(namespace=NS) if turn.role == "assistant"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_connection_dropped_in_mid_answer_keeps_what_came(server: Server, notes: Memory, announced: bool) -> None:
    """With its length announced the break shows in HTTP; without, only in the answer's missing end."""
    server.answers, server.drop = [WORDS], announced
    assert "broke off in the middle of its answer" in failing(server, notes)
    assert partial(notes) == [("cancelled", "Hello Ada.")]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "failed (status 500)"),
        (401, "refused the API key"),
        (404, "has no model 'small'"),
        (429, "too much to do"),
        (400, "too long"),
        (422, "refused the request (status 422)"),
        (307, "status 307"),
    ],
)
def test_a_status_becomes_one_line_with_its_remedy(server: Server, notes: Memory, status: int, said: str) -> None:
    server.answers = [status]
    assert said in failing(server, notes)
    assert partial(notes) == []


def test_a_failure_that_passes_is_tried_again(server: Server, notes: Memory) -> None:
    server.answers = [503, WHOLE]
    assert agent_of(server, notes).ask("Hello?").text == "Hello Ada."


@pytest.mark.parametrize("garbage", [b"data: {not json}\n\n", b"data: \xff\xfe\n\n"])
def test_a_malformed_answer_is_said_to_be_malformed(server: Server, notes: Memory, garbage: bytes) -> None:
    server.answers = [[*WORDS, garbage]]
    assert "did not answer in the OpenAI protocol" in failing(server, notes)
    assert partial(notes) == [("cancelled", "Hello Ada.")]


@pytest.mark.parametrize("pieces", [[b"<html>hello</html>"], [], [chunk({}, "stop"), b"data: [DONE]\n\n"]])
def test_an_answer_that_is_none_is_an_error(server: Server, notes: Memory, pieces: list[bytes]) -> None:
    server.answers = [pieces]
    failing(server, notes)
    assert partial(notes) == []


def test_an_error_in_the_stream_is_shown(server: Server, notes: Memory) -> None:
    server.answers = [[*WORDS, b'data: {"error": {"message": "the engine died", "code": 500}}\n\n']]
    assert "the engine died" in failing(server, notes)


def test_a_server_that_went_away_is_named(notes: Memory, nobody: str) -> None:
    from agentmem.models.select import Place, _open_ai

    agent = Agent(notes, _open_ai(Place(nobody, "small")), namespace=NS)
    with pytest.raises(ModelError, match=rf"the model server at {nobody} does not answer: start it"):
        agent.ask("Hello?")


def test_what_it_cannot_explain_it_names() -> None:
    assert explain(ZeroDivisionError(), "the model x", "x") == "the model x failed: ZeroDivisionError"
    assert len(explain(ValueError("long " * 1000), "the model x", "x")) < 300


# -- the fake ---------------------------------------------------------------------------------------------------


def test_the_fake_says_its_script_and_no_more() -> None:
    model = FakeChatModel(["one", lambda messages: f"you said {messages[-1].text}"])
    assert model.invoke("a").text == "one"
    assert "".join(piece.text for piece in model.stream("b")) == "you said b"
    assert [[m.text for m in request] for request in model.requests] == [["a"], ["b"]]
    with pytest.raises(AssertionError, match="2 steps"):
        model.invoke("c")
    assert [m.text for m in FakeChatModel(["x"], repeat=True).batch(["a", "b"])] == ["x", "x"]


# -- a schema as a constraint -----------------------------------------------------------------------------------


def completion(text: str, finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
    said = {"id": "1", "object": "chat.completion", "created": 1, "model": "small", "choices": [choice], "usage": usage}
    return json.dumps(said).encode()


def thoughts_from(server: Server) -> tuple[Reply, Asker]:
    model = choose_model(Settings(model="small", base_url=server.url)).model
    assert model is not None
    asker = Asker(model)
    return asker.ask(EXTRACT.messages("data"), EXTRACT.schema, name=EXTRACT.name, max_tokens=50), asker


def test_the_server_is_sent_the_schema_as_it_is(server: Server) -> None:
    server.answers = [[completion('{"thoughts": []}')]]
    reply, asker = thoughts_from(server)
    assert (reply.value, reply.usage, asker.constrained) == ({"thoughts": []}, Usage(1, 11, 4), True)
    sent = server.requests[-1][2]
    assert sent["response_format"]["json_schema"]["schema"] == EXTRACT.schema
    assert (sent["temperature"], sent["max_completion_tokens"]) == (0, 50)


def test_an_answer_that_was_cut_off_comes_back_as_such(server: Server) -> None:
    server.answers = [[completion('{"thoughts": [', "length")]]
    assert thoughts_from(server)[0].fault == "cut off"


def test_a_server_without_schemas_is_asked_without(server: Server) -> None:
    server.answers = [400, [completion('Here: {"thoughts": []}')]]
    reply, asker = thoughts_from(server)
    assert (reply.value, reply.usage.calls, asker.constrained) == ({"thoughts": []}, 2, False)
    assert "response_format" not in server.requests[-1][2]


def test_a_prompt_too_long_is_refused_not_the_schema(server: Server) -> None:
    server.answers = [400]
    reply, asker = thoughts_from(server)
    assert (reply.fault, asker.constrained) == ("refused", None)
