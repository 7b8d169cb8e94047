"""Fields of the documents of a namespace as growing arrays, and the names that documents bear, by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.indexes.arrays import grown

TURN, THOUGHT = 0, 1
NEVER = float("inf")
NAMELESS = 0
"""Number of the documents without a name: thoughts, which are in no session, and turns without a speaker."""
NOBODY = -1
"""Number of a name that no document bears."""
ROLES = ("user", "assistant", "tool", "system")
ORIGINS = ("user", "agent", "tool", "code", "import")
STATES = ("live", "complete", "cancelled", "retracted", "superseded", "merged", "quoting")

_COLUMNS = {
    "kind": np.int8,
    "state": np.int8,
    "role": np.int8,
    "origin": np.int8,
    "told": np.int8,
    "session": np.int32,
    "speaker": np.int32,
    "tokens": np.int32,
    "seq": np.int64,
    "at": np.float64,
    "until": np.float64,
    "recorded": np.float64,
    "gone": np.float64,
}


def role_of(trusted: bool) -> str:
    """The role that a thought counts as said in: it says what the user said, in short; from a tool it is the tool's."""
    return "user" if trusted else "tool"


class Names:
    """Names by number, 1 upwards, each kept only as long as something bears it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._uses: Counter[int] = Counter()
        self._next = NAMELESS + 1

    def take(self, name: str, times: int = 1) -> int:
        """The number of a name that so many more bear."""
        number = self._numbers.setdefault(name, self._next)
        self._names[number] = name
        self._uses[number] += times
        self._next = max(self._next, number + 1)
        return number

    def release(self, number: int) -> None:
        self._uses[number] -= 1
        if not self._uses[number]:
            del self._uses[number], self._numbers[self._names.pop(number)]

    def number(self, name: str) -> int:
        """The number of a name, NOBODY where nothing bears it."""
        return self._numbers.get(name, NOBODY)

    def name(self, number: int) -> str:
        return self._names.get(number, "")

    def items(self) -> Iterable[tuple[str, int]]:
        return self._numbers.items()


class Columns:
    """Growing arrays, one per field: a row per document."""

    def __init__(self) -> None:
        self.size = 0
        self._arrays: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self.size]

    def append(self, values: dict[str, float]) -> int:
        self.size += 1
        if self.size > len(self._arrays["kind"]):
            self._arrays = {name: grown(held, self.size) for name, held in self._arrays.items()}
        self.put(self.size - 1, values)
        return self.size - 1

    def extend(self, count: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Append rows; fields that are not given are 0."""
        self.size += count
        self._arrays = {name: grown(held, self.size) for name, held in self._arrays.items()}
        for name, column in values.items():
            self._arrays[name][self.size - count : self.size] = column

    def put(self, row: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._arrays[name][row] = value
