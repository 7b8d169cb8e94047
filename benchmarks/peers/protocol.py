"""What every store in the comparison is asked to do, and the corpus that all of them get.

Standard library only: this is imported in the peers' own environment, and its import must not count as theirs.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

Vector: TypeAlias = "array[float]"
"""A unit vector of 32-bit floats: `tolist()` and `tobytes()` give it in the forms that stores want."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing said. `key` is the benchmark's own name for it, by which a store's answers are judged."""

    key: str
    text: str
    session: str
    speaker: str = ""
    at: str = ""
    """When it was said (ISO 8601), empty where that is not known."""

    @property
    def document(self) -> str:
        """Who said it, and what: the text that the vector stands for, and that a store without speakers is given."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """A question; `evidence` holds the keys of the items that answer it, none where the corpus has no labels."""

    text: str
    evidence: tuple[str, ...] = ()


class Corpus:
    """Items that fill the store, further ones to add to it singly, and queries; one vector each, in that order.

    Kept in a folder (see `write`) so that every process reads the same, and reads only what it uses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._size = 4 * int(json.loads((folder / "about.json").read_text("utf-8"))["dimension"])

    @property
    def dimension(self) -> int:
        return self._size // 4

    @cached_property
    def items(self) -> list[Item]:
        return [Item(**fields) for fields in self._read("items")]

    @cached_property
    def extra(self) -> list[Item]:
        return [Item(**fields) for fields in self._read("extra")]

    @cached_property
    def queries(self) -> list[Query]:
        return [Query(fields["text"], tuple(fields["evidence"])) for fields in self._read("queries")]

    @cached_property
    def vectors(self) -> Mapping[str, Vector]:
        """The vector of every text: documents of items, and queries."""
        data = (self.folder / "vectors.f32").read_bytes()
        texts = [item.document for item in (*self.items, *self.extra)] + [query.text for query in self.queries]
        return {text: _vector(data[n * self._size : (n + 1) * self._size]) for n, text in enumerate(texts)}

    @cached_property
    def first_query(self) -> Mapping[str, Vector]:
        """The first query's text and vector, read without the rest."""
        data = (self.folder / "first.f32").read_bytes()
        return {(self.folder / "first.txt").read_text("utf-8"): _vector(data)}

    def _read(self, name: str) -> Iterator[dict[str, str]]:
        return map(json.loads, (self.folder / f"{name}.jsonl").read_text("utf-8").splitlines())


def write(
    folder: Path, items: Sequence[Item], extra: Sequence[Item], queries: Sequence[Query], vectors: bytes
) -> Corpus:
    """A corpus in a folder; `vectors` are the float32 rows of the items, the extra ones and the queries."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in (("items", items), ("extra", extra), ("queries", queries)):
        lines = (json.dumps(asdict(record)) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    size = len(vectors) // (len(items) + len(extra) + len(queries))
    (folder / "vectors.f32").write_bytes(vectors)
    first = size * (len(items) + len(extra))
    (folder / "first.f32").write_bytes(vectors[first : first + size])
    (folder / "first.txt").write_text(queries[0].text, "utf-8")
    (folder / "about.json").write_text(json.dumps({"dimension": size // 4}), "utf-8")
    return Corpus(folder)


def _vector(data: bytes) -> Vector:
    vector: Vector = array("f")
    vector.frombytes(data)
    return vector


class Store(ABC):
    """A memory under test, open in `folder`, where it keeps all its files.

    `vectors` gives the vector of a text. What `add`, `add_batch` and `delete` were asked to do is done, as far as the
    store promises it, when they return: an added item can be found by its vector.
    """

    def __init__(self, folder: Path, vectors: Mapping[str, Vector], dimension: int) -> None:
        self.folder = folder
        self.vectors = vectors
        self.dimension = dimension

    @abstractmethod
    def add(self, item: Item) -> None: ...

    @abstractmethod
    def add_batch(self, items: Sequence[Item]) -> None: ...

    def fill(self, items: Sequence[Item]) -> None:
        """Add what need not be timed, by whatever way is fastest."""
        self.add_batch(items)

    @abstractmethod
    def search(self, query: str, k: int) -> list[str]:
        """Keys of the `k` best items, best first."""

    @abstractmethod
    def delete(self, key: str) -> None: ...

    @abstractmethod
    def keys(self) -> set[str]:
        """Keys of everything in the store."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of the files."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Versions of the packages under test."""
