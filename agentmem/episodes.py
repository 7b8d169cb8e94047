"""Episodes: soft attention over chunks, then in detail inside them.

After HCAM (Lampinen et al. 2021, "Towards mental time travel", section 3): memory is kept in chunks; a query attends
over one summary key per chunk, then in detail inside the relevant ones, weighted by the chunk's relevance. This is the
training-free analogue. A chunk has two keys, in meaning and in words, both pooled from its turns at the query, so that
nothing beside the turns need be stored or forgotten: the best cosine of its turns here, and the BM25 of their pooled
words (`Matches.pooled`). Where the paper multiplies softmaxes, relevances are added here, as logarithms would be, so
that a long chunk is not punished for its length; and every chunk takes part: a hard choice of the top chunks was worse
than no chunks at all (docs/design.md).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentmem.columns import Columns
from agentmem.indexes.arrays import contains, grown, union
from agentmem.indexes.postings import Postings

Docs = NDArray[np.int32]
Scores = NDArray[np.float32]

LOOSE_TURNS = 8
"""Turns that no chunk holds are read as chunks of this many."""
WALK = 4096
"""Turns to look at, at most, for a place in a session: beyond, everything is laid out anew, which takes no longer."""
NOBODY: Docs = np.zeros(0, np.int32)


class Groups:
    """Documents in groups; group 0 is none. `lengths` and `turns` are by group: terms and documents in it; `count`
    groups hold a document, and `total` terms are in them."""

    def __init__(self) -> None:
        self.numbers: Docs = np.zeros(0, np.int32)
        self.clear()

    def clear(self, size: int = 1) -> None:
        """Leave all documents in no group, with room for groups 0 … size - 1."""
        self.numbers[:] = 0
        self.lengths: NDArray[np.float64] = np.zeros(size)
        self.turns: NDArray[np.int32] = np.zeros(size, np.int32)
        self.count = 0
        self.total = 0.0

    def reach(self, size: int) -> None:
        """Make room for documents 0 … size - 1."""
        self.numbers = grown(self.numbers, size)

    def put(self, doc: int, group: int, length: float) -> None:
        self.lengths, self.turns = grown(self.lengths, group + 1), grown(self.turns, group + 1)
        self.numbers[doc] = group
        self.count += not self.turns[group]
        self.turns[group] += 1
        self.lengths[group] += length
        self.total += length

    def put_all(self, docs: Docs, groups: Docs, lengths: NDArray[np.float32]) -> None:
        """The same for many documents at once, after `clear`."""
        self.numbers[docs] = groups
        self.lengths = np.bincount(groups, lengths.astype(np.float64), minlength=len(self.lengths)).astype(
            np.float64, copy=False
        )
        self.turns = np.bincount(groups, minlength=len(self.turns)).astype(np.int32)
        self.count = int(np.count_nonzero(self.turns))
        self.total = float(self.lengths.sum())

    def take(self, doc: int, length: float) -> None:
        group = self.numbers[doc]
        self.numbers[doc] = 0
        self.turns[group] -= 1
        self.count -= not self.turns[group]
        self.lengths[group] -= length
        self.total -= length


@dataclass(slots=True, eq=False)
class Span:
    """A chunk's place: turns of `session` (a number) with first <= seq <= last; they are `group`. `summary` numbers its
    summary from 1 upwards, 0 for none."""

    session: int
    first: int
    last: int
    summary: int = 0
    group: int = 0


class Layout:
    """Where the turns of a namespace stand: who is beside whom in a session, and the chunk and session of each.

    `before` and `after` hold the document beside it; one at the end stands beside itself, as thoughts and what was
    removed do. Changes are taken in one by one, those that reach far back in a long session by laying out everything
    anew before it is next read (`current`).
    """

    def __init__(self, columns: Columns, postings: Postings) -> None:
        self._columns, self._postings = columns, postings
        self.before: Docs = NOBODY.copy()
        self.after: Docs = NOBODY.copy()
        self.chunks, self.sessions = Groups(), Groups()
        self.summaries: Docs = NOBODY.copy()
        """By chunk (group): the number of its summary, 0 for none."""
        self._newest: dict[int, int] = {}
        self._spans: dict[int, list[Span]] = {}
        self._loose: dict[tuple[int, int], int] = {}
        self._next_group = 1
        self._stale = False

    # -- one change at a time -----------------------------------------------------------------------------------

    def add(self, doc: int) -> None:
        """Take in a new document."""
        self.reach(doc + 1)
        self.before[doc] = self.after[doc] = doc
        session = int(self._columns["session"][doc])
        if session and not self._stale:
            self._link(doc, session)
            self._put(doc, session)

    def reach(self, size: int) -> None:
        """Make room for documents 0 … size - 1."""
        self.before, self.after = grown(self.before, size), grown(self.after, size)
        for groups in (self.chunks, self.sessions):
            groups.reach(size)

    def _link(self, doc: int, session: int) -> None:
        """Put a turn in its place in its session."""
        seq = self._columns["seq"]
        right = None
        for other in self._from_end(session):
            if seq[other] <= seq[doc]:
                self.before[doc], self.after[other] = other, doc
                break
            right = other
        if right is None:
            self._newest[session] = doc
        else:
            self.after[doc], self.before[right] = right, doc

    def _from_end(self, session: int) -> Iterator[int]:
        """The turns of a session, the last first; everything becomes stale where that takes too long."""
        doc = self._newest.get(session)
        for _ in range(WALK):
            if doc is None:
                return
            yield doc
            left = int(self.before[doc])
            doc = left if left != doc else None
        self._stale = True

    def _put(self, doc: int, session: int) -> None:
        length = float(self._postings.lengths[doc])
        self.sessions.put(doc, session, length)
        self.chunks.put(doc, self._group(session, int(self._columns["seq"][doc])), length)

    def _group(self, session: int, seq: int) -> int:
        """The group of a place: that of the last chunk that begins before it, or of a block of LOOSE_TURNS."""
        spans = self._spans.get(session, [])
        at = bisect_right(spans, seq, key=_first)
        if at and seq <= spans[at - 1].last:
            return spans[at - 1].group
        block = (session, seq // LOOSE_TURNS)
        if block not in self._loose:
            self._loose[block] = self._new_group()
        return self._loose[block]

    def _new_group(self) -> int:
        self._next_group += 1
        self.summaries = grown(self.summaries, self._next_group)
        return self._next_group - 1

    def remove(self, doc: int) -> None:
        """Take out a document, while its terms are still counted; those around it close up."""
        session = int(self._columns["session"][doc])
        if not session or self._stale:
            return
        left, right = int(self.before[doc]), int(self.after[doc])
        self.after[left] = right if right != doc else left
        self.before[right] = left if left != doc else right
        if self._newest[session] == doc:
            self._newest[session] = left
            if left == doc:
                del self._newest[session]
        self.before[doc] = self.after[doc] = doc
        for groups in (self.chunks, self.sessions):
            groups.take(doc, float(self._postings.lengths[doc]))

    def open(self, span: Span) -> None:
        """A chunk is there."""
        span.group = self._new_group()
        self.mark(span)
        spans = self._spans.setdefault(span.session, [])
        insort(spans, span, key=_bounds)
        self._regroup(span)

    def mark(self, span: Span) -> None:
        """A chunk has another summary, or none."""
        self.summaries[span.group] = span.summary

    def close(self, span: Span) -> None:
        """A chunk is there no more."""
        self.summaries[span.group] = 0
        spans = self._spans[span.session]
        spans.remove(span)
        if not spans:
            del self._spans[span.session]
        self._regroup(span)

    def _regroup(self, span: Span) -> None:
        """Group the turns anew that a chunk may concern: from its first to the next chunk's."""
        spans, seq = self._spans.get(span.session, []), self._columns["seq"]
        at = bisect_right(spans, span.first, key=_first)
        stop = spans[at].first if at < len(spans) else None
        for doc in self._from_end(span.session) if not self._stale else ():
            if seq[doc] < span.first:
                break
            if stop is None or seq[doc] < stop:
                length = float(self._postings.lengths[doc])
                self.chunks.take(doc, length)
                self.chunks.put(doc, self._group(span.session, int(seq[doc])), length)

    # -- everything at once -------------------------------------------------------------------------------------

    def postpone(self) -> None:
        """Much is to come: lay out everything at the next reading instead of turn by turn."""
        self._stale = True

    def current(self, live: NDArray[np.bool_]) -> Layout:
        """This layout, ready to be read; `live` says which documents are there."""
        if self._stale:
            self._lay_out(live)
        return self

    def _lay_out(self, live: NDArray[np.bool_]) -> None:
        session, seq = self._columns["session"], self._columns["seq"]
        turns = np.flatnonzero(live & (session != 0)).astype(np.int32)
        turns = turns[np.lexsort((seq[turns], session[turns]))]
        ordered = session[turns]
        together = ordered[1:] == ordered[:-1]
        self.before[:] = self.after[:] = np.arange(len(self.before))
        self.before[turns[1:][together]] = turns[:-1][together]
        self.after[turns[:-1][together]] = turns[1:][together]
        last = np.append(~together, True)[: len(turns)]
        self._newest = dict(zip(ordered[last].tolist(), turns[last].tolist(), strict=True))
        self._put_all(turns, ordered, seq[turns])
        self._stale = False

    def _put_all(self, turns: Docs, session: Docs, seq: NDArray[np.int64]) -> None:
        spans = [span for session in sorted(self._spans) for span in self._spans[session]]
        for group, span in enumerate(spans, start=1):
            span.group = group
        groups, blocks = _grouped(session, seq, spans)
        self._loose = {block: len(spans) + 1 + n for n, block in enumerate(blocks)}
        self._next_group = len(spans) + len(blocks) + 1
        self.summaries = np.zeros(self._next_group, np.int32)
        self.summaries[1 : len(spans) + 1] = [span.summary for span in spans]
        self.chunks.clear(self._next_group)
        self.sessions.clear(int(session.max(initial=0)) + 1)
        lengths = self._postings.lengths[turns]
        self.chunks.put_all(turns, groups, lengths)
        self.sessions.put_all(turns, session, lengths)


