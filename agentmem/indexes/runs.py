"""Postings of a run of documents: a tail that grows, in objects per term, and what it is sealed into, in plain arrays.

Both say of a term which documents hold it and how often, and of a document which terms it holds, so that removing it
takes its entries out exactly. Terms are numbers here.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Docs = NDArray[np.int32]
Numbers = NDArray[np.int32]
Entries = tuple[Numbers, NDArray[Any]]
"""Document numbers, ascending, and how often each holds the term."""


class Tail:
    """The newest documents, from number `first` on."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._docs: dict[int, array[int]] = {}
        self._frequencies: dict[int, array[int]] = {}
        self._starts = array("i")
        self._forward = array("i")

    def add(self, doc: int, counts: Mapping[int, int]) -> None:
        passed_over_too = doc + 1 - self.first - len(self._starts)
        self._starts.extend([len(self._forward)] * passed_over_too)
        self._forward.extend(counts)
        for term, count in counts.items():
            if term not in self._docs:
                self._docs[term], self._frequencies[term] = array("i"), array("i")
            self._docs[term].append(doc)
            self._frequencies[term].append(count)

    def remove(self, doc: int, count: int) -> list[int]:
        """Take out a document, which has `count` terms, and return these. Nothing tells afterwards what it held."""
        start, held = self._starts[doc - self.first], self.held(doc, count)
        self._forward[start : start + count] = array("i", [0] * count)
        for term in held:
            at = int(np.searchsorted(np.frombuffer(self._docs[term], np.int32), doc))
            del self._docs[term][at], self._frequencies[term][at]
            if not self._docs[term]:
                del self._docs[term], self._frequencies[term]
        return held

    def held(self, doc: int, count: int) -> list[int]:
        """The `count` terms of a document."""
        start = self._starts[doc - self.first]
        return self._forward[start : start + count].tolist()

    def terms_of(self, docs: Docs, counts: Numbers) -> Numbers:
        """The terms of some documents, one's after the other's; `counts` says how many each has."""
        if int(counts.sum()) == len(self._forward):  # of all documents
            return _numbers(self._forward)
        starts = np.frombuffer(self._starts, np.int32)[docs - self.first]
        return np.frombuffer(self._forward, np.int32)[_spread(starts, counts)]

    def entries(self, terms: Numbers) -> Iterator[tuple[int, Entries]]:
        """What it holds of some terms: the place among them, and copies of the entries."""
        for place, term in enumerate(terms.tolist()):
            if term in self._docs:
                yield place, (_numbers(self._docs[term]), _numbers(self._frequencies[term]))

    def sealed(self, stop: int) -> Sealed:
        """Its documents, numbers `first` … stop - 1, as arrays."""
        terms = np.array(sorted(self._docs), dtype=np.int32)
        order = terms.tolist()
        counts = np.array([len(self._docs[term]) for term in order], dtype=np.int32)
        assert stop == self.first + len(self._starts)
        return Sealed(
            first=self.first,
            terms=terms,
            starts=np.cumsum(counts, dtype=np.int32) - counts,
            counts=counts,
            docs=_joined(self._docs[term] for term in order),
            frequencies=_small(_joined(self._frequencies[term] for term in order)),
            rows=np.append(_numbers(self._starts), np.int32(len(self._forward))),
            # What was removed left zeros, which may be no term of it: its owner knows that the document has none.
            forward=_small(np.minimum(np.searchsorted(terms, _numbers(self._forward)), max(len(terms) - 1, 0))),
        )


@dataclass(frozen=True, slots=True)
class Packed:
    """A run of documents by itself, as plain arrays: documents are rows 0, 1, 2, …, and terms are places in a list.

    The term at a place is held by as many rows as `counts` says there, those next in `rows`, with their `frequencies`;
    a row holds as many terms as `distinct` says, the places next in `forward`.
    """

    counts: Numbers
    rows: NDArray[Any]
    frequencies: NDArray[Any]
    distinct: NDArray[Any]
    forward: NDArray[Any]


