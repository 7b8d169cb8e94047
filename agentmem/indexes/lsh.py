"""Think-in-Memory's hashing (Liu et al. 2023, §3.2): a vector x falls into the bucket argmax[xR; -xR], R random.

A question looks into its own bucket, or into its `probes` likeliest ones of each of `tables` tables, and ranks what
lies there by its exact cosine. `tables=1, probes=1` is the paper's form, which finds about a fifth of the true nearest:
see "Vector indexes" in benchmarks/LOG.md. With one table it equals FAISS's IndexIVFFlat whose centroids are ±Rᵀ; that
one keeps a copy of the vectors per table and leaves bytes behind when it removes, so buckets hold numbers here.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

from agentmem.blas import single_threaded
from agentmem.errors import SettingsError
from agentmem.indexes.flat import SEGMENT, FlatIndex, last_of_each
from agentmem.indexes.rows import NONE, Found, Mask, Numbers, Vector
from agentmem.indexes.segments import GATHERING
from agentmem.interfaces import Matrix

BUCKETS = 256
_SEED = 20231113


class LshIndex(FlatIndex):
    """Random hyperplane buckets; exact for filters that let little through, and where the buckets hold too few."""

    def __init__(
        self,
        *,
        tables: int = 1,
        probes: int = 1,
        buckets: int = BUCKETS,
        compressed: bool = False,
        segment: int = SEGMENT,
    ) -> None:
        if tables < 1 or buckets < 2 or buckets % 2 or not 1 <= probes <= buckets:
            raise SettingsError(
                f"lsh needs tables >= 1, an even number of buckets and 1 <= probes <= buckets, not "
                f"tables={tables}, buckets={buckets}, probes={probes}."
            )
        self._tables, self._probes, self._buckets = tables, probes, buckets
        super().__init__(compressed=compressed, segment=segment)
        self._hashed(0)

    def _hashed(self, dimension: int) -> None:
        """Empty tables for vectors of this dimension."""
        random = np.random.default_rng(_SEED)
        shape = (self._tables, dimension, self._buckets // 2)
        self._planes = random.standard_normal(shape, dtype=np.float32)
        self._docs = [[array("i") for _ in range(self._buckets)] for _ in range(self._tables)]
        self._bucket_of = np.full((self._tables, 0), NONE, dtype=np.int32)

    def _likely(self, table: int, vectors: Matrix) -> NDArray[np.float32]:
        """[xR; -xR] of vectors, shape (n, buckets)."""
        projected = vectors @ self._planes[table]
        return np.concatenate([projected, -projected], axis=1)

    def set(self, docs: Numbers, vectors: Matrix) -> None:
        if len(docs) == 0:
            return
        docs, vectors = last_of_each(docs, vectors)
        for doc in docs:
            self._unhash(int(doc))
        if vectors.shape[1] != self._planes.shape[1]:
            self._hashed(int(vectors.shape[1]))
        super().set(docs, vectors)
        self._hash(docs, vectors)

    def _hash(self, docs: Numbers, vectors: Matrix) -> None:
        if docs.max() >= self._bucket_of.shape[1]:
            grown = np.full((self._tables, len(self._slots)), NONE, dtype=np.int32)
            grown[:, : self._bucket_of.shape[1]] = self._bucket_of
            self._bucket_of = grown
        for table, buckets in enumerate(self._docs):
            with single_threaded():
                chosen = self._likely(table, vectors).argmax(axis=1).astype(np.int32)
            self._bucket_of[table, docs] = chosen
            for bucket in np.unique(chosen):
                buckets[bucket].frombytes(docs[chosen == bucket].astype(np.int32).tobytes())

    def _unhash(self, doc: int) -> None:
        if not self.holds(doc):
            return
        for table, buckets in enumerate(self._docs):
            held = buckets[self._bucket_of[table, doc]]
            at = int(np.flatnonzero(np.frombuffer(held, dtype=np.int32) == doc)[0])
            held[at] = held[-1]
            held.pop()
            self._bucket_of[table, doc] = NONE

    def clear(self, doc: int) -> None:
        self._unhash(doc)
        super().clear(doc)

    def search(self, vector: Vector, k: int, allowed: Mask | None = None) -> Found:
        """As `FlatIndex.search`, in the buckets looked into; in all where these hold fewer than k."""
        if not len(self):
            return super().search(vector, k, allowed)
        candidates = self.candidates(vector)
        if allowed is not None:
            candidates = candidates[self._let(allowed)[candidates]]
        if len(candidates) < k or GATHERING * len(candidates) > len(self):
            return super().search(vector, k, allowed)
        return self._nearest_of(vector, k, candidates)

    def candidates(self, vector: Vector) -> Numbers:
        """The documents in the buckets that a unit vector looks into, ascending."""
        seen = np.zeros(len(self._slots), dtype=np.bool_)
        for table, buckets in enumerate(self._docs):
            likely = self._likely(table, vector[None])[0]
            for bucket in np.argpartition(-likely, self._probes - 1)[: self._probes]:
                seen[np.frombuffer(buckets[bucket], dtype=np.int32)] = True
        return np.flatnonzero(seen)
