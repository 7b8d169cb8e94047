"""What recall needs of one namespace, in RAM: built from the database, kept current from its change log, never trusted
over it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem.columns import NAMELESS, NEVER, ORIGINS, ROLES, STATES, THOUGHT, TURN, Columns, Names, role_of
from agentmem.episodes import Layout, Span
from agentmem.indexes.arrays import grown
from agentmem.indexes.bm25 import Docs, Matches
from agentmem.indexes.graphs import Sealed as Graph
from agentmem.indexes.graphs import Work
from agentmem.indexes.ids import NOT_THERE, Ids
from agentmem.indexes.postings import Postings
from agentmem.indexes.vectors import DocumentIndex, make_index
from agentmem.interfaces import Reader
from agentmem.opening import fill, first_of, link
from agentmem.snapshots import PLAIN, Run
from agentmem.text import count_tokens, index_text, stems, tells, words
from agentmem.types import Change, Chunk, Kind, Namespace, Thought, Turn, only_quotes

_KINDS: tuple[Kind, ...] = ("turn", "thought")
_HOLES_LEFT = 1000
_GROWN = 1.25
"""A graph is kept anew when it has so many times the rows it was kept with: else every step would be written."""
_FOREVER = int(np.iinfo(np.int64).max)
NewIndex: TypeAlias = Callable[[], DocumentIndex]
AUTO: NewIndex = partial(make_index, "auto")


class NamespaceCache:
    """Turns and thoughts of a namespace as numbered documents: columns, postings, vectors, and their layout in chunks.

    Document numbers are given in order of arrival and used once; what is removed leaves a hole, and holes are closed by
    building anew. Everything but `lock` is used by one thread at a time, the one that holds `lock`.
    """

    def __init__(self, namespace: Namespace, new_index: NewIndex = AUTO) -> None:
        self.namespace = namespace
        self._new_index = new_index
        self.lock = threading.RLock()
        self.seen = -1
        self._clear()

    def _clear(self) -> None:
        self.ids = Ids()
        self.columns = Columns()
        self._live = np.zeros(16, dtype=np.bool_)
        self.sessions, self.speakers = Names(), Names()
        self.postings, self.vectors = Postings(), self._new_index()
        self.summaries, self._summed_up = self._new_index(), 0
        self._spans: dict[str, Span] = {}
        self._layout = Layout(self.columns, self.postings)
        self.kept: set[int] = set()
        self.kept_graphs: dict[int, Docs] = {}
        self.useless: list[int] = []

    def __len__(self) -> int:
        """Documents, holes included: the size of every score array."""
        return self.columns.size

    @property
    def live(self) -> NDArray[np.bool_]:
        """Which documents are no holes, shape (documents,)."""
        return self._live[: len(self)]

    def refresh(self, reader: Reader) -> bool:
        """Catch up with the database; whether anything changed. One query when nothing did."""
        last = reader.last_change(namespace=self.namespace)
        if last == self.seen:
            return False
        changes = self._missed(reader, last)
        if changes is None or len(self.ids) > 2 * self.ids.held + _HOLES_LEFT:
            self._rebuild(reader)
        else:
            self._apply(reader, changes)
        self.seen = last
        return True

    def _missed(self, reader: Reader, last: int) -> list[Change] | None:
        """The changes since the last refresh; None where they cannot be had."""
        if self.seen < 0 or last < self.seen:
            return None
        try:
            return reader.changes(namespace=self.namespace, after=self.seen)
        except KeyError:
            return None

    def _rebuild(self, reader: Reader) -> None:
        self.seen = -1  # should reading fail half-way, the next refresh starts over
        self._clear()
        self._layout.postpone()
        self.useless += fill(self, reader)
        self._load_vectors(reader)
        chunks = reader.columns("chunk", ("id", "session", "first_seq", "last_seq"), namespace=self.namespace)
        for id_, session, first, last in zip(*_listed(chunks), strict=True):
            self._set_span(id_, session, first, _FOREVER if last < 0 else last)
        self._set_summaries(*reader.vectors("chunk", namespace=self.namespace))

    def _load_vectors(self, reader: Reader) -> None:
        for kind in _KINDS:
            self._set_vectors(*reader.vectors(kind, namespace=self.namespace))
        self.useless += link(self, reader)

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
        self._put_summaries(reader, [*touched["chunk"], *vectors["chunk"]])

    def _put_all(self, reader: Reader, kind: Kind, ids: list[str]) -> list[str]:
        """Bring documents to what the database holds of them; return the ids that are new."""
        found = {record.id: record for record in reader.get(kind, ids, namespace=self.namespace)} if ids else {}
        fresh = [id_ for id_ in ids if id_ in found and id_ not in self.ids]
        for id_ in ids:
            if id_ not in found:
                self._remove(id_)
            elif (doc := self.ids.number(id_)) != NOT_THERE:
                self.columns.put(doc, _changeable(found[id_]))
            else:
                self._add(found[id_])
        return fresh

    def add_all(self, records: Iterable[Turn | Thought]) -> None:
        for record in records:
            self._add(record)

    def _add(self, record: Turn | Thought) -> None:
        text = index_text(record)
        doc = self.columns.append(_changeable(record) | self._fixed(record))
        self._live = grown(self._live, doc + 1)
        self._live[doc] = True
        self.ids.add(record.id)
        self.postings.add(doc, stems(text))
        self._layout.add(doc)

    def attach(self, run: Run, changeable: Mapping[str, NDArray[Any]]) -> None:
        """Take over a run of documents from a snapshot; `changeable` are the fields that may have changed since."""
        first, count = len(self), len(run.ids)
        fields = {name: run.fields[name] for name in PLAIN}
        names = ((self.sessions, "session", run.sessions), (self.speakers, "speaker", run.speakers))
        for held, name, bearing in names:
            uses = np.bincount(run.fields[name], minlength=len(bearing) + 1)[1:].tolist()
            numbers = [held.take(text, times) for text, times in zip(bearing, uses, strict=True)]
            fields[name] = np.array([NAMELESS, *numbers], dtype=np.int32)[run.fields[name]]
        self.columns.extend(count, {**fields, **changeable})
        self._live = grown(self._live, first + count)
        self._live[first : first + count] = True
        self.ids.extend(run.ids)
        self.postings.attach(first, run.terms, run.packed, run.lengths)
        self._layout.reach(first + count)
        self.kept.add(first)

    def _lose_graphs(self, docs: Docs) -> None:
        """No snapshot is kept any more of graphs over documents that were removed or have another vector."""
        lost = [first for first, held in self.kept_graphs.items() if np.isin(docs, held).any()]
        for first in lost:
            del self.kept_graphs[first]

    def due_graphs(self) -> list[Graph]:
        """The graphs that no snapshot is kept of, or one of much less."""
        return [
            graph
            for graph in self.vectors.sealed()
            if (graph.docs != NOT_THERE).any() and len(graph.docs) >= _GROWN * self._rows_kept(graph)
        ]

    def _rows_kept(self, graph: Graph) -> int:
        return len(self.kept_graphs.get(first_of(graph.docs), ()))

    def due(self) -> list[int]:
        """The sealed runs that no snapshot is kept of, by their first document."""
        return [run.start for run in self.postings.runs() if run.start not in self.kept]

    def run(self, first: int) -> Run:
        """A sealed run as it is now, to be kept: without the documents that were removed."""
        stop = next(run.stop for run in self.postings.runs() if run.start == first)
        docs = np.flatnonzero(self.live[first:stop]) + first
        fields = {name: self.columns[name][docs] for name in PLAIN}
        fields["quotes"] = self.columns["state"][docs] == STATES.index("quoting")
        fields["session"], sessions = _named(self.sessions, self.columns["session"][docs])
        fields["speaker"], speakers = _named(self.speakers, self.columns["speaker"][docs])
        terms, packed = self.postings.packed(first)
        ids = [self.ids[doc] for doc in docs.tolist()]
        return Run(ids, sessions, speakers, fields, self.postings.lengths[docs], terms, packed)

    def _fixed(self, record: Turn | Thought) -> dict[str, float]:
        """The fields that never change."""
        fields: dict[str, float] = {
            "tokens": count_tokens(record.text),
            "told": tells(record),
            "recorded": record.recorded_at.timestamp(),
            "session": NAMELESS,
            "speaker": NAMELESS,
            "origin": -1,
        }
        if isinstance(record, Thought):
            return fields | {"kind": THOUGHT, "origin": ORIGINS.index(record.origin)}
        if record.speaker:
            fields["speaker"] = self.speakers.take(record.speaker)
        return fields | {
            "kind": TURN,
            "role": ROLES.index(record.role),
            "session": self.sessions.take(record.session),
            "seq": record.seq,
        }

    def _remove(self, id_: str) -> None:
        doc = self.ids.number(id_)
        if doc == NOT_THERE:
            return
        self._live[doc] = False
        self.kept.discard(self.postings.run_of(doc))
        self._lose_graphs(np.array([doc], np.int32))
        self.ids.remove(doc)
        self._layout.remove(doc)
        self.postings.remove(doc)
        self.vectors.clear(doc)
        for names, column in ((self.sessions, "session"), (self.speakers, "speaker")):
            if self.columns[column][doc] != NAMELESS:
                names.release(int(self.columns[column][doc]))

    def _set_vectors(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        docs = self.ids.numbers(ids)
        known = docs != NOT_THERE
        self._lose_graphs(docs[known])
        self.vectors.set(docs[known].astype(np.intp), vectors if known.all() else vectors[known])

    def _put_chunks(self, reader: Reader, ids: list[str]) -> None:
        if not ids:
            return
        found = {chunk.id: chunk for chunk in reader.get("chunk", ids, namespace=self.namespace)}
        for id_ in ids:
            held = self._spans.get(id_)
            if held is not None and id_ in found and _bounds(found[id_]) == (held.first, held.last):
                continue
            if held is not None:
                self._drop_summary(held)
                self._layout.close(self._spans.pop(id_))
                self.sessions.release(held.session)
            if id_ in found:
                self._set_span(id_, found[id_].session, *_bounds(found[id_]))

    def _set_span(self, id_: str, session: str, first: int, last: int) -> None:
        self._spans[id_] = Span(self.sessions.take(session), first, last)
        self._layout.open(self._spans[id_])

    def _put_summaries(self, reader: Reader, ids: list[str]) -> None:
        """Bring the vectors of chunks' summaries to what the database holds of them."""
        if not ids:
            return
        found, vectors = reader.vectors("chunk", ids=ids, namespace=self.namespace)
        for id_ in {*ids} - {*found}:
            if id_ in self._spans:
                self._drop_summary(self._spans[id_])
        self._set_summaries(found, vectors)

    def _set_summaries(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        for id_ in ids:
            if not (span := self._spans[id_]).summary:
                self._summed_up += 1
                span.summary = self._summed_up
                self._layout.mark(span)
        self.summaries.set(np.array([self._spans[id_].summary for id_ in ids], np.intp), vectors)

    def _drop_summary(self, span: Span) -> None:
        self.summaries.clear(span.summary)
        span.summary = 0
        self._layout.mark(span)

    def pending(self) -> tuple[DocumentIndex, Work] | None:
        """What one of the indexes could build, and which."""
        steps = ((index, index.pending()) for index in (self.vectors, self.summaries))
        return next(((index, work) for index, work in steps if work is not None), None)

    def layout(self) -> Layout:
        """Who stands beside whom, and the chunk and session of each document."""
        return self._layout.current(self.live)

    def repeating(self, asked: Matches) -> Docs:
        """The turns that hold these stems and, but for their speaker's name, nothing else; ascending."""
        found = asked.holding_all()
        if not len(found):
            return found
        spare = self.postings.distinct[found] - len(asked.entries)
        found, spare = found[self.columns["kind"][found] == TURN], spare[self.columns["kind"][found] == TURN]
        speakers, which = np.unique(self.columns["speaker"][found], return_inverse=True)
        known = {entry.term for entry in asked.entries}
        labels = [len(set(stems(self.speakers.name(int(number)))) - known) for number in speakers]
        alike: Docs = found[spare == np.array(labels, dtype=np.int32)[which]]
        return alike

    def speakers_named(self, asked: frozenset[str]) -> dict[int, str]:
        """The speakers, by number, of whose name a word is among those asked."""
        return {number: name for name, number in self.speakers.items() if asked & set(words(name))}


def _bounds(chunk: Chunk) -> tuple[int, int]:
    """First and last seq; an open chunk has no end."""
    return chunk.first_seq, _FOREVER if chunk.last_seq is None else chunk.last_seq


def _listed(columns: Mapping[str, Any]) -> list[list[Any]]:
    return [column if isinstance(column, list) else column.tolist() for column in columns.values()]


def _named(names: Names, numbers: NDArray[np.int32]) -> tuple[NDArray[np.int32], list[str]]:
    """The names that documents bear, and each one's place among them, 1 upwards; 0 for none."""
    used, places = np.unique(numbers[numbers != NAMELESS], return_inverse=True)
    out = np.zeros(len(numbers), np.int32)
    out[numbers != NAMELESS] = places + 1
    return out, [names.name(number) for number in used.tolist()]


def _changeable(record: Turn | Thought) -> dict[str, float]:
    """The fields that `replace` may change."""
    if isinstance(record, Turn):
        at = record.occurred_at.timestamp()
        state = "quoting" if only_quotes(record) else record.status
        return {"state": STATES.index(state), "at": at, "until": NEVER, "gone": NEVER}
    return {
        "state": STATES.index(record.state),
        "role": ROLES.index(role_of(record.trusted)),
        "at": record.valid_from.timestamp(),
        "until": NEVER if record.valid_to is None else record.valid_to.timestamp(),
        "gone": NEVER if record.retracted_at is None else record.retracted_at.timestamp(),
    }
