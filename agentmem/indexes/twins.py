"""Vectors that repeat others ("ok", "thank you"), which a graph must not hold: nodes that are all alike fill each
other's links, and the search gets lost among them (recall@10 0.88 where a third of the texts are five short ones).

Only the first of them becomes a node; the others are found through it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentmem.indexes.rows import BLOCK, Codec, Codes, Mask, Numbers
from agentmem.interfaces import Matrix

_SEEN = 16
"""Components by which likely twins are found."""
_GRID = 64
"""Steps of a component: equal texts differ by 3e-7 with the batch they were embedded in, and rarely fall apart here."""
_ALIKE = 2e-4
"""Squared distance of twins: a cosine of 0.9999."""


class Twins:
    """Which rows repeat which, as two arrays sorted by the row repeated."""

    def __init__(self, originals: Numbers | None = None, rows: Numbers | None = None) -> None:
        none = np.zeros(0, dtype=np.intp)
        originals, rows = none if originals is None else originals, none if rows is None else rows
        order = np.argsort(originals, kind="stable")
        self.originals, self.rows = originals[order], rows[order]

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, rows: Numbers) -> Numbers:
        """The rows that repeat any of these."""
        first = np.searchsorted(self.originals, rows)
        counts = np.searchsorted(self.originals, rows, side="right") - first
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        found: Numbers = self.rows[np.repeat(first, counts) + inside]
        return found

    def joined(self, other: Twins) -> Twins:
        originals = np.concatenate([self.originals, other.originals])
        return Twins(originals, np.concatenate([self.rows, other.rows]))


def twins_among(codes: Codes, rows: Numbers, codec: Codec, start: int, possible: Mask) -> Twins:
    """Of these rows in this order, which from the place `start` on repeat an earlier one; `possible` masks places.

    In the answer a row is named by its place.
    """
    places = np.flatnonzero(possible)
    keys = _keys(codec.decode(codes[:, :_SEEN][rows[places]]))
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    originals: Numbers = places[first[group]]
    likely = (places >= start) & (originals != places)
    originals, places = originals[likely], places[likely]
    alike = np.zeros(len(places), dtype=np.bool_)
    for at in range(0, len(places), BLOCK):
        part = slice(at, at + BLOCK)
        apart = codec.decode(codes[rows[places[part]]]) - codec.decode(codes[rows[originals[part]]])
        alike[part] = np.einsum("ij,ij->i", apart, apart) < _ALIKE
    return Twins(originals[alike], places[alike])


def _keys(vectors: Matrix) -> NDArray[np.uint64]:
    """Equal for vectors in the same cell of a grid."""
    factors = np.random.default_rng(0).integers(1, 2**63, size=vectors.shape[1], dtype=np.uint64) | np.uint64(1)
    cells = np.floor(vectors * _GRID).astype(np.int64).view(np.uint64)
    keys: NDArray[np.uint64] = (cells * factors).sum(axis=1, dtype=np.uint64)
    return keys
