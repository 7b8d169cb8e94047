"""Arrays that grow at their end, and sets of numbers as ascending arrays."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Scalar = TypeVar("_Scalar", bound=np.generic)
_FEW = 8
"""Numbers that are sought one by one: each takes a tenth of the time that a search in an array does."""


def grown(array: NDArray[_Scalar], size: int) -> NDArray[_Scalar]:
    """The array with room for `size` elements, new ones 0: itself where it has it, else a copy at least twice as long.

    Room that is not used yet takes no memory: pages of zeros become resident when they are written to.
    """
    if size <= len(array):
        return array
    longer: NDArray[Any] = np.zeros(max(size, 2 * len(array), 16), dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def contains(held: NDArray[np.int32], numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of the numbers are among those held (ascending), shape (numbers,)."""
    if len(held) > _FEW:
        found: NDArray[np.bool_] = held[np.minimum(np.searchsorted(held, numbers), len(held) - 1)] == numbers
        return found
    found = np.zeros(len(numbers), np.bool_)
    for number in held.tolist():
        found |= numbers == number
    return found


def union(*parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """What is in any of the arrays, ascending: sorting is several times faster than `np.unique`, which hashes."""
    merged = np.concatenate(parts)
    merged.sort()
    fresh = np.ones(len(merged), np.bool_)
    np.not_equal(merged[1:], merged[:-1], out=fresh[1:])
    return merged[fresh]
