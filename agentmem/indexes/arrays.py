"""Arrays that grow at their end."""

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
