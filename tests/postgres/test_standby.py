"""A real standby: what can be read there, what it says to who would write, and that it can take over."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from agentmem import Memory
from agentmem.config import Settings
from agentmem.errors import StoreReadOnlyError
from agentmem.testing.conformance_base import add, ids
from agentmem.testing.samples import NS, new_job, new_turn
from agentmem_postgres.backend import PostgresBackend
from tests.postgres.server import Server


@pytest.fixture
def primary(url: str) -> Iterator[PostgresBackend]:
    opened = PostgresBackend(url)
    yield opened
    opened.close()


@pytest.fixture
def standby(server: Server, primary: PostgresBackend) -> Iterator[Server]:
    turn, gone = new_turn("The kiln is blue."), new_turn()
    add(primary, turn, gone, new_job(turn.id))
    with primary.write(NS) as writer:  # so that something waits to be erased, which a standby cannot do
        writer.remove("turn", [gone.id], namespace=NS)
    started = Server(standby_of=server)
    yield started
    started.close()


def caught_up(server: Server, standby: Server) -> None:
    (written,) = server.run("SELECT pg_current_wal_insert_lsn()::text")[0]
    while standby.run(f"SELECT pg_last_wal_replay_lsn() < '{written}'") != [(False,)]:
        time.sleep(0.01)


@pytest.mark.usefixtures("installed")
def test_a_standby_is_read_from_says_that_it_is_one_and_takes_over(
    server: Server, standby: Server, primary: PostgresBackend
) -> None:
    url = standby.url(schema=primary._place.schema)
    with Memory(url, embedder=None, settings=Settings(store=url), create=False) as memory:
        caught_up(server, standby)
        assert [item.text for item in memory.recall("kiln", namespace=NS).items] == ["The kiln is blue."]
        add(primary, new_turn("The kiln is red."))
        caught_up(server, standby)
        assert len(memory.recall("kiln", namespace=NS).items) == 2
        with pytest.raises(StoreReadOnlyError, match="connect to the primary"):
            memory.observe("user", "The kiln is green.", namespace=NS)
        assert memory.backend.claim("embed", limit=1, lease_seconds=0)
        with pytest.raises(StoreReadOnlyError, match="connect to the primary"):
            memory.backend.claim("embed", limit=1, lease_seconds=60)
        assert memory.backend.check() == []
        standby.run("SELECT pg_promote()")
        memory.observe("user", "The kiln is green.", namespace=NS)
        assert len(ids(memory.backend, "turn")) == 3
