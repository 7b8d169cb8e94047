"""The agent's loop on real memories, with the public fake where the model's words must be fixed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, tool

from agentmem.agent import MAX_STEPS, Agent
from agentmem.config import Settings
from agentmem.errors import EmbedderError, InputError, ModelError
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, tool_call
from agentmem.types import Turn

NS = ("ada",)


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return f"sunny in {city}"


@tool
def press_ctrl_c() -> str:
    """What Ctrl-C does in the middle of a tool."""
    raise KeyboardInterrupt


def talk(memory: Memory, *script: Any, tools: tuple[BaseTool, ...] = (), **how: Any) -> tuple[Agent, FakeChatModel]:
    model = FakeChatModel(list(script))
    return Agent(memory, model, namespace=NS, tools=tools, **how), model


def kept(memory: Memory) -> list[tuple[str, str, str]]:
    return [(turn.role, turn.status, turn.text) for turn in memory.turns(namespace=NS)]


def edges_of(memory: Memory, turn: Turn | None) -> set[str]:
    assert turn is not None
    with memory.backend.read() as reader:
        return {edge.parent for edge in reader.edges(namespace=NS, children=[turn.id], relation="recalled")}


def test_both_turns_are_kept_and_tied(memory: Memory) -> None:
    agent, _ = talk(memory, "Hello Ada.")
    answer = agent.ask("I am Ada.")
    assert kept(memory) == [("user", "complete", "I am Ada."), ("assistant", "complete", "Hello Ada.")]
    assert answer.text == "Hello Ada."
    assert answer.model == "fake"
    assert answer.user_turn is not None
    assert answer.turn is not None
    assert answer.turn.parent_id == answer.user_turn.id
    assert {turn.session for turn in memory.turns(namespace=NS)} == {agent.session}


def test_the_users_turn_is_kept_before_the_model_is_asked(memory: Memory) -> None:
    seen: list[Any] = []

    def look(_messages: list[BaseMessage]) -> str:
        seen.append(kept(memory))
        return "yes"

    talk(memory, look)[0].ask("Are you there?")
    assert seen == [[("user", "complete", "Are you there?")]]


def test_what_was_said_in_another_session_is_recalled_as_quoted_data(memory: Memory) -> None:
    talk(memory, "Noted.")[0].ask("My boat is called Pequod.")
    agent, model = talk(memory, "Pequod.")
    answer = agent.ask("What is my boat called?")
    system = str(model.requests[0][0].content)
    assert '| user | "My boat is called Pequod."' in system
    assert "What is my boat called?" not in system
    assert [m.content for m in model.requests[0][1:]] == ["What is my boat called?"]
    assert "My boat is called Pequod." in {item.text for item in answer.recollection.items}
    assert {item.id for item in answer.recollection.items} <= edges_of(memory, answer.turn)


def test_the_same_question_of_another_session_takes_no_place_among_what_is_recalled(memory: Memory) -> None:
    agent, model = talk(memory, "I don't know.", "I don't know.")
    agent.ask("What is my boat called?")
    agent.begin_session()
    agent.ask("What is my boat called?")
    assert "What is my boat called?" not in str(model.requests[1][0].content)


def test_history_is_shown_once_and_as_conversation(memory: Memory) -> None:
    agent, model = talk(memory, "Nice name.", "Pequod.")
    first = agent.ask("My boat is called Pequod.")
    second = agent.ask("What is my boat called?")
    assert [(m.type, m.content) for m in model.requests[1][1:]] == [
        ("human", "My boat is called Pequod."),
        ("ai", "Nice name."),
        ("human", "What is my boat called?"),
    ]
    assert "Pequod" not in str(model.requests[1][0].content)
    assert first.user_turn is not None
    assert first.turn is not None
    assert {first.user_turn.id, first.turn.id} <= edges_of(memory, second.turn)


def test_a_session_goes_on_after_a_restart(memory: Memory) -> None:
    first, _ = talk(memory, "Nice name.")
    first.ask("My boat is called Pequod.")
    _, model = again = talk(memory, "Pequod.", session=first.session)
    again[0].ask("What did I say?")
    assert [m.type for m in model.requests[0]] == ["system", "human", "ai", "human"]


def test_long_histories_keep_the_newest_within_the_budget(memory: Memory) -> None:
    agent, model = talk(memory, *[f"answer {n} " + "x" * 600 for n in range(30)])
    for n in range(30):
        agent.ask(f"question {n}")
    sent = model.requests[-1][1:]
    assert sent[0].type == "human"
    assert "answer 28" in str(sent[-2].content)
    assert sum(len(str(m.content)) for m in sent) < 4 * memory.settings.prompt_budget_tokens + 1000


def test_superseded_turns_are_not_shown(memory: Memory) -> None:
    agent, model = talk(memory, "one", "two")
    answer = agent.ask("first")
    assert answer.turn is not None
    memory.set_status(answer.turn.id, "superseded", namespace=NS)
    agent.ask("second")
    assert [m.content for m in model.requests[1][1:]] == ["first\n\nsecond"]


def test_streaming_yields_pieces_and_leaves_the_answer(memory: Memory) -> None:
    agent, _ = talk(memory, "one two three")
    assert list(agent.stream("count")) == ["one ", "two ", "three"]
    assert agent.last is not None
    assert agent.last.text == "one two three"


def test_closing_early_keeps_the_partial_answer_as_cancelled(memory: Memory) -> None:
    agent, _ = talk(memory, "one two three")
    pieces = agent.stream("count")
    assert next(pieces) == "one "
    pieces.close()
    assert kept(memory)[1:] == [("assistant", "cancelled", "one ")]
    assert agent.last is not None
    assert agent.last.turn is not None


def test_closing_before_the_first_piece_keeps_the_question(memory: Memory) -> None:
    agent, _ = talk(memory, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        agent.ask("count")
    assert kept(memory) == [("user", "complete", "count")]


def test_a_model_that_fails_in_mid_answer_loses_nothing(memory: Memory) -> None:
    agent, _ = talk(memory, ["half an ans", RuntimeError("boom\nsecond line")], "all is well")
    with pytest.raises(ModelError, match=r"^the model fake failed: RuntimeError: boom second line$"):
        agent.ask("speak")
    assert kept(memory) == [("user", "complete", "speak"), ("assistant", "cancelled", "half an ans")]
    assert agent.ask("again").text == "all is well"


@pytest.mark.parametrize("said", ["", "  \n"])
def test_an_empty_answer_is_a_model_error(memory: Memory, said: str) -> None:
    agent, _ = talk(memory, said)
    with pytest.raises(ModelError, match="empty answer"):
        agent.ask("speak")
    assert kept(memory) == [("user", "complete", "speak")]


def test_an_empty_question_is_refused(memory: Memory) -> None:
    agent, model = talk(memory, "yes")
    with pytest.raises(InputError):
        agent.ask(" \n")
    assert kept(memory) == []
    assert model.requests == []


def test_tools_are_called_and_their_results_kept_as_untrusted(memory: Memory) -> None:
    agent, model = talk(memory, ["Let me look.", tool_call("weather", city="Lisbon")], "It is sunny.", tools=(weather,))
    answer = agent.ask("How is the weather?")
    assert answer.text == "Let me look.\n\nIt is sunny."
    assert model.tools == ["weather"]
    assert [m.type for m in model.requests[1]] == ["system", "human", "ai", "tool"]
    assert model.requests[1][-1].content == "sunny in Lisbon"
    user, result, _ = turns = memory.turns(namespace=NS)
    assert (result.role, result.speaker, result.parent_id) == ("tool", "weather", user.id)
    assert result.text == "weather(city='Lisbon'):\nsunny in Lisbon"
    assert {turn.id for turn in turns[:2]} <= edges_of(memory, answer.turn)
    other, seen = talk(memory, "Sunny, I was told.")
    other.ask("What is the weather in Lisbon?")
    assert 'weather (tool), untrusted | "weather(city=' in str(seen.requests[0][0].content)


def test_several_tools_in_one_step(memory: Memory) -> None:
    calls = [
        *tool_call("weather", city="Rome").tool_calls,
        {**tool_call("weather", city="Oslo").tool_calls[0], "id": "2"},
    ]
    agent, model = talk(memory, AIMessage("", tool_calls=calls), "Both sunny.", tools=(weather,))
    agent.ask("Rome and Oslo?")
    results = [m for m in model.requests[1] if isinstance(m, ToolMessage)]
    assert [(m.content, m.tool_call_id) for m in results] == [("sunny in Rome", "call-weather"), ("sunny in Oslo", "2")]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (tool_call("weather", city="Atlantis"), "Error: ValueError: no such city"),
        (tool_call("nonsense"), "Error: there is no tool 'nonsense'; the tools are weather"),
        (tool_call("weather", town="Rome"), "city"),
    ],
)
def test_what_goes_wrong_with_a_tool_is_told_to_the_model(memory: Memory, call: AIMessage, said: str) -> None:
    agent, model = talk(memory, call, "Sorry.", tools=(weather,))
    assert agent.ask("weather?").text == "Sorry."
    result = model.requests[1][-1]
    assert isinstance(result, ToolMessage)
    assert result.status == "error"
    assert said in str(result.content)
    assert memory.turns(namespace=NS)[1].metadata["failed"] is True


def test_ctrl_c_in_a_tool_ends_the_answer(memory: Memory) -> None:
    agent, _ = talk(memory, ["Wait. ", tool_call("press_ctrl_c")], tools=(press_ctrl_c,))
    with pytest.raises(KeyboardInterrupt):
        agent.ask("go")
    assert kept(memory) == [("user", "complete", "go"), ("assistant", "cancelled", "Wait. ")]


def test_a_loop_of_tools_comes_to_an_end(memory: Memory) -> None:
    agent, model = talk(memory, *[tool_call("weather", city="Rome")] * 20, tools=(weather,))
    answer = agent.ask("weather?")
    assert len(model.requests) == MAX_STEPS
    assert f"after {MAX_STEPS} steps" in answer.text
    assert kept(memory)[-1] == ("assistant", "complete", answer.text)


def test_a_model_without_tools_says_so(memory: Memory) -> None:
    from langchain_core.language_models import FakeListChatModel

    agent = Agent(memory, FakeListChatModel(responses=["hi"]), namespace=NS, tools=[weather])
    with pytest.raises(ModelError, match="leave out the tools"):
        agent.ask("weather?")
    assert Agent(memory, FakeListChatModel(responses=["hi"]), namespace=NS).ask("hello").text == "hi"


def test_a_private_agent_writes_nothing(memory: Memory) -> None:
    talk(memory, "Noted.")[0].ask("My boat is called Pequod.")
    before = kept(memory)
    agent, model = talk(
        memory, tool_call("weather", city="Rome"), "Sunny.", "As I said.", tools=(weather,), private=True
    )
    answer = agent.ask("What is my boat called?")
    assert (answer.user_turn, answer.turn) == (None, None)
    agent.ask("again?")
    assert kept(memory) == before
    assert "Pequod" in str(model.requests[0][0].content)
    assert [m.content for m in model.requests[2][1:]] == ["What is my boat called?", "Sunny.", "again?"]


def test_what_was_private_does_not_reach_what_is_kept(memory: Memory) -> None:
    agent, model = talk(memory, "ok", "Paris.", private=True)
    agent.ask("My secret is Xyzzy.")
    agent.private = False
    agent.ask("What is the capital of France?")
    assert "Xyzzy" not in str(model.requests[1])


def test_another_session_starts_empty(memory: Memory) -> None:
    agent, model = talk(memory, "one", "two")
    agent.ask("first")
    former = agent.session
    agent.begin_session()
    agent.ask("second")
    assert agent.session != former
    assert [m.content for m in model.requests[1][1:]] == ["second"]


def test_a_forgotten_turn_is_in_no_later_prompt(memory: Memory) -> None:
    agent, model = talk(memory, "Noted: Pequod.", "I don't know.")
    first = agent.ask("My boat is called Pequod.")
    assert first.user_turn is not None
    receipt = memory.forget([first.user_turn.id], namespace=NS)
    assert len(receipt.forgotten["turns"]) == 1 + ("Pequod" not in str(memory.turns(namespace=NS)))
    agent.ask("What is my boat called?")
    assert "My boat is called Pequod" not in str(model.requests[1])


def test_namespaces_do_not_mix(memory: Memory) -> None:
    talk(memory, "Noted.")[0].ask("My boat is called Pequod.")
    model = FakeChatModel(["I don't know."])
    answer = Agent(memory, model, namespace=("bob",)).ask("What is my boat called?")
    assert answer.recollection.items == ()
    assert "Pequod" not in str(model.requests)


# -- async ------------------------------------------------------------------------------------------------------


async def test_async_forms_do_the_same(memory: Memory) -> None:
    agent, _ = talk(memory, [tool_call("weather", city="Rome")], "It is sunny.", "Still.", tools=(weather,))
    assert [piece async for piece in agent.astream("weather?")] == ["It ", "is ", "sunny."]
    assert (await agent.aask("and now?")).text == "Still."
    assert [turn.role for turn in memory.turns(namespace=NS)] == ["user", "tool", "assistant", "user", "assistant"]


async def test_closing_an_async_stream_keeps_the_partial_answer(memory: Memory) -> None:
    agent, _ = talk(memory, "one two three")
    stream: AsyncGenerator[str, None] = agent.astream("count")
    async with aclosing(stream) as pieces:
        assert await anext(pieces) == "one "
    assert kept(memory)[1:] == [("assistant", "cancelled", "one ")]


async def test_cancelling_a_task_keeps_the_partial_answer(memory: Memory) -> None:
    started = asyncio.Event()

    async def read(agent: Agent) -> None:
        async for _ in agent.astream("count"):
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(read(talk(memory, "one two three")[0]))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(100):
        if len(kept(memory)) == 2:
            break
        await asyncio.sleep(0.02)
    assert kept(memory)[1:] == [("assistant", "cancelled", "one ")]


async def test_an_async_model_error_keeps_what_came(memory: Memory) -> None:
    agent, _ = talk(memory, ["half", OSError("gone")])
    with pytest.raises(ModelError):
        await agent.aask("speak")
    assert kept(memory)[1:] == [("assistant", "cancelled", "half")]


async def test_many_conversations_at_once_do_not_mix(memory: Memory) -> None:
    async def one(n: int) -> None:
        model = FakeChatModel([f"You are number {n}.", lambda sent: str(sent[-2].content)])
        agent = Agent(memory, model, namespace=("user", str(n)))
        await agent.aask(f"I am number {n}.")
        assert (await agent.aask("Who am I?")).text == f"You are number {n}."
        assert all(str(other) not in str(model.requests) for other in range(100, 116) if other != n)

    await asyncio.gather(*(one(n) for n in range(100, 116)))


# -- tracing ----------------------------------------------------------------------------------------------------

TRACED = """
import asyncio, os, socket, sys

