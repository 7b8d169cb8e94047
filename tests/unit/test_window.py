"""What is sent fits the model's window: memory and conversation give way, and what gave way is recalled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool

from agentmem.agent import Agent, choose_model
from agentmem.config import Settings
from agentmem.errors import ModelError
from agentmem.fitting import Draft, Said, fit, newest
from agentmem.memory import Memory
from agentmem.models.window import Window, _size_in
from agentmem.testing.fake_model import FakeChatModel, tool_call
from agentmem.testing.model_server import ModelServer, Refusal, count
from agentmem.types import Turn

NS = ("ada",)
FILLER = "We spoke of the weather and of nothing else at all. " * 6


@pytest.fixture
def notes() -> Iterator[Memory]:
    with Memory("memory:", embedder=None, settings=Settings()) as opened:
        yield opened


def agent_of(server: ModelServer, notes: Memory, **how: Any) -> Agent:
    return Agent(notes, choose_model(Settings(base_url=server.url)).model, namespace=NS, think=False, **how)


def edges_of(memory: Memory, turn: Turn | None) -> set[str]:
    assert turn is not None
    with memory.backend.read() as reader:
        return {edge.parent for edge in reader.edges(namespace=NS, children=[turn.id], relation="recalled")}


def texts(body: dict[str, Any]) -> list[str]:
    return [str(message["content"]) for message in body["messages"]]


def fill(agent: Agent, exchanges: int) -> None:
    for number in range(exchanges):
        agent.ask(f"Question {number}. {FILLER}")


# -- asked of the server ----------------------------------------------------------------------------------------


def test_the_window_is_asked_of_the_server_once() -> None:
    with ModelServer(["Hello."], window=4096) as server:
        model = choose_model(Settings(base_url=server.url)).model
        assert model is not None
        window = Window(model)
        assert (window.size, window.limit) == (4096, 3072)
        server.window = 512
        assert window.size == 4096


def test_room_for_the_answer_is_what_the_model_may_say() -> None:
    with ModelServer(["Hello."], window=4096) as server:
        model: Any = choose_model(Settings(base_url=server.url)).model
        model.max_tokens = 100
        assert Window(model).limit == 3996


def test_an_adapter_has_the_window_of_the_model_below_it() -> None:
    models = {"data": [{"id": "base", "max_model_len": 512}, {"id": "mem", "parent": "base", "max_model_len": None}]}
    assert (_size_in(models, "mem"), _size_in(models, "base"), _size_in(models, "other")) == (512, 512, None)
    assert _size_in({"data": [{"id": "a", "parent": "b"}, {"id": "b", "parent": "a"}]}, "a") is None


@pytest.mark.parametrize("said", [None, [], {}, {"data": "x"}, {"data": [1, {"id": 2}]}, {"data": [{"id": "m"}]}])
def test_a_list_of_models_that_says_nothing_is_no_window(said: Any) -> None:
    assert _size_in(said, "m") is None


def test_the_server_counts_only_what_may_not_fit() -> None:
    with ModelServer(["Hello."], window=4096) as server:
        model = choose_model(Settings(base_url=server.url)).model
        assert model is not None
        window = Window(model)
        assert window.count([HumanMessage("short")]) < 3072
        assert server.requests == []
        long = [SystemMessage("rules"), HumanMessage("long " * 3000)]
        counted = window.count(long)
        ((path, body),) = server.requests
        assert path == "/tokenize"
        assert counted == count(body) == count({"messages": body["messages"]})


def test_without_a_counter_there_is_an_estimate_with_a_margin(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model = FakeChatModel(["Hello."])
    assert Window(model).limit is None
    assert Window(model).count([HumanMessage("x" * 4000)]) > 1000
    with ModelServer(["Hello."]) as server:
        chosen = choose_model(Settings(base_url=server.url)).model
        assert chosen is not None
        assert Window(chosen).limit is None
        assert server.requests == []


# -- fitted -----------------------------------------------------------------------------------------------------


def test_a_long_conversation_fits_a_small_window_and_nothing_is_refused(notes: Memory) -> None:
    with ModelServer(["Yes."], window=1024) as server:
        fill(agent_of(server, notes), 12)
        assert all(count(body) <= 1024 - 256 for body in server.chats)
        assert len(server.chats) == 12
        assert len(server.chats[-1]["messages"]) > 2, "some of the conversation is still shown"


def test_what_rolled_out_of_the_prompt_is_recalled_from_the_ledger(notes: Memory) -> None:
    with ModelServer(["Noted."], window=1024) as server:
        agent = agent_of(server, notes)
        told = agent.ask("My boat is called Pequod.")
        fill(agent, 6)
        answer = agent.ask("What is my boat called?")
        system, *said = texts(server.chats[-1])
        assert '| user | "My boat is called Pequod."' in system
        assert not any("Pequod" in text for text in said)
        assert told.user_turn is not None
        assert told.user_turn.id in {item.id for item in answer.recollection.items}
        assert told.user_turn.id in edges_of(notes, answer.turn)
        shown = {turn.id for turn in notes.turns(namespace=NS) if turn.role == "user" and turn.text in said}
        assert shown <= edges_of(notes, answer.turn)


def test_nothing_stands_twice_and_nothing_shown_is_missed() -> None:
    """What bears on the question is in the conversation or in the memory, whichever windows cut."""
    for window in (600, 800, 1024, 1500, 4096):
        with (
            Memory("memory:", embedder=None, settings=Settings()) as memory,
            ModelServer(["Noted."], window=window) as server,
        ):
            agent = agent_of(server, memory)
            agent.ask("My boat is called Pequod.")
            fill(agent, 3)
            agent.ask("What is my boat called?")
            assert "\n".join(texts(server.chats[-1])).count("My boat is called Pequod.") == 1


def test_tools_and_their_results_fit_too(notes: Memory) -> None:
    @tool
    def page(name: str) -> str:
        """A page."""
        return f"{name}: " + "Nothing of note. " * 800 + "The harbour is at Pier 8. " + "Nothing of note. " * 800

    with ModelServer([tool_call("page", name="map"), "Pier 8."], window=1024) as server:
        agent = agent_of(server, notes, tools=[page])
        agent.ask("Where is the harbour?")
        assert all(count(body) <= 768 for body in server.chats)
        result = texts(server.chats[-1])[-1]
        assert "The harbour is at Pier 8." in result
        kept = notes.turns(namespace=NS)[1]
        assert len(kept.text) > 20_000, "the ledger has all of it"


def test_a_question_longer_than_the_window_is_a_clear_error_and_is_kept(notes: Memory) -> None:
    with ModelServer(["Yes."], window=512) as server:
        agent = agent_of(server, notes)
        with pytest.raises(ModelError, match=r"^the question is too long for the model: .* tokens, and 384 are free"):
            agent.ask("word " * 2000)
        assert server.chats == []
        assert [turn.role for turn in notes.turns(namespace=NS)] == ["user"]
        assert agent.ask("Are you there?").text == "Yes."


async def test_async_callers_get_the_same(notes: Memory) -> None:
    with ModelServer(["Yes."], window=700) as server:
        agent = agent_of(server, notes)
        for number in range(6):
            await agent.aask(f"Question {number}. {FILLER}")
        assert all(count(body) <= 700 - 175 for body in server.chats)


# -- refused ----------------------------------------------------------------------------------------------------


class Silent(ModelServer):
    """Has a window and says nothing of it until a prompt is too long."""

    def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": self.model, "object": "model"}]}


def test_a_refusal_for_length_is_answered_by_one_shorter_prompt(notes: Memory) -> None:
    with Silent(["Yes."], window=1024) as server:
        agent = agent_of(server, notes)
        fill(agent, 12)
        sent = [count(body) for body in server.chats]
        assert len([length for length in sent if length >= 1024]) == 1, "after the first refusal it knows"
        assert len(sent) == 13


async def test_so_it_is_for_async_callers(notes: Memory) -> None:
    with Silent(["Yes."], window=1024) as server:
        agent = agent_of(server, notes)
        for number in range(8):
            await agent.aask(f"Question {number}. {FILLER}")
        assert len(server.chats) == 9


def test_a_second_refusal_is_the_users_to_hear(notes: Memory) -> None:
    words = "the request exceeds the available context size (900 tokens), try increasing it"
    with ModelServer([Refusal(400, words)]) as server:
        agent = agent_of(server, notes)
        with pytest.raises(ModelError, match="too long"):
            agent.ask("Are you there?")
        assert len(server.chats) == 2
        assert [turn.role for turn in notes.turns(namespace=NS)] == ["user"]


def test_another_refusal_is_not_tried_again(notes: Memory) -> None:
    with ModelServer([Refusal(422, "temperature must be positive")]) as server:
        with pytest.raises(ModelError, match="temperature"):
            agent_of(server, notes).ask("Are you there?")
        assert len(server.chats) == 1


@pytest.mark.parametrize(
    ("refusal", "size"),
    [
        ("This model's maximum context length is 1024 tokens. However, you requested 1100 tokens (1000 in the", 1024),
        ("The decoder prompt (length 1100) is longer than the maximum model length of 1024.", 1024),
        ("the request exceeds the available context size (1024 tokens), try increasing it", 1024),
        ("context_length_exceeded", 250),
    ],
)
def test_a_window_is_learnt_from_a_refusal(refusal: str, size: int) -> None:
    window = Window(FakeChatModel(["x"]))
    messages = [HumanMessage("x" * 700)]
    assert window.count(messages) == pytest.approx(250, abs=30)
    window.learn(refusal, messages)
    assert window.size == pytest.approx(size, abs=30)
    assert window.limit is not None
    assert window.count(messages) > window.limit, "the same prompt is too long from now on"


# -- the parts --------------------------------------------------------------------------------------------------


def test_the_newest_messages_begin_with_the_users() -> None:
    said = [Said("user", "x" * 400), Said("assistant", "answer"), Said("user", "two"), Said("assistant", "2")]
    assert newest(said, 1000) == said
    assert newest(said, 20) == said[2:]
    assert newest(said, 0) == []
    assert newest([Said("assistant", "hello")], 100) == []


def test_the_shares_shrink_together() -> None:
    said = [Said("user", f"{n} " + "y" * 200, str(n)) for n in range(10)]
    draft = Draft("q", [], 5, said, (500, 500), list)

    def render(_items: Any, history: Any, _longest: Any) -> list[Any]:
        return [HumanMessage(one.text) for one in history]

    fitted = fit(draft, render, lambda messages: sum(len(m.text) for m in messages), 700)
    assert fitted.turns == ("7", "8", "9")
