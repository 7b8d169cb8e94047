"""Episodes: soft attention over chunks, then in detail inside them.

After HCAM (Lampinen et al. 2021, "Towards mental time travel", section 3): memory is kept in chunks; a query attends
over one summary key per chunk, then in detail inside the relevant ones, weighted by the chunk's relevance. This is the
training-free analogue. A chunk has two keys, in meaning and in words, both pooled from its turns at the query, so that
nothing beside the turns need be stored or forgotten: the best cosine of its turns here, and the BM25 of their pooled
words (`Postings.pooled`). Where the paper multiplies softmaxes, relevances are added here, as logarithms would be, so
that a long chunk is not punished for its length; and every chunk takes part: a hard choice of the top chunks was worse
than no chunks at all (docs/design.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Scores = NDArray[np.float32]

LOOSE_TURNS = 8
"""Turns that no chunk holds are read as chunks of this many."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where documents stand, in arrays of shape (documents,).

    `before` and `after` hold the document beside it in its session; one at the end stands beside itself. `chunk` and
    `session` hold the number of its group. A thought stands alone: beside itself, in group -1.
    """

    before: Numbers
    after: Numbers
    chunk: Numbers
    chunks: int
    session: Numbers
    sessions: int

    def without(self, docs: Sequence[int]) -> Layout:
        """The same with these documents standing alone, those around them side by side."""
        before, after, chunk, session = (a.copy() for a in (self.before, self.after, self.chunk, self.session))
        for doc in docs:
            left, right = before[doc], after[doc]
            after[left] = right if right != doc else left
            before[right] = left if left != doc else right
            before[doc] = after[doc] = doc
            chunk[doc] = session[doc] = -1
        return Layout(before, after, chunk, self.chunks, session, self.sessions)


def lay_out(
    session: NDArray[np.int32],
    seq: NDArray[np.int64],
    live: NDArray[np.bool_],
    spans: Sequence[tuple[int, int, int]],
) -> Layout:
    """The layout of documents; turns have session >= 0; `spans` are chunks: session, first and last seq."""
    turns = np.flatnonzero(live & (session >= 0))
    turns = turns[np.lexsort((seq[turns], session[turns]))]
    ordered = session[turns].astype(np.int64)
    before, after = np.arange(len(session)), np.arange(len(session))
    together = ordered[1:] == ordered[:-1]
    before[turns[1:][together]] = turns[:-1][together]
    after[turns[:-1][together]] = turns[1:][together]
    chunk, chunks = _groups(len(session), turns, _chunk_keys(ordered, seq[turns], spans))
    grouped, sessions = _groups(len(session), turns, ordered)
    return Layout(before, after, chunk, chunks, grouped, sessions)


def _groups(size: int, turns: Numbers, keys: Numbers) -> tuple[Numbers, int]:
    """Number the groups of turns by their keys; -1 for what is no turn."""
    found, numbers = np.unique(keys, return_inverse=True)
    out = np.full(size, -1, np.int64)
    out[turns] = numbers
    return out, len(found)


def _chunk_keys(session: Numbers, seq: Numbers, spans: Sequence[tuple[int, int, int]]) -> Numbers:
    """A key per turn, equal inside a chunk; turns between the chunks fall into blocks of LOOSE_TURNS."""
    loose = -1 - (session * (2**32) + seq // LOOSE_TURNS)
    if not spans:
        return loose
    table = np.array(sorted(spans), dtype=np.int64)
    place = np.searchsorted(table[:, 0] * 2**32 + table[:, 1], session * 2**32 + seq, side="right") - 1
    inside = (place >= 0) & (table[place, 0] == session) & (seq <= table[place, 2])
    return np.where(inside, place, loose)


def key_relevance(scores: Scores, layout: Layout) -> Scores:
    """Relevance of each document's chunk in meaning: the best of its turns' cosines, shape (documents,).

    The max keeps a single fact from drowning. The mean key of the paper was measured beside it: once the neighbours
    count, its weight comes out negative (benchmarks/LOG.md).
    """
    held = layout.chunk >= 0
    best = np.full(layout.chunks + 1, -1, dtype=np.float32)
    np.maximum.at(best, layout.chunk[held], scores[held])
    return np.where(held, best[layout.chunk], scores)
