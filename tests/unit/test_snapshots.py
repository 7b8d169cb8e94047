"""Snapshots of sealed runs: a cache that was opened from them answers as one that was built from the records."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentmem import text
from agentmem.backends import open_backend
from agentmem.cache import NamespaceCache
from agentmem.errors import SnapshotError
from agentmem.indexes.hnsw import HnswIndex
from agentmem.indexes.postings import Postings
from agentmem.interfaces import Backend
from agentmem.keeping import keep
from agentmem.memory import Memory
from agentmem.recall import RecallEngine
from agentmem.snapshots import decode, encode, origin
from agentmem.testing.samples import NS, new_chunk, new_thought, new_turn
from agentmem.types import Namespace, NewTurn, Thought, Turn

OTHER: Namespace = ("test", "other")
WORDS = ("lisbon", "porto", "tea", "coffee", "Größe", "running", "naïve", "東京都", "1,000", "boat", "the", "and")
SEGMENT = 5


@pytest.fixture(autouse=True)
def _tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.cache.Postings", partial(Postings, SEGMENT))


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    backend = open_backend(tmp_path / "store.db")
    yield backend
    backend.close()


def add(backend: Backend, *records: Turn | Thought) -> None:
    with backend.write() as writer:
        writer.add(records)


def saying(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(0, 6)))


def some_turns(count: int, seed: int = 0) -> list[Turn]:
    chance = random.Random(seed)
    return [
        new_turn(
            saying(chance),
            session=chance.choice(("first", "second", "odd \ud800 one")),
            speaker=chance.choice((None, "Ada", "Bo Lisbon")),
            role=chance.choice(("user", "assistant")),
            metadata=chance.choice(({}, {"quotes": True})),
        )
        for _ in range(count)
    ]


def some_thoughts(count: int, seed: int = 0) -> list[Thought]:
    chance = random.Random(seed)
    return [new_thought(saying(chance), trusted=chance.random() < 0.5, origin="tool") for _ in range(count)]


def opened(backend: Backend, namespace: Namespace = NS) -> NamespaceCache:
    cache = NamespaceCache(namespace)
    with backend.read() as reader:
        cache.refresh(reader)
    return cache


def without_snapshots(backend: Backend) -> NamespaceCache:
    """A cache built from the records."""
    with backend.write() as writer:
        numbers = [kept.number for kept in writer.snapshots("text", namespace=NS)]
        writer.drop_snapshots(numbers, namespace=NS)
    return opened(backend)


def held(backend: Backend) -> list[bytes]:
    with backend.read() as reader:
        return [kept.data for kept in reader.snapshots("text", namespace=NS)]


def replaced(backend: Backend, data: Callable[[bytes], bytes]) -> None:
    """Put other bytes in the place of every snapshot that is whole, covering the same records."""
    with backend.write() as writer:
        for kept in list(writer.snapshots("text", namespace=NS)):
            try:
                run = decode(kept.data, origin(writer, NS))
            except SnapshotError:
                continue
            writer.drop_snapshots([kept.number], namespace=NS)
            turns = [id_ for id_ in run.ids if id_.startswith("turn")]
            covers: Any = {"turn": turns, "thought": [id_ for id_ in run.ids if id_ not in turns]}
            seen = writer.last_change(namespace=NS)
            assert writer.put_snapshot("text", data(kept.data), covers=covers, seen=seen, namespace=NS)


def described(cache: NamespaceCache) -> dict[str, Any]:
    """All that a cache holds of its documents, whatever their numbers."""
    layout, columns = cache.layout(), cache.columns
    names = set(cache.postings._numbers)
    found = {term: cache.postings.find([term]).entries[0] for term in names}
    docs = {cache.ids[doc]: doc for doc in np.flatnonzero(cache.live).tolist()}
    plain = ("kind", "state", "role", "origin", "tokens", "seq", "at", "until", "recorded", "gone")
    return {
        "columns": {id_: tuple(columns[name][doc].item() for name in plain) for id_, doc in docs.items()},
        "session": {id_: cache.sessions.name(int(columns["session"][doc])) for id_, doc in docs.items()},
        "speaker": {id_: cache.speakers.name(int(columns["speaker"][doc])) for id_, doc in docs.items()},
        "speakers": sorted(name for name, _ in cache.speakers.items()),
        "before": {id_: cache.ids[int(layout.before[doc])] for id_, doc in docs.items()},
        "chunks": {id_: sorted(_mates(cache, doc)) for id_, doc in docs.items()},
        "terms": {
            term: {cache.ids[doc]: int(often) for doc, often in zip(entry.docs.tolist(), entry.often, strict=True)}
            for term, entry in found.items()
        },
        "idf": {term: cache.postings.idf(term) for term in names},
        "signature": {id_: len(cache.postings.signature(doc)) for id_, doc in docs.items()},
        "lengths": {id_: float(cache.postings.lengths[doc]) for id_, doc in docs.items()},
        "mean": cache.postings.find(["tea"]).mean_length,
        "vectors": sorted(id_ for id_, doc in docs.items() if cache.vectors.holds(doc)),
        "found": all(cache.ids.number(id_) == doc for id_, doc in docs.items()) and cache.ids.held == len(docs),
    }


def _mates(cache: NamespaceCache, doc: int) -> list[str]:
    group = cache.layout().chunks.numbers
    return [cache.ids[other] for other in np.flatnonzero(cache.live & (group[: len(cache)] == group[doc])).tolist()]


def test_a_cache_opened_from_snapshots_is_like_one_built(backend: Backend) -> None:
    turns = some_turns(23)
    add(backend, *turns, *(new_thought(saying(random.Random(n))) for n in range(9)), new_turn(namespace=OTHER))
    with backend.write() as writer:
        writer.add([new_chunk(session="first", first_seq=turns[0].seq, last_seq=turns[9].seq)])
        writer.set_vectors("turn", [turn.id for turn in turns[:12]], np.eye(12, dtype=np.float32), namespace=NS)
    built = opened(backend)
    assert keep(backend, built) == 6
    assert keep(backend, built) == 0
    again = opened(backend)
    assert len(again.kept) == 6
    assert described(again) == described(built)
    assert keep(backend, again) == 0
    assert backend.check() == []


def with_graphs() -> HnswIndex:
    return HnswIndex(segment=16, step=4)


def with_vectors(backend: Backend, count: int) -> list[Turn]:
    turns = some_turns(count)
    vectors = np.random.default_rng(3).normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    add(backend, *turns)
    with backend.write() as writer:
        writer.set_vectors("turn", [turn.id for turn in turns], vectors, namespace=NS)
    return turns


def linked(backend: Backend, *, build: bool = True) -> NamespaceCache:
    cache = NamespaceCache(NS, with_graphs)
    with backend.read() as reader:
        cache.refresh(reader)
    while build and (work := cache.vectors.pending()):
        assert work.run()
        assert cache.vectors.adopt(work)
    return cache


def graphs(backend: Backend) -> list[bytes]:
    with backend.read() as reader:
        return [kept.data for kept in reader.snapshots("vectors", namespace=NS)]


def neighbours(cache: NamespaceCache) -> dict[str, list[str]]:
    docs = np.flatnonzero(cache.live).tolist()
    vectors = {doc: np.array([cache.vectors.scores_at(axis, np.array([doc]))[0] for axis in AXES]) for doc in docs}
    return {
        cache.ids[doc]: [cache.ids[other] for other in cache.vectors.search(vector.astype(np.float32), 3)[0].tolist()]
        for doc, vector in vectors.items()
    }


AXES = np.eye(8, dtype=np.float32)


def test_graphs_need_not_be_built_again(backend: Backend) -> None:
    with_vectors(backend, 40)
    built = linked(backend)
    assert len(built.vectors.sealed()) == 3
    keep(backend, built)
    assert len(graphs(backend)) == 3
    again = linked(backend, build=False)
    assert again.vectors.pending() is None
    assert len(again.vectors.sealed()) == 3
    assert again.due_graphs() == []
    assert neighbours(again) == neighbours(built)
    assert described(again) == described(built)


def test_a_graph_goes_with_a_vector_and_is_kept_anew(backend: Backend) -> None:
    turns = with_vectors(backend, 40)
    cache = linked(backend)
    keep(backend, cache)
    with backend.write() as writer:
        writer.remove("turn", [turns[20].id], namespace=NS)
        writer.set_vectors("turn", [turns[3].id], np.ones((1, 8), np.float32), namespace=NS)
    assert len(graphs(backend)) == 1
    assert all(turns[20].id.encode() not in data for data in graphs(backend) + held(backend))
    with backend.read() as reader:
        cache.refresh(reader)
    keep(backend, cache)
    assert len(graphs(backend)) == 3
    assert all(f'"{turns[20].id}"'.encode() not in data for data in graphs(backend) + held(backend))
    assert neighbours(linked(backend)) == neighbours(cache)
    assert backend.check() == []


def test_a_graph_that_has_grown_is_kept_instead(backend: Backend) -> None:
    with_vectors(backend, 8)
    cache = linked(backend)
    keep(backend, cache)
    (small,) = graphs(backend)
    with_vectors(backend, 8)
    with backend.read() as reader:
        cache.refresh(reader)
    while work := cache.vectors.pending():
        work.run()
        cache.vectors.adopt(work)
    keep(backend, cache)
    (large,) = graphs(backend)
    assert len(large) > len(small)
    assert backend.check() == []


def test_graphs_of_another_embedder_or_damaged_are_built_anew(backend: Backend) -> None:
    with_vectors(backend, 40)
    keep(backend, linked(backend))
    with backend.write() as writer:
        writer.set_meta("embedder_digest", "another")
    again = linked(backend, build=False)
    assert again.vectors.sealed() == []
    assert len(again.useless) == 3
    again = linked(backend)
    keep(backend, again)
    assert len(graphs(backend)) == 3
    assert linked(backend, build=False).vectors.pending() is None


def test_states_are_those_of_the_records(backend: Backend) -> None:
    turns, thoughts = some_turns(7), [new_thought(f"tea {n}", trusted=False) for n in range(7)]
    add(backend, *turns, *thoughts)
    keep(backend, opened(backend))
    moment = turns[0].occurred_at
    with backend.write() as writer:
        writer.replace([replace(turns[1], status="superseded"), replace(turns[2], occurred_at=moment)])
        writer.replace([replace(thoughts[1], state="retracted", valid_to=moment, retracted_at=moment)])
        writer.replace([replace(thoughts[2], trusted=True)])
    again = opened(backend)
    assert len(again.kept) == 2
    assert described(again) == described(without_snapshots(backend))


def test_what_is_forgotten_leaves_the_run_and_its_snapshot(backend: Backend) -> None:
    turns = [new_turn(f"word{'abcdefghijkl'[n]}zq tea") for n in range(12)]
    add(backend, *turns)
    cache = opened(backend)
    keep(backend, cache)
    assert sum(b"wordbzq" in data for data in held(backend)) == 1
    with backend.write() as writer:
        writer.remove("turn", [turns[1].id, turns[7].id], namespace=NS)
    assert len(held(backend)) == 0
    with backend.read() as reader:
        cache.refresh(reader)
    assert keep(backend, cache) == 2
    assert all(b"wordbzq" not in data and b"wordhzq" not in data for data in held(backend))
    again = opened(backend)
    assert len(again.kept) == 2
    assert described(again) == described(cache) == described(without_snapshots(backend))


def test_two_processes_keep_one_snapshot_of_a_run(backend: Backend) -> None:
    add(backend, *some_turns(11))
    one, other = opened(backend), opened(backend)
    keep(backend, one)
    before = held(backend)
    assert keep(backend, other) == 2
    assert held(backend) == before
    assert other.due() == []


def test_a_removal_unknown_to_the_keeper_is_not_undone(backend: Backend) -> None:
    turns = some_turns(11)
    add(backend, *turns)
    cache = opened(backend)
    with backend.write() as writer:
        writer.remove("turn", [turns[2].id], namespace=NS)
    keep(backend, cache)
    assert len(held(backend)) == 1
    assert described(opened(backend)) == described(without_snapshots(backend))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "of zeros": lambda data: bytes(len(data)),
    "cut short": lambda data: data[: len(data) // 2],
    "cut within its head": lambda data: data[:37],
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "another form": lambda data: data.replace(b"agentmem snapshot 1", b"agentmem snapshot 2"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_snapshot_is_made_anew(backend: Backend, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    add(backend, *some_turns(13))
    keep(backend, opened(backend))
    good = held(backend)
    replaced(backend, DAMAGE[damage])
    with caplog.at_level(logging.INFO, "agentmem"):
        again = opened(backend)
    assert caplog.text.count("is made anew") == 2
    assert again.kept == set()
    assert keep(backend, again) == 2
    assert held(backend) == good
    assert described(again) == described(opened(backend)) == described(without_snapshots(backend))


def test_what_another_version_derived_is_made_anew(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    add(backend, *some_turns(7))
    monkeypatch.setattr("agentmem.snapshots.INDEXING", [0, "older", "older"])
    keep(backend, opened(backend))
    monkeypatch.undo()
    assert opened(backend).kept == set()


def test_one_of_another_store_is_refused(backend: Backend, tmp_path: Path) -> None:
    turns = some_turns(7)
    elsewhere = open_backend(tmp_path / "elsewhere.db")
    for store in (backend, elsewhere):
        add(store, *turns)
        keep(store, opened(store))
    (foreign,) = held(elsewhere)
    replaced(backend, lambda _: foreign)
    assert opened(backend).kept == set()
    elsewhere.close()


def test_snapshots_that_overlap_or_name_strangers_are_refused(backend: Backend) -> None:
    turns = some_turns(12)
    add(backend, *turns)
    cache = opened(backend)
    keep(backend, cache)
    first, _ = held(backend)
    replaced(backend, lambda _: first)
    assert len(opened(backend).kept) == 1
    keep(backend, without_snapshots(backend))
    with backend.read() as reader:
        run = decode(first, origin(reader, NS))
        strange = encode(replace(run, ids=["turn-nobody", *run.ids[1:]]), origin(reader, NS))
    replaced(backend, lambda _: strange)
    assert opened(backend).kept == set()


def test_a_memory_keeps_them_at_its_end_and_in_a_flush(tmp_path: Path) -> None:
    turns = [NewTurn(role="user", parts=({"type": "text", "text": f"tea for {n} people"},)) for n in range(17)]
    with Memory(tmp_path / "store.db", embedder=None) as memory:
        memory.observe_many(turns, namespace=NS)
        memory.recall("tea", namespace=NS)
        assert held(memory.backend) == []
    with Memory(tmp_path / "store.db", embedder=None) as memory:
        assert len(held(memory.backend)) == 3
        memory.forget([memory.recall("tea", namespace=NS).items[0].id], namespace=NS)
        assert len(held(memory.backend)) == 2
        memory.recall("tea", namespace=NS)
        memory.flush()
        assert len(held(memory.backend)) == 3
        memory.erase(namespace=NS)
        assert held(memory.backend) == []


def test_a_store_that_takes_none_is_left_without(tmp_path: Path) -> None:
    memory = open_backend("memory:")
    add(memory, *some_turns(12))
    assert keep(memory, opened(memory)) == 0
    backend = open_backend(tmp_path / "store.db", busy_timeout=0.1)
    add(backend, *some_turns(12))
    cache = opened(backend)
    with open_backend(tmp_path / "store.db").write():
        assert keep(backend, cache) == 0
    assert len(cache.due()) == 2
    assert keep(backend, cache) == 2
    backend.close()


def test_the_derivation_from_text_has_the_number_it_had() -> None:
    """Should this fail, raise the first number of `text.INDEXING`, so that snapshots are made anew, and the digest."""
    import hashlib

    probe = "Ada's 1,000 km to Größe on 2023-05-07; can't, won't, isn't naïve: 東京都 ran running runs, U.S. e-mail ﬁne"
    told = [
        text.tells(NewTurn(role="user", parts=({"type": "text", "text": said},)))
        for said in ("I did", "Did we?", "Did it?", "It's for me", probe)
    ]
    derived = repr((text.stems(probe), text.count_tokens(probe), told, sorted(text.STOP_WORDS)))
    assert (text.INDEXING[0], hashlib.sha256(derived.encode()).hexdigest()[:16]) == (2, "3475fdef755eacb7")


STEPS = st.lists(
    st.sampled_from(["turns", "thoughts", "forget", "retract", "reopen", "keep", "keep", "damage"]), max_size=14
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, seed=st.integers(0, 2**16))
def test_any_sequence_answers_as_a_fresh_build(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int
) -> None:
    chance = random.Random(seed)
    backend = open_backend(tmp_path_factory.mktemp("any") / "store.db")
    cache = opened(backend)
    live: list[Turn | Thought] = []
    for step in steps:
        live = _take(step, backend, cache, live, chance)
        if step == "reopen":
            cache = opened(backend)
        with backend.read() as reader:
            cache.refresh(reader)
    assert described(cache) == described(opened(backend))
    query = saying(chance) + " tea"
    engines = [RecallEngine(backend), RecallEngine(backend)]
    answers = [_answers(engines[0], query)]
    built = without_snapshots(backend)
    answers.append(_answers(engines[1], query))
    assert described(cache) == described(built)
    assert answers[0].keys() == answers[1].keys()
    # Of two turns of one score that repeat each other, either may be the one that is moved down.
    assert sorted(answers[0].values()) == sorted(answers[1].values())
    assert backend.check() == []
    backend.close()


def _take(
    step: str, backend: Backend, cache: NamespaceCache, live: list[Turn | Thought], chance: random.Random
) -> list[Turn | Thought]:
    if step in ("turns", "thoughts"):
        seed, count = chance.randrange(1000), chance.randint(1, 9)
        fresh = some_turns(count, seed) if step == "turns" else some_thoughts(count, seed)
        add(backend, *fresh)
        return [*live, *fresh]
    if step == "forget":
        gone = chance.sample(live, min(len(live), chance.randint(1, 3)))
        with backend.write() as writer:
            for record in gone:
                writer.remove("turn" if isinstance(record, Turn) else "thought", [record.id], namespace=NS)
        return [record for record in live if record not in gone]
    if step == "retract" and live:
        record = chance.choice(live)
        with backend.write() as writer:
            if isinstance(record, Turn):
                writer.replace([replace(record, status="superseded")])
            else:
                retracted = replace(record, state="retracted", retracted_at=record.recorded_at)
                writer.replace([chance.choice([retracted, replace(record, trusted=True, strength=2)])])
    if step == "keep":
        keep(backend, cache)
    if step == "damage":
        damaged = chance.choice(list(DAMAGE.values()))
        replaced(backend, lambda data: damaged(data) if chance.random() < 0.5 else data)
    return live


def _answers(engine: RecallEngine, query: str) -> dict[str, float]:
    items = engine.recall(query, None, namespace=NS, k=1000)
    return {item.id: round(item.score, 4) for item in items}