def _first(span: Span) -> int:
    return span.first


def _bounds(span: Span) -> tuple[int, int]:
    return span.first, span.last


def _grouped(session: Docs, seq: NDArray[np.int64], spans: Sequence[Span]) -> tuple[Docs, list[tuple[int, int]]]:
    """The group of each turn: span number n (in order of session and first) is group n + 1, blocks come after them.

    Also returns the blocks (session, block) in the order of their groups.
    """
    wide = session.astype(np.int64)
    table = np.array([(span.session, span.first, span.last) for span in spans], dtype=np.int64).reshape(-1, 3)
    place = np.searchsorted(table[:, 0] * 2**32 + table[:, 1], wide * 2**32 + seq, side="right") - 1
    inside = place >= 0
    inside[inside] = (table[place[inside], 0] == wide[inside]) & (seq[inside] <= table[place[inside], 2])
    blocks, numbers = np.unique(wide[~inside] * 2**32 + seq[~inside] // LOOSE_TURNS, return_inverse=True)
    groups = (place + 1).astype(np.int32)
    groups[~inside] = len(spans) + 1 + numbers
    return groups, [divmod(block, 2**32) for block in blocks.tolist()]


def beside(links: Docs, docs: Docs, apart: Docs) -> Docs:
    """Who stands on one side (`Layout.before` or `after`) of documents, those set `apart` (ascending) passed over.

    Who is set apart stands beside itself, and so does who has none but such on this side.
    """
    near = links[docs]
    if not len(apart):
        return near
    own = contains(apart, docs)
    near[own] = docs[own]
    while len(passed := np.flatnonzero(contains(apart, near) & (near != docs))):
        further = links[near[passed]]
        near[passed] = np.where(further == near[passed], docs[passed], further)
    return near


def mates(layout: Layout, docs: Docs) -> Docs:
    """All the documents in the chunks of these, and these, ascending."""
    group = layout.chunks.numbers
    _, one_each = np.unique(group[docs], return_index=True)
    found = [docs]
    for links in (layout.before, layout.after):
        at = docs[one_each]
        while len(at):
            near = links[at]
            at = near[(near != at) & (group[near] == group[at])]
            found.append(at)
    return union(*found)


def members(layout: Layout, summaries: Docs) -> Docs:
    """All the documents in the chunks of these summaries (by number, 1 upwards), ascending."""
    wanted = np.isin(layout.summaries, summaries)
    return np.flatnonzero(wanted[layout.chunks.numbers]).astype(np.int32)


def key_relevance(cosines: Scores, layout: Layout, docs: Docs, apart: Docs = NOBODY) -> Scores:
    """Relevance of each document's chunk in meaning: the best of its turns' cosines, shape of `docs`.

    `docs` are whole chunks, ascending; one in no chunk, or set `apart` from it, stands for itself. The max keeps a
    single fact from drowning. The mean key of the paper was measured beside it: once the neighbours count, its weight
    comes out negative (benchmarks/LOG.md).
    """
    group = np.where(contains(apart, docs), 0, layout.chunks.numbers[docs])
    best = np.full(len(layout.chunks.turns), -1, dtype=np.float32)
    np.maximum.at(best, group, cosines)
    return np.where(group == 0, cosines, best[group])
