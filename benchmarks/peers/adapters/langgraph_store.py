"""LangGraph's SqliteStore with a vector index (the sqlite-vec extension)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.protocol import Item, Store, Vector

NAMESPACE = ("bench",)
_EMBEDDED: list[str] = ["text"]


class LanggraphStore(Store):
    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        import pysqlite3

        # Python's own sqlite3 often cannot load extensions; the store imports it by this name.
        sys.modules["sqlite3"] = pysqlite3
        from langgraph.store.sqlite import SqliteStore

        def embed(texts: Sequence[str]) -> list[list[float]]:
            return [vectors[text].tolist() for text in texts]

        self._opened = SqliteStore.from_conn_string(str(folder / "store.db"), index={"dims": dimension, "embed": embed})
        self._store = self._opened.__enter__()
        self._store.setup()

    def add(self, item: Item) -> None:
        self._store.put(NAMESPACE, item.key, _value(item), index=_EMBEDDED)

    def add_batch(self, items: Sequence[Item]) -> None:
        from langgraph.store.base import PutOp

        # More in one call than SQLite has variables for would fail.
        for first in range(0, len(items), 100):
            part = items[first : first + 100]
            self._store.batch([PutOp(NAMESPACE, item.key, _value(item), index=_EMBEDDED) for item in part])

    def search(self, query: str, k: int) -> list[str]:
        return [item.key for item in self._store.search(NAMESPACE, query=query, limit=k)]

    def delete(self, key: str) -> None:
        self._store.delete(NAMESPACE, key)

    def keys(self) -> set[str]:
        return {item.key for item in self._store.search(NAMESPACE, limit=1_000_000)}

    def close(self) -> None:
        self._opened.__exit__(None, None, None)

    @classmethod
    def version(cls) -> str:
        named = ("langgraph-checkpoint-sqlite", "sqlite-vec", "pysqlite3-binary")
        return ", ".join(f"{name} {version(name)}" for name in named)


def _value(item: Item) -> dict[str, str]:
    return {"text": item.document, "session": item.session}
