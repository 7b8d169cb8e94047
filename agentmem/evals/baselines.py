"""What recall is compared with: one dense search, one full-text search, and their plain sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.interfaces import Backend
from agentmem.text import stems
from agentmem.types import Namespace, Turn

BASELINES = ("dense", "bm25", "hybrid")
Scores = NDArray[np.float32]


class Baselines:
    """Plain searches of a namespace that holds turns only, over the same postings and vectors that recall uses."""

    def __init__(self, backend: Backend, namespace: Namespace) -> None:
        self._backend = backend
        self._cache = NamespaceCache(namespace)
        with backend.read() as reader:
            self._cache.refresh(reader)

    def search(self, name: str, question: str, vector: NDArray[np.float32] | None, k: int) -> list[Turn]:
        """The `k` best turns, of equals the earlier. `vector` is the question's, shape (dimension,); only "bm25" does
        without. Cosines and BM25 (of stems) are summed by their z-scores over the namespace's turns."""
        cache = self._cache
        size = len(cache)
        found = self._bm25(question) if name != "dense" else None
        near = cache.vectors.scores(vector, size) if name != "bm25" and vector is not None else None
        scores = sum((_standard(part) for part in (found, near) if part is not None), np.zeros(size, np.float32))
        best = np.argsort(-scores, kind="stable")
        if name == "bm25" and found is not None:
            best = best[found[best] > 0]
        return self._turns([cache.ids[doc] for doc in best[:k]])

    def _bm25(self, question: str) -> Scores:
        matches = self._cache.postings.find(list(dict.fromkeys(stems(question))))
        return matches.scores(np.arange(len(self._cache), dtype=np.int32))

    def _turns(self, ids: Sequence[str]) -> list[Turn]:
        with self._backend.read() as reader:
            return list(reader.get("turn", ids, namespace=self._cache.namespace))


def _standard(scores: Scores) -> Scores:
    """Z-scores; zeros where all scores are equal."""
    spread = float(scores.std()) if len(scores) else 0.0
    return (scores - scores.mean()) / np.float32(spread) if spread else np.zeros_like(scores)
