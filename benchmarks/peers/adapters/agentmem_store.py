"""agentmem, through its public interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import agentmem
from agentmem.cache import NamespaceCache
from agentmem.config import Settings
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.types import NewTurn
from benchmarks.peers.protocol import Item, Store, Vector

NAMESPACE = ("bench",)


class CachedEmbedder:
    """Gives the vectors that were made beforehand."""

    def __init__(self, vectors: Mapping[str, Vector], dimension: int) -> None:
        self.identity = EmbedderIdentity("cached", dimension, f"cached-{dimension}")
        self._vectors = vectors

    def encode(self, texts: Sequence[str]) -> Matrix:
        import numpy as np

        joined = b"".join(self._vectors[text].tobytes() for text in texts)
        return np.frombuffer(joined, np.float32).reshape(len(texts), self.identity.dimension)


class AgentmemStore(Store):
    """An add is over when the turn and its vector are in the database: `observe`, then `flush`."""

    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        path = str(folder / "memory.db")
        self.memory = Memory(path, embedder=CachedEmbedder(vectors, dimension), settings=Settings(store=path))
        self._ids: dict[str, str] = {}

    def add(self, item: Item) -> None:
        self.observe(item)
        self.memory.flush()

    def observe(self, item: Item) -> None:
        turn = self.memory.observe("user", item.text, namespace=NAMESPACE, **_fields(item))
        self._ids[item.key] = turn.id

    def add_batch(self, items: Sequence[Item]) -> None:
        self.memory.observe_many(map(_new_turn, items), namespace=NAMESPACE)
        self.memory.flush()

    def search(self, query: str, k: int) -> list[str]:
        return [item.source["external_id"] for item in self.memory.recall(query, namespace=NAMESPACE, k=k).items]

    def delete(self, key: str) -> None:
        if key not in self._ids:
            self._ids = self._stored()
        self.memory.forget([self._ids[key]], namespace=NAMESPACE)

    def keys(self) -> set[str]:
        return set(self._stored())

    def _stored(self) -> dict[str, str]:
        return {str(turn.external_id): turn.id for turn in self.memory.turns(namespace=NAMESPACE)}

    def close(self) -> None:
        self.memory.close()

    @classmethod
    def version(cls) -> str:
        return f"agentmem {agentmem.__version__}"


class AgentmemBehindStore(AgentmemStore):
    """As an agent uses it: an add is over when the turn is in the database; its vector follows behind."""

    def add(self, item: Item) -> None:
        self.observe(item)


class AgentmemDenseStore(AgentmemStore):
    """The dense stage alone, of the same index: what the vectors find by themselves, as the other stores search."""

    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        self._cache = NamespaceCache(NAMESPACE)

    def search(self, query: str, k: int) -> list[str]:
        import numpy as np

        asked = np.frombuffer(self.vectors[query], np.float32)
        with self.memory.backend.read() as reader:
            self._cache.refresh(reader)
            docs, _ = self._cache.vectors.search(asked, k)
            ids = [self._cache.ids[doc] for doc in docs.tolist()]
            return [str(turn.external_id) for turn in reader.get("turn", ids, namespace=NAMESPACE)]


def _new_turn(item: Item) -> NewTurn:
    return NewTurn(role="user", parts=({"type": "text", "text": item.text},), **_fields(item))


def _fields(item: Item) -> dict[str, Any]:
    at = datetime.fromisoformat(item.at) if item.at else None
    named = {"session": item.session, "speaker": item.speaker or None, "source": "bench", "external_id": item.key}
    return {**named, "occurred_at": at}
