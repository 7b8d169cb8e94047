"""Ids by number and numbers by id, in arrays: about 48 bytes for an id of 36 letters, where a str and its place in a
dictionary take 200."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SEGMENT = 32_768
"""Ids that are sealed together."""
LONGEST = 64
"""Bytes of an id in an array; longer ones stay in a dictionary."""
NOT_THERE = -1


class Ids:
    """Ids numbered 0, 1, 2, … as they come; a removed one leaves a hole. Not thread-safe: its cache locks.

    The newest are in a list and a dictionary. Every so many they are sealed: into an array of bytes by number, and into
    one sorted array of their hashes, by which they are found.
    """

    def __init__(self, segment: int = SEGMENT) -> None:
        self._segment = segment
        self._sealed: list[NDArray[np.bytes_]] = []
        self._tail: list[str] = []
        self._numbers: dict[str, int] = {}
        self._odd: dict[int, str] = {}
        self._hashes = np.zeros(0, np.int64)
        self._hashed = np.zeros(0, np.int32)
        self.held = 0

    def __len__(self) -> int:
        """How many numbers were given, holes included."""
        return self._start + len(self._tail)

    @property
    def _start(self) -> int:
        return self._segment * len(self._sealed)

    def add(self, id_: str) -> int:
        """The number of a new id."""
        if len(self._tail) == self._segment:
            self._seal()
        number = len(self)
        self._tail.append(id_)
        self._numbers[id_] = number
        self.held += 1
        return number

    def extend(self, ids: Sequence[str]) -> None:
        """Give new ids the next numbers."""
        at = 0
        while at < len(ids):
            if len(self._tail) == self._segment:
                self._seal()
            part = ids[at : at + self._segment - len(self._tail)]
            self._numbers.update(zip(part, range(len(self), len(self) + len(part)), strict=True))
            self._tail += part
            self.held += len(part)
            at += len(part)

    def _seal(self) -> None:
        start = self._start
        sealed = np.array([_bytes(id_) for id_ in self._tail], dtype=np.bytes_)
        hashes = np.fromiter(map(hash, self._tail), np.int64, len(self._tail))
        for row in np.flatnonzero(sealed != b"").tolist():
            del self._numbers[self._tail[row]]
        self._odd |= {start + row: self._tail[row] for row in np.flatnonzero(sealed == b"").tolist() if self._tail[row]}
        order = np.argsort(hashes)
        at = np.searchsorted(self._hashes, hashes[order])
        self._hashes = np.insert(self._hashes, at, hashes[order])
        self._hashed = np.insert(self._hashed, at, (start + order).astype(np.int32))
        self._sealed.append(sealed)
        self._tail = []

    def __getitem__(self, number: int) -> str:
        """The id of a number; "" for a hole."""
        if number >= self._start:
            return self._tail[number - self._start]
        if number in self._odd:
            return self._odd[number]
        return bytes(self._sealed[number // self._segment][number % self._segment]).decode("utf-8", "surrogatepass")

    def __contains__(self, id_: str) -> bool:
        return self.number(id_) != NOT_THERE

    def number(self, id_: str) -> int:
        """The number of an id, NOT_THERE where it has none."""
        if id_ in self._numbers:
            return self._numbers[id_]
        sought, wanted = hash(id_), _bytes(id_)
        at = int(np.searchsorted(self._hashes, sought)) if wanted else len(self._hashes)
        while at < len(self._hashes) and self._hashes[at] == sought:
            number = int(self._hashed[at])
            if self._sealed[number // self._segment][number % self._segment] == wanted:
                return number
            at += 1
        return NOT_THERE

    def numbers(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """The numbers of many ids, NOT_THERE for those that have none, shape (len(ids),)."""
        out = np.full(len(ids), NOT_THERE, np.int32)
        if len(self._hashes):
            out = self._first_hashed(ids)
        for row in np.flatnonzero(out == NOT_THERE).tolist():
            out[row] = self.number(ids[row])
        return out

    def _first_hashed(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """The numbers of those of the ids that are sealed; a few may be overlooked that share their hash."""
        wanted = np.array([_bytes(id_) for id_ in ids], dtype=np.bytes_)
        at = np.searchsorted(self._hashes, np.fromiter(map(hash, ids), np.int64, len(ids)))
        numbers = self._hashed[np.minimum(at, len(self._hashed) - 1)]
        out = np.full(len(ids), NOT_THERE, np.int32)
        for segment, sealed in enumerate(self._sealed):
            rows = np.flatnonzero(numbers // self._segment == segment)
            same = rows[(sealed[numbers[rows] % self._segment] == wanted[rows]) & (wanted[rows] != b"")]
            out[same] = numbers[same]
        return out

    def remove(self, number: int) -> None:
        """Forget the id of a number."""
        self._numbers.pop(self[number], None)
        if number >= self._start:
            self._tail[number - self._start] = ""
        elif self._odd.pop(number, None) is None:
            self._sealed[number // self._segment][number % self._segment] = b""
        self.held -= 1


def _bytes(id_: str) -> bytes:
    """An id as an array holds it; b"" for one that it cannot hold, which would lose its last zero, or is too long."""
    encoded = id_.encode("utf-8", "surrogatepass")
    return b"" if len(encoded) > LONGEST or encoded.endswith(b"\0") else encoded
