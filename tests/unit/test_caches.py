"""What recall holds in RAM of namespaces, and when it lets one go."""

from __future__ import annotations

import gc
import weakref

import pytest

from agentmem import recall
from agentmem.backends.memory import MemoryBackend
from agentmem.memory import Memory
from agentmem.recall import RecallEngine
from agentmem.types import Namespace

SPACES: list[Namespace] = [("team", str(number)) for number in range(6)]
TURNS = 20


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> RecallEngine:
    """Over six namespaces of twenty turns each, with room for three."""
    monkeypatch.setattr(recall, "_OF_A_CACHE", 5)
    backend = MemoryBackend()
    memory = Memory(backend, embedder=None)
    for space in SPACES:
        for number in range(TURNS):
            memory.observe("user", f"kite {number} of {space[-1]}", namespace=space)
    return RecallEngine(backend, most_held=3 * (TURNS + 5))


def ask(engine: RecallEngine, space: Namespace) -> list[str]:
    return [item.text for item in engine.recall("kite", None, namespace=space, k=TURNS)]


def test_the_namespaces_not_asked_for_the_longest_time_are_let_go(engine: RecallEngine) -> None:
    for space in SPACES[:4]:
        ask(engine, space)
    assert list(engine._caches) == SPACES[:4]  # the last is filled when room was made for it
    ask(engine, SPACES[0])
    ask(engine, SPACES[4])
    assert list(engine._caches) == [SPACES[2], SPACES[3], SPACES[0], SPACES[4]]


def test_what_was_let_go_is_out_of_ram_and_answers_again(engine: RecallEngine) -> None:
    before = ask(engine, SPACES[0])
    gone = weakref.ref(engine._caches[SPACES[0]])
    for space in SPACES[1:]:
        ask(engine, space)
    gc.collect()
    assert gone() is None
    assert ask(engine, SPACES[0]) == before
    assert len(before) == TURNS


def test_a_namespace_larger_than_all_room_is_held_alone(engine: RecallEngine) -> None:
    engine._most_held = 1
    for space in SPACES[:3]:
        assert len(ask(engine, space)) == TURNS
        assert list(engine._caches) == [space]
        held = engine._caches[space]
        ask(engine, space)
        assert engine._caches[space] is held
