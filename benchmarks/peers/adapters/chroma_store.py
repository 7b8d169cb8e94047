"""Chroma's PersistentClient."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.protocol import Item, Store, Vector

os.environ["ANONYMIZED_TELEMETRY"] = "False"


class ChromaStore(Store):
    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        import chromadb

        settings = chromadb.Settings(anonymized_telemetry=False)
        self._client = chromadb.PersistentClient(str(folder), settings=settings)
        self._items = self._client.get_or_create_collection(
            "bench", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )

    def add(self, item: Item) -> None:
        self.add_batch([item])

    def add_batch(self, items: Sequence[Item]) -> None:
        self._items.add(
            ids=[item.key for item in items],
            embeddings=[self.vectors[item.document].tolist() for item in items],
            documents=[item.document for item in items],
            metadatas=[{"session": item.session} for item in items],
        )

    def search(self, query: str, k: int) -> list[str]:
        found: list[str] = self._items.query(query_embeddings=[self.vectors[query].tolist()], n_results=k)["ids"][0]
        return found

    def delete(self, key: str) -> None:
        self._items.delete(ids=[key])

    def keys(self) -> set[str]:
        return set(self._items.get(include=[])["ids"])

    @classmethod
    def version(cls) -> str:
        return f"chromadb {version('chromadb')}"
