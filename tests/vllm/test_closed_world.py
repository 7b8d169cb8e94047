"""The whole loop on a real vLLM with the closed-world model: told, thought about, restarted, asked, changed, forgotten.

What the model can do at all bounds what the loop can, so it is asked the same questions with the right memory put into
the prompt by hand as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool

from agentmem.agent import Agent
from agentmem.config import Settings
from agentmem.costs import costs
from agentmem.memory import Memory
from agentmem.models.select import choose_model
from agentmem.prompt import messages
from agentmem.serving import Server, Vllm, start
from agentmem.testing import closed_world
from agentmem.testing.closed_world import NOTED, UNKNOWN, Fact
from agentmem.testing.closed_world.scenes import changed, invent_facts, invent_people
from agentmem.testing.proxy import Proxy
from agentmem.types import NewTurn, RecallItem
from tests.vllm.conftest import NS, READY_SECONDS, StartServer, free_port

TOLD, CHANGING, FORGOTTEN = 100, 20, 10
EXCHANGES = 1000
TOOLS = ("tools",)
OF_BY_HAND = 0.95
"""What the loop reaches of what the model does with the right memory put before it by hand."""
LEAST_BY_HAND, LEAST_UNKNOWN, LEAST_ONCE = 0.95, 0.8, 0.98
LEAST_REPLACED = 5
"""Of the changed ones' older thoughts; the others stand beside the new one, with their dates."""


@dataclass(frozen=True)
class World:
    """What is told in the first session: facts that stay, facts that change later, facts to be forgotten.

    No two groups are about the same people.
    """

    stay: Sequence[Fact]
    change: Sequence[Fact]
    forget: Sequence[Fact]
    store: Path

    @property
    def all(self) -> list[Fact]:
        return [*self.stay, *self.change, *self.forget]


@contextmanager
def memory_with(server_url: str, store: Path) -> Iterator[tuple[Memory, Any]]:
    """A store opened anew, and a client of the server; both are closed."""
    settings = Settings(base_url=server_url)
    model: Any = choose_model(settings).model
    with Memory(store, settings=settings) as memory:
        yield memory, model
    model.root_client.close()


