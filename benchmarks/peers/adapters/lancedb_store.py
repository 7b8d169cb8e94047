"""LanceDB's embedded table, searched without an index: exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.protocol import Item, Store, Vector


class LancedbStore(Store):
    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        import lancedb
        import pyarrow as pa

        self._database = lancedb.connect(str(folder))
        text = [pa.field(name, pa.string()) for name in ("key", "text", "session")]
        schema = pa.schema([*text, pa.field("vector", pa.list_(pa.float32(), dimension))])
        self._table = self._database.create_table("bench", schema=schema, exist_ok=True)

    def add(self, item: Item) -> None:
        self.add_batch([item])

    def add_batch(self, items: Sequence[Item]) -> None:
        self._table.add(
            [
                {"key": i.key, "text": i.document, "session": i.session, "vector": self.vectors[i.document].tolist()}
                for i in items
            ]
        )

    def search(self, query: str, k: int) -> list[str]:
        asked = self._table.search(self.vectors[query].tolist()).distance_type("cosine")
        return [row["key"] for row in asked.select(["key", "text"]).limit(k).to_list()]

    def delete(self, key: str) -> None:
        self._table.delete("key = '{}'".format(key.replace("'", "''")))

    def keys(self) -> set[str]:
        rows = self._table.search().select(["key"]).limit(self._table.count_rows() + 1).to_arrow()
        return set(rows["key"].to_pylist())

    @classmethod
    def version(cls) -> str:
        return f"lancedb {version('lancedb')}"
