"""A thought that matches a query lifts the turns it was drawn from."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentmem.backends.memory import MemoryBackend
from agentmem.filters import Conditions
from agentmem.fusion import DEFAULT
from agentmem.memory import Memory
from agentmem.recall import RecallEngine
from agentmem.types import Edge, RecallItem, Thought, Turn
from tests.unit.test_candidates import _assert_same, _conversation, _stored, _vector
from tests.unit.test_filters import NOW, NS
from tests.unit.test_recall import START, Bench
from tests.unit.test_recall import _thought as thought
from tests.unit.test_recall import _turn as turn

BOTH = pytest.mark.parametrize("whole", [16_384, 0], ids=["everything", "candidates"])
MEANING = pytest.mark.parametrize("dense", [True, False], ids=["dense", "words"])
ASKED = "Is Mara engaged?"


def _engaged(whole: int) -> tuple[Bench, Turn, Thought]:
    """A turn without a word of the question, alone in its session, and a thought drawn from it."""
    bench = Bench(whole=whole)
    said = turn("She said yes!", session="a")
    others = [turn(f"We bought {what} today", session=what) for what in ("bread", "apples", "soap", "stamps")]
    drawn = thought("Mara is engaged to Leo")
    bench.add(said, *others, drawn, embed=True)
    _link(bench, drawn, said)
    return bench, said, drawn


def _link(bench: Bench, drawn: Thought, said: Turn) -> None:
    with bench.backend.write() as writer:
        writer.link([Edge("thought", drawn.id, "turn", said.id, "source")], namespace=said.namespace)


def _lift(items: list[RecallItem], said: Turn) -> float:
    return sum(s.value for item in items if item.id == said.id for s in item.signals if s.name == "thought")


@BOTH
@MEANING
def test_a_thought_leads_to_its_turn(whole: int, dense: bool) -> None:
    bench, said, _ = _engaged(whole)
    found = bench.ask(ASKED, dense=dense)
    assert [item.text for item in found[:2]] == ["Mara is engaged to Leo", "She said yes!"]
    assert "a thought of it" in found[1].why
    assert _lift(found, said) > 0.3
    assert found[1].score == pytest.approx(sum(signal.contribution for signal in found[1].signals), abs=1e-4)
    assert not any(signal.name == "thought" for item in found if item.id != said.id for signal in item.signals)


@BOTH
@MEANING
def test_what_is_asked_for_need_not_include_the_thought(whole: int, dense: bool) -> None:
    bench, said, _ = _engaged(whole)
    for conditions in ({"kinds": ("turn",)}, {"session": "a"}, {"speaker": "user"}):
        found = bench.ask(ASKED, dense=dense, **conditions)
        turns = [item for item in found if item.kind == "turn"]
        assert turns[0].text == "She said yes!"
        assert _lift(found, said) > 0.3
    assert said.id not in {item.id for item in bench.ask(ASKED, dense=dense, session="bread")}


@BOTH
@MEANING
def test_a_thought_that_does_not_hold_leads_nowhere(whole: int, dense: bool) -> None:
    bench, said, drawn = _engaged(whole)
    gone = START + timedelta(days=9)
    bench.replace(drawn, state="retracted", valid_to=gone, retracted_at=gone)
    assert _lift(bench.ask(ASKED, dense=dense), said) == 0
    assert _lift(bench.ask(ASKED, dense=dense, as_of=gone - timedelta(days=1)), said) > 0.3
    bench.replace(drawn, state="merged", retracted_at=gone)
    assert _lift(bench.ask(ASKED, dense=dense), said) == 0
    bench.replace(drawn)
    assert _lift(bench.ask(ASKED, dense=dense), said) > 0.3
    bench.remove("thought", drawn.id)
    assert _lift(bench.ask(ASKED, dense=dense), said) == 0


@BOTH
def test_a_turn_that_went_is_not_sought(whole: int) -> None:
    bench, said, drawn = _engaged(whole)
    bench.remove("turn", said.id)
    assert [item.text for item in bench.ask(ASKED)] == [drawn.text]


@BOTH
def test_the_best_of_its_thoughts_counts_and_only_what_it_adds(whole: int) -> None:
    bench, said, _ = _engaged(whole)
    before = _lift(bench.ask(ASKED, dense=True), said)
    poorer = thought("Leo proposed to Mara at the lake")
    bench.add(poorer, embed=True)
    _link(bench, poorer, said)
    assert _lift(bench.ask(ASKED, dense=True), said) == pytest.approx(before)
    assert _lift(bench.ask("She said yes", dense=True), said) == 0


def test_after_forgetting_the_thought_its_turn_is_lifted_no_more(memory: Memory) -> None:
    said = memory.observe("user", "She said yes!", session="a", namespace=NS)
    drawn = memory.insert("Mara is engaged to Leo", sources=[said.id], namespace=NS).thought
    assert said.id in {item.id for item in memory.recall(ASKED, namespace=NS).items}
    memory.forget([drawn.id], keep_source=True, namespace=NS)
    assert not memory.recall(ASKED, namespace=NS).items


@MEANING
def test_candidates_are_lifted_as_when_everything_is_scored(dense: bool) -> None:
    records, edges = _drawn()
    backend: MemoryBackend = _stored(records, edges, embed=True)
    heavy = replace(DEFAULT, thought=8.0)  # so that many of the best are there by a thought
    whole, some = (RecallEngine(backend, clock=lambda: NOW, weights=heavy, whole=size) for size in (16_384, 0))
    chance, agreed, lifted = random.Random(3), 0, 0
    for seed in range(40):
        query = " ".join(chance.choices([f"w{n}" for n in range(300)], k=4))
        wanted = Conditions(kinds=("turn",)) if seed % 2 else Conditions()
        vector = _vector(1000 + seed) if dense else None
        every = whole.recall(query, vector, namespace=NS, k=600, conditions=wanted)
        found = some.recall(query, vector, namespace=NS, conditions=wanted)
        scores = {item.id: item for item in every}
        for item in found:
            _assert_same(item, scores[item.id])
            lifted += any(signal.name == "thought" for signal in item.signals)
        agreed += len({item.id for item in every[:10]} & {item.id for item in found})
    assert lifted > 20
    assert agreed >= 0.97 * 40 * 10


def _drawn() -> tuple[list[Any], list[Edge]]:
    """A conversation, and thoughts drawn from one or two of its turns."""
    records, chance = _conversation(1), random.Random(4)
    said = [record for record in records if isinstance(record, Turn)]
    words = [f"w{n}" for n in range(300)]
    thoughts = [thought(" ".join(chance.choices(words, k=6)), namespace=NS) for _ in range(120)]
    edges = [
        Edge("thought", drawn.id, "turn", source.id, "source")
        for drawn in thoughts
        for source in chance.sample(said, chance.randint(1, 2))
    ]
    return [*records, *thoughts], edges
