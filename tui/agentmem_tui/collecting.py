"""Python's garbage collector, kept from holding up the interface.

A full collection walks every object there is, with 200 messages on screen for 0.1 s and more, and it comes in the midst
of what makes many objects: typing while an answer streams in, a change of theme. So full ones are rare while the app
runs, and are made up for when nobody has touched it for a while.
"""

from __future__ import annotations

import gc
import time

_RARE = 1000
"""Collections of the middle generation before a full one comes by itself: 10 as Python has it."""
_DUE = 10
_IDLE_SECONDS = 2.0


class IdleCollector:
    """`touch` when the user did something, `collect` now and then. The whole process is concerned: `end` undoes it."""

    def __init__(self) -> None:
        self._before = gc.get_threshold()
        self._touched = time.monotonic()
        gc.set_threshold(*self._before[:2], _RARE)

    def touch(self) -> None:
        self._touched = time.monotonic()

    def collect(self, *, busy: bool) -> bool:
        """Collect if it is due, and nobody would wait for it; return whether it was done."""
        due = gc.get_count()[2] >= _DUE
        if busy or not due or time.monotonic() - self._touched < _IDLE_SECONDS:
            return False
        gc.collect()
        return True

    def end(self) -> None:
        gc.set_threshold(*self._before)
