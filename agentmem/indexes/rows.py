"""How one vector becomes one row in RAM: float32, or one byte a component."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from agentmem.interfaces import Matrix

Codes: TypeAlias = NDArray[Any]
Docs: TypeAlias = NDArray[np.int32]
Vector: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[np.intp]
Found: TypeAlias = tuple[Numbers, Vector]
"""Documents and their cosines."""

NONE = -1
"""In place of a document's number: the row holds none. In place of a slot: the document has no vector."""
BLOCK = 512
"""Rows decoded or gathered at a time: 768 kB of MiniLM's, which a core's cache holds."""


class Codec(Protocol):
    """How one vector becomes one row, and what FAISS calls that. Rows of forgotten documents are all zero bytes."""

    dtype: Any

    def encode(self, vectors: Matrix) -> Codes: ...

    def decode(self, codes: Codes) -> Matrix: ...

    def products(self, codes: Codes, vector: Vector) -> Vector:
        """Inner products of rows, shape (n, dimension), with a vector; shape (n,)."""

    def storage(self, dimension: int) -> Any:
        """An empty FAISS index that reads such rows."""


class Float32:
    """Rows are the vectors themselves."""

    dtype = np.float32

    def encode(self, vectors: Matrix) -> Codes:
        return np.asarray(vectors, dtype=np.float32)

    def decode(self, codes: Codes) -> Matrix:
        return codes

    def products(self, codes: Codes, vector: Vector) -> Vector:
        found: Vector = codes @ vector
        return found

    def storage(self, dimension: int) -> Any:
        import faiss

        return faiss.IndexFlatIP(dimension)


class Bytes:
    """A byte a component (FAISS's QT_8bit_uniform): 255 equal steps over a range that all components share.

    The range comes from the first vectors held and is rounded up, so that it tells nothing about any of them; what
    exceeds it later is clipped. With MiniLM's vectors a cosine is off by 0.0007 (standard deviation).
    """

    dtype = np.uint8

    def __init__(self, vectors: Matrix) -> None:
        usual = 6 / np.sqrt(vectors.shape[1])
        self._limit = float(np.ceil(64 * max(usual, 1.25 * float(np.abs(vectors).max()))) / 64)

    def encode(self, vectors: Matrix) -> Codes:
        codes = np.empty(vectors.shape, dtype=np.uint8)
        for start in range(0, len(vectors), BLOCK):
            steps = (vectors[start : start + BLOCK] + np.float32(self._limit)) * np.float32(127.5 / self._limit)
            codes[start : start + BLOCK] = np.clip(steps, 0, 255)
        return codes

    def decode(self, codes: Codes) -> Matrix:
        found: Matrix = codes.astype(np.float32) * np.float32(self._limit / 127.5) + np.float32(self._lowest)
        return found

    @property
    def _lowest(self) -> float:
        """What the byte 0 stands for: the middle of the first step."""
        return self._limit * (0.5 / 127.5 - 1)

    def products(self, codes: Codes, vector: Vector) -> Vector:
        out = np.empty(len(codes), dtype=np.float32)
        for start in range(0, len(codes), BLOCK):
            out[start : start + BLOCK] = codes[start : start + BLOCK].astype(np.float32) @ vector
        out *= np.float32(self._limit / 127.5)
        out += np.float32(self._lowest * float(vector.sum()))
        return out

    def storage(self, dimension: int) -> Any:
        import faiss

        storage = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_8bit_uniform, faiss.METRIC_INNER_PRODUCT
        )
        faiss.copy_array_to_vector(np.array([-self._limit, 2 * self._limit], dtype=np.float32), storage.sq.trained)
        storage.is_trained = True
        return storage