@dataclass(slots=True)
class Sealed:
    """A run of documents from number `first` on, to which none is added any more.

    The term at `place` of the ascending `terms` is held by the documents `docs[start : start + count]`, with its
    `starts` and `counts`, as often as `frequencies` says there. Document `first + row` holds the terms at the places
    `forward[rows[row] : …]`; how many these are its owner knows.
    """

    first: int
    terms: Numbers
    starts: Numbers
    counts: Numbers
    docs: Numbers
    frequencies: NDArray[Any]
    rows: Numbers
    forward: NDArray[Any]

    @classmethod
    def unpacked(cls, packed: Packed, first: int, numbers: Numbers) -> Sealed:
        """What was packed, from document number `first` on, its terms having these numbers."""
        order = np.argsort(numbers)
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order))
        stops, counts = np.cumsum(packed.counts, dtype=np.int32), packed.counts.astype(np.int32)
        return cls(
            first=first,
            terms=numbers[order],
            starts=(stops - counts)[order],
            counts=counts[order],
            docs=packed.rows.astype(np.int32) + np.int32(first),
            frequencies=packed.frequencies.copy(),
            rows=np.concatenate([[0], np.cumsum(packed.distinct)]).astype(np.int32),
            forward=_small(place)[packed.forward],
        )

    def packed(self, held: NDArray[np.bool_], distinct: NDArray[Any]) -> tuple[Numbers, Packed]:
        """The numbers of its terms, and itself without the documents that are not `held`; both arrays by row."""
        terms = np.flatnonzero(self.counts)
        entries = _spread(self.starts[terms], self.counts[terms])
        places = _spread(self.rows[:-1][held], distinct[held])
        row, place = np.cumsum(held) - 1, np.cumsum(self.counts > 0) - 1
        return self.terms[terms], Packed(
            counts=self.counts[terms],
            rows=_small(row[self.docs[entries] - self.first]),
            frequencies=self.frequencies[entries],
            distinct=_small(distinct[held]),
            forward=_small(place[self.forward[places]]),
        )

    @property
    def stop(self) -> int:
        """The number after its last document's."""
        return self.first + len(self.rows) - 1

    def _places(self, doc: int, count: int) -> NDArray[Any]:
        start = int(self.rows[doc - self.first])
        return self.forward[start : start + count]

    def held(self, doc: int, count: int) -> list[int]:
        """The `count` terms of a document."""
        held: list[int] = self.terms[self._places(doc, count)].tolist()
        return held

    def terms_of(self, docs: Docs, counts: Numbers) -> Numbers:
        """The terms of some documents, one's after the other's; `counts` says how many each has."""
        found: Numbers = self.terms[self.forward[_spread(self.rows[docs - self.first], counts)]]
        return found

    def remove(self, doc: int, count: int) -> list[int]:
        """Take out a document, which has `count` terms, and return these. Nothing tells afterwards what it held."""
        places, held = self._places(doc, count), self.held(doc, count)
        for place in places.tolist():
            self._take_out(place, doc)
        places[:] = 0
        return held

    def _take_out(self, place: int, doc: int) -> None:
        start = int(self.starts[place])
        stop = start + int(self.counts[place])
        at = start + int(np.searchsorted(self.docs[start:stop], doc))
        for held in (self.docs, self.frequencies):
            held[at : stop - 1] = held[at + 1 : stop]
            held[stop - 1] = 0
        self.counts[place] -= 1

    def entries(self, terms: Numbers) -> Iterator[tuple[int, Entries]]:
        """What it holds of some terms: the place among them, and views of the entries."""
        if not len(self.terms):
            return
        at = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
        held = np.flatnonzero(self.terms[at] == terms)
        at = at[held]
        stops = (self.starts[at] + self.counts[at]).tolist()
        for place, start, stop in zip(held.tolist(), self.starts[at].tolist(), stops, strict=True):
            yield place, (self.docs[start:stop], self.frequencies[start:stop])


def _numbers(values: array[int]) -> Numbers:
    """A copy: an array that lends its memory to a view cannot grow."""
    return np.frombuffer(values, np.int32).copy()


def _joined(parts: Iterable[array[int] | Sequence[int]]) -> Numbers:
    # Both lend their memory at run time, which the type of a sequence does not say.
    return np.frombuffer(bytearray().join(memoryview(part) for part in parts), np.int32)  # type: ignore[arg-type]


def _spread(starts: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.intp]:
    """The numbers start … start + count - 1 of each pair, one pair after the other."""
    counts = counts.astype(np.intp)
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def _small(values: NDArray[Any]) -> NDArray[Any]:
    """The same in the smallest unsigned type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
