"""What a plug-in implements: `Backend` with its two kinds of transaction, `VectorIndex`, and `Embedder`.

A backend stores records, edges, vectors, the change log and small settings; it does not search. Search runs on caches
per namespace that the library builds from `select` and `vectors` and keeps current from `changes`, so that every
backend answers alike. Optional abilities are declared as data in `Abilities`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from agentmem.types import Change, Edge, Job, Kind, Namespace, Record, Relation, SessionInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

API_VERSION = 1

Matrix: TypeAlias = "NDArray[np.float32]"
Where: TypeAlias = Mapping[str, Any]
"""Field conditions: a `range` means first <= value < stop, a `slice` the same with either end open (for times), a
tuple, list or set means one of, else equality (None too). Thoughts have a `text_digest` too (see `Reader.digest`)."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a backend can do beyond the mandatory: data, so that the library can fill in or refuse."""

    durable: bool
    """What a write transaction committed survives `kill -9` and power loss."""
    secure_erase: bool
    """`erase` leaves no byte of removed content in the backend's files. A database server can seldom promise that:
    its log, replicas and backups are its own. Where this is not declared, the receipt of a forget says so."""
    shared: bool
    """Several processes may open it at once."""
    backup: bool
    """`backup` makes a consistent copy while others write."""
    snapshots: bool = False
    """It keeps what `put_snapshot` is given; without it, the library never calls that."""


Basis: TypeAlias = Literal["text", "vectors"]
"""What of the records a snapshot was made from."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the library derived from records and need not derive again; to a backend, bytes. `number` names it."""

    number: int
    data: bytes


