"""sqlite-vec by itself: a table of texts, a virtual table of vectors, WAL, every commit synced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.protocol import Item, Store, Vector


class SqliteVecStore(Store):
    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        import pysqlite3
        import sqlite_vec

        self._db = pysqlite3.connect(str(folder / "vec.db"), isolation_level=None)
        self._db.enable_load_extension(True)
        sqlite_vec.load(self._db)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY, key TEXT UNIQUE, text TEXT, session TEXT)"
        )
        self._db.execute(
            "CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0"
            f"(id INTEGER PRIMARY KEY, vector float[{dimension:d}] distance_metric=cosine)"
        )

    def add(self, item: Item) -> None:
        self.add_batch([item])

    def add_batch(self, items: Sequence[Item]) -> None:
        self._db.execute("BEGIN")
        for item in items:
            values = (item.key, item.document, item.session)
            row = self._db.execute("INSERT INTO items (key, text, session) VALUES (?, ?, ?)", values).lastrowid
            vector = self.vectors[item.document].tobytes()
            self._db.execute("INSERT INTO vectors (id, vector) VALUES (?, ?)", (row, vector))
        self._db.execute("COMMIT")

    def search(self, query: str, k: int) -> list[str]:
        near = "SELECT id, distance FROM vectors WHERE vector MATCH ? AND k = ?"
        rows = self._db.execute(
            f"SELECT key, text FROM ({near}) n JOIN items ON items.id = n.id ORDER BY distance",
            (self.vectors[query].tobytes(), k),
        )
        return [key for key, _text in rows]

    def delete(self, key: str) -> None:
        self._db.execute("BEGIN")
        self._db.execute("DELETE FROM vectors WHERE id = (SELECT id FROM items WHERE key = ?)", (key,))
        self._db.execute("DELETE FROM items WHERE key = ?", (key,))
        self._db.execute("COMMIT")

    def keys(self) -> set[str]:
        return {key for (key,) in self._db.execute("SELECT key FROM items")}

    def close(self) -> None:
        self._db.close()

    @classmethod
    def version(cls) -> str:
        return f"sqlite-vec {version('sqlite-vec')}, pysqlite3-binary {version('pysqlite3-binary')}"