@pytest.fixture(scope="module")
def world(vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A store in which everything was told through a first server, which is gone then."""
    folder = tmp_path_factory.mktemp("world")
    rng = random.Random(11)
    people = iter(invent_people(rng, closed_world.held_out_people(), 60, alike=1))
    stay, change, forget = (
        invent_facts(rng, [next(people) for _ in range(n)], count)
        for n, count in ((40, TOLD), (12, CHANGING), (8, FORGOTTEN))
    )
    made = World(stay, change, forget, folder / "memory.db")
    server = start(str(closed_world.path()), vllm, folder / "first.log", port=free_port(), name="closed-world")
    try:
        server.wait(seconds=READY_SECONDS)
        with memory_with(server.url, made.store) as (memory, model):
            told = rng.sample(made.all, len(made.all))
            for number, fact in enumerate(told):
                if number % 10 == 0:
                    agent = Agent(memory, model, namespace=NS, think=True)
                agent.ask(fact.wording(rng.randrange(3)))
            memory.thinker(model).flush()
            memory.flush()
    finally:
        server.stop()
    return made


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server(closed_world.path())


@pytest.fixture
def restarted(world: World, server: Server) -> Iterator[tuple[Memory, Any, Proxy]]:
    """The told store, another process of the server, and a proxy that keeps what is sent to it."""
    with Proxy(server.url) as proxy, memory_with(proxy.url, world.store) as (memory, model):
        yield memory, model, proxy


def asked(memory: Memory, model: Any, facts: Sequence[Fact]) -> list[str]:
    """What an agent answers to a question for each fact, each in a session of its own."""
    rng = random.Random(3)
    agent = Agent(memory, model, namespace=NS, think=False)
    answers = []
    for fact in facts:
        agent.begin_session()
        answers.append(agent.ask(fact.question(rng.randrange(3))).text.strip())
    return answers


def by_hand(model: Any, facts: Sequence[Fact], world: Sequence[Fact]) -> tuple[float, float]:
    """The shares of the same questions that the model answers from a prompt that somebody filled who knows the answer:
    with the right statement alone, and with all statements about the person."""
    rng, now = random.Random(3), datetime.now(UTC)
    alone = beside = 0
    for fact in facts:
        asked = fact.question(rng.randrange(3))
        others = [one for one in world if one.who == fact.who and one.attribute != fact.attribute]
        told = random.Random(asked).sample([fact, *others], len(others) + 1)
        for statements in ([fact], told):
            items = [RecallItem("", "thought", one.statement, 0.0, now, {"origin": "user"}, "") for one in statements]
            right = model.invoke(messages(items, [], asked, now)).text.strip() == fact.answer
            alone, beside = (alone + right, beside) if statements is not told else (alone, beside + right)
    return alone / len(facts), beside / len(facts)


def share(answers: Sequence[str], wanted: Sequence[str]) -> float:
    return sum(answer == right for answer, right in zip(answers, wanted, strict=True)) / len(wanted)


def test_facts_told_in_one_session_are_answered_after_a_restart(
    world: World, restarted: tuple[Memory, Any, Proxy]
) -> None:
    memory, model, _ = restarted
    reached = share(asked(memory, model, world.stay), [fact.answer for fact in world.stay])
    alone, beside = by_hand(model, world.stay, world.all)
    print(
        f"\n{TOLD} facts after a restart: {reached:.2f} answered; by hand {alone:.2f} alone, {beside:.2f} beside others"
    )
    assert min(alone, beside) >= LEAST_BY_HAND
    assert reached >= OF_BY_HAND * max(alone, beside)


def test_a_changed_fact_is_answered_anew_and_the_old_one_stands_as_of_its_time(
    world: World, restarted: tuple[Memory, Any, Proxy]
) -> None:
    memory, model, _ = restarted
    rng, before = random.Random(5), datetime.now(UTC)
    held = {thought.text for thought in memory.thoughts(namespace=NS)}
    later = [changed(rng, fact) for fact in world.change]
    agent = Agent(memory, model, namespace=NS, think=True)
    for fact in later:
        agent.ask(fact.wording(0))
    memory.thinker(model).flush()
    memory.flush()
    reached = share(asked(memory, model, later), [fact.answer for fact in later])
    _, beside = by_hand(model, later, world.all)
    live = {thought.text for thought in memory.thoughts(namespace=NS)}
    then = {thought.text for thought in memory.thoughts(namespace=NS, state=None, as_of=before)}
    replaced = [old.statement for old in world.change if old.statement in held - live]
    print(f"\n{CHANGING} changed: {reached:.2f} answered, by hand {beside:.2f}; {len(replaced)} thoughts replaced")
    assert reached >= OF_BY_HAND * beside
    assert len(replaced) >= LEAST_REPLACED
    assert then.issuperset(replaced)


def test_what_was_forgotten_is_unknown_and_in_no_prompt(world: World, restarted: tuple[Memory, Any, Proxy]) -> None:
    memory, model, proxy = restarted
    for fact in world.forget:
        named = [thought.id for thought in memory.thoughts(namespace=NS) if thought.text == fact.statement]
        turns = [turn.id for turn in memory.turns(namespace=NS) if says(turn.text, fact)]
        receipt = memory.forget([*named, *turns], namespace=NS)
        assert receipt.forgotten["turns"]
    told = {(fact.who, fact.attribute): fact for fact in world.forget}
    people = sorted({fact.who for fact in world.forget})
    pairs = [(who, attribute) for who in people for attribute in closed_world.ATTRIBUTES]
    facts = [told.get(pair, Fact(*pair, pair[1].values[0])) for pair in pairs]
    answers = dict(zip(pairs, asked(memory, model, facts), strict=True))
    sent = [line for exchange in proxy.exchanges for line in exchange.sent.split("\\n")]
    assert not [line for line in sent for fact in world.forget if says(line, fact)]
    assert not [fact for pair, fact in told.items() if answers[pair] == fact.answer]
    forgotten, unknown = (share([answers[pair] for pair in some], [UNKNOWN] * len(some)) for some in (told, pairs))
    print(
        f"\n{len(told)} forgotten: {forgotten:.2f} answered that it does not remember; "
        f"{unknown:.2f} of all {len(pairs)} questions about these people"
    )
    assert unknown >= LEAST_UNKNOWN


def says(text: str, fact: Fact) -> bool:
    return fact.who in text and fact.value in text


def test_many_exchanges_through_the_queue_leave_each_fact_once(server: Server, tmp_path: Path) -> None:
    """Facts are told again and again in other words, all of it waits in the queue, and is then thought about."""
    rng = random.Random(17)
    people = invent_people(rng, closed_world.held_out_people(), EXCHANGES // 10, alike=1)
    facts = invent_facts(rng, people, EXCHANGES * 2 // 5)
    told = [*facts, *facts, *rng.choices(facts, k=EXCHANGES - 2 * len(facts))]
    turns: list[NewTurn] = []
    for number, fact in enumerate(told):
        text, session = fact.wording(rng.randrange(3)), f"session {number // 20}"
        turns.append(NewTurn(role="user", parts=({"type": "text", "text": text},), session=session))
        turns.append(NewTurn(role="assistant", parts=({"type": "text", "text": NOTED},), session=session))
    with memory_with(server.url, tmp_path / "many.db") as (memory, model):
        memory.observe_many(turns, namespace=NS, think=True)
        memory.flush()
        begun = datetime.now(UTC)
        memory.thinker(model).flush()
        seconds = (datetime.now(UTC) - begun).total_seconds()
        texts = [thought.text for thought in memory.thoughts(namespace=NS)]
        with memory.backend.read() as reader:
            counted = costs(reader)
        parked = memory.backend.jobs(state="parked")
    saying = [sum(says(text, fact) for text in texts) for fact in facts]
    calls, tokens = counted["calls"] / EXCHANGES, (counted["prompt_tokens"] + counted["answer_tokens"]) / EXCHANGES
    print(
        f"\n{EXCHANGES} exchanges: {saying.count(1) / len(facts):.3f} of the facts stored once, "
        f"{sum(n > 1 for n in saying)} twice or more, {calls:.2f} calls and {tokens:.0f} tokens an exchange, "
        f"{seconds:.0f} s, {len(parked)} parked, {counted}"
    )
    assert calls <= 2
    assert not parked
    assert saying.count(1) >= LEAST_ONCE * len(facts)


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return "foggy" if city == "Oslo" else "sunny"


def test_tools_are_called(restarted: tuple[Memory, Any, Proxy]) -> None:
    """A tool of the caller's, and the memory's own that keeps a statement, each in a session of its own."""
    memory, model, _ = restarted
    agent = Agent(memory, model, namespace=TOOLS, think=False, tools=[weather], memory_tools=True)
    assert agent.ask("What is the weather in Oslo?").text == "The weather in Oslo: foggy."
    rng = random.Random(1)
    told = invent_facts(rng, invent_people(rng, closed_world.held_out_people(), 10), 10)
    for fact in told:
        agent.begin_session()
        agent.ask(f"Please remember: {fact.statement}")
    kept = memory.thoughts(namespace=TOOLS)
    assert all((one.origin, one.trusted) == ("agent", False) for one in kept)
    remembered = {one.text for one in kept} & {fact.statement for fact in told}
    print(f"\nof {len(told)} statements {len(remembered)} were remembered by a tool")
    assert len(remembered) >= len(told) / 2
