from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem import outside
from tests.installing import lay_down
from tests.postgres.server import Server

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def installed(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with the plug-in's entry point."""
    folder = tmp_path / "installed"
    folder.mkdir()
    with lay_down(repository / "plugins/agentmem-qdrant", folder, monkeypatch):
        yield folder


@pytest.fixture
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small namespaces are not scanned: the index is asked whatever the size."""
    monkeypatch.setattr(outside, "WHOLE", 0)
    monkeypatch.setattr(outside, "SCANNED", 0)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    server: Server = request.getfixturevalue("server")
    return server.url(schema=f"indexed_{next(_numbers)}")
