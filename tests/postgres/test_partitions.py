"""A store whose large tables are in parts by namespace is under the suite that every backend is under."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from agentmem.errors import InputError
from agentmem.interfaces import Backend
from agentmem.testing.conformance import BackendConformance
from agentmem.testing.conformance_base import add, ids
from agentmem.testing.samples import NS, new_turn
from agentmem_postgres.backend import PostgresBackend
from agentmem_postgres.connection import place_of
from agentmem_postgres.partitions import TABLES, partition
from agentmem_postgres.tenants import confine
from tests.postgres.server import Server


@pytest.mark.slow
class TestPartitioned(BackendConformance):
    @pytest.fixture(autouse=True)
    def store(self, url: str) -> None:
        partition(url, 3)
        self.url = url

    def make_backend(self, tmp_path: Path) -> Backend:  # noqa: ARG002 - its files are the server's
        return PostgresBackend(self.url, busy_timeout=10)


@pytest.fixture
def parted(url: str) -> str:
    partition(url, 4)
    return url


def test_rows_lie_in_the_part_of_their_namespace(parted: str, server: Server) -> None:
    backend, schema = PostgresBackend(parted), place_of(parted).schema
    spaces = [("team", str(n)) for n in range(12)]
    for space in spaces:
        add(backend, new_turn(namespace=space), new_turn(namespace=space))
    counts = [server.run(f"SELECT count(*), count(DISTINCT ns) FROM {schema}.turns_{part}")[0] for part in range(4)]
    assert sum(rows for rows, _ in counts) == 24
    assert all(rows == 2 * held for rows, held in counts)
    plan = server.run(f"EXPLAIN SELECT * FROM {schema}.turns WHERE ns = 3 AND id = 'x'")
    assert sum("turns_" in line and "Scan" in line for (line,) in plan) == 1, plan
    assert backend.check() == []
    backend.close()


def test_the_wall_stands_around_the_parts_too(parted: str, server: Server) -> None:
    schema, role = place_of(parted).schema, f"tenant_of_{place_of(parted).schema}"
    backend = PostgresBackend(parted)
    ours, theirs = ("team", "a"), ("team", "b")
    add(backend, new_turn(namespace=ours), new_turn(namespace=theirs))
    server.run(f"CREATE ROLE {role} LOGIN")
    confine(parted, role, ours)
    with psycopg.connect(place_of(parted.replace("postgres@", f"{role}@")).conninfo, autocommit=True) as raw:
        raw.execute("SET agentmem.tenant = '['")
        assert raw.execute(f"SELECT count(*) FROM {schema}.turns").fetchall() == [(1,)]
        for table in TABLES:
            for part in range(4):
                assert raw.execute(f"SELECT count(*) FROM {schema}.{table}_{part}").fetchall() == [(0,)]
    backend.close()


def in_use(backend: Backend, url: str) -> None:  # noqa: ARG001 - the other way takes it
    add(backend, new_turn())


def confining(backend: Backend, url: str) -> None:  # noqa: ARG001
    confine(url, "postgres", NS)


@pytest.mark.parametrize("use", [in_use, confining])
def test_a_store_in_use_is_left_as_it_is(url: str, use: Callable[[Backend, str], None]) -> None:
    backend = PostgresBackend(url)
    use(backend, url)
    before = ids(backend, "turn")
    with pytest.raises(InputError, match="is in use"):
        partition(url, 4)
    assert ids(backend, "turn") == before
    backend.close()
