"""A memory on each built-in backend, full text only: what does not need an embedder is tested without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem.config import Settings
from agentmem.memory import Memory


@pytest.fixture(params=["memory:", "sqlite"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    store = "memory:" if request.param == "memory:" else str(tmp_path / "memory.db")
    with Memory(store, embedder=None, settings=Settings(store=store)) as opened:
        yield opened
