"""Near-duplicates: what nearly repeats a better one of the same speaker moves down, and is never dropped.

After maximal marginal relevance (Carbonell & Goldstein 1998): the next is the one with the best score less what it
repeats of those before it. Cosine alone cannot tell a repetition from a contradiction ("20 mg", "40 mg": 0.98), so a
text repeats another only as far as the other holds its words too, and not at all where the words that the two do not
share include a number, a name (any capitalised word) or a negation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.text import STOP_WORDS, words
from agentmem.types import Signal

Scores = NDArray[np.float32]

NAME = "repetition"
"""Of the signal: how much of an item was said by those before it, each of them counting up to 1."""
ALIKE = 0.7
"""Cosine from which two texts are near-duplicates; at 1 they are one."""
STRENGTH = 3.0
"""What a whole repetition costs, in standard deviations of the best scores."""
_BEST = 20
_CAPITALISED = re.compile(r"[^\W\d_]*[A-Z\u00c0-\u00de\u0391-\u03a9\u0410-\u042f][^\W_]*")
_TELLING_TEXT = """
    not no never none nobody nothing nowhere neither nor without cannot hardly
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half quarter double twice
    once first second third fourth fifth last
"""
_TELLING = frozenset(_TELLING_TEXT.split())
Read = Callable[[Sequence[int]], Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Documents in the order that repeats least, how much each repeats of those before it, and what that costs."""

    repeated: Mapping[int, float]
    cost: float

    def signal(self, doc: int) -> tuple[Signal, ...]:
        """What a document loses by what it repeats, if it does."""
        return (Signal(NAME, -self.repeated[doc], self.cost),) if self.repeated[doc] * self.cost else ()


NOTHING = Spread({}, 0.0)


def spread(cache: NamespaceCache, docs: Sequence[int], scores: Scores, read: Read) -> Spread:
    """`docs` and `scores` are best first; `read` gives the texts of some. What repeats goes down, nothing goes away."""
    likeness = _likeness(cache, docs, read) if len(cache.vectors) else None
    if likeness is None:
        return Spread(dict.fromkeys(docs, 0.0), 0.0)
    cost = STRENGTH * float(scores[:_BEST].std())
    left, repeated = scores.astype(np.float64), np.zeros(len(docs))
    order: dict[int, float] = {}
    for _ in docs:
        best = int(np.argmax(left - cost * repeated))
        order[docs[best]] = float(repeated[best])
        repeated += likeness[best]
        left[best] = -np.inf
    return Spread(order, cost)


def _likeness(cache: NamespaceCache, docs: Sequence[int], read: Read) -> Scores | None:
    """How much each document (column) repeats each other (row), 0 … 1; None where none does."""
    numbers = np.array(docs, dtype=np.intp)
    vectors = cache.vectors.vectors_at(numbers)
    near: Scores = np.clip((vectors @ vectors.T - ALIKE) / (1 - ALIKE), 0, 1)
    np.fill_diagonal(near, 0)
    for name in ("kind", "role", "speaker"):
        column = cache.columns[name][numbers]
        near *= column[:, None] == column[None, :]
    pairs = np.argwhere(np.triu(near) > 0)
    if not len(pairs):
        return None
    texts = read([docs[at] for at in np.unique(pairs)])
    said = {doc: _Said(text) for doc, text in texts.items()}
    for row, column in pairs.tolist():
        one, other = said[docs[row]], said[docs[column]]
        near[row, column] *= other.share_in(one)
        near[column, row] *= one.share_in(other)
    return near


class _Said:
    """A text's words, and those of them in which a difference matters."""

    def __init__(self, text: str) -> None:
        self.words = frozenset(words(text))
        self._counted = self.words - STOP_WORDS
        capitalised = {word for found in _CAPITALISED.findall(text) for word in words(found)}
        self._telling = (capitalised - STOP_WORDS) | {w for w in self.words if w in _TELLING or w[0].isdigit()}

    def share_in(self, other: _Said) -> float:
        """The share of its words that another text holds too; 0 where they differ in a telling one."""
        if (self.words ^ other.words) & (self._telling | other._telling):
            return 0.0
        return len(self._counted & other._counted) / (len(self._counted) or 1)
