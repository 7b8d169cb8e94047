"""A memory beside Qdrant, and what lies in Qdrant itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agentmem.config import Settings, load_settings
from agentmem.indexing import Indexing
from agentmem.interfaces import Backend
from agentmem.memory import Memory
from agentmem.types import Kind, Namespace
from agentmem_postgres.backend import PostgresBackend
from agentmem_qdrant.index import QdrantIndex
from tests.integration.support import HashEmbedder, word

NS: Namespace = ("ada",)
OTHER: Namespace = ("team", "a")


def settings_for(folder: Path, **more: Any) -> Settings:
    return load_settings(index=f"qdrant://{folder / 'qdrant'}", **more)


def opened(store: str) -> str | Backend:
    """What a Memory is given: the PostgreSQL plug-in has no entry point in these tests."""
    return PostgresBackend(store, busy_timeout=10) if store.startswith("postgresql:") else store


def remember(store: str, settings: Settings) -> Memory:
    return Memory(opened(store), settings=settings, embedder=HashEmbedder())


def indexing(memory: Memory) -> Indexing:
    assert memory._indexing is not None
    return memory._indexing


def qdrant(memory: Memory) -> QdrantIndex:
    index = indexing(memory)._index
    assert isinstance(index, QdrantIndex)
    return index


def points(memory: Memory) -> dict[tuple[str, str], np.ndarray[Any, Any]]:
    """All that lies in Qdrant, by space and id, asked of its own client."""
    client = qdrant(memory)._client()
    if not client.collection_exists("agentmem"):
        return {}
    found, end = client.scroll("agentmem", limit=100_000, with_vectors=True)
    assert end is None
    return {
        (p.payload["space"], p.payload["id"]): np.array(p.vector["text"], np.float32)
        for p in found
        if "space" in p.payload
    }


def held(memory: Memory, namespace: Namespace = NS) -> set[str]:
    """The ids that lie in Qdrant of a namespace."""
    space = indexing(memory).space(namespace)
    return {id_ for where, id_ in points(memory) if where == space}


def assert_in_step(memory: Memory) -> None:
    """Qdrant holds the vectors of the store's turns and thoughts, and nothing else."""
    wanted: dict[tuple[str, str], Any] = {}
    kinds: tuple[Kind, ...] = ("turn", "thought")
    with memory.backend.read() as reader:
        for namespace in reader.namespaces():
            for kind in kinds:
                names, vectors = reader.vectors(kind, namespace=namespace)
                space = indexing(memory).space(namespace)
                wanted |= {(space, name): vector for name, vector in zip(names, vectors, strict=True)}
    found = points(memory)
    assert found.keys() == wanted.keys()
    for where, vector in wanted.items():
        np.testing.assert_allclose(found[where], vector, atol=1e-6)


def fill(memory: Memory, count: int = 40, namespace: Namespace = NS) -> list[str]:
    """So many turns of two sessions; returns their ids."""
    texts = [f"{word(number)} {word(number + 1)} {word(3 * number)}" for number in range(count)]
    ids = [
        memory.observe("user", text, namespace=namespace, session=f"s{number % 2}").id
        for number, text in enumerate(texts)
    ]
    memory.flush()
    return ids
