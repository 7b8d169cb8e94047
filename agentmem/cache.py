"""What recall needs of one namespace, in RAM: built from the database, kept current from its change log, never trusted
over it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.episodes import Layout, lay_out
from agentmem.indexes.flat import FlatIndex
from agentmem.indexes.postings import Postings
from agentmem.interfaces import Reader
from agentmem.text import count_tokens, index_text, stems, words
from agentmem.types import Change, Chunk, Kind, Namespace, Thought, Turn, only_quotes

TURN, THOUGHT = 0, 1
NEVER = float("inf")
NOBODY = -2
"""Number of a name that no document bears; documents without a name have -1."""
ROLES = ("user", "assistant", "tool", "system")
ORIGINS = ("user", "agent", "tool", "code", "import")
STATES = ("live", "complete", "cancelled", "retracted", "superseded", "merged", "quoting")
_KINDS: tuple[Kind, ...] = ("turn", "thought")
_HOLES_LEFT = 1000

_COLUMNS = {
    "kind": np.int8,
    "state": np.int8,
    "role": np.int8,
    "origin": np.int8,
    "session": np.int32,
    "speaker": np.int32,
    "tokens": np.int32,
    "seq": np.int64,
    "at": np.float64,
    "until": np.float64,
    "recorded": np.float64,
    "gone": np.float64,
}


class Names:
    """Names by number, each kept only as long as something bears it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._uses: Counter[int] = Counter()
        self._next = 0

    def take(self, name: str) -> int:
        number = self._numbers.setdefault(name, self._next)
        self._names[number] = name
        self._uses[number] += 1
        self._next = max(self._next, number + 1)
        return number

    def release(self, number: int) -> None:
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._uses[number], self._numbers[self._names.pop(number)]

    def number(self, name: str) -> int:
        """The number of a name, NOBODY where nothing bears it."""
        return self._numbers.get(name, NOBODY)

    def name(self, number: int) -> str:
        return self._names.get(number, "")

    def items(self) -> Iterable[tuple[str, int]]:
        return self._numbers.items()


