"""BM25 and its kin over the postings of a query's terms, for as many documents as one cares to look at.

Okapi BM25 after Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework", section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem.indexes.arrays import contains

Docs: TypeAlias = NDArray[np.int32]
Scores: TypeAlias = NDArray[np.float32]

K1 = 1.2
B = 0.75
"""Saturation and length normalisation: the middle values of section 3.2."""
COMMON = 2.0
"""The idf that a word counts with at least in the whole that BM25 is a share of: in a small namespace no word is rare,
which must not make every match a perfect one."""
_NOBODY: Docs = np.zeros(0, np.int32)


def rarity(total: int, holding: int) -> float:
    """A term's idf: ln(1 + (N - n + ½)/(n + ½))."""
    return float(np.log1p((total - holding + 0.5) / (holding + 0.5)))


class Grouping(Protocol):
    """Documents in groups: `numbers` gives each document's group, 0 for none; by group, `lengths` gives the terms of
    all its documents together; `count` groups hold a document, and `total` terms are in them."""

    @property
    def numbers(self) -> Docs: ...
    @property
    def lengths(self) -> NDArray[np.float64]: ...
    @property
    def count(self) -> int: ...
    @property
    def total(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A term of a query: how often it is asked for, its idf, the documents that hold it, ascending, and how often."""

    term: str
    times: int
    idf: float
    docs: Docs
    often: NDArray[Any]

    def among(self, docs: Docs) -> tuple[NDArray[np.intp] | Docs, NDArray[Any]]:
        """Which of some ascending documents hold it, as places among them, and how often."""
        if len(docs) and docs[-1] == len(docs) - 1:  # the first so many: a document's number is its place
            stop = int(np.searchsorted(self.docs, len(docs)))
            return self.docs[:stop], self.often[:stop]
        if len(docs) < len(self.docs):
            own, at = common(docs, self.docs)
            return own, self.often[at]
        at, own = common(self.docs, docs)
        return own, self.often[at]


def common(few: Docs, many: Docs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The places in each of two ascending arrays of what is in both."""
    if not len(few) or not len(many):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    at = np.minimum(np.searchsorted(many, few), len(many) - 1)
    here = np.flatnonzero(many[at] == few)
    return here, at[here]


@dataclass(frozen=True)
class Matches:
    """The postings of a query's distinct terms, looked up once.

    `docs` are ascending document numbers throughout, shape (n,), and results are in their order.
    """

    entries: Sequence[Entry]
    lengths: NDArray[np.float32]
    mean_length: float
    _kept: dict[tuple[int, bytes], tuple[Scores, Scores]] = field(default_factory=dict, repr=False)

    @cached_property
    def idfs(self) -> NDArray[np.float32]:
        """Shape (terms,)."""
        return np.array([entry.idf for entry in self.entries], dtype=np.float32)

    @cached_property
    def whole(self) -> float:
        """The weight of the query's words in all, which BM25 is a share of."""
        return sum(max(entry.idf, COMMON) for entry in self.entries) or 1.0

    def frequencies(self, docs: Docs) -> Scores:
        """How often each document holds each term, shape (terms, n)."""
        out = np.zeros((len(self.entries), len(docs)), dtype=np.float32)
        for row, entry in zip(out, self.entries, strict=True):
            at, often = entry.among(docs)
            row[at] = often
        return out

    def scores(self, docs: Docs, frequencies: Scores | None = None) -> Scores:
        """BM25 of documents, 0 where no term occurs. `frequencies` are theirs, where they are known."""
        often = self.frequencies(docs) if frequencies is None else frequencies
        norm = K1 * (1 - B + B / self.mean_length * self.lengths[docs])
        times = np.array([entry.times for entry in self.entries], dtype=np.float32)
        weights: Scores = self.idfs * times * np.float32(K1 + 1)
        scores: Scores = weights @ np.divide(often, often + norm, dtype=np.float32)
        return scores

    def coverage(self, docs: Docs, frequencies: Scores | None = None) -> Scores:
        """Share of the query that documents hold, its distinct terms weighted by idf: 0 … 1.

        A term that no document holds counts in the whole: a question about something never mentioned stays low.
        """
        often = self.frequencies(docs) if frequencies is None else frequencies
        share: Scores = self.idfs @ (often > 0).astype(np.float32) / np.float32(self.idfs.sum() or 1.0)
        return share

    def pooled(self, groups: Grouping, docs: Docs, apart: Docs = _NOBODY, frequencies: Scores | None = None) -> Scores:
        """BM25 of the group (chunk, session) that each document is in, as if a group were one text.

        A document in no group, or one of those set `apart` from theirs (ascending), is scored as if it were a group of
        average length. `frequencies` are the documents', where they are known.
        """
        held = groups.numbers[docs]
        scores, weights = self._pooled(groups, apart)
        out = scores[held]
        alone = np.flatnonzero((held == 0) | contains(apart, docs))
        if len(alone):
            often = self.frequencies(docs[alone]) if frequencies is None else frequencies[:, alone]
            out[alone] = weights @ (often / (often + np.float32(K1)))
        return out

    def pooled_groups(self, groups: Grouping) -> Scores:
        """BM25 of every group, shape (groups,); 0 for group 0, which is none."""
        return self._pooled(groups, _NOBODY)[0]

    def _pooled(self, groups: Grouping, apart: Docs) -> tuple[Scores, Scores]:
        """The scores of groups, and the weights of terms among them; kept, since signals and candidates ask alike."""
        key = (id(groups), apart.tobytes())
        if key not in self._kept:
            self._kept[key] = self._pool(groups, apart)
        return self._kept[key]

    def _pool(self, groups: Grouping, apart: Docs) -> tuple[Scores, Scores]:
        norm, taken = self._norm(groups, apart), self.frequencies(apart)
        out, weights = np.zeros(len(groups.lengths), np.float32), np.zeros(len(self.entries), np.float32)
        for place, entry in enumerate(self.entries):
            found = _counted(entry, groups)
            if len(apart):
                found -= np.bincount(groups.numbers[apart], taken[place], minlength=len(found))
                found[0] = 0
            holding = np.flatnonzero(found > 0)  # of truths, several times faster than of numbers
            often = found[holding]
            weights[place] = entry.times * rarity(groups.count, len(holding)) * (K1 + 1)
            out[holding] += weights[place] * (often / (often + norm[holding]))
        return out, weights

    def _norm(self, groups: Grouping, apart: Docs) -> NDArray[np.float64]:
        lengths, total = groups.lengths, groups.total
        if len(apart):
            taken = np.bincount(groups.numbers[apart], self.lengths[apart], minlength=len(lengths))
            taken[0] = 0
            lengths, total = lengths - taken, total - taken.sum()
        return K1 * (1 - B + B * lengths / (total / max(groups.count, 1) or 1.0))

    def holding_all(self) -> Docs:
        """Documents that hold every one of the terms, ascending; none when there are no terms."""
        rarest_first = sorted((entry.docs for entry in self.entries), key=len)
        found = rarest_first[0] if rarest_first else _NOBODY
        for docs in rarest_first[1:]:
            found = found[common(found, docs)[0]]
        return found

    def held(self, docs: Docs) -> dict[int, set[str]]:
        """Which of the terms each of a few documents holds."""
        found: dict[int, set[str]] = {doc: set() for doc in docs.tolist()}
        for entry in self.entries:
            for doc in docs[entry.among(docs)[0]].tolist():
                found[doc].add(entry.term)
        return found


def _counted(entry: Entry, groups: Grouping) -> NDArray[np.float64]:
    """How often a term occurs in each group, shape (groups,); 0 for group 0, which is none."""
    size = len(groups.lengths)
    found: NDArray[np.float64] = np.bincount(groups.numbers[entry.docs], entry.often, minlength=size).astype(
        np.float64, copy=False
    )
    found[0] = 0
    return found
