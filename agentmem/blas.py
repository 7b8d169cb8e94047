"""numpy's linear algebra on one thread: its threads wait for each other at every product, which on a busy machine costs
far more than they save (a question: 47 instead of 418 ms; a scan of 6,000 vectors: 0.15 instead of 8 ms)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


class _Hold:
    """Holds the process's BLAS to one thread while anybody computes here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._threads = 1
        self._limit: Any = None

    @contextmanager
    def single(self) -> Iterator[int]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._threads, self._limit = self._hold()
        try:
            yield self._threads
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._limit.restore_original_limits()

    @staticmethod
    def _hold() -> tuple[int, Any]:
        controller = _controller()
        had = [library["num_threads"] for library in controller.info()]
        return max(had, default=1), controller.limit(limits=1, user_api="blas")


@cache
def _controller() -> Any:
    """The BLAS libraries in this process: numpy's. Torch's, loaded later, are no business of ours."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController().select(user_api="blas")


single_threaded = _Hold().single
"""A context in which BLAS has one thread; it yields how many it had, and so how many to use instead."""