class Columns:
    """Growing arrays, one per field: a row per document."""

    def __init__(self) -> None:
        self.size = 0
        self._arrays: dict[str, NDArray[Any]] = {name: np.zeros(16, dtype) for name, dtype in _COLUMNS.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self.size]

    def append(self, values: dict[str, float]) -> int:
        if self.size == len(self._arrays["kind"]):
            self._arrays = {name: np.concatenate([held, np.zeros_like(held)]) for name, held in self._arrays.items()}
        self.size += 1
        self.put(self.size - 1, values)
        return self.size - 1

    def put(self, row: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._arrays[name][row] = value


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk's place: turns of `session` (a number) with first <= seq <= last."""

    session: int
    first: int
    last: int


class NamespaceCache:
    """Turns and thoughts of a namespace as numbered documents: columns, postings, vectors, and their layout in chunks.

    Document numbers are given in order of arrival and used once; what is removed leaves a hole, and holes are closed by
    building anew. Everything but `lock` is used by one thread at a time, the one that holds `lock`.
    """

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.lock = threading.RLock()
        self._seen = -1
        self._clear()

    def _clear(self) -> None:
        self.ids: list[str] = []
        self.doc_of: dict[str, int] = {}
        self.columns = Columns()
        self.live = np.zeros(16, dtype=np.bool_)
        self.sessions, self.speakers = Names(), Names()
        self.postings, self.vectors = Postings(), FlatIndex()
        self._spans: dict[str, Span] = {}
        self._layout: Layout | None = None

    def __len__(self) -> int:
        """Documents, holes included: the size of every score array."""
        return self.columns.size

    def refresh(self, reader: Reader) -> None:
        """Catch up with the database. One query when nothing changed."""
        last = reader.last_change(namespace=self.namespace)
        if last == self._seen:
            return
        changes = self._missed(reader, last)
        if changes is None or len(self.ids) > 2 * len(self.doc_of) + _HOLES_LEFT:
            self._rebuild(reader)
        else:
            self._apply(reader, changes)
        self._seen = last

    def _missed(self, reader: Reader, last: int) -> list[Change] | None:
        """The changes since the last refresh; None where they cannot be had."""
        if self._seen < 0 or last < self._seen:
            return None
        try:
            return reader.changes(namespace=self.namespace, after=self._seen)
        except KeyError:
            return None

    def _rebuild(self, reader: Reader) -> None:
        self._seen = -1  # should reading fail half-way, the next refresh starts over
        self._clear()
        for kind in _KINDS:
            for record in reader.select(kind, namespace=self.namespace):
                self._add(record)
            self._set_vectors(*reader.vectors(kind, namespace=self.namespace))
        for chunk in reader.select("chunk", namespace=self.namespace):
            self._set_span(chunk)

    def _apply(self, reader: Reader, changes: Sequence[Change]) -> None:
        touched: dict[Kind, dict[str, None]] = defaultdict(dict)
        vectors: dict[Kind, dict[str, None]] = defaultdict(dict)
        for change in changes:
            (vectors if change.op == "vector" else touched)[change.kind][change.id] = None
        for kind in _KINDS:
            fresh = self._put_all(reader, kind, list(touched[kind]))
            wanted = [*vectors[kind], *(id_ for id_ in fresh if id_ not in vectors[kind])]
            if wanted:
                self._set_vectors(*reader.vectors(kind, namespace=self.namespace, ids=wanted))
        self._put_chunks(reader, list(touched["chunk"]))

    def _put_all(self, reader: Reader, kind: Kind, ids: list[str]) -> list[str]:
        """Bring documents to what the database holds of them; return the ids that are new."""
        found = {record.id: record for record in reader.get(kind, ids, namespace=self.namespace)} if ids else {}
        fresh = [id_ for id_ in ids if id_ in found and id_ not in self.doc_of]
        for id_ in ids:
            if id_ not in found:
                self._remove(id_)
            elif id_ in self.doc_of:
                self.columns.put(self.doc_of[id_], _changeable(found[id_]))
            else:
                self._add(found[id_])
        return fresh

    def _add(self, record: Turn | Thought) -> None:
        text = index_text(record)
        doc = self.columns.append(_changeable(record) | self._fixed(record))
        if doc == len(self.live):
            self.live = np.concatenate([self.live, np.zeros_like(self.live)])
        self.live[doc] = True
        self.ids.append(record.id)
        self.doc_of[record.id] = doc
        self.postings.add(doc, stems(text))
        self._layout = None

    def _fixed(self, record: Turn | Thought) -> dict[str, float]:
        """The fields that never change."""
        fields: dict[str, float] = {
            "tokens": count_tokens(record.text),
            "recorded": record.recorded_at.timestamp(),
            "session": -1,
            "speaker": -1,
            "origin": -1,
        }
        if isinstance(record, Thought):
            # A thought says what the user said, in short; from a tool it is the tool's.
            role = ROLES.index("user" if record.trusted else "tool")
            return fields | {"kind": THOUGHT, "role": role, "origin": ORIGINS.index(record.origin)}
        if record.speaker:
            fields["speaker"] = self.speakers.take(record.speaker)
        return fields | {
            "kind": TURN,
            "role": ROLES.index(record.role),
            "session": self.sessions.take(record.session),
            "seq": record.seq,
        }

    def _remove(self, id_: str) -> None:
        doc = self.doc_of.pop(id_, None)
        if doc is None:
            return
        self.live[doc] = False
        self.ids[doc] = ""
        self.postings.remove(doc)
        self.vectors.clear(doc)
        for names, column in ((self.sessions, "session"), (self.speakers, "speaker")):
            if self.columns[column][doc] >= 0:
                names.release(int(self.columns[column][doc]))
        self._layout = None

    def _set_vectors(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        known = [(row, self.doc_of[id_]) for row, id_ in enumerate(ids) if id_ in self.doc_of]
        rows = np.array([row for row, _ in known], dtype=np.intp)
        self.vectors.set(np.array([doc for _, doc in known], dtype=np.intp), vectors[rows])

    def _put_chunks(self, reader: Reader, ids: list[str]) -> None:
        if not ids:
            return
        for id_ in ids:
            span = self._spans.pop(id_, None)
            if span is not None:
                self.sessions.release(span.session)
        for chunk in reader.get("chunk", ids, namespace=self.namespace):
            self._set_span(chunk)
        self._layout = None

    def _set_span(self, chunk: Chunk) -> None:
        last = np.iinfo(np.int64).max if chunk.last_seq is None else chunk.last_seq
        self._spans[chunk.id] = Span(self.sessions.take(chunk.session), chunk.first_seq, int(last))

    def layout(self) -> Layout:
        """Who stands beside whom, and the chunk and session of each document."""
        if self._layout is None:
            spans = [(span.session, span.first, span.last) for span in self._spans.values()]
            self._layout = lay_out(self.columns["session"], self.columns["seq"], self.live[: len(self)], spans)
        return self._layout

    def repeating(self, asked: Sequence[str]) -> list[int]:
        """The turns that hold these distinct stems and, but for their speaker's name, nothing else."""
        found = (doc for doc in self.postings.holding_all(asked) if self.columns["kind"][doc] == TURN)
        return [doc for doc in found if len(self.postings.signature(doc)) - len(asked) == self._label(doc, asked)]

    def _label(self, doc: int, asked: Sequence[str]) -> int:
        """How many stems besides those asked a turn's speaker adds to it."""
        return len(set(stems(self.speakers.name(int(self.columns["speaker"][doc])))) - set(asked))

    def speakers_named(self, asked: frozenset[str]) -> dict[int, str]:
        """The speakers, by number, of whose name a word is among those asked."""
        return {number: name for name, number in self.speakers.items() if asked & set(words(name))}


def _changeable(record: Turn | Thought) -> dict[str, float]:
    """The fields that `replace` may change."""
    if isinstance(record, Turn):
        at = record.occurred_at.timestamp()
        state = "quoting" if only_quotes(record) else record.status
        return {"state": STATES.index(state), "at": at, "until": NEVER, "gone": NEVER}
    return {
        "state": STATES.index(record.state),
        "at": record.valid_from.timestamp(),
        "until": NEVER if record.valid_to is None else record.valid_to.timestamp(),
        "gone": NEVER if record.retracted_at is None else record.retracted_at.timestamp(),
    }
