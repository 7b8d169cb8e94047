"""Full text in RAM: the postings of one namespace, which `bm25.Matches` scores.

Documents come numbered in ascending order. The newest are in a tail that grows; every so many it is sealed into arrays
(indexes/runs.py), 9 bytes for a word of a document. What is removed is taken out exactly, and a term without
documents leaves the vocabulary: forgotten words do not stay.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.indexes.arrays import grown
from agentmem.indexes.bm25 import Docs, Entry, Matches, Scores, rarity
from agentmem.indexes.runs import Entries, Packed, Sealed, Tail

SEGMENT = 32_768
"""Documents that are sealed together."""
_NONE: Entries = (np.zeros(0, np.int32), np.zeros(0, np.uint8))


class Postings:
    """Terms of documents numbered by the caller; a number is used once. Not thread-safe: its cache locks."""

    def __init__(self, segment: int = SEGMENT) -> None:
        self._segment = segment
        self._numbers: dict[str, int] = {}
        self._terms: list[str] = []
        self._holding = array("i")
        self._sealed: list[Sealed] = []
        self._tail = Tail(0)
        self._lengths = np.zeros(16, dtype=np.float32)
        self._distinct = np.zeros(16, dtype=np.int32)
        self._held = np.zeros(16, dtype=np.bool_)
        self._stop = 0
        self._count = 0
        self._total = 0
        self._rarest: Scores | None = None

    def __len__(self) -> int:
        return self._count

    def __contains__(self, term: str) -> bool:
        return term in self._numbers

    @property
    def terms(self) -> int:
        return len(self._numbers)

    @property
    def lengths(self) -> NDArray[np.float32]:
        """How many terms each document has, shape (documents or more,)."""
        return self._lengths

    @property
    def distinct(self) -> NDArray[np.int32]:
        """How many different terms each document has, shape (documents or more,)."""
        return self._distinct

    def add(self, doc: int, terms: Sequence[str]) -> None:
        """Index document number `doc`, which must be larger than every number before."""
        if doc - self._tail.first >= self._segment:
            self._seal(doc)
        counts = Counter(terms)
        self._tail.add(doc, {self._number(term): count for term, count in counts.items()})
        self._reach(doc + 1)
        self._lengths[doc], self._distinct[doc], self._held[doc] = len(terms), len(counts), True
        self._stop = doc + 1
        self._count += 1
        self._total += len(terms)
        self._rarest = None

    def _reach(self, size: int) -> None:
        self._lengths, self._distinct = grown(self._lengths, size), grown(self._distinct, size)
        self._held = grown(self._held, size)

    def _number(self, term: str) -> int:
        """The number of a term that one more document holds."""
        number = self._numbers.setdefault(term, len(self._terms))
        if number == len(self._terms):
            self._terms.append(term)
            self._holding.append(0)
        self._holding[number] += 1
        return number

    def attach(self, first: int, terms: Sequence[str], packed: Packed, lengths: NDArray[Any]) -> None:
        """Take over a run that was packed, as documents from number `first` on, a number larger than all before."""
        self._seal(first)
        stop = first + len(lengths)
        fresh = [term for term in terms if term not in self._numbers]
        self._numbers.update(zip(fresh, range(len(self._terms), len(self._terms) + len(fresh)), strict=True))
        self._terms += fresh
        self._holding.extend([0] * len(fresh))
        numbers = [self._numbers[term] for term in terms]
        for number, count in zip(numbers, packed.counts.tolist(), strict=True):
            self._holding[number] += count
        self._sealed.append(Sealed.unpacked(packed, first, np.array(numbers, dtype=np.int32)))
        self._tail = Tail(stop)
        self._reach(stop)
        self._lengths[first:stop], self._distinct[first:stop], self._held[first:stop] = lengths, packed.distinct, True
        self._stop = stop
        self._count += len(lengths)
        self._total += int(lengths.sum())
        self._rarest = None

    def packed(self, first: int) -> tuple[list[str], Packed]:
        """The terms and the documents that are left of the sealed run from document `first` on."""
        sealed = self._sealed[self._sealed_runs(first)]
        run = slice(first, sealed.stop)
        numbers, packed = sealed.packed(self._held[run], self._distinct[run])
        return [self._terms[number] for number in numbers.tolist()], packed

    def runs(self) -> list[range]:
        """The document numbers of each sealed run."""
        return [range(sealed.first, sealed.stop) for sealed in self._sealed]

    def run_of(self, doc: int) -> int | None:
        """The first document of the sealed run that a document is in."""
        return None if doc >= self._tail.first else self._sealed[self._sealed_runs(doc)].first

    def _sealed_runs(self, doc: int) -> int:
        """Which sealed run a document is in."""
        return bisect_right(self._sealed, doc, key=lambda sealed: sealed.first) - 1

    def _seal(self, first: int) -> None:
        """Begin a new tail at document `first`."""
        if self._stop > self._tail.first:
            self._sealed.append(self._tail.sealed(self._stop))
        self._tail = Tail(first)

    def _segment_of(self, doc: int) -> Sealed | Tail:
        if doc >= self._tail.first:
            return self._tail
        return self._sealed[self._sealed_runs(doc)]

    def remove(self, doc: int) -> None:
        """Take out every entry of `doc`; a number that is not there is passed over."""
        if doc >= self._stop or not self._held[doc]:
            return
        segment, count = self._segment_of(doc), int(self._distinct[doc])
        for number in segment.remove(doc, count):
            self._holding[number] -= 1
            if not self._holding[number]:
                del self._numbers[self._terms[number]]
                self._terms[number] = ""
        self._total -= int(self._lengths[doc])
        self._count -= 1
        self._lengths[doc], self._distinct[doc], self._held[doc] = 0, 0, False
        self._rarest = None

    def signature(self, doc: int) -> frozenset[int]:
        """The set of terms of a document, as numbers."""
        if doc >= self._stop or not self._held[doc]:
            return frozenset()
        return frozenset(self._segment_of(doc).held(doc, int(self._distinct[doc])))

    def rarest(self, docs: Docs) -> Scores:
        """The idf of the rarest term of each of some ascending documents, shape (docs,); 0 for one without terms.

        Not to be written to: that of all documents is kept until one is added or removed.
        """
        if not len(docs) or not docs[-1] == len(docs) - 1 == self._stop - 1:
            return self._rarest_of(docs)
        if self._rarest is None:
            self._rarest = self._rarest_of(docs)
        return self._rarest

    def _rarest_of(self, docs: Docs) -> Scores:
        out = np.zeros(len(docs), dtype=np.float32)
        places, starts, terms = self._terms_of(docs)
        if len(terms):
            holding = np.frombuffer(self._holding, np.int32)[terms]
            least = np.minimum.reduceat(holding, starts).astype(np.float32)
            out[places] = np.log1p((self._count - least + 0.5) / (least + 0.5))
        return out

    def prints(self, docs: Docs) -> NDArray[np.int64]:
        """A number for each of some documents that is the same for those of the same terms, and seldom for others,
        shape (docs,)."""
        out, order = np.zeros(len(docs), dtype=np.int64), np.argsort(docs)
        places, starts, terms = self._terms_of(docs[order])
        if len(terms):
            out[order[places]] = np.add.reduceat((terms.astype(np.int64) + 1) ** 2, starts)
        return out

    def _terms_of(self, docs: Docs) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.int32]]:
        """Which of some ascending documents have terms, and these, one's after the other's, with where each begins."""
        docs = docs[: int(np.searchsorted(docs, self._stop))]
        places = np.flatnonzero(self._distinct[docs])
        docs = docs[places]
        counts = self._distinct[docs]
        terms = list(self._segments_terms(docs, counts))
        joined = terms[0] if len(terms) == 1 else np.concatenate([_NONE[0], *terms])
        return places, np.cumsum(counts) - counts, joined

    def _segments_terms(self, docs: Docs, counts: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
        segments: list[Sealed | Tail] = [*self._sealed, self._tail]
        starts = np.searchsorted(docs, [segment.first for segment in segments] + [self._stop])
        for segment, start, stop in zip(segments, starts[:-1], starts[1:], strict=True):
            if stop > start:
                yield segment.terms_of(docs[start:stop], counts[start:stop])

    def idf(self, term: str) -> float:
        """Weight of a term by its rarity here, `bm25.rarity`; largest for a word never seen."""
        number = self._numbers.get(term)
        return rarity(self._count, 0 if number is None else self._holding[number])

    def find(self, terms: Iterable[str]) -> Matches:
        """The postings of a query's terms, in the order of first mention: valid until the next add or remove."""
        asked = Counter(terms)
        entries = self._entries([self._numbers.get(term, -1) for term in asked])
        return Matches(
            entries=[
                Entry(term, times, self.idf(term), *found)
                for (term, times), found in zip(asked.items(), entries, strict=True)
            ],
            lengths=self._lengths,
            mean_length=self._total / max(self._count, 1) or 1.0,
        )

    def _entries(self, numbers: Sequence[int]) -> list[Entries]:
        parts: list[list[Entries]] = [[] for _ in numbers]
        wanted = np.array(numbers, dtype=np.int32)
        segments: list[Sealed | Tail] = [*self._sealed, self._tail]
        for segment in segments:
            for place, found in segment.entries(wanted):
                parts[place].append(found)
        return [_joined(part) for part in parts]


def _joined(parts: Sequence[Entries]) -> Entries:
    if len(parts) < 2:
        return parts[0] if parts else _NONE
    return np.concatenate([docs for docs, _ in parts]), np.concatenate([often for _, often in parts])
