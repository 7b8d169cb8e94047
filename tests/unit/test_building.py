"""Graphs of vectors are built behind the answers, and nobody waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from agentmem import building
from agentmem.backends.memory import MemoryBackend
from agentmem.ids import new_id
from agentmem.indexes.hnsw import HnswIndex
from agentmem.interfaces import Matrix
from agentmem.recall import RecallEngine
from agentmem.types import Turn

NS = ("tests", "building")
AT = datetime(2024, 1, 1, tzinfo=UTC)


def _engine(count: int) -> RecallEngine:
    backend = MemoryBackend()
    turns = [
        Turn(
            id=new_id(),
            namespace=NS,
            role="user",
            parts=({"type": "text", "text": f"turn {n}"},),
            seq=n,
            occurred_at=AT,
            recorded_at=AT,
        )
        for n in range(count)
    ]
    with backend.write() as writer:
        writer.add(turns)
        writer.set_vectors("turn", [turn.id for turn in turns], _vectors(count), namespace=NS)
    return RecallEngine(backend, new_index=partial(HnswIndex, step=256))


def _vectors(count: int) -> Matrix:
    vectors = np.random.default_rng(3).standard_normal((count, 32)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _graphs(engine: RecallEngine) -> int:
    return len(engine._cache(NS).vectors.sealed())


def _until(holds: Callable[[], bool]) -> bool:
    stop = time.monotonic() + 20
    while not holds() and time.monotonic() < stop:
        time.sleep(0.02)
    return holds()


def test_a_recall_has_its_graph_built_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "PATIENCE", 0.0)
    engine = _engine(600)
    before = [item.id for item in engine.recall("turn", _vectors(600)[7], namespace=NS)]
    assert _until(lambda: _graphs(engine) == 1)
    assert [item.id for item in engine.recall("turn", _vectors(600)[7], namespace=NS)] == before
    engine.builder.close()


def test_a_command_that_answers_and_ends_builds_nothing() -> None:
    engine = _engine(600)
    engine.recall("turn", None, namespace=NS)
    started = time.monotonic()
    engine.builder.close()
    assert time.monotonic() - started < 1
    assert _graphs(engine) == 0


def test_all_that_is_pending_can_be_built_at_once() -> None:
    engine = _engine(600)
    engine.recall("turn", None, namespace=NS)
    engine.builder.build()
    assert _graphs(engine) == 1
    assert engine._cache(NS).vectors.pending() is None
    engine.builder.close()
