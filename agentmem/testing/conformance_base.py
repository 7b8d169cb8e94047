"""What the parts of the conformance suite share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentmem.interfaces import Backend, Reader
from agentmem.testing.samples import NS
from agentmem.types import Kind, Namespace, Record

ALL_KINDS: tuple[Kind, ...] = ("turn", "chunk", "thought", "job", "operation", "suppression", "adapter")


class Conformance:
    """The backend under test, opened before each test and closed after it."""

    def make_backend(self, tmp_path: Path) -> Backend:
        raise NotImplementedError("return an open Backend whose files, if any, lie in tmp_path")

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Backend]:
        backend = self.make_backend(tmp_path)
        yield backend
        backend.close()

    @pytest.fixture
    def needs_shared(self, backend: Backend) -> None:
        if not backend.abilities.shared:
            pytest.skip(f"{backend.url} does not declare `shared`")


def add(backend: Backend, *records: Record) -> None:
    with backend.write() as writer:
        writer.add(records)


def select(backend: Backend, kind: Kind, *, namespace: Namespace = NS, **options: Any) -> list[Any]:
    with backend.read() as reader:
        return list(reader.select(kind, namespace=namespace, **options))


def ids(backend: Backend, kind: Kind, *, namespace: Namespace = NS, **options: Any) -> list[str]:
    return [record.id for record in select(backend, kind, namespace=namespace, **options)]


def contents(reader: Reader, namespace: Namespace = NS) -> dict[str, Any]:
    """Everything the namespace holds, comparable."""
    found: dict[str, Any] = {kind: list(reader.select(kind, namespace=namespace)) for kind in ALL_KINDS}
    found["edges"] = reader.edges(namespace=namespace)
    for kind in ALL_KINDS[:3]:
        names, matrix = reader.vectors(kind, namespace=namespace)
        found[f"{kind} vectors"] = dict(zip(names, matrix.tolist(), strict=True))
    found["changes"] = reader.changes(namespace=namespace, after=0)
    found["meta"] = reader.meta("key")
    return found


def snapshot(backend: Backend, namespace: Namespace = NS) -> dict[str, Any]:
    with backend.read() as reader:
        return contents(reader, namespace)
