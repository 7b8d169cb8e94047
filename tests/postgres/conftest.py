from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installing import lay_down
from tests.postgres.server import Server

_numbers = itertools.count(1)


@pytest.fixture
def installed(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with the plug-in's entry point, as pip would lay it down."""
    with lay_down(repository / "plugins/agentmem-postgres", tmp_path, monkeypatch):
        yield tmp_path


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A store of the test's own: a schema that is not there yet."""
    schema = f"store_{next(_numbers)}"
    yield server.url(schema=schema)
    server.run(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
