from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentmem import plugins
from tests.postgres.server import Server

_numbers = itertools.count(1)


@pytest.fixture
def installed(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder with the plug-in's entry point, as pip would lay it down."""
    project = tomllib.loads((repository / "plugins/agentmem-postgres/pyproject.toml").read_text("utf-8"))["project"]
    info = tmp_path / f"agentmem_postgres-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{name} = {target}\n" for name, target in project["entry-points"]["agentmem"].items())
    (info / "entry_points.txt").write_text(f"[agentmem]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    plugins._loaded.cache_clear()
    yield tmp_path
    plugins._loaded.cache_clear()


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
