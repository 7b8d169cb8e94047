"""The protocol of the vector indexes that a cache holds, and the kinds there are in RAM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from agentmem.errors import SettingsError
from agentmem.indexes.flat import FlatIndex
from agentmem.indexes.graphs import GraphDump, Sealed, Work
from agentmem.indexes.hnsw import HnswIndex
from agentmem.indexes.lsh import LshIndex
from agentmem.indexes.rows import Found, Mask, Numbers, Vector
from agentmem.interfaces import Matrix

EXACT_BELOW = 16_384
"""Up to here a scan takes half a millisecond, and `auto` needs no graph."""


class DocumentIndex(Protocol):
    """Unit vectors by document number: 0, 1, 2, … in order of arrival, each used once. The caller's lock guards it.

    Every kind gives exact cosines; an approximate one may only overlook a document in `search`. What `clear` was told
    to forget is zeroed and never found again.
    """

    @property
    def dimension(self) -> int:
        """Of the vectors held, 0 before the first."""

    def __len__(self) -> int: ...

    def holds(self, doc: int) -> bool: ...

    def present(self, size: int) -> Mask:
        """Which of the documents 0 … size - 1 have a vector, shape (size,)."""

    def set(self, docs: Numbers, vectors: Matrix) -> None:
        """Set the vectors of documents, shapes (n,) and (n, dimension). Another dimension drops all that was held."""

    def clear(self, doc: int) -> None:
        """Zero a document's vector; it is found no more."""

    def scores(self, vector: Vector, size: int) -> Vector:
        """Cosines of the documents 0 … size - 1 with a unit vector; 0 where there is no vector."""

    def scores_at(self, vector: Vector, docs: Numbers) -> Vector:
        """Cosines of some documents with a unit vector, shape (docs,); 0 where there is no vector."""

    def vectors_at(self, docs: Numbers) -> Matrix:
        """The vectors of some documents, shape (docs, dimension); zeros where there is none."""

    def search(self, vector: Vector, k: int, allowed: Mask | None = None) -> Found:
        """The k nearest of the documents that `allowed`, a mask by document number, lets through (None: all do).

        Numbers and cosines, nearest first; fewer only where fewer have a vector.
        """

    def pending(self) -> Work | None:
        """What can be built without the lock, and then given to `adopt`; until then all of it is scanned exactly."""

    def adopt(self, work: Work) -> bool:
        """Take over what was built; False where it does not fit any more."""

    def sealed(self) -> list[Sealed]:
        """The graphs held, each as it is now: `Sealed.dump` needs no lock."""

    def load(self, dump: GraphDump) -> None:
        """Take over a saved graph over vectors that were set before. Raises SnapshotError where it does not fit."""


def make_index(name: str, **options: Any) -> DocumentIndex:
    """An empty index of a kind: flat, hnsw, lsh, or auto (exact while small, hnsw above).

    Raises SettingsError for another name, and for options that the kind does not have.
    """
    if name not in _KINDS:
        raise SettingsError(f"There is no index {name!r}: choose one of {', '.join(_KINDS)}.")
    try:
        return _KINDS[name](**options)
    except TypeError:
        raise SettingsError(f"The index {name} does not take all of the options {', '.join(options)}.") from None


def read_index(said: str) -> Callable[[], DocumentIndex]:
    """Makes indexes as a setting says: a kind and its options, such as "lsh tables=8 probes=4" or "auto compressed".

    Raises SettingsError, like `make_index`, for what it cannot read.
    """
    name, *given = said.split() or [""]
    options = dict(_option(word) for word in given)
    make_index(name, **options)
    return partial(make_index, name, **options)


def _option(word: str) -> tuple[str, int | bool]:
    name, _, value = word.partition("=")
    if word == "compressed":
        return name, True
    if name not in ("tables", "probes", "buckets") or not value.isdecimal():
        raise SettingsError(
            f"The index has no option {word!r}: there are compressed, tables=N, probes=N and buckets=N (of lsh)."
        )
    return name, int(value)


def _auto(**options: Any) -> HnswIndex:
    return HnswIndex(exact_below=EXACT_BELOW, **options)


_KINDS: dict[str, Callable[..., DocumentIndex]] = {
    "flat": FlatIndex,
    "hnsw": HnswIndex,
    "lsh": LshIndex,
    "auto": _auto,
}
