"""A store with Qdrant beside it answers as it does alone, and what Qdrant holds is what the store holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentmem import candidates
from agentmem import indexing as indexing_module
from agentmem.backends.sqlite import SqliteBackend
from agentmem.clock import utc_now
from agentmem.interfaces import Backend, Matrix
from agentmem.memory import Memory
from agentmem.moving import digest_of, move
from agentmem.plugins import open_store
from agentmem_postgres.backend import PostgresBackend
from agentmem_qdrant.index import QdrantIndex
from tests.integration.support import ROOT, HashEmbedder, environment, word
from tests.postgres.server import Server
from tests.qdrant.support import (
    NS,
    OTHER,
    assert_in_step,
    fill,
    held,
    indexing,
    opened,
    points,
    remember,
    settings_for,
)

CONDITIONS: list[dict[str, Any]] = [
    {},
    {"session": "s1"},
    {"kinds": ("thought",)},
    {"after": utc_now() + timedelta(days=1)},
    {"session": "s0", "kinds": ("turn",)},
]


@pytest.fixture
def memory(store: str, tmp_path: Path) -> Iterator[Memory]:
    memory = remember(store, settings_for(tmp_path))
    yield memory
    memory.close()


@contextmanager
def down(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Qdrant cannot be reached meanwhile."""

    def refuse(_: QdrantIndex) -> None:
        raise ConnectionRefusedError("connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(QdrantIndex, "_client", refuse)
        yield


def asked(memory: Memory, query: str, **how: Any) -> list[tuple[str, float]]:
    found = memory.recall(query, namespace=how.pop("namespace", NS), k=8, **how)
    return [(item.id, round(item.score, 4)) for item in found.items]


@pytest.mark.usefixtures("always_asked")
def test_it_answers_as_the_store_does_alone(store: str, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(memory, 60)
    for number in range(6):
        memory.insert(f"{word(number)} is a {word(number + 50)}", namespace=NS)
    memory.flush()
    assert_in_step(memory)
    queries = [f"{word(n)} {word(n + 1)} {word(3 * n)}" for n in (3, 17, 41)] + [f"{word(2)} is a {word(52)}"]
    asks = [(query, how) for query in queries for how in CONDITIONS]
    monkeypatch.setattr(candidates, "WHOLE", 0)
    with closing(Memory(opened(store), embedder=HashEmbedder())) as plain:
        alone = [asked(plain, query, **how) for query, how in asks]
    calls, real = list[int](), QdrantIndex.search

    def search(self: QdrantIndex, vector: Matrix, k: int, *, space: str) -> list[str]:
        calls.append(k)
        return real(self, vector, k, space=space)

    with monkeypatch.context() as patched:
        patched.setattr(QdrantIndex, "search", search)
        asked(memory, "anything")  # opens its cache, which relies on Qdrant once that is known to be in step
        memory.flush()
        assert [asked(memory, query, **how) for query, how in asks] == alone
    assert calls, "Qdrant was asked"
    with down(monkeypatch):
        assert [asked(memory, query, **how) for query, how in asks] == alone


@pytest.mark.usefixtures("always_asked")
def test_a_namespace_never_sees_anothers_points(memory: Memory) -> None:
    mine, theirs = fill(memory, 12), fill(memory, 30, OTHER)
    assert held(memory) == set(mine)
    assert held(memory, OTHER) == set(theirs)
    for number in range(30):
        query = f"{word(number)} {word(number + 1)} {word(3 * number)}"
        assert {id_ for id_, _ in asked(memory, query)} <= set(mine)
        assert {id_ for id_, _ in asked(memory, query, namespace=OTHER)} <= set(theirs)
    memory.erase(namespace=OTHER)
    assert held(memory) == set(mine)
    assert {id_ for (_, id_) in points(memory)} == set(mine)


@pytest.mark.usefixtures("always_asked")
def test_what_was_just_said_is_found_before_qdrant_has_it(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(memory, 8)
    asked(memory, "anything")
    with monkeypatch.context() as patched:
        patched.setattr(indexing_module.Indexing, "catch_up", lambda *_, **__: None)
        turn = memory.observe("user", "the kite is vermilion", namespace=NS)
        memory.flush()
        assert turn.id not in held(memory)
        assert asked(memory, "the kite is vermilion")[0][0] == turn.id
    memory.flush()
    assert turn.id in held(memory)
    assert asked(memory, "the kite is vermilion")[0][0] == turn.id


def test_forgetting_takes_the_point_at_once(memory: Memory) -> None:
    ids = fill(memory, 10)
    thought = memory.insert(f"{word(90)} {word(91)}", namespace=NS).thought
    memory.flush()
    receipt = memory.forget([ids[3], thought.id], namespace=NS)
    assert receipt.erased == "removed"
    assert held(memory) == set(ids) - {ids[3]}
    assert memory.backend.jobs() == []
    memory.flush()
    assert_in_step(memory)
    assert memory.erase(namespace=NS).erased == "removed"
    assert points(memory) == {}
    assert memory.namespaces() == []


def test_forgetting_while_qdrant_is_down_is_pending_until_it_is_up(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(remember(store, settings_for(tmp_path))) as memory:
        ids = fill(memory, 6)
        memory.insert(f"{word(90)} {word(91)}", namespace=OTHER)
        memory.flush()
        with down(monkeypatch):
            assert memory.forget([ids[0]], namespace=NS).erased == "pending"
            assert memory.erase(namespace=OTHER).erased == "pending"
            assert [job.task for job in memory.backend.jobs()] == ["unindex", "unindex"]
            memory.recall(word(1), namespace=NS)  # tries again, to no avail
        assert ids[0] in held(memory)
    with closing(remember(store, settings_for(tmp_path))) as memory:  # opening finishes it
        assert ids[0] not in held(memory)
        assert held(memory, OTHER) == set()
        assert memory.backend.jobs() == []
        assert memory.forget([ids[1]], namespace=NS).erased == "removed"


@pytest.mark.usefixtures("always_asked")
def test_without_qdrant_recall_goes_on_with_a_note(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(memory, 20)
    before = asked(memory, f"{word(5)} {word(6)} {word(15)}")
    with down(monkeypatch):
        found = memory.recall(f"{word(5)} {word(6)} {word(15)}", namespace=NS, k=8)
        assert [item.id for item in found.items] == [id_ for id_, _ in before]
        assert found.dense
        (note,) = found.notes
        assert "cannot be reached" in note
        assert "\n" not in note
        turn = memory.observe("user", "the kite is vermilion", namespace=NS)
        memory.flush()
        assert asked(memory, "the kite is vermilion")[0][0] == turn.id
    indexing(memory).try_again()
    memory.flush()
    assert held(memory) == {*ids, turn.id}
    assert memory.recall("the kite is vermilion", namespace=NS).notes == ()


def test_a_collection_that_is_lost_is_made_anew(memory: Memory) -> None:
    ids = fill(memory, 6)
    client = memory._indexing._index._client()  # type: ignore[union-attr]
    client.delete_collection("agentmem")
    memory.flush()
    indexing(memory).try_again()
    memory.flush()
    assert held(memory) == set(ids)
    assert_in_step(memory)


def test_what_a_process_without_the_index_forgot_goes_too(store: str, tmp_path: Path) -> None:
    with closing(remember(store, settings_for(tmp_path))) as memory:
        ids = fill(memory, 8)
        kept = fill(memory, 3, OTHER)
    with closing(Memory(opened(store), embedder=HashEmbedder())) as plain:
        assert plain.forget([ids[2]], namespace=NS).forgotten["turns"] == (ids[2],)
        plain.erase(namespace=OTHER)
        added = plain.observe("user", "the kite is vermilion", namespace=OTHER).id
        plain.flush()
    with closing(remember(store, settings_for(tmp_path))) as memory:
        memory.flush()
        assert held(memory) == set(ids) - {ids[2]}
        assert held(memory, OTHER) == {added}
        assert not set(kept) & {id_ for _, id_ in points(memory)}
        assert_in_step(memory)


def test_another_embedder_replaces_what_was_there(store: str, tmp_path: Path) -> None:
    with closing(remember(store, settings_for(tmp_path))) as memory:
        fill(memory, 6)
    with closing(Memory(opened(store), settings=settings_for(tmp_path), embedder=HashEmbedder("other"))) as memory:
        memory.reindex()
        memory.flush()
        assert_in_step(memory)
    longer = HashEmbedder("longer", 96)
    with closing(Memory(opened(store), settings=settings_for(tmp_path), embedder=longer)) as memory:
        memory.reindex()
        memory.flush()
        found = memory.recall(f"{word(1)} {word(2)} {word(3)}", namespace=NS)
        assert found.items
        assert any("vectors of 64 numbers" in note and "?collection=" in note for note in found.notes)


@pytest.mark.crash
@pytest.mark.parametrize("what", ["embed", "embed half", "forget"])
def test_a_kill_between_the_commit_and_the_index(
    what: str, store: str, tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "forget":
        with closing(remember(store, settings_for(tmp_path))) as memory:
            fill(memory, 6)
    paths = [installed, ROOT, *(ROOT / "plugins" / name for name in ("agentmem-qdrant", "agentmem-postgres"))]
    env = environment(tmp_path, PYTHONPATH=os.pathsep.join(map(str, paths)))
    command = [sys.executable, "-m", "tests.qdrant.killed_child", store, str(tmp_path), what]
    killed = subprocess.run(command, env=env, cwd=ROOT, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setattr(indexing_module, "_BATCH", 16)
    with closing(remember(store, settings_for(tmp_path))) as memory:
        if what == "forget":  # opening is enough
            assert len(held(memory)) == 5
            assert memory.backend.jobs() == []
        else:  # nothing is missing meanwhile, though Qdrant has not got it
            assert len(asked(memory, f"{word(3)} {word(4)} {word(9)}")) == 8
        memory.flush()
        assert_in_step(memory)
        assert len(held(memory)) == (5 if what == "forget" else 40)


def test_what_is_forgotten_while_it_is_being_put_does_not_come_back(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has read a vector and is about to put it, when the record is forgotten: the lock makes the one
    wait for the other."""
    ids = fill(memory, 4)
    turn = memory.observe("user", "the kite is vermilion", namespace=NS)
    with monkeypatch.context() as patched:
        patched.setattr(indexing_module.Indexing, "catch_up", lambda *_, **__: None)
        memory.flush()
    real, about, done = QdrantIndex.put, threading.Event(), threading.Event()

    def put(self: QdrantIndex, *given: Any, **named: Any) -> None:
        about.set()
        done.wait(0.5)  # without the lock, the other is done by then
        real(self, *given, **named)

    monkeypatch.setattr(QdrantIndex, "put", put)
    other = threading.Thread(target=indexing(memory).catch_up, args=[NS])
    other.start()
    assert about.wait(30)
    receipt = memory.forget([turn.id], namespace=NS)
    done.set()
    other.join()
    assert receipt.erased == "removed"
    assert held(memory) == set(ids)


def digest(backend: Backend) -> str:
    with backend.read() as reader:
        return digest_of(reader)


def test_a_move_there_and_back_with_the_index(server: Server, tmp_path: Path) -> None:
    """SQLite → PostgreSQL with Qdrant → SQLite: equal digests, and the points are taken over as they are."""
    first, last = tmp_path / "first.db", tmp_path / "last.db"
    middle = server.url(schema="moved_with_qdrant")
    with closing(remember(str(first), settings_for(tmp_path))) as memory:
        ids = fill(memory, 30)
        fill(memory, 5, OTHER)
        memory.forget([ids[0]], namespace=NS)
        memory.set_status(ids[1], "superseded", namespace=NS)
        before = {where: vector.tobytes() for where, vector in points(memory).items()}
    with closing(SqliteBackend(first)) as old, closing(PostgresBackend(middle)) as new:
        moved = move(old, new)
    with closing(remember(middle, settings_for(tmp_path))) as memory:
        memory.flush()
        assert_in_step(memory)
        assert {where: vector.tobytes() for where, vector in points(memory).items()} == before
        assert digest(memory.backend) == moved.digest
        with closing(open_store(str(last), memory.settings)) as back:
            assert move(memory.backend, back).digest == moved.digest
    with closing(remember(str(last), settings_for(tmp_path))) as memory:
        extra = memory.observe("user", "the kite is vermilion", namespace=NS)
        memory.flush()
        assert_in_step(memory)
        assert extra.id in held(memory)
