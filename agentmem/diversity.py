"""Room for the rest: what repeats a better one, or comes from a session that has its say, moves down; none is dropped.

The pooled words of a session lift all of it together, rightly for the first few; a question that is answered all over
the past ("How often …", "Which … across our talks") wants the others too. So each turn costs those of its session a
little.

Near-duplicates, after maximal marginal relevance (Carbonell & Goldstein 1998): the next is the one with the best
score less what it repeats of those before it. Cosine alone cannot tell a repetition from a contradiction ("20 mg",
"40 mg": 0.98), so a text repeats another only as far as the other holds its words too, and not at all where the words
that the two do not share include a number, a name (any capitalised word) or a negation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.types import Signal
from agentmem.wording import Wording

Scores = NDArray[np.float32]

REPETITION = "repetition"
"""The signal of how much of an item was said by those before it, each of them counting up to 1."""
CROWD = "crowd"
"""The signal of how many of those before an item are of its session."""
LOSSES = (REPETITION, CROWD)
CROWDING = 0.15
"""What each of them costs, on the scale of the scores."""
ALIKE = 0.7
"""Cosine from which two texts are near-duplicates; at 1 they are one."""
STRENGTH = 3.0
"""What a whole repetition costs, in standard deviations of the best scores."""
_BEST = 20
_WORTH_READING = 0.25
"""Of a whole repetition: what comes to less moves nothing."""
Read = Callable[[Sequence[int]], Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Documents in their new order: how much each repeats of those before it, what a whole repetition costs, and how
    many of those before it are of its session."""

    repeated: Mapping[int, float]
    cost: float
    crowd: Mapping[int, int]

    def signals(self, doc: int) -> tuple[Signal, ...]:
        """What a document loses by what it repeats and by its session's crowd, if it does."""
        found = (
            Signal(REPETITION, -self.repeated[doc], self.cost),
            Signal(CROWD, -float(self.crowd[doc]), CROWDING),
        )
        return tuple(signal for signal in found if signal.contribution)


NOTHING = Spread({}, 0.0, {})


def spread(cache: NamespaceCache, docs: Sequence[int], scores: Scores, read: Read) -> Spread:
    """`docs` and `scores` are best first; `read` gives the texts of some. Some go down, none goes away."""
    if not docs:
        return NOTHING
    likeness, beside = _likeness(cache, docs, read), _same_session(cache, docs)
    cost = STRENGTH * float(scores[:_BEST].std())
    order = _greedy(scores, np.float32(cost) * likeness + np.float32(CROWDING) * beside)
    repeated, crowd = (np.triu(matrix[np.ix_(order, order)], 1).sum(axis=0).tolist() for matrix in (likeness, beside))
    moved = [docs[at] for at in order]
    return Spread(dict(zip(moved, repeated, strict=True)), cost, dict(zip(moved, crowd, strict=True)))


def _greedy(scores: Scores, losses: NDArray[np.floating[Any]]) -> list[int]:
    """The places of scores, the next always the best after what it loses (column) by each one taken (row)."""
    left, order = scores.astype(np.float64), []
    for _ in range(len(left)):
        best = int(left.argmax())
        order.append(best)
        left -= losses[best]
        left[best] = -np.inf
    return order


def _same_session(cache: NamespaceCache, docs: Sequence[int]) -> NDArray[np.bool_]:
    """Which documents are of one session; none where there is but one. Thoughts, which have none, count as one."""
    session = cache.columns["session"][np.array(docs, dtype=np.intp)]
    same: NDArray[np.bool_] = session[:, None] == session[None, :]
    return same & ~same.all()


def _likeness(cache: NamespaceCache, docs: Sequence[int], read: Read) -> Scores:
    """How much each document (column) repeats each other (row), 0 … 1."""
    near = _nearness(cache, np.array(docs, dtype=np.intp))
    pairs = [tuple(pair) for pair in np.argwhere(np.triu(near)).tolist()]
    if not pairs:
        return near
    held = {at: cache.postings.signature(docs[at]) for at in {at for pair in pairs for at in pair}}
    unlike = [pair for pair in pairs if held[pair[0]] != held[pair[1]]]
    worth = [pair for pair in unlike if _worth_reading(float(near[pair]), held[pair[0]], held[pair[1]])]
    texts = read(sorted({docs[at] for pair in worth for at in pair}))
    said = {doc: Wording(text) for doc, text in texts.items()}
    for row, column in set(unlike) - set(worth):
        near[row, column] = near[column, row] = 0
    for row, column in worth:
        one, other = said[docs[row]], said[docs[column]]
        near[row, column] *= other.share_in(one)
        near[column, row] *= one.share_in(other)
    return near


def _nearness(cache: NamespaceCache, docs: NDArray[np.intp]) -> Scores:
    """How far the cosine of each two documents that one said, in one role, is above ALIKE: 0 … 1, itself 0."""
    if not len(cache.vectors):
        return np.zeros((len(docs), len(docs)), np.float32)
    vectors = cache.vectors.vectors_at(docs)
    near: Scores = np.clip((vectors @ vectors.T - ALIKE) / (1 - ALIKE), 0, 1)
    np.fill_diagonal(near, 0)
    if near.any():
        for name in ("kind", "role", "speaker"):
            column = cache.columns[name][docs]
            near *= column[:, None] == column[None, :]
    return near


def _worth_reading(near: float, one: frozenset[int], other: frozenset[int]) -> bool:
    """Whether two texts may repeat each other notably: as far as the shorter's terms are the other's too."""
    if near < _WORTH_READING:
        return False
    return len(one & other) * near >= _WORTH_READING * (min(len(one), len(other)) or 1)
