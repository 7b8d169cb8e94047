"""Arrays that grow at their end, and sets of numbers as ascending arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)


def grown(array: NDArray[_Scalar], size: int) -> NDArray[_Scalar]:
    """The array with room for `size` elements, new ones 0: itself where it has it, else a copy at least twice as long.

    Room that is not used yet takes no memory: pages of zeros become resident when they are written to.
    """
    if size <= len(array):
        return array
    longer: NDArray[Any] = np.zeros(max(size, 2 * len(array), 16), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def union(*parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """What is in any of the arrays, ascending: sorting is several times faster than `np.unique`, which hashes."""
    merged = np.concatenate(parts)
    merged.sort()
    fresh = np.ones(len(merged), np.bool_)
    np.not_equal(merged[1:], merged[:-1], out=fresh[1:])
    return merged[fresh]
