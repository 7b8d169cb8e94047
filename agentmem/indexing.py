"""Keeping a vector index outside of the process in step with the store, which holds the vectors and is the truth.

Two stores cannot commit together. So nothing is written to the index but what a commit has made true: the change log is
the outbox, a mark beside the vectors says how far it was carried out, and carrying a line out again changes nothing.
Each batch is read and put under the namespace's write lock, so that what another process forgets meanwhile cannot be
put back by one that read it before. Where the mark does not fit the log (a moved or restored store, another embedder,
an index that lost its data), ids are compared one by one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TypeVar

from agentmem.errors import StoreError, VectorIndexError
from agentmem.interfaces import Backend, Matrix, Reader, VectorIndex
from agentmem.types import Change, Kind, Namespace

KINDS: tuple[Kind, ...] = ("turn", "thought")
"""What an outside index holds; the summaries of chunks, one for eight turns, stay in RAM."""
PAUSE = 10.0
"""Seconds for which an index that failed is not asked again: answers should not wait for it each time."""
_BATCH = 256
"""Vectors that are read and put under one lock: some 20 ms."""
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far the index was brought: to the change `seen` (None: not through yet), which was of the record `change`, by
    which another store's log is told apart."""

    embedder: str
    seen: int | None = None
    change: str = ""


