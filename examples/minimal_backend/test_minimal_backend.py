"""The suite that every backend must pass."""

from __future__ import annotations

from pathlib import Path

from agentmem.interfaces import Backend
from agentmem.testing.conformance import BackendConformance
from minimal_backend import MinimalBackend


class TestMinimal(BackendConformance):
    def make_backend(self, tmp_path: Path) -> Backend:
        return MinimalBackend(tmp_path / "store")
