"""The server's own wall between tenants: what a raw connection of one can read of another, and write."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import psycopg
import pytest

from agentmem import Memory
from agentmem.config import Settings
from agentmem.errors import NamespaceError, SettingsError, StoreMissingError, StoreReadOnlyError
from agentmem.testing.samples import (
    new_adapter,
    new_chunk,
    new_job,
    new_operation,
    new_suppression,
    new_thought,
    new_turn,
)
from agentmem.types import Edge, Namespace
from agentmem_postgres.backend import PostgresBackend
from agentmem_postgres.connection import place_of
from agentmem_postgres.tenants import confine
from tests.postgres.server import Server

OURS, BELOW, THEIRS = ("team", "a"), ("team", "a", "mara"), ("team", "ab")
TABLES = [
    "namespaces",
    "turns",
    "chunks",
    "thoughts",
    "jobs",
    "operations",
    "suppressions",
    "adapters",
    "vectors",
    "edges",
    "changes",
    "snapshots",
    "snapshot_ranges",
]
_numbers = itertools.count(1)


def fill(backend: PostgresBackend, namespace: Namespace) -> None:
    """A row in every table."""
    turn, thought = new_turn(namespace=namespace), new_thought(namespace=namespace)
    rest = [made(namespace=namespace) for made in (new_chunk, new_operation, new_suppression, new_adapter)]
    with backend.write(namespace) as writer:
        writer.add([turn, thought, *rest, new_job(turn.id, namespace=namespace)])
        writer.set_vectors("turn", [turn.id], np.ones((1, 4), np.float32), namespace=namespace)
        writer.link([Edge("thought", thought.id, "turn", turn.id, "source")], namespace=namespace)
    with backend.write(namespace) as writer:
        seen = writer.last_change(namespace=namespace)
        assert writer.put_snapshot("text", b"words", covers={"turn": [turn.id]}, seen=seen, namespace=namespace)


@pytest.fixture
def owner(url: str) -> Iterator[PostgresBackend]:
    opened = PostgresBackend(url)
    for namespace in (OURS, BELOW, THEIRS):
        fill(opened, namespace)
    yield opened
    opened.close()


@pytest.fixture
def role(server: Server) -> str:
    name = f"tenant_{next(_numbers)}"
    server.run(f"CREATE ROLE {name} LOGIN")
    return name


@pytest.fixture
def granted(url: str, owner: PostgresBackend, role: str, server: Server) -> str:  # noqa: ARG001 - it makes the schema
    """The URL of a role that has all rights to the tables, and is not confined."""
    schema = place_of(url).schema
    server.run(
        f"GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role};"
        f" GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {role}; REVOKE ALL ON {schema}.tenants FROM {role}"
    )
    return url.replace("postgres@", f"{role}@")


@contextmanager
def raw(url: str) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """A connection as anybody opens one: SQL, and nothing of agentmem's around it."""
    place = place_of(url)
    with psycopg.connect(place.conninfo, autocommit=True) as connection:
        connection.execute(f'SET search_path TO "{place.schema}"')

        def run(statement: str) -> list[tuple[object, ...]]:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else [(cursor.rowcount,)]

        yield run


