"""Recall over candidates, as in large namespaces, against scoring everything."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agentmem import recall as recalling
from agentmem.backends.memory import MemoryBackend
from agentmem.diversity import LOSSES
from agentmem.filters import Conditions
from agentmem.ids import new_id
from agentmem.recall import RecallEngine
from agentmem.types import Chunk, Edge, Kind, RecallItem, Turn
from tests.unit.test_filters import FILLING, NOW, NS, meets, possible_conditions, worlds

Vector = NDArray[np.float32]


def _vector(seed: int) -> Vector:
    vector = np.random.default_rng(seed).standard_normal(16).astype(np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def _stored(records: list[Any], edges: list[Edge] | None = None, embed: bool = False) -> MemoryBackend:
    backend = MemoryBackend()
    with backend.write() as writer:
        writer.add(records)
        writer.link(edges or [], namespace=NS)
        for number, record in enumerate(records if embed else []):
            if not isinstance(record, Chunk):
                kind: Kind = "turn" if isinstance(record, Turn) else "thought"
                writer.set_vectors(kind, [record.id], _vector(number)[None], namespace=NS)
    return backend


@settings(max_examples=150, deadline=None)
@given(worlds(), possible_conditions(), st.integers(1, 6), FILLING, st.sampled_from(["dense", "waiting", "words"]))
def test_as_many_come_as_exist(
    world: tuple[list[Any], list[Edge]], wanted: Conditions, k: int, asked: str, meaning: str
) -> None:
    records, edges = world
    backend = _stored(records, edges, embed=meaning == "dense")
    vector = None if meaning == "words" else _vector(99)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recalling, "DEPTH", 1)
        patch.setattr(recalling, "_WIDER", 2)
        engine = RecallEngine(backend, clock=lambda: NOW, whole=0)
        every, found = (
            [item.id for item in engine.recall(f"tea {asked}", vector, namespace=NS, k=most, conditions=wanted)]
            for most in (len(records), k)
        )
        strange = engine.recall("zebra", vector, namespace=NS, k=len(records), conditions=wanted)
    turn_of = {record.id: record for record in records if isinstance(record, Turn)}
    expected = {record.id for record in records if meets(record, wanted, turn_of, edges)}
    assert set(every) == expected
    assert set(found) <= expected
    assert len(found) == min(k, len(expected))
    assert {item.id for item in strange} == (expected if meaning == "dense" else set())


def _conversation(seed: int, turns: int = 400) -> list[Any]:
    chance = random.Random(seed)
    words = [f"w{n}" for n in range(300)]
    said = [
        Turn(
            id=new_id(),
            namespace=NS,
            role=chance.choice(["user", "assistant"]),
            speaker=chance.choice(["Ann", "Bo", None]),
            parts=({"type": "text", "text": " ".join(chance.choices(words[n // 40 * 5 :], k=chance.randint(2, 12)))},),
            session=f"s{n // 40}",
            seq=n % 40,
            occurred_at=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=n),
            recorded_at=datetime(2024, 1, 1, tzinfo=UTC),
        )
        for n in range(turns)
    ]
    chunks = [
        Chunk(
            id=new_id(),
            namespace=NS,
            session=f"s{n // 40}",
            first_seq=n % 40,
            last_seq=n % 40 + 7,
            recorded_at=datetime(2024, 1, 1, tzinfo=UTC),
        )
        for n in range(0, turns - 40, 8)
    ]
    return [*said, *chunks]


@pytest.mark.parametrize("dense", [True, False])
def test_candidates_are_scored_as_when_everything_is(dense: bool) -> None:
    backend = _stored(_conversation(1), embed=True)
    whole, some = RecallEngine(backend), RecallEngine(backend, whole=0)
    chance, agreed = random.Random(2), 0
    for seed in range(40):
        query = " ".join([*chance.choices([f"w{n}" for n in range(300)], k=4), chance.choice(["Ann", "", "my"])])
        asked: tuple[Any, ...] = (query, _vector(1000 + seed) if dense else None)
        best, found = (engine.recall(*asked, namespace=NS) for engine in (whole, some))
        scores = {item.id: item for item in whole.recall(*asked, namespace=NS, k=400)}
        for item in found:
            _assert_same(item, scores[item.id])
        agreed += len({item.id for item in best} & {item.id for item in found})
    assert agreed >= 0.97 * 40 * 10


def _assert_same(item: RecallItem, other: RecallItem) -> None:
    """But for what an item loses by those before it, which are others."""
    mine, theirs = ({s.name: s.value for s in one.signals if s.name not in LOSSES} for one in (item, other))
    assert mine == pytest.approx(theirs, abs=1e-4)
    assert item.measures == pytest.approx(other.measures, abs=1e-4)


def test_repeats_and_a_budget_do_not_keep_the_rest_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recalling, "DEPTH", 8)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    texts = ["tea please"] * 60 + ["tea was cold in the end", "much " * 50 + "tea"]
    turns = [
        Turn(
            id=new_id(),
            namespace=NS,
            role="user",
            parts=({"type": "text", "text": text},),
            session=f"s{n}",
            seq=0,
            occurred_at=at,
            recorded_at=at,
        )
        for n, text in enumerate(texts)
    ]
    engine = RecallEngine(_stored(turns, embed=True), whole=0)
    for vector in (None, _vector(5)):
        found = engine.recall("tea please", vector, namespace=NS, k=3)
        assert {item.text[:8] for item in found} == {"tea plea", "tea was ", "much muc"}
        assert {i.text for i in engine.recall("tea", vector, namespace=NS, k=3, budget=20)} <= set(texts[:61])
