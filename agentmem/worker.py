"""A thread that does waiting work behind the answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from agentmem.errors import AgentmemError, StoreClosedError

_log = logging.getLogger(__name__)


class Worker:
    """Calls `work` in a thread of its own whenever there may be some, again and again while that says there was.

    The thread starts at the first `wake`, and first calls `begin`: where that says no, it ends. Woken, it waits
    `gather` seconds, so that what is said in one go is done in one go; `every` so many seconds it looks without being
    woken. An error of agentmem's pauses it until the next time: what waits stays in its queue.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], object],
        *,
        gather: float,
        every: float | None = None,
        begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._work = work
        self._gather = gather
        self._every = every
        self._begin = begin
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There is work: start the thread where there is none."""
        with self._lock:
            if self._thread is None and not self.stopping.is_set():
                self._thread = threading.Thread(target=self._run, name=f"agentmem-{self.name}", daemon=True)
                self._thread.start()
        self._wake.set()

    def revive(self) -> None:
        """Begin anew at the next wake, where `begin` had said no."""
        with self._lock:
            if self._thread is not None and not self._thread.is_alive():
                self._thread = None

    def _run(self) -> None:
        if not self._begin():
            return
        while not self.stopping.is_set():
            self._wake.wait(self._every)
            self.stopping.wait(self._gather)
            self._wake.clear()
            try:
                while not self.stopping.is_set() and self._work():
                    pass
            except StoreClosedError:
                return
            except AgentmemError as error:
                # The jobs stay queued: the next wake, flush or process takes them up again.
                _log.warning("%s paused: %s", self.name, error)

    def close(self, wait: float | None = None) -> None:
        """Stop after what is being done, waiting for that at most `wait` seconds; what waits stays in its queue."""
        self.stopping.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(wait)
