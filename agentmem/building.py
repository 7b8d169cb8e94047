"""Graphs of vectors are built, and snapshots kept, behind the answers, by a thread that closing hardly waits for, or in
a flush."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from agentmem.cache import NamespaceCache
from agentmem.interfaces import Backend
from agentmem.keeping import keep

PATIENCE = 5.0
"""Seconds from the first recall to the first step: a command that answers and ends should not begin to build."""
LAST_WORK = 5.0
"""Seconds for which closing keeps snapshots of what had to be built, which saves the next opening as much and more."""


class Builder:
    """Does the work that the caches' indexes have pending, one step at a time, outside the caches' locks."""

    def __init__(self, backend: Backend, caches: Callable[[], Sequence[NamespaceCache]]) -> None:
        self._backend = backend
        self._caches = caches
        self._lock = threading.Lock()
        self._step = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There may be something to build: see to it behind the answers."""
        with self._lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="agentmem-build", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        self._stopping.wait(PATIENCE)
        while not self._stopping.is_set():
            self._wake.clear()
            self.build()
            self._wake.wait()

    def build(self) -> None:
        """Do all that is pending now, in this thread; stops half-way at `close`."""
        for cache in self._caches():
            keep(self._backend, cache, self._stopping.is_set)
            while not self._stopping.is_set() and self._build_one(cache):
                keep(self._backend, cache, self._stopping.is_set)

    def _build_one(self, cache: NamespaceCache) -> bool:
        """Do one step for a cache; False where there was none to do."""
        with self._step:  # an index gives out one step at a time
            with cache.lock:
                pending = cache.pending()
            if pending is None or not pending[1].run(self._stopping.is_set):
                return False
            index, work = pending
            with cache.lock:
                return index.adopt(work)

    def close(self) -> None:
        """Stop; what was begun is dropped, but that snapshots are kept for some seconds, where any are due."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        end = time.monotonic() + LAST_WORK
        for cache in self._caches():
            keep(self._backend, cache, lambda: time.monotonic() > end)
