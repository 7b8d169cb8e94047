"""Episodes: soft attention over chunks, then in detail inside them.

After HCAM (Lampinen et al. 2021, "Towards mental time travel", §3): memory is kept in chunks, a query attends over one
summary key per chunk, then in detail inside the relevant ones, weighted by the chunk's relevance. This is the
training-free analogue. The paper's summary is the mean of a chunk's entries; a mean key's product with the query is the
mean of the turns' own products, so keys need not be stored: they are pooled from the turns' scores at the query. Where
the paper multiplies softmaxes, relevances are added here as logarithms, so that a long chunk is not punished for its
length; and no hard top-k of chunks is cut, which cost more than it gave (benchmarks/LOG.md).
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
    """Where documents stand, in arrays of shape (documents,). A thought is a group of its own.

    `before` and `after` hold the document beside it in its session, -1 for none; `chunk` and `session` the number of
    its group, -1 for a hole.
    """

    before: Numbers
    after: Numbers
    chunk: Numbers
    chunks: int
    session: Numbers
    sessions: int


def lay_out(
    session: NDArray[np.int32],
    seq: NDArray[np.int64],
    live: NDArray[np.bool_],
    spans: Sequence[tuple[int, int, int]],
) -> Layout:
    """The layout of documents; turns have session >= 0; `spans` are chunks: session, first and last seq."""
    size = len(session)
    turns = np.flatnonzero(live & (session >= 0))
    turns = turns[np.lexsort((seq[turns], session[turns]))]
    ordered = session[turns].astype(np.int64)
    before, after = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    together = ordered[1:] == ordered[:-1]
    before[turns[1:][together]] = turns[:-1][together]
    after[turns[:-1][together]] = turns[1:][together]
    alone = np.flatnonzero(live & (session < 0))
    chunk, chunks = _groups(size, turns, _chunk_keys(ordered, seq[turns], spans), alone)
    grouped, sessions = _groups(size, turns, ordered, alone)
    return Layout(before, after, chunk, chunks, grouped, sessions)


def _groups(size: int, turns: Numbers, keys: Numbers, alone: Numbers) -> tuple[Numbers, int]:
    """Number the groups of turns by their keys; each of `alone` becomes a group of one behind them."""
    found, numbers = np.unique(keys, return_inverse=True)
    out = np.full(size, -1, np.int64)
    out[turns] = numbers
    out[alone] = len(found) + np.arange(len(alone))
    return out, len(found) + len(alone)


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
    """Relevance of each document's chunk, shape (documents,), pooled from its turns' scores: half mean, half max key.

    The mean is HCAM's summary key; the max keeps a single fact from drowning in it.
    """
    held = layout.chunk >= 0
    groups = layout.chunk[held]
    count = np.bincount(groups, minlength=layout.chunks)
    mean = np.bincount(groups, scores[held], minlength=layout.chunks) / np.maximum(count, 1)
    largest = np.full(layout.chunks, -np.inf, dtype=np.float32)
    np.maximum.at(largest, groups, scores[held])
    return spread((mean + largest).astype(np.float32) / 2, layout.chunk)


def spread(relevance: Scores, groups: Numbers) -> Scores:
    """The relevance of each document's group, shape (documents,); 0 for holes."""
    if not len(relevance):
        return np.zeros(len(groups), dtype=np.float32)
    return np.where(groups >= 0, relevance[groups], np.float32(0))


def beside(scores: Scores, layout: Layout, near: float, far: float) -> Scores:
    """What the turns around each one contribute: shares `near` of those next to it, `far` of the second ones."""
    padded = np.append(scores, np.float32(0))
    out = np.zeros_like(scores)
    for step in (layout.before, layout.after):
        out += np.float32(near) * padded[step]
        second = np.append(step, -1)[step]
        out += np.float32(far) * padded[second]
    return out
