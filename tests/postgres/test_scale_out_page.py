"""The page on many agents and machines holds: its commands run against a server and print what it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.blocks import Session, same, steps
from tests.postgres.server import Server

PAGE = "docs/howto/scale-out.md"


@pytest.fixture
def own_server() -> Iterator[Server]:
    """With databases and roles that the page makes."""
    started = Server()
    yield started
    started.close()


@pytest.mark.slow
def test_its_commands_do_what_it_says(
    repository: Path, installed: Path, own_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    more = {
        "PGHOST": str(own_server.folder),
        "PGUSER": "postgres",
        "PATH": str(own_server.programs),
        "PYTHONPATH": os.pathsep.join((str(repository / "plugins/agentmem-postgres"), str(installed))),
    }
    session = Session(tmp_path_factory.mktemp("page") / "session", more=more)
    for step in steps((repository / PAGE).read_text("utf-8")):
        printed = session.run(step)
        if step.expected is not None:
            assert same(step.expected, printed), f"{step.command}\n{printed}"
