"""Making forgotten bytes unreadable, now or as soon as other processes' open reads allow, and the receipt for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from agentmem.ids import new_id
from agentmem.interfaces import Backend, Clock
from agentmem.types import Job, Namespace, Receipt

_NOBODY: Namespace = ("agentmem",)
"""Erasing is the store's business: its job stands in a namespace of the library's own."""


class Erasure:
    """Erases what was removed; what an open read delays is queued and tried again by `finish`."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self._backend = backend
        self._clock = clock
        self._pending = bool(backend.jobs(task="erase"))

    def receipt(
        self, gone: Mapping[str, tuple[str, ...]], restored: tuple[str, ...], unreached: Sequence[str] = ()
    ) -> Receipt:
        """Erase, and say what went; the removal itself is committed already. `unreached` is where it could not go."""
        from agentmem.backends.copies import copies

        if not self._backend.erase():
            self._postpone()
        with self._backend.read() as reader:
            made = tuple(copies(reader))
        erased: Literal["done", "removed"] = "done" if self._backend.abilities.secure_erase else "removed"
        return Receipt(gone, restored, "pending" if self._pending else erased, made, self._clock(), tuple(unreached))

    def _postpone(self) -> None:
        self._pending = True
        now = self._clock()
        job = Job(
            id=new_id(),
            namespace=_NOBODY,
            task="erase",
            target_kind="store",
            target="",
            recorded_at=now,
            run_after=now,
        )
        with self._backend.write(_NOBODY) as writer:
            writer.add([job])

    def finish(self) -> None:
        """Try again what was delayed, here or by a process that ended meanwhile. Cheap when nothing was."""
        if not self._pending or not self._backend.erase():
            return
        done = self._backend.jobs(task="erase")
        with self._backend.write(_NOBODY) as writer:
            writer.remove("job", [job.id for job in done], namespace=_NOBODY)
        self._pending = False
