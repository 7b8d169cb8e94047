"""Exact dense search in RAM: the vectors of one namespace as rows of a growing matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agentmem.blas import single_threaded
from agentmem.interfaces import Matrix


class FlatIndex:
    """Unit vectors by document number; documents not embedded yet have none. Not thread-safe: its cache locks."""

    def __init__(self) -> None:
        self._rows: Matrix = np.zeros((0, 0), dtype=np.float32)
        self._present = np.zeros(0, dtype=np.bool_)

    @property
    def dimension(self) -> int:
        """Of the vectors held, 0 before the first."""
        return int(self._rows.shape[1])

    def __len__(self) -> int:
        return int(np.count_nonzero(self._present))

    def set(self, docs: NDArray[np.intp], vectors: Matrix) -> None:
        """Set the vectors of documents, shapes (n,) and (n, dimension). Another dimension drops all that was held."""
        if len(docs) == 0:
            return
        if vectors.shape[1] != self.dimension:
            self._rows, self._present = np.zeros((0, vectors.shape[1]), np.float32), np.zeros(0, np.bool_)
        self._grow(int(docs.max()) + 1)
        self._rows[docs] = vectors
        self._present[docs] = True

    def _grow(self, size: int) -> None:
        if size <= len(self._rows):
            return
        rows = np.zeros((max(size, 2 * len(self._rows), 16), self.dimension), dtype=np.float32)
        rows[: len(self._rows)] = self._rows
        present = np.zeros(len(rows), dtype=np.bool_)
        present[: len(self._present)] = self._present
        self._rows, self._present = rows, present

    def clear(self, doc: int) -> None:
        """Zero a document's vector."""
        if doc < len(self._rows):
            self._rows[doc] = 0
            self._present[doc] = False

    def holds(self, doc: int) -> bool:
        return doc < len(self._present) and bool(self._present[doc])

    def present(self, size: int) -> NDArray[np.bool_]:
        """Which of the documents 0 … size - 1 have a vector, shape (size,)."""
        out = np.zeros(size, dtype=np.bool_)
        held = min(size, len(self._present))
        out[:held] = self._present[:held]
        return out

    def scores(self, vector: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        """Cosines of the documents 0 … size - 1 with a unit vector, shape (dimension,); 0 where there is no vector."""
        out = np.zeros(size, dtype=np.float32)
        held = min(size, len(self._rows))
        if held:
            with single_threaded():
                out[:held] = self._rows[:held] @ vector
        return out
