"""Full text in RAM: BM25 postings of one namespace.

Per term two arrays, document numbers (ascending) and frequencies; per document its terms, so that removing it takes its
entries out exactly. A term without documents leaves the dictionary: forgotten words do not stay.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Scores: TypeAlias = NDArray[np.float32]
Groups: TypeAlias = NDArray[np.intp]

K1 = 1.2
B = 0.75
"""Okapi BM25's saturation and length normalisation (Robertson & Zaragoza 2009, §3.2, their middle values)."""


class Postings:
    """BM25 over documents numbered by the caller; a number is used once. Not thread-safe: its cache locks."""

    def __init__(self) -> None:
        self._term_ids: dict[str, int] = {}
        self._terms: dict[int, str] = {}
        self._docs: dict[int, array[int]] = {}
        self._frequencies: dict[int, array[int]] = {}
        self._forward: dict[int, array[int]] = {}
        self._lengths = np.zeros(16, dtype=np.float32)
        self._next_term = 0
        self._total = 0

    def __len__(self) -> int:
        return len(self._forward)

    def __contains__(self, term: str) -> bool:
        return term in self._term_ids

    @property
    def terms(self) -> int:
        return len(self._term_ids)

    def add(self, doc: int, terms: Sequence[str]) -> None:
        """Index document number `doc`, which must be larger than every number before."""
        counts = Counter(terms)
        self._forward[doc] = array("i", (self._post(term, doc, count) for term, count in counts.items()))
        if doc >= len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros(doc + 1, dtype=np.float32)])
        self._lengths[doc] = len(terms)
        self._total += len(terms)

    def _post(self, term: str, doc: int, count: int) -> int:
        term_id = self._term_ids.get(term)
        if term_id is None:
            term_id = self._new_term(term)
        self._docs[term_id].append(doc)
        self._frequencies[term_id].append(count)
        return term_id

    def _new_term(self, term: str) -> int:
        term_id = self._term_ids[term] = self._next_term
        self._terms[term_id] = term
        self._docs[term_id] = array("i")
        self._frequencies[term_id] = array("i")
        self._next_term += 1
        return term_id

    def remove(self, doc: int) -> None:
        """Take out every entry of `doc`; a number that is not there is passed over."""
        for term_id in self._forward.pop(doc, ()):
            at = int(np.searchsorted(np.frombuffer(self._docs[term_id], dtype=np.int32), doc))
            del self._docs[term_id][at], self._frequencies[term_id][at]
            if not self._docs[term_id]:
                self._drop_term(term_id)
        if doc < len(self._lengths):
            self._total -= int(self._lengths[doc])
            self._lengths[doc] = 0

    def _drop_term(self, term_id: int) -> None:
        del self._term_ids[self._terms.pop(term_id)], self._docs[term_id], self._frequencies[term_id]

    def idf(self, term: str) -> float:
        """Weight of a term by its rarity here, ln(1 + (N - n + ½)/(n + ½)); largest for a word never seen."""
        term_id = self._term_ids.get(term)
        return _idf(len(self), 0 if term_id is None else len(self._docs[term_id]))

    def postings(self, term: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Document numbers and frequencies of a term, as views: valid until the next add or remove."""
        term_id = self._term_ids.get(term)
        if term_id is None:
            return np.zeros(0, np.int32), np.zeros(0, np.int32)
        return np.frombuffer(self._docs[term_id], np.int32), np.frombuffer(self._frequencies[term_id], np.int32)

    def signature(self, doc: int) -> frozenset[int]:
        """The set of terms of a document, as ids."""
        return frozenset(self._forward.get(doc, ()))

    def scores(self, terms: Sequence[str], size: int) -> Scores:
        """BM25 of the documents 0 … size - 1 for the query's terms, shape (size,); 0 where no term occurs."""
        out = np.zeros(size, dtype=np.float32)
        mean = self._total / max(len(self), 1) or 1.0
        for term, times in Counter(terms).items():
            docs, frequencies = self.postings(term)
            norm = K1 * (1 - B + B / mean * self._lengths[docs])
            out[docs] += times * _idf(len(self), len(docs)) * (K1 + 1) * frequencies / (frequencies + norm)
        return out

    def coverage(self, terms: Sequence[str], size: int) -> Scores:
        """Share of the query that each document holds, its distinct terms weighted by idf: 0 … 1, shape (size,).

        A term that no document holds counts in the whole: a question about something never mentioned stays low.
        """
        out = np.zeros(size, dtype=np.float32)
        weights = {term: self.idf(term) for term in set(terms)}
        for term, weight in weights.items():
            out[self.postings(term)[0]] += weight
        return out / np.float32(sum(weights.values()) or 1.0)

    def held(self, terms: Sequence[str], docs: Sequence[int]) -> dict[int, set[str]]:
        """Which of the terms each of a few documents, in ascending order, holds."""
        found: dict[int, set[str]] = {doc: set() for doc in docs}
        for term in set(terms):
            for doc in np.intersect1d(self.postings(term)[0], docs, assume_unique=True):
                found[int(doc)].add(term)
        return found

    def pooled(self, terms: Sequence[str], groups: Groups, count: int) -> Scores:
        """BM25 of the group (chunk, session) each document is in, as if a group were one text; shape (documents,).

        `groups` gives each document's group out of `count`, shape (documents,); one in no group, -1, is scored as if it
        were a group of average length.
        """
        held = groups >= 0
        lengths = np.bincount(groups[held], self._lengths[: len(groups)][held], minlength=count)
        norm = K1 * (1 - B + B * lengths / (lengths.mean() if lengths.any() else 1.0))
        grouped = np.zeros(count + 1)
        alone = np.zeros(len(groups))
        for term, times in Counter(terms).items():
            docs, frequencies = self.postings(term)
            inside = held[docs]
            found = np.bincount(groups[docs[inside]], frequencies[inside], minlength=count)
            weight = times * _idf(count, int(np.count_nonzero(found))) * (K1 + 1)
            grouped[:count] += weight * found / (found + norm)
            alone[docs[~inside]] += weight * frequencies[~inside] / (frequencies[~inside] + K1)
        return np.where(held, grouped[groups], alone).astype(np.float32)

    def holding_all(self, terms: Sequence[str]) -> list[int]:
        """Documents that hold every one of the terms, ascending; none when there are no terms."""
        rarest_first = sorted((self.postings(term)[0] for term in set(terms)), key=len)
        found = rarest_first[0] if rarest_first else np.zeros(0, np.int32)
        for docs in rarest_first[1:]:
            if not len(found):
                break
            nearest = np.minimum(np.searchsorted(docs, found), len(docs) - 1)
            found = found[docs[nearest] == found]
        return [int(doc) for doc in found]


def _idf(total: int, holding: int) -> float:
    return float(np.log1p((total - holding + 0.5) / (holding + 0.5)))
