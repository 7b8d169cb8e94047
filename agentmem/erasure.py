"""Making forgotten bytes unreadable, now or as soon as other processes' open reads and an index outside allow, and the
receipt for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from agentmem.ids import new_id
from agentmem.indexing import Indexing
from agentmem.interfaces import Backend, Clock, Writer
from agentmem.types import Job, Namespace, Receipt

UNINDEX = "unindex"
"""The job of a namespace of which an index outside may still hold what was removed."""
_NOBODY: Namespace = ("agentmem",)
"""Erasing is the store's business: its job stands in a namespace of the library's own."""


class Erasure:
    """Erases what was removed, from an index outside too; what an open read delays, or an index that cannot be reached,
    is queued and tried again by `finish`."""

    def __init__(self, backend: Backend, clock: Clock, indexing: Indexing | None = None) -> None:
        self._backend = backend
        self._clock = clock
        self._indexing = indexing
        self._pending = bool(backend.jobs(task="erase"))
        self._indexed = bool(backend.jobs(task=UNINDEX))

    def intend(self, writer: Writer, namespace: Namespace) -> None:
        """In the transaction that removes something: an index outside is to lose it too, whoever lives to see to it."""
        if self._indexing is not None:
            self._indexed = True
            writer.add([self._job(UNINDEX, namespace)])

    def receipt(
        self, gone: Mapping[str, tuple[str, ...]], restored: tuple[str, ...], unreached: Sequence[str] = ()
    ) -> Receipt:
        """Erase, and say what went; the removal itself is committed already. `unreached` is where it could not go."""
        from agentmem.backends.copies import copies

        if not self._backend.erase():
            self._postpone()
        if self._indexing is not None:
            self._indexing.try_again()
            self._unindex(self._indexing)
        with self._backend.read() as reader:
            made = tuple(copies(reader))
        return Receipt(gone, restored, self._erased(), made, self._clock(), tuple(unreached))

    def _erased(self) -> Literal["done", "pending", "removed"]:
        """A server beside the store is like a store on one: what it has removed may lie in its files for a time."""
        if self._pending or (self._indexed and self._indexing is not None):
            return "pending"
        return "done" if self._backend.abilities.secure_erase and self._indexing is None else "removed"

    def _postpone(self) -> None:
        self._pending = True
        with self._backend.write(_NOBODY) as writer:
            writer.add([self._job("erase", _NOBODY)])

    def _job(self, task: str, namespace: Namespace) -> Job:
        now = self._clock()
        return Job(
            id=new_id(),
            namespace=namespace,
            task=task,
            target_kind="store",
            target="",
            recorded_at=now,
            run_after=now,
        )

    def _unindex(self, indexing: Indexing) -> None:
        """Take out of the index what was removed of each namespace that a job names; a job is done when that is."""
        if not self._indexed:
            return
        waiting: dict[Namespace, list[str]] = defaultdict(list)
        for job in self._backend.jobs(task=UNINDEX):
            waiting[job.namespace].append(job.id)
        for namespace, ids in list(waiting.items()):
            if indexing.purge(namespace):
                with self._backend.write(namespace) as writer:
                    writer.remove("job", ids, namespace=namespace)
                del waiting[namespace]
        self._indexed = bool(waiting)

    def finish(self) -> None:
        """Try again what was delayed, here or by a process that ended meanwhile. Cheap when nothing was."""
        if self._indexing is not None:
            self._unindex(self._indexing)
        if not self._pending or not self._backend.erase():
            return
        done = self._backend.jobs(task="erase")
        with self._backend.write(_NOBODY) as writer:
            writer.remove("job", [job.id for job in done], namespace=_NOBODY)
        self._pending = False
