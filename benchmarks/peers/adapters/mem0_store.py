"""mem0 without its model (`infer=False`), over FAISS or a local Qdrant."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peers.protocol import Item, Store, Vector

# Read when mem0 is imported.
os.environ["MEM0_TELEMETRY"] = "False"

USER = "bench"
_SCOPE = {"user_id": USER}


class CachedEmbedding:
    """mem0's embedder: gives the vectors that were made beforehand."""

    vectors: ClassVar[Mapping[str, Vector]] = {}

    def __init__(self, config: Any) -> None:
        self.config = config

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:  # noqa: ARG002 - mem0 passes it
        return self.vectors[text].tolist()

    def embed_batch(self, texts: Sequence[str], memory_action: str = "add") -> list[list[float]]:
        return [self.embed(text, memory_action) for text in texts]


class Mem0Store(Store):
    provider = ""
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        os.environ["MEM0_DIR"] = str(folder / "mem0")
        from mem0 import Memory
        from mem0.utils.factory import EmbedderFactory

        # mem0 knows its own embedders only: one of their names has to stand for ours.
        EmbedderFactory.provider_to_class["huggingface"] = f"{__name__}.CachedEmbedding"
        CachedEmbedding.vectors = vectors
        place = {"path": str(folder / self.provider), "collection_name": "bench", "embedding_model_dims": dimension}
        settings = {
            "vector_store": {"provider": self.provider, "config": {**place, **self.options}},
            "embedder": {"provider": "huggingface", "config": {}},
            "llm": {"provider": "openai", "config": {"api_key": "not called"}},
            "history_db_path": str(folder / "history.db"),
        }
        self.memory = Memory.from_config(settings)
        self._ids: dict[str, str] = {}

    def add(self, item: Item) -> None:
        meta = {"key": item.key, "session": item.session}
        added = self.memory.add(item.document, user_id=USER, metadata=meta, infer=False)
        self._ids[item.key] = added["results"][0]["id"]

    def add_batch(self, items: Sequence[Item]) -> None:
        """mem0 has no batch of its own: a list of messages is added one by one, too."""
        for item in items:
            self.add(item)

    def fill(self, items: Sequence[Item]) -> None:
        """Into its vector store at once, in the form that `add` gives a memory there."""
        from uuid import uuid4

        now = "2026-01-01T00:00:00+00:00"
        payloads = [
            {"key": i.key, "session": i.session, "user_id": USER, "role": "user", "data": i.document}
            | {"text_lemmatized": i.document, "created_at": now, "updated_at": now}
            for i in items
        ]
        vectors = [self.vectors[item.document].tolist() for item in items]
        self.memory.vector_store.insert(vectors=vectors, payloads=payloads, ids=[str(uuid4()) for _ in items])

    def search(self, query: str, k: int) -> list[str]:
        found = self.memory.search(query, top_k=k, filters=_SCOPE, threshold=0.0)
        return [one["metadata"]["key"] for one in found["results"]]

    def delete(self, key: str) -> None:
        if key not in self._ids:
            self._ids = self._stored()
        self.memory.delete(self._ids[key])

    def keys(self) -> set[str]:
        return set(self._stored())

    def _stored(self) -> dict[str, str]:
        found = self.memory.get_all(filters=_SCOPE, top_k=1_000_000)["results"]
        return {one["metadata"]["key"]: one["id"] for one in found}

    def close(self) -> None:
        self.memory.close()

    @classmethod
    def version(cls) -> str:
        return f"mem0ai {version('mem0ai')}"


class Mem0FaissStore(Mem0Store):
    provider = "faiss"
    options: ClassVar[dict[str, Any]] = {"distance_strategy": "cosine"}

    @classmethod
    def version(cls) -> str:
        return f"{super().version()}, faiss-cpu {version('faiss-cpu')}"


class Mem0QdrantStore(Mem0Store):
    provider = "qdrant"
    options: ClassVar[dict[str, Any]] = {"on_disk": True}

    def close(self) -> None:
        super().close()
        self.memory.vector_store.client.close()

    @classmethod
    def version(cls) -> str:
        return f"{super().version()}, qdrant-client {version('qdrant-client')}"
