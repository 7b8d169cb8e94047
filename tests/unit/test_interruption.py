"""An interrupted flush: what is done is kept, and who goes on need not wait for a lease to run out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from agentmem.config import Settings
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.types import NewTurn

ME = ("me",)


class Interrupting:
    """Embeds so many slices in the caller's thread, then is interrupted as by Ctrl-C."""

    identity = EmbedderIdentity("test", 4, "0" * 64)

    def __init__(self, slices: int) -> None:
        self.left = slices

    def encode(self, texts: Sequence[str]) -> Matrix:
        if threading.current_thread() is threading.main_thread():
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
        return np.full((len(texts), 4), 0.5, np.float32)


def test_an_interrupted_flush_keeps_its_work_and_gives_the_rest_back(tmp_path: Path) -> None:
    store = str(tmp_path / "m.db")
    turns = [NewTurn(role="user", parts=({"type": "text", "text": f"turn {n}"},)) for n in range(600)]
    with Memory(store, embedder=None, settings=Settings(store=store)) as memory:
        memory.observe_many(turns, namespace=ME)
    seen: list[tuple[int, int]] = []
    interrupted = Memory(store, embedder=Interrupting(1), settings=Settings(store=store))
    with pytest.raises(KeyboardInterrupt), interrupted as memory:
        memory.flush(progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 1  # what was done was shown, before all was done
    with Memory(store, embedder=Interrupting(9), settings=Settings(store=store)) as memory:
        left = memory.backend.jobs(state="queued")
        assert len(left) <= 600 - 256
        assert all(job.lease_until is None for job in left)
        memory.flush()
        assert memory.stats(namespace=ME).waiting == 0


class Failing(Interrupting):
    def encode(self, texts: Sequence[str]) -> Matrix:
        raise ValueError(f"none of {len(texts)} texts is good enough")


def test_what_could_not_be_embedded_is_parked_and_reindex_tries_again(tmp_path: Path) -> None:
    store = str(tmp_path / "m.db")
    with Memory(store, embedder=Failing(0), settings=Settings(store=store)) as memory:
        memory.observe("user", "hello there", namespace=ME)
        memory.flush()
        assert memory.stats(namespace=ME).parked == 1
    with Memory(store, embedder=Interrupting(9), settings=Settings(store=store)) as memory:
        memory.reindex()
        stats = memory.stats(namespace=ME)
    assert (stats.waiting, stats.parked) == (0, 0)
