"""A complete backend in one module: a store in one file, which each commit writes anew in the place of the old one.

docs/tutorial/write-a-backend.md builds it step by step. Records are held in RAM, by the library's own in-memory
backend, so it suits thousands of them and not millions; one process at a time may open a store.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agentmem.backends.memory import MemoryBackend
from agentmem.errors import StoreBusyError, StoreError, StoreMissingError
from agentmem.interfaces import Abilities, Reader, Writer
from agentmem.plugins import RegisterBackend, hookimpl

if TYPE_CHECKING:
    from agentmem.config import Settings
    from agentmem.interfaces import Backend, Clock
    from agentmem.types import Job, Namespace

ABILITIES = Abilities(durable=True, secure_erase=True, shared=False, backup=False)


@hookimpl
def register_backends(register: RegisterBackend) -> None:
    register("minimal", open_minimal, abilities=ABILITIES, api_version=1)


def open_minimal(url: str, *, create: bool, settings: Settings, clock: Clock | None) -> Backend:  # noqa: ARG001
    return MinimalBackend(Path(url.removeprefix("minimal:")), create=create, clock=clock)


class MinimalBackend:
    """A Backend in one file. Threads may share it; one process at a time."""

    abilities = ABILITIES

    def __init__(self, path: Path, *, create: bool = True, clock: Clock | None = None) -> None:
        self.path = path.absolute()
        self.url = f"minimal:{self.path}"
        if not create and not self.path.exists():
            raise StoreMissingError(f"{self.url}: no store there; check the path, or add something to make one")
        self._lock = self._lock_out_others()
        try:
            there = self.path.exists()
            self._records = MemoryBackend(clock=clock, dumped=self.path.read_bytes() if there else None)
            if not there:
                self._save()
        except BaseException:
            os.close(self._lock)
            raise

    def _lock_out_others(self) -> int:
        """The lock is the system's, so that it goes with the process that holds it, however that ends."""
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise StoreBusyError(f"{self.url}: another process has it open; end that first") from error
        return lock

    def _save(self) -> None:
        """Durable when it returns: a power cut leaves the old file or the new one, whole."""
        draft = Path(f"{self.path}.draft")
        try:
            with draft.open("wb") as file:
                file.write(self._records.dump())
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            raise StoreError(f"{self.url}: could not be written ({error.strerror}); nothing was changed") from error

    def read(self) -> AbstractContextManager[Reader]:
        return self._records.read()

    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[Writer]:
        with self._records.write(namespace) as writer:
            yield writer
            self._save()  # where this fails, the transaction around it is rolled back in RAM too

    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Namespace | None = None) -> list[Job]:
        jobs = self._records.claim(task, limit=limit, lease_seconds=lease_seconds, namespace=namespace)
        if jobs and lease_seconds:
            with self.write():
                pass  # a lease is in RAM so far: no other process can ask for it, and now it is durable too
        return jobs

    def jobs(self, *, task: str | None = None, state: str | None = None) -> list[Job]:
        return self._records.jobs(task=task, state=state)

    def erase(self) -> bool:
        """The commit that removed a record has replaced the file already."""
        return True

    def reclaim(self) -> None:
        """The file is as small as it can be."""

    def check(self) -> list[str]:
        return [] if self.path.exists() else [f"{self.path} is gone: `agentmem export` saves what is in RAM"]

    def backup(self, path: Path) -> None:
        raise StoreError(f"{self.url}: {path} was not written: close the store and copy its file, or export it")

    def size(self) -> int:
        return self.path.stat().st_size

    def close(self) -> None:
        if self._lock >= 0:
            self._records.close()
            os.close(self._lock)
            self._lock = -1
