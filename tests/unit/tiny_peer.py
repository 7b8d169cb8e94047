"""A peer for the test of the comparison: a JSON file, to which single adds come only when it is closed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.protocol import Item, Store, Vector

SLOW = 0.02
"""Seconds that an add takes, so that a kill comes before the last one."""


class TinyStore(Store):
    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        super().__init__(folder, vectors, dimension)
        self._file = folder / "tiny.json"
        self._held: dict[str, list[float]] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def add(self, item: Item) -> None:
        time.sleep(SLOW)
        self._held[item.key] = self.vectors[item.document].tolist()

    def add_batch(self, items: Sequence[Item]) -> None:
        self._held |= {item.key: self.vectors[item.document].tolist() for item in items}
        self._write()

    def search(self, query: str, k: int) -> list[str]:
        asked = self.vectors[query]
        near = {key: sum(a * b for a, b in zip(asked, held, strict=True)) for key, held in self._held.items()}
        return sorted(near, key=lambda key: -near[key])[:k]

    def delete(self, key: str) -> None:
        del self._held[key]
        self._write()

    def keys(self) -> set[str]:
        return set(self._held)

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(self._held))
        os.replace(draft, self._file)

    def close(self) -> None:
        self._write()

    @classmethod
    def version(cls) -> str:
        return "tiny 1"
