"""PostgreSQL under the suite that every backend is under."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentmem.interfaces import Backend
from agentmem.testing.conformance import BackendConformance
from agentmem_postgres.backend import PostgresBackend


class TestPostgres(BackendConformance):
    @pytest.fixture(autouse=True)
    def store(self, url: str) -> None:
        self.url = url

    def make_backend(self, tmp_path: Path) -> Backend:  # noqa: ARG002 - its files are the server's
        return PostgresBackend(self.url, busy_timeout=10)
