"""A hundred thoughts into the closed-world model's weights, on a real vLLM: learned, served, forgotten, rolled back.

One test after the other on one server and one store: each goes on where the one before ended.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agentmem import lineage
from agentmem.agent import Agent
from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.consolidation import adapters, cycle, hotload
from agentmem.consolidation.cycle import Outcome, Plan
from agentmem.consolidation.gates import Thresholds
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.consolidation.service import switch
from agentmem.memory import Memory
from agentmem.models.select import Place
from agentmem.models.server import post
from agentmem.prompt import messages
from agentmem.serving import Server
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Adapter, Thought
from tests.unit.consolidation_support import NS, facts, remember
from tests.vllm.conftest import ModelAt, StartServer

PLAN = Plan(
    base=str(closed_world.path()),
    writer=ClosedWorldWriter(),
    recipe=CLOSED_WORLD,
    # A model this small takes a stranger for somebody it knows now and then, and reads its memory less well than it
    # did: docs/consolidation.md.
    thresholds=Thresholds(abstention=0.25, general=0.05, retrieval=0.15, form=0.05, calls=0.15),
)
TOLD = facts(17)[:100]
ROLES = {"system": "system", "human": "user", "ai": "assistant"}


@dataclass
class World:
    """A store with a hundred thoughts, and a server of the model that is to learn them."""

    server: Server
    place: Place
    memory: Memory
    settings: Settings
    thoughts: list[Thought]

    @property
    def root(self) -> Path:
        return adapters.root_of(self.settings, NS)

    def consolidate(self) -> Outcome:
        return cycle.consolidate(self.memory.backend, self.settings, PLAN, namespace=NS, place=self.place)

    def serving(self) -> Adapter | None:
        with self.memory.backend.read() as reader:
            return lineage.serving(reader, namespace=NS)

    def right(self, model: str, told: Sequence[closed_world.Fact], which: int) -> float:
        """The share of questions, in one of three wordings, that a model answers without a memory in its prompt."""
        with ThreadPoolExecutor(16) as pool:
            answers = pool.map(lambda fact: ask(self.server.url, model, fact.question(which)), told)
        right = [fact.value in answer.rstrip(".").split() for fact, answer in zip(told, answers, strict=True)]
        return sum(right) / len(right)


def ask(url: str, model: str, question: str) -> str:
    sent = [{"role": ROLES[m.type], "content": m.content} for m in messages([], [], question, utc_now())]
    asked = {"model": model, "messages": sent, "temperature": 0, "max_tokens": 32}
    status, said = post(f"{url}/chat/completions", asked, None, 60.0)
    assert status == 200, said
    return str(said["choices"][0]["message"]["content"])


@pytest.fixture(scope="module")
def world(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    server = start_server(closed_world.path())
    folder = tmp_path_factory.mktemp("consolidation")
    settings = Settings(store=str(folder / "m.db"), base_url=server.url, think=False)
    with Memory(settings.store, embedder=None, settings=settings) as memory:
        thoughts = remember(memory, TOLD)
        yield World(server, Place(server.url, server.model), memory, settings, thoughts)


def test_a_hundred_thoughts_are_learned_judged_and_served(world: World) -> None:
    before = world.right(world.server.model, TOLD, 0)
    outcome = world.consolidate()
    assert outcome.judgement.passed, outcome.judgement.reasons
    assert len(outcome.selection.chosen) == 100
    name = outcome.adapter.name
    assert name in hotload.loaded(world.place)
    assert before < 0.1
    assert world.right(name, TOLD, 0) >= 0.95
    assert world.right(name, TOLD, 2) >= 0.9, "a wording that was never trained"
    old = random.Random(0).sample(list(closed_world.BASE_FACTS.values()), 100)
    assert world.right(name, old, 1) >= 0.97


def test_the_agent_asks_the_adapter_and_the_answer_says_so(world: World, model_at: ModelAt) -> None:
    serving = world.serving()
    assert serving is not None
    model: Any = model_at(world.server.url)
    model.temperature = 0.0
    agent = Agent(world.memory, model, namespace=NS)
    answer = agent.ask(TOLD[3].question(0))
    assert answer.turn is not None
    with world.memory.backend.read() as reader:
        stood = reader.edges(namespace=NS, children=[answer.turn.id], relation="recalled")
    assert serving.id in {edge.parent for edge in stood if edge.parent_kind == "adapter"}
    hotload.unload(world.place, world.root, serving.name)  # as a restart of the server does
    assert agent.ask(TOLD[4].question(1)).text
    assert serving.name in hotload.loaded(world.place), "loaded again, and asked"


def test_what_it_learned_nothing_of_goes_to_the_base(world: World, model_at: ModelAt) -> None:
    serving = world.serving()
    assert serving is not None
    settings = replace(world.settings, adapter_answers="related")
    with Memory(settings.store, settings=settings) as memory:
        memory.flush()
        agent = Agent(memory, model_at(world.server.url), namespace=NS)
        for asked, goes_there in ((TOLD[5].question(2), True), ("Write a short poem about the sea.", False)):
            answer = agent.ask(asked)
            assert answer.turn is not None
            with memory.backend.read() as reader:
                stood = reader.edges(namespace=NS, children=[answer.turn.id], relation="recalled")
            assert (serving.id in {edge.parent for edge in stood}) is goes_there, asked


def test_forgetting_takes_it_out_of_service_and_a_rebuild_knows_the_rest_only(world: World) -> None:
    first = world.serving()
    assert first is not None
    forgotten, kept = TOLD[:10], TOLD[10:]
    receipt = world.memory.forget([thought.id for thought in world.thoughts[:10]], namespace=NS)
    assert receipt.forgotten["adapters"] == (first.name,)
    assert receipt.unreached == ()
    assert first.name not in hotload.loaded(world.place)
    assert not (world.root / first.name).exists()
    second = world.consolidate().adapter
    assert second.state == "serving"
    assert world.right(second.name, forgotten, 0) <= 0.2, "at chance: one in 24 by guessing"
    assert world.right(second.name, kept, 0) >= 0.95


def test_a_rollback_goes_back_to_the_base_and_forth(world: World) -> None:
    serving = world.serving()
    assert serving is not None
    switch(world.memory.backend, world.settings, world.place, None, NS)
    assert world.serving() is None
    assert serving.name not in hotload.loaded(world.place)
    with world.memory.backend.read() as reader:
        before = lineage.previous(reader, namespace=NS)
    assert before is not None
    switch(world.memory.backend, world.settings, world.place, before, NS)
    assert world.right(before.name, TOLD[10:30], 0) >= 0.9