class Reader(Protocol):
    """A consistent view of the store. Everything names its namespace; nothing of another one shows."""

    def get(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> list[Any]:
        """Records in the order of `ids`; ids that are not there are left out."""

    def select(
        self,
        kind: Kind,
        *,
        namespace: Namespace,
        where: Where | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> Iterator[Any]:
        """Records that meet every condition, by `order` (a field), else in order of insertion."""

    def count(self, kind: Kind, *, namespace: Namespace, where: Where | None = None) -> int: ...

    def edges(
        self,
        *,
        namespace: Namespace,
        children: Sequence[str] | None = None,
        parents: Sequence[str] | None = None,
        relation: Relation | None = None,
    ) -> list[Edge]:
        """Edges whose child is among `children` and whose parent is among `parents` (None: any), oldest first."""

    def vectors(
        self, kind: Kind, *, namespace: Namespace, ids: Sequence[str] | None = None
    ) -> tuple[list[str], Matrix]:
        """Ids that have a vector, and their vectors, shape (n, dimension) float32; (0, 0) when there are none."""

    def columns(
        self, kind: Kind, names: Sequence[str], *, namespace: Namespace, where: Where | None = None
    ) -> dict[str, Any]:
        """Fields of all records that meet the conditions, in order of insertion, without making records of them.

        Text comes as a list (None where unset); numbers as an array of int64, truths of bool, times of float64: seconds
        since 1970, NaN where unset. Raises InputError for a field that is content.
        """

    def snapshots(self, basis: Basis, *, namespace: Namespace) -> Iterator[Snapshot]:
        """The snapshots kept, oldest first, one at a time in RAM: to be read before the transaction ends."""

    def sessions(self, *, namespace: Namespace) -> list[SessionInfo]:
        """Sessions by their last turn, latest first."""

    def namespaces(self, *, root: Namespace = ()) -> list[Namespace]:
        """Namespaces that hold a record, at or below `root`, sorted."""

    def changes(self, *, namespace: Namespace, after: int) -> list[Change]:
        """The namespace's change log beyond `after`, in commit order. KeyError where it was compacted past `after`."""

    def last_change(self, *, namespace: Namespace) -> int:
        """Sequence number of the namespace's newest change, 0 where there is none."""

    def meta(self, key: str) -> str | None:
        """A store-wide setting (embedder, digest key, …)."""

    def settings(self) -> dict[str, str]:
        """All that `set_meta` has set, and the key of the digests as `digest_key`: what a move takes along."""

    def digest(self, text: str) -> str:
        """The store's keyed digest of the normalised text: equal for texts that count as equal, in this store only."""


class Writer(Reader, Protocol):
    """A write transaction: all of it commits, or none. Turn, chunk and thought writes enter the change log."""

    def add(self, records: Iterable[Record]) -> None:
        """New records. Raises ConflictError where an id, a (session, seq) or a (source, external_id) is taken."""

    def replace(self, records: Iterable[Record]) -> None:
        """New values for records that exist. A turn's or thought's content never changes: only its states do. A chunk
        whose summary changes loses its vector, which was the old summary's."""

    def remove(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> int:
        """Remove records, their vectors and the edges they are the child of; return how many were there.

        Edges of relation "source" to a removed parent stay (an erased source); other edges to it go.
        """

    def link(self, edges: Iterable[Edge], *, namespace: Namespace) -> None:
        """Add edges; one that is there already is left as it is."""

    def unlink(self, edges: Iterable[Edge], *, namespace: Namespace) -> None: ...

    def set_vectors(self, kind: Kind, ids: Sequence[str], vectors: Matrix, *, namespace: Namespace) -> None:
        """Set the vectors of records that exist, shape (len(ids), dimension) float32; unknown ids are passed over."""

    def clear_vectors(self, *, namespace: Namespace) -> None: ...

    def put_snapshot(
        self,
        basis: Basis,
        data: bytes,
        *,
        covers: Mapping[Kind, Sequence[str]],
        seen: int,
        namespace: Namespace,
        instead: bool = False,
    ) -> bool:
        """Keep what was made from these records' text, or from their vectors, as of the change `seen`.

        It is erased like content by the transaction that removes a record it covers or changes its content; one made
        from vectors also by the one that sets or clears the vector of such a record. False, and nothing is kept, where
        that happened after `seen` already or may have, and where another of this basis covers one of the records unless
        this one is kept `instead`, which erases those.
        """

    def drop_snapshots(self, numbers: Iterable[int], *, namespace: Namespace) -> None:
        """Erase snapshots; numbers that are not there are passed over."""

    def remove_namespace(self, *, namespace: Namespace) -> dict[str, int]:
        """Remove everything of exactly this namespace, its change log included; return counts by kind."""

    def set_meta(self, key: str, value: str | None) -> None: ...

    def compact_changes(self, *, keep: int) -> None:
        """Drop all but the newest `keep` lines of the change log."""


class Backend(Protocol):
    """A store. Thread-safe; opened by a plug-in's `open_backend(url)`."""

    abilities: Abilities
    url: str

    def read(self) -> AbstractContextManager[Reader]: ...

    def write(self, namespace: Namespace | None = None) -> AbstractContextManager[Writer]:
        """Waits its turn, then raises StoreBusyError. Durable when the block ends.

        One writer at a time of a namespace, and none beside one of the whole store (None); a backend may have all wait
        for each other. The writer of a namespace keeps to it: naming another, and changing what is the whole store's
        (`set_meta`, `compact_changes`), raises InputError.
        """

    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Namespace | None = None) -> list[Job]:
        """Queued jobs that are due and not leased, oldest first, leased to the caller with one more attempt counted
        (0: only read, nothing is written). The caller removes a job when it is done, in the transaction that stores its
        result."""

    def jobs(self, *, task: str | None = None, state: str | None = None) -> list[Job]:
        """Jobs of all namespaces: for workers and `doctor`."""

    def erase(self) -> bool:
        """Make removed content unreadable: in every file where `secure_erase` is declared, else to everybody who asks
        the store. False while an open read elsewhere delays it."""

    def reclaim(self) -> None:
        """Give freed space back to the file system; may take long."""

    def check(self) -> list[str]:
        """Faults found in the store, one line each; empty when it is sound."""

    def backup(self, path: Path) -> None:
        """Write a consistent, verified copy to `path`."""

    def size(self) -> int:
        """Bytes on disk (in RAM: 0). May be asked within a transaction."""

    def close(self) -> None: ...


class VectorIndex(Protocol):
    """Who is nearest to a unit vector, found outside of the process; a plug-in's `open_index(url)` opens one.

    It stands beside a store that keeps the vectors itself, and is never the truth: the library brings to it what the
    store's change log says, takes out at once what is forgotten, and asks it for ids alone, whose cosines it takes from
    the store. So it may be approximate and late, and it holds no text. A `space` is what it holds of one namespace of
    one store, by a name that tells nothing (32 hex digits); no call reaches into another space.

    Thread-safe. What a call wrote shows when it returns, and writing it again changes nothing. Every method raises
    VectorIndexError, one line that says what to do, where the index cannot be reached or does not fit.
    """

    url: str

    def put(self, ids: Sequence[str], vectors: Matrix, *, space: str) -> None:
        """Set vectors, shape (len(ids), dimension) float32, of ids that are there or new."""

    def remove(self, ids: Sequence[str], *, space: str) -> None:
        """Ids that are not there are passed over."""

    def search(self, vector: Matrix, k: int, *, space: str) -> list[str]:
        """Ids of about the `k` nearest to a unit vector, shape (dimension,), the nearest first; fewer only where fewer
        are held."""

    def ids(self, *, space: str) -> Iterator[str]:
        """All that is held of a space, in any order."""

    def mark(self, *, space: str) -> str | None:
        """What `set_mark` left last; None where there is none, and for a space that is not there."""

    def set_mark(self, mark: str, *, space: str) -> None:
        """Keep a line with a space that something was put into."""

    def drop(self, *, space: str) -> None:
        """Remove all of a space, its mark too."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """What is recorded with the vectors: they are comparable only if all three are equal."""

    name: str
    dimension: int
    digest: str


class Embedder(Protocol):
    identity: EmbedderIdentity

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit-length vectors, shape (len(texts), dimension) float32, in the order given."""


class Clock(Protocol):
    def __call__(self) -> datetime: ...