tried = []
def refuse(*a, **k):
    tried.append(a)
    raise OSError("no network here")
socket.socket.connect = refuse
socket.getaddrinfo = refuse

from langchain_core.tools import tool
from agentmem.agent import Agent
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, tool_call

@tool
def clock() -> str:
    "The time."
    return "noon"

with Memory("memory:", embedder=None) as memory:
    model = FakeChatModel([tool_call("clock"), "noon"], repeat=True)
    agent = Agent(memory, model, namespace=("n",), tools=[clock])
    agent.ask("time?")
    asyncio.run(agent.aask("time?"))
    list(agent.stream("time?"))
    from langchain_core.tracers.langchain import wait_for_all_tracers
    wait_for_all_tracers()
    if "control" in sys.argv:
        model.invoke("traced")
        import time
        for _ in range(100):
            if tried: break
            time.sleep(0.1)
print(len(tried), flush=True)
os._exit(0)  # without the tracer's own retries
"""


def traced_connections(*arguments: str) -> int:
    names = ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING_V2")
    env = {**os.environ, **dict.fromkeys(names, "true"), "LANGSMITH_API_KEY": "key"}
    env["LANGSMITH_ENDPOINT"] = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-c", TRACED, *arguments], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    return int(done.stdout)


def test_nothing_is_traced_whatever_the_environment_says() -> None:
    assert traced_connections() == 0


def test_the_tracing_test_would_notice() -> None:
    assert traced_connections("control") > 0


@pytest.fixture(autouse=True)
def no_stray_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.delenv(name, raising=False)


class SlowEmbedder:
    """An embedder that comes up when it is let."""

    identity = EmbedderIdentity("slow", 2, "0")

    def __init__(self) -> None:
        self.ready = threading.Event()

    def encode(self, texts: Sequence[str]) -> Matrix:
        self.ready.wait(30)
        return np.tile(np.array([1, 0], dtype=np.float32), (len(texts), 1))


def test_the_agent_answers_by_words_while_the_embedder_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowEmbedder()

    def load(_name: str, **_device: str) -> SlowEmbedder:
        slow.ready.wait(30)
        return slow

    monkeypatch.setattr("agentmem.embed.load_embedder", load)
    with Memory("memory:", embedder="slow", settings=Settings()) as memory:
        agent = Agent(memory, namespace=NS)
        agent.wait = 0
        agent.ask("My boat is called Pequod.")
        answer = agent.ask("What is my boat called?")
        assert "Pequod" in answer.text
        assert answer.recollection.dense is False
        slow.ready.set()
        agent.wait = None
        assert agent.ask("What is my boat called?").recollection.dense is True


def test_forgetting_while_the_model_speaks_leaves_no_loose_ends(memory: Memory) -> None:
    talk(memory, "Noted.")[0].ask("My boat is called Pequod.")
    (boat,) = [turn for turn in memory.turns(namespace=NS) if turn.role == "user"]

    def forget(_messages: list[BaseMessage]) -> str:
        memory.forget([boat.id], namespace=NS)
        return "Something with P."

    answer = talk(memory, forget)[0].ask("What is my boat called?")
    assert boat.id in {item.id for item in answer.recollection.items}
    assert boat.id not in edges_of(memory, answer.turn)


def test_a_conversation_goes_on_without_its_embedder(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "m.db"), embedder="/no/such/model")
    with Memory(settings.store, settings=settings) as memory:
        agent = Agent(memory, namespace=NS)
        agent.ask("My sister Ida is a nurse in Oslo.")
        assert "Ida is a nurse" in agent.ask("What does Ida do?").text
        agent.wait = None
        with pytest.raises(EmbedderError, match="/no/such/model"):
            agent.ask("What does Ida do?")
