"""What an embedder may do wrong, and what of it a memory must bear."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentmem.backends.sqlite import SqliteBackend
from agentmem.config import Settings
from agentmem.embedqueue import encode
from agentmem.errors import EmbedderError, EmbedderMismatchError
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.types import Job, Namespace, NewTurn

NS = ("ada",)


class Letters:
    """Counts letters; fails on "boom", and knows no number for "nan"."""

    def __init__(self, name: str = "letters", size: int = 26) -> None:
        self.identity = EmbedderIdentity(name, size, name)

    def encode(self, texts: Sequence[str]) -> Matrix:
        if any("boom" in text for text in texts):
            raise KeyError("boom: a secret text")
        rows = [[text.count(chr(97 + n)) + 0.01 for n in range(self.identity.dimension)] for text in texts]
        rows = [[float("nan")] * len(row) if "nan" in text else row for row, text in zip(rows, texts, strict=True)]
        matrix = np.array(rows, dtype=np.float32).reshape(len(texts), self.identity.dimension)
        unit: Matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
        return unit


def remember(embedder: Letters, *texts: str) -> Memory:
    memory = Memory("memory:", embedder=embedder, settings=Settings(store="memory:"))
    for text in texts:
        memory.observe("user", text, namespace=NS)
    memory.flush()
    return memory


def test_one_bad_text_is_parked_and_the_others_are_embedded() -> None:
    with remember(Letters(), "a red kite", "boom goes it", "a blue nan", "a green tree") as memory:
        stats = memory.stats(namespace=NS)
        assert (stats.waiting, stats.parked) == (0, 2)
        reasons = {job.reason for job in memory.backend.jobs(state="parked")}
        assert reasons == {"embedding failed: KeyError", "embedding failed: the vector is not finite"}
        found = memory.recall("kite", namespace=NS)
        assert found.dense
        assert all(np.isfinite(item.score) for item in found.items)
        assert memory.recall("goes", namespace=NS).items


@pytest.mark.parametrize("query", ["boom", "nan"])
def test_a_query_that_cannot_be_embedded_is_answered_by_words(query: str) -> None:
    with remember(Letters(), "a red kite", f"{query} it is") as memory:
        found = memory.recall(query, namespace=NS)
        assert not found.dense
        assert found.items[0].text == f"{query} it is"


def test_failure_never_quotes_the_text() -> None:
    with pytest.raises(EmbedderError, match=r"KeyError$"):
        encode(Letters(), ["boom"])


def test_an_idle_worker_is_idle() -> None:
    with remember(Letters(), "a red kite") as memory:
        memory.recall("kite", namespace=NS)
        time.sleep(0.05)
        before = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - before < 0.03


def test_another_embedder_is_refused_until_reindexed() -> None:
    memory = remember(Letters(), "a red kite")
    other = Memory(memory.backend, embedder=Letters("others", 20), settings=memory.settings)
    with pytest.raises(EmbedderMismatchError, match="agentmem reindex"):
        other.recall("kite", namespace=NS)
    assert other.recall("kite", namespace=NS, wait=0).items
    assert other.reindex() == 1
    assert other.recall("kite", namespace=NS).dense
    other.close()


class Counting(SqliteBackend):
    """Notes its write transactions, and the leases that jobs are claimed for."""

    def __init__(self, path: Path) -> None:
        self.writes = 0
        self.leases: list[float] = []
        super().__init__(path)

    def write(self, namespace: Namespace | None = None) -> Any:
        self.writes += 1
        return super().write(namespace)

    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Namespace | None = None) -> list[Job]:
        found = super().claim(task, limit=limit, lease_seconds=lease_seconds, namespace=namespace)
        self.leases += [lease_seconds] * bool(found and lease_seconds)
        return found


@pytest.mark.parametrize(("turns", "claims"), [(1, 0), (3, 0), (40, 1)])
def test_few_jobs_are_done_without_the_commit_of_a_claim(turns: int, claims: int, tmp_path: Path) -> None:
    backend = Counting(tmp_path / "memory.db")
    with Memory(backend, embedder=None, settings=Settings()) as memory:
        memory.observe_many([_said(f"kite {n}") for n in range(turns)], namespace=NS)
    backend = Counting(tmp_path / "memory.db")
    with Memory(backend, embedder=Letters(), settings=Settings()) as memory:
        assert memory.flush() == turns
        assert (backend.writes, len(backend.leases)) == (1, claims)
        assert memory.recall("kite", namespace=NS).dense


def _said(text: str) -> NewTurn:
    return NewTurn(role="user", parts=({"type": "text", "text": text},))


def test_a_recall_embeds_first_what_may_come_back_and_nothing_else() -> None:
    memory = Memory("memory:", embedder=Letters(), settings=Settings(store="memory:"))
    with memory, memory._queue._foremost():  # the worker stands back
        kite, tree = (memory.observe("user", text, namespace=NS).id for text in ("a red kite", "a green tree"))
        assert memory.recall("kite", namespace=NS, without=[kite, tree]).items == ()
        assert memory.stats(namespace=NS).waiting == 2
        assert [item.id for item in memory.recall("kite", namespace=NS, without=[tree]).items] == [kite]
        assert memory.stats(namespace=NS).waiting == 0