class Indexing:
    """A vector index that stands beside a store. Thread-safe. Its failures are kept as `trouble`, and raised nowhere:
    the store answers alone meanwhile."""

    def __init__(self, backend: Backend, index: VectorIndex, pause: float = PAUSE) -> None:
        self._backend = backend
        self._index = index
        self._pause = pause
        self._again = 0.0
        self.trouble: str | None = None
        with backend.read() as reader:
            self._key = reader.settings()["digest_key"].encode("utf-8", "surrogatepass")

    def space(self, namespace: Namespace) -> str:
        """The index's name for a namespace of this store."""
        name = json.dumps(namespace).encode("ascii")
        return hmac.new(self._key, b"agentmem index\n" + name, hashlib.sha256).hexdigest()[:32]

    # -- asking -------------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        """Whether the index may be asked: it has not failed, or some time ago."""
        return time.monotonic() >= self._again

    def nearest(self, vector: Matrix, k: int, *, namespace: Namespace) -> list[str] | None:
        """Ids of about the `k` nearest to a unit vector; None where the index cannot be asked."""
        return self._tried(lambda: self._index.search(vector, k, space=self.space(namespace)))

    def missed(self, reader: Reader, *, namespace: Namespace) -> list[Change] | None:
        """What of the change log is not in the index yet; None where it is not known what is."""
        mark = self._tried(lambda: self._mark(namespace))
        return None if mark is None else _since(reader, mark, namespace)

    def _tried(self, ask: Callable[[], _T]) -> _T | None:
        """What comes of it; None, and `trouble`, where it fails or just failed."""
        if not self.ready():
            return None
        try:
            found = ask()
        except VectorIndexError as error:
            self.trouble, self._again = str(error), time.monotonic() + self._pause
            _log.warning("the vector index is left out: %s", error)
        except StoreError as error:  # locked, or may not be written to: the index goes on as it is
            _log.info("the vector index was not brought up to date: %s", error)
        else:
            self.trouble = None
            return found
        return None

    # -- bringing it up to date ---------------------------------------------------------------------------------

    def catch_up(self, namespace: Namespace, stopped: Callable[[], bool] = lambda: False) -> int | None:
        """Bring the index to what the store holds of a namespace; up to which change, None where that failed or
        `stopped`, asked after every batch, said so."""
        return self._tried(lambda: self._caught_up(namespace, stopped))

    def catch_up_all(self) -> None:
        """Bring it up to date in every namespace, even if it just failed."""
        self._again = 0.0
        with self._backend.read() as reader:
            namespaces = reader.namespaces()
        for namespace in namespaces:
            self.catch_up(namespace)

    def purge(self, namespace: Namespace) -> bool:
        """Take out of the index what the store holds no more of a namespace; False where it could not be done."""
        return self._tried(lambda: self._purged(namespace)) is not None

    def try_again(self) -> None:
        """Ask again at the next need, though it just failed."""
        self._again = 0.0

    def _mark(self, namespace: Namespace) -> _Mark | None:
        said = self._index.mark(space=self.space(namespace))
        return None if said is None else _Mark(**json.loads(said))

    def _set_mark(self, mark: _Mark, namespace: Namespace) -> None:
        self._index.set_mark(json.dumps(asdict(mark)), space=self.space(namespace))

    def _caught_up(self, namespace: Namespace, stopped: Callable[[], bool]) -> int | None:
        mark = self._mark(namespace)
        with self._backend.read() as reader:
            last = reader.last_change(namespace=namespace)
            embedder = reader.meta("embedder_digest") or ""
            lines = None if mark is None else _since(reader, mark, namespace)
            newest = _line(reader, last, namespace)
        if lines is not None:
            return last if self._carried_out(lines, embedder, namespace, stopped) else None
        if mark is None or mark.embedder != embedder:
            self._index.drop(space=self.space(namespace))
        if not self._compared(_Mark(embedder), namespace, stopped):
            return None
        if newest is not None and self._mark(namespace) is not None:
            self._set_mark(_Mark(embedder, newest.seq, newest.id), namespace)
        return last

    def _carried_out(
        self, lines: Sequence[Change], embedder: str, namespace: Namespace, stopped: Callable[[], bool]
    ) -> bool:
        """Carry out lines of the change log; False where it was stopped half-way."""
        for batch in _batches(line for line in lines if _matters(line)):
            if stopped():
                return False
            self._bring({line.id: line.kind for line in batch}, namespace)
            self._set_mark(_Mark(embedder, batch[-1].seq, batch[-1].id), namespace)
        if lines and not _matters(lines[-1]):
            self._set_mark(_Mark(embedder, lines[-1].seq, lines[-1].id), namespace)
        return True

    def _compared(self, begun: _Mark, namespace: Namespace, stopped: Callable[[], bool]) -> bool:
        """Bring in what the index lacks, and take out what the store lacks; False where it was stopped half-way.

        What it holds already is of the same embedder and text, so it stays; that makes an interrupted comparison go on
        where it stopped.
        """
        held = set(self._index.ids(space=self.space(namespace)))
        wanted = self._records(namespace)
        if held:
            self._set_mark(begun, namespace)
        unknown: dict[str, Kind] = dict.fromkeys(held - wanted.keys(), "turn")
        lacking = {id_: kind for id_, kind in wanted.items() if id_ not in held}
        for batch in _batches([*unknown.items(), *lacking.items()]):
            if stopped():
                return False
            if self._bring(dict(batch), namespace):
                self._set_mark(begun, namespace)
        return True

    def _records(self, namespace: Namespace) -> dict[str, Kind]:
        """The kind of each record of the store, by id."""
        with self._backend.read() as reader:
            return {id_: kind for kind in KINDS for id_ in reader.columns(kind, ["id"], namespace=namespace)["id"]}

    def _bring(self, ids: Mapping[str, Kind], namespace: Namespace) -> int:
        """Put the vectors that the store has now of these ids, and remove the other ids; return how many were put."""
        space, lost, put = self.space(namespace), dict(ids), 0
        with self._backend.write(namespace) as writer:
            for kind in KINDS:
                asked = [id_ for id_ in ids if ids[id_] == kind]
                names, matrix = writer.vectors(kind, namespace=namespace, ids=asked) if asked else ([], None)
                if names and matrix is not None:
                    self._index.put(names, matrix, space=space)
                    put += len(names)
                    lost = {id_: kind for id_, kind in lost.items() if id_ not in set(names)}
            if lost:
                self._index.remove(list(lost), space=space)
        return put

    def _purged(self, namespace: Namespace) -> bool:
        mark = self._mark(namespace)
        with self._backend.read() as reader:
            lines = None if mark is None else _since(reader, mark, namespace)
        if lines is None:
            held = set(self._index.ids(space=self.space(namespace)))
            gone: dict[str, Kind] = dict.fromkeys(held - self._records(namespace).keys(), "turn")
        else:
            gone = {line.id: line.kind for line in lines if line.op == "remove" and line.kind in KINDS}
        for batch in _batches(gone.items()):
            self._bring(dict(batch), namespace)
        self._drop_if_empty(namespace)
        return True

    def _drop_if_empty(self, namespace: Namespace) -> None:
        with self._backend.write(namespace) as writer:
            if not any(writer.count(kind, namespace=namespace) for kind in KINDS):
                self._index.drop(space=self.space(namespace))

    def close(self) -> None:
        self._index.close()


def _since(reader: Reader, mark: _Mark, namespace: Namespace) -> list[Change] | None:
    """The change log beyond a mark; None where the mark is not of this log, or of another embedder."""
    if mark.seen is None or mark.embedder != (reader.meta("embedder_digest") or ""):
        return None
    try:
        lines = reader.changes(namespace=namespace, after=mark.seen - 1)
    except KeyError:
        return None
    return lines[1:] if lines and (lines[0].seq, lines[0].id) == (mark.seen, mark.change) else None


def _line(reader: Reader, seq: int, namespace: Namespace) -> Change | None:
    """One line of the change log, None where it is not there any more."""
    try:
        lines = reader.changes(namespace=namespace, after=seq - 1) if seq else []
    except KeyError:
        return None
    return lines[0] if lines else None


def _matters(line: Change) -> bool:
    """Whether a change concerns what an index holds."""
    return line.kind in KINDS and line.op in ("vector", "remove")


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        yield batch
