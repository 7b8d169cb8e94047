"""The agent's loop on a real vLLM: prompts that fit its window, and tool calls with and without its parser.

The tiny model says nothing sensible, but under a schema what it says is JSON; its tokenizer makes a token of every
byte, so that an estimate of four bytes a token is wrong by as much as it can be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool

from agentmem.agent import MAX_STEPS, Agent
from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem.models.server import post
from agentmem.models.window import Window
from agentmem.serving import Server
from agentmem.testing.proxy import Proxy
from tests.vllm.conftest import NS, ModelAt, StartServer
from tests.vllm.tiny_model import CONTEXT

FILLER = "We spoke of the weather and of nothing else at all. " * 12


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def agent_before(proxy: Proxy, model_at: ModelAt, notes: Memory, **how: Any) -> Agent:
    model: Any = model_at(proxy.url)
    model.extra_body = {"min_tokens": 24}  # of random weights: a few may be blank
    return Agent(notes, model, namespace=NS, think=False, **how)


def statuses(proxy: Proxy) -> list[int | None]:
    return [exchange.status for exchange in proxy.exchanges]


@pytest.fixture
def unparsed(start_server: StartServer, tiny_model: Path) -> Iterator[Proxy]:
    """Before a server without a parser for tool calls."""
    server = start_server(tiny_model, "--no-enable-auto-tool-choice")
    with Proxy(server.url) as before:
        yield before


def test_the_window_and_the_count_are_the_servers(served: Server, model_at: ModelAt) -> None:
    window = Window(model_at(served.url))
    assert window.size == CONTEXT
    for words, status in ((570, 200), (700, 400)):
        question = "na\u00efve words " * words
        counted = window.count([SystemMessage("You are kind."), HumanMessage(question)])
        sent = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": question}]
        asked = {"model": served.model, "messages": sent, "max_tokens": 1}
        answered, said = post(f"{served.url}/chat/completions", asked, None, 60.0)
        assert (answered, counted < CONTEXT) == (status, status == 200)
        if status == 200:
            assert said["usage"]["prompt_tokens"] == counted


def test_a_long_conversation_is_never_refused(proxy: Proxy, model_at: ModelAt, notes: Memory) -> None:
    agent = agent_before(proxy, model_at, notes)
    told = agent.ask("My boat is called Pequod.")
    for number in range(16):
        agent.ask(f"Question {number}. {FILLER}")
    answer = agent.ask("What is my boat called?")
    assert statuses(proxy) == [200] * 18
    assert told.user_turn is not None
    assert "My boat is called Pequod." in proxy.exchanges[-1].sent
    assert told.user_turn.id in {item.id for item in answer.recollection.items}, "rolled out, and recalled"


def test_a_window_that_nobody_named_is_learnt_from_one_refusal(proxy: Proxy, model_at: ModelAt, notes: Memory) -> None:
    agent = agent_before(proxy, model_at, notes)
    agent._window._asked = True  # type: ignore[union-attr]  # as with a server that names none
    for number in range(20):
        agent.ask(f"Question {number}. {FILLER}")
    assert statuses(proxy).count(400) == 1
    assert len(statuses(proxy)) == 21


def test_a_question_longer_than_the_window_is_not_sent(proxy: Proxy, model_at: ModelAt, notes: Memory) -> None:
    with pytest.raises(ModelError, match="the question is too long for the model"):
        agent_before(proxy, model_at, notes).ask("word " * 2000)
    assert proxy.exchanges == []


def test_with_a_parser_tools_are_sent_as_tools(proxy: Proxy, model_at: ModelAt, notes: Memory) -> None:
    agent_before(proxy, model_at, notes, tools=[weather], memory_tools=True).ask("Weather in Rome?")
    assert set(statuses(proxy)) == {200}
    assert [offered["function"]["name"] for offered in proxy.requests[0]["tools"]][:2] == ["weather", "search_memory"]


def test_without_a_parser_calls_are_json_under_a_schema(unparsed: Proxy, model_at: ModelAt, notes: Memory) -> None:
    agent = agent_before(unparsed, model_at, notes, tools=[weather], memory_tools=True)
    answer = agent.ask("Weather in Rome?")
    assert answer.turn is not None
    refused, *asked = unparsed.exchanges
    assert (refused.status, b"tool" in refused.body.lower()) == (400, True)
    assert 1 <= len(asked) <= MAX_STEPS
    for exchange in asked:
        assert exchange.status == 200
        assert "response_format" in exchange.request
        assert re.match(r'\s*\{\s*"(answer|tool)"\s*:', said_in(exchange.body))


async def test_without_a_parser_the_memorys_tools_alone_are_left_out(
    unparsed: Proxy, model_at: ModelAt, notes: Memory
) -> None:
    agent = agent_before(unparsed, model_at, notes, memory_tools="auto")
    assert agent.ask("Hello?").text
    assert agent.ask("And now?").text
    assert statuses(unparsed) == [400, 200, 200]


def said_in(stream: bytes) -> str:
    """The text of an answer's event stream."""
    events = [line[6:] for line in stream.decode().splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
