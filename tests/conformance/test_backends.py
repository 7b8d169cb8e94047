"""The built-in backends under the suite that every plug-in's backend is under."""

from __future__ import annotations

from pathlib import Path

from agentmem.backends import open_backend
from agentmem.interfaces import Backend
from agentmem.testing.conformance import BackendConformance


class TestMemory(BackendConformance):
    def make_backend(self, tmp_path: Path) -> Backend:  # noqa: ARG002 - it has no files
        return open_backend("memory:")


class TestSqlite(BackendConformance):
    def make_backend(self, tmp_path: Path) -> Backend:
        return open_backend(tmp_path / "store.db", busy_timeout=10)
