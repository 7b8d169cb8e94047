"""Qdrant in this process under the suite that every vector index is under."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentmem.interfaces import VectorIndex
from agentmem.testing.conformance_index import VectorIndexConformance
from agentmem_qdrant import index as module
from agentmem_qdrant.index import QdrantIndex
from agentmem_qdrant.options import read_url


class TestQdrant(VectorIndexConformance):
    many = 70
    """Each point is a commit of its own here, so pages are made small instead."""

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_PAGE", 30)

    def make_index(self, tmp_path: Path) -> VectorIndex:
        return QdrantIndex(read_url(f"qdrant://{tmp_path / 'qdrant'}"))
