"""What goes wrong with a server ends in one clear line, in which no password stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import pytest

from agentmem.errors import (
    AgentmemError,
    InputError,
    SettingsError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
)
from agentmem.testing.conformance_base import add, ids
from agentmem.testing.samples import NS, new_adapter, new_job, new_thought, new_turn
from agentmem.types import Edge
from agentmem_postgres import backend as backends
from agentmem_postgres import connection, schema
from agentmem_postgres.backend import CONNECTIONS, PostgresBackend
from agentmem_postgres.texts import decode, encode
from tests.postgres.server import Server

_users = count(1)


@pytest.fixture
def backend(url: str) -> Iterator[PostgresBackend]:
    opened = PostgresBackend(url, busy_timeout=0.3)
    yield opened
    opened.close()


def refused(url: str, error: type[AgentmemError], *words: str, create: bool = True) -> str:
    with pytest.raises(error) as caught:
        PostgresBackend(url, busy_timeout=0.3, create=create).close()
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    assert all(word in said for word in words), said
    return said


@pytest.fixture
def login(server: Server) -> Iterator[Callable[..., str]]:
    """Makes a user who must give a password, and says where to log in."""
    rules = server.folder / "pg_hba.conf"
    before = rules.read_text()

    def make(grant: str = "", **options: str) -> str:
        user = f"ada_{next(_users)}"
        server.run(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
        if grant:
            server.run(grant.format(user=user))
        rules.write_text(f"local all {user} scram-sha-256\n{before}")
        server.run("SELECT pg_reload_conf()")
        return server.url(**options).replace("postgres@", f"{user}:secret@")

    yield make
    rules.write_text(before)
    server.run("SELECT pg_reload_conf()")


def test_a_url_that_is_none() -> None:
    refused("postgresql://ada:secret@[h/d", SettingsError, "postgresql://user@host/database")
    refused("postgresql://h/d?nosuch=1", SettingsError, "nosuch")
    refused("postgresql://h/d?schema=a%22b", SettingsError, "plain name")


def test_a_url_that_leaves_the_host_to_the_environment() -> None:
    place = connection.place_of("postgresql:///memories?schema=s&tenant=a/b&application_name=x")
    assert (place.conninfo, place.schema) == ("postgresql:///memories?application_name=x", "s")
    assert place.url == "postgresql:///memories?schema=s&tenant=a/b&application_name=x"
    assert connection.place_of("postgresql:///memories").conninfo == "postgresql:///memories"


def test_nobody_listens() -> None:
    refused("postgresql://ada:secret@127.0.0.1:1/d", StoreError, "cannot be reached", "ada@127.0.0.1:1")
    refused("postgresql://ada:secret@h:nonumber/d", StoreError, "cannot be reached")
    refused("postgresql://ada:secret@/d?host=/nowhere", StoreError, "cannot be reached", "/nowhere")


def test_a_wrong_password_and_a_missing_one(login: Callable[..., str]) -> None:
    url = login()
    refused(url.replace(":secret@", ":wrong@"), StoreError, "the password is wrong")
    refused(url.replace(":secret@", "@"), StoreError, "wants a password")


def test_a_database_or_user_that_is_not_there(server: Server) -> None:
    refused(server.url("nosuch"), StoreMissingError, "make it")
    refused(server.url().replace("postgres@", "nosuch@"), StoreMissingError, "user")


def test_a_store_that_is_not_there_is_not_made_unasked(url: str, server: Server) -> None:
    refused(url, StoreMissingError, "no store there", create=False)
    assert server.run("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'store%'") == []
    PostgresBackend(url).close()
    PostgresBackend(url, create=False).close()


def test_an_old_server_and_a_new_schema(url: str, server: Server) -> None:
    place = connection.place_of(url)
    connection.check_server(14_00_00, place)
    with pytest.raises(StoreVersionError, match="PostgreSQL 13 is too old; use 14 or newer"):
        connection.check_server(13_00_14, place)
    PostgresBackend(url).close()
    server.run(f"UPDATE {place.schema}.meta SET value = '99' WHERE key = 'schema_version'")
    refused(url, StoreVersionError, "newer agentmem-postgres")


def test_another_programs_tables(url: str, server: Server) -> None:
    name = connection.place_of(url).schema
    server.run(f"CREATE SCHEMA {name}; CREATE TABLE {name}.turns (id int)")
    refused(url, StoreForeignError, "?schema=NAME")


def test_who_may_only_read_reads(url: str, login: Callable[..., str]) -> None:
    owner = PostgresBackend(url)
    turn = new_turn()
    add(owner, turn)
    owner.close()
    name = connection.place_of(url).schema
    may_read = f"GRANT USAGE ON SCHEMA {name} TO {{user}}; GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {{user}}"
    guest = login(may_read, schema=name)
    backend = PostgresBackend(guest)
    assert ids(backend, "turn") == [turn.id]
    with pytest.raises(StoreReadOnlyError, match="may not"):
        add(backend, new_turn())
    backend.close()
    refused(login(schema="another"), StoreReadOnlyError, "may not")


def test_a_server_that_is_read_only(backend: PostgresBackend) -> None:
    # What a standby says.
    add(backend, new_turn())
    with pytest.raises(StoreReadOnlyError, match="primary"), backend.read() as reader:
        reader._db.run("DELETE FROM turns")
    assert len(ids(backend, "turn")) == 1


def test_who_waits_for_a_writer_is_told(url: str, backend: PostgresBackend) -> None:
    other = PostgresBackend(url)
    with other.write(), pytest.raises(StoreBusyError, match="another process is writing"):
        add(backend, new_turn())
    add(backend, new_turn())
    other.close()


def test_names_too_long_for_an_index(backend: PostgresBackend) -> None:
    unlike = "".join(chr(0x4E00 + n) for n in range(5000))
    with pytest.raises(InputError, match="too long"):
        add(backend, new_turn(session=unlike))
    add(backend, new_turn())


def test_a_table_that_is_gone(backend: PostgresBackend, server: Server) -> None:
    add(backend, new_turn())
    server.run(f"DROP TABLE {backend._place.schema}.turns CASCADE")
    with pytest.raises(StoreForeignError, match="gone"):
        ids(backend, "turn")


def test_the_connections_of_a_process_are_shared_out(backend: PostgresBackend) -> None:
    with backend._pool.connection() as first:
        rest = [backend._pool.getconn() for _ in range(CONNECTIONS - 1)]
        with pytest.raises(StoreBusyError, match="in use"):
            ids(backend, "turn")
        for raw in rest:
            backend._pool.putconn(raw)
        assert not first.closed
    assert ids(backend, "turn") == []


def lose_the_connection(backend: PostgresBackend, server: Server) -> None:
    with backend.write() as writer:
        writer.add([new_turn()])
        server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        writer.add([new_turn()])


def test_a_connection_that_is_lost_in_a_transaction(backend: PostgresBackend, server: Server) -> None:
    with pytest.raises(StoreClosedError, match="look, then try again"):
        lose_the_connection(backend, server)
    assert ids(backend, "turn") == []


DAMAGE = {
    "turns are in no namespace": "UPDATE turns SET ns = 77",
    "jobs are for a turn that is not there": "UPDATE jobs SET target = 'nobody'",
    "turns have no content": "UPDATE turns SET body = NULL",
    "vectors belong to no record": "UPDATE vectors SET kind = 'chunk'",
    "vectors have an impossible size": "UPDATE vectors SET data = substr(data, 1, 7)",
    "edges have a child (thought) that is not there": "UPDATE edges SET child = 'nobody'",
    "namespaces have changes beyond their newest": "UPDATE namespaces SET last_change = 1",
    "change counters are behind": "SELECT setval('change_numbers', 1)",
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_check_finds(backend: PostgresBackend, fault: str) -> None:
    turn, thought = new_turn(), new_thought()
    add(backend, turn, thought, new_job(turn.id))
    with backend.write() as writer:
        writer.set_vectors("turn", [turn.id], np.ones((1, 4), np.float32), namespace=NS)
        writer.link([Edge("thought", thought.id, "turn", turn.id, "source")], namespace=NS)
    assert backend.check() == []
    with backend.write() as writer:
        writer._db.run(DAMAGE[fault])
    assert any(fault in line for line in backend.check())


def test_a_store_of_the_first_version_is_brought_up_to_date(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "STEPS", schema.STEPS[:1])
    monkeypatch.setattr(schema, "VERSION", 1)
    monkeypatch.setattr(backends, "erase", lambda _: True)  # which went by a mark among the settings
    old = PostgresBackend(url)
    turn = new_turn()
    add(old, turn)
    with old.read() as reader:
        digest = reader.digest("tea")
    with old.write() as writer:
        writer.set_meta("erase_unfinished", str(writer._db.one("SELECT pg_current_xact_id()::text")))
    old.close()
    monkeypatch.undo()
    refused(url, StoreVersionError, "schema 1", "pg_dump", "?upgrade=backed-up")
    refused(f"{url}&upgrade=yes", SettingsError, "?upgrade=backed-up")
    new = PostgresBackend(f"{url}&upgrade=backed-up")
    assert new.url == old.url
    add(new, new_adapter())
    assert (ids(new, "turn"), len(ids(new, "adapter"))) == ([turn.id], 1)
    with new.read() as reader:
        assert reader.digest("tea") == digest
        assert schema.version_of(reader._db) == schema.VERSION
        assert reader.settings().keys() == {"digest_key"}
        assert reader._db.rows("SELECT * FROM erasures") == []  # what it still had to erase was finished
    new.close()


def test_processes_that_create_at_once_all_succeed(url: str) -> None:
    digests: list[str] = []

    def create() -> None:
        opened = PostgresBackend(url)
        with opened.read() as reader:
            digests.append(reader.digest("same"))
        opened.close()

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 4
    assert len(set(digests)) == 1


def test_odd_texts_keep_their_order() -> None:
    texts = ("", "\0", "\x01", "\x01\x01", "a", "\ud7ff", "\ud800", "\udfff", "\ue000", "\U0010ffff")
    both = [one + other for one in texts for other in texts]
    assert [decode(encode(text)) for text in both] == both
    assert sorted(both, key=encode) == sorted(both)
    assert not any("\0" in encode(text) for text in both)
    "".join(map(encode, both)).encode("utf-8")