def counted(run: Callable[[str], list[tuple[object, ...]]]) -> dict[str, object]:
    return {table: run(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def test_who_names_no_tenant_sees_nothing(granted: str) -> None:
    with raw(granted) as run:
        assert counted(run) == dict.fromkeys(TABLES, 0)
        run("SET agentmem.tenant = ''")  # what a setting is that was taken back
        assert counted(run) == dict.fromkeys(TABLES, 0)


def test_a_session_sees_what_lies_below_the_tenant_it_names(granted: str) -> None:
    with raw(granted) as run:
        run("""SET agentmem.tenant = '["team", "a"'""")
        assert counted(run) == {**dict.fromkeys(TABLES, 2), "changes": 8}
        assert run("SELECT name FROM namespaces ORDER BY name") == [('["team", "a", "mara"]',), ('["team", "a"]',)]


@pytest.fixture
def confined(url: str, owner: PostgresBackend, role: str) -> str:  # noqa: ARG001 - it makes the schema
    """The URL of a role that may see OURS and what lies below it."""
    confine(url, role, OURS)
    return url.replace("postgres@", f"{role}@")


@pytest.mark.parametrize(
    ("named", "seen"),
    [("", 0), ("[", 2), ('["team"', 2), ('["team", "a", "mara"', 1), ('["team", "ab"', 0), ("\x7f", 0)],
)
def test_a_confined_role_sees_its_own_whatever_it_names(confined: str, named: str, seen: int) -> None:
    with raw(confined) as run:
        run(f"SET agentmem.tenant = '{named}'")
        assert counted(run) == {**dict.fromkeys(TABLES, seen), "changes": 4 * seen}


def test_a_confined_role_changes_nothing_of_others(confined: str, owner: PostgresBackend) -> None:
    with owner.read() as reader:
        theirs = reader._ns(THEIRS)
        before = list(reader.select("turn", namespace=THEIRS))
    with raw(confined) as run:
        run("SET agentmem.tenant = '['")
        for table in set(TABLES) - {"namespaces", "snapshot_ranges"}:
            assert run(f"SELECT * FROM {table} WHERE ns = {theirs}") == []
            assert run(f"DELETE FROM {table} WHERE ns = {theirs}") == [(0,)]
        assert run(f"UPDATE turns SET body = NULL WHERE ns = {theirs}") == [(0,)]
        assert run("UPDATE meta SET value = 'known' WHERE key = 'digest_key'") == [(0,)]
        for forbidden in (
            f"UPDATE turns SET ns = {theirs}",
            f"INSERT INTO changes (ns, op, kind, id) VALUES ({theirs}, 'add', 'turn', 'x')",
            "INSERT INTO namespaces (name, last_change, born, floor) VALUES ('[\"other\"]', 0, 0, 0)",
            "UPDATE namespaces SET name = '[\"other\"]'",
            "INSERT INTO tenants VALUES (current_user, '[')",
            "UPDATE tenants SET root = '['",
            "ALTER TABLE turns DISABLE ROW LEVEL SECURITY",
            "SET row_security = off; SELECT * FROM turns",
            "TRUNCATE turns",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                run(forbidden)
    with owner.read() as reader:
        assert list(reader.select("turn", namespace=THEIRS)) == before


def test_a_confined_role_works_below_its_root(confined: str) -> None:
    backend = PostgresBackend(f"{confined}&tenant=team/a")
    fill(backend, (*OURS, "new"))
    with backend.read() as reader:
        assert reader.namespaces() == [OURS, BELOW, (*OURS, "new")]
        assert list(reader.select("turn", namespace=THEIRS)) == []
    assert {job.namespace for job in backend.claim("embed", limit=9, lease_seconds=9)} <= {OURS, BELOW, (*OURS, "new")}
    for namespace in (THEIRS, ("new",)):
        with pytest.raises(StoreReadOnlyError, match="may not do that"), backend.write(namespace) as writer:
            writer.add([new_turn(namespace=namespace)])
    backend.close()


@pytest.mark.usefixtures("installed")
def test_a_confined_memory_recalls_and_forgets_and_the_owner_finishes(url: str, confined: str) -> None:
    with Memory(confined, embedder=None, settings=Settings(store=confined)) as memory:
        said = memory.observe("user", "The kiln is blue.", namespace=(*OURS, "sam"))
        assert memory.recall("kiln", namespace=(*OURS, "sam")).items
        receipt = memory.forget(memory.plan_forget(ids=[said.id], namespace=(*OURS, "sam")), namespace=(*OURS, "sam"))
        assert receipt.erased == "pending"
    with Memory(url, embedder=None, settings=Settings(store=url), create=False) as memory:
        memory.flush()
        assert memory.backend.jobs(task="erase") == []


def test_an_application_that_serves_many_names_one(granted: str) -> None:
    backend = PostgresBackend(f"{granted}&tenant=team/ab")
    with backend.read() as reader:
        assert reader.namespaces() == [THEIRS]
    backend.close()
    backend = PostgresBackend(granted)  # names none: all, as its grants say
    with backend.read() as reader:
        assert reader.namespaces() == [OURS, BELOW, THEIRS]
    backend.close()


def test_a_wall_that_would_not_hold_is_no_wall(url: str, owner: PostgresBackend, server: Server) -> None:
    with pytest.raises(SettingsError, match="does not bind the tables' owner"):
        PostgresBackend(f"{url}&tenant=team/a")
    with pytest.raises(NamespaceError):
        PostgresBackend(f"{url}&tenant=")
    with pytest.raises(StoreMissingError, match='role "nobody_there" does not exist'):
        confine(url, "nobody_there", OURS)
    assert owner.check() == []
    server.run(f"ALTER TABLE {place_of(url).schema}.edges DISABLE ROW LEVEL SECURITY")
    assert owner.check() == ["1 tables have no wall between tenants; their owner can ENABLE ROW LEVEL SECURITY"]
