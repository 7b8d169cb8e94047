"""Writers beside each other: of several namespaces at once, of one in turns, and of the whole store alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from agentmem.errors import StoreBusyError
from agentmem.testing.conformance_base import ids
from agentmem.testing.samples import NS, new_turn
from agentmem.types import Namespace
from agentmem_postgres.backend import CONNECTIONS, QUEUES, WRITERS, PostgresBackend
from benchmarks.backends import side_by_side
from tests.postgres.server import Server

OTHER = ("test", "other")


@pytest.fixture
def backend(url: str) -> Iterator[PostgresBackend]:
    opened = PostgresBackend(url, busy_timeout=0.3)
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(url: str, backend: PostgresBackend) -> Iterator[PostgresBackend]:  # noqa: ARG001 - it makes the schema
    """Another process's."""
    opened = PostgresBackend(url, busy_timeout=0.3)
    yield opened
    opened.close()


def write(backend: PostgresBackend, namespace: Namespace, scope: Namespace | None) -> None:
    with backend.write(scope) as writer:
        writer.add([new_turn(namespace=namespace)])


def test_writers_of_two_namespaces_are_at_work_at_once(backend: PostgresBackend, elsewhere: PostgresBackend) -> None:
    with backend.write(NS) as writer:
        writer.add([new_turn()])
        write(elsewhere, OTHER, OTHER)  # commits, though it began later
        assert len(ids(elsewhere, "turn", namespace=OTHER)) == 1
        assert ids(elsewhere, "turn") == []
    assert len(ids(elsewhere, "turn")) == 1


@pytest.mark.parametrize(("first", "second"), [(NS, NS), (NS, None), (None, NS), (None, None)])
def test_who_would_meet_waits(
    backend: PostgresBackend, elsewhere: PostgresBackend, first: Namespace | None, second: Namespace | None
) -> None:
    with backend.write(first), pytest.raises(StoreBusyError, match="another process is writing"):
        write(elsewhere, NS, second)
    write(elsewhere, NS, second)
    assert len(ids(backend, "turn")) == 1


def test_threads_of_one_process_wait_for_each_other_without_a_connection(backend: PostgresBackend) -> None:
    told: list[StoreBusyError] = []

    def wait() -> None:
        try:
            write(backend, NS, NS)
        except StoreBusyError as error:
            told.append(error)

    threads = [threading.Thread(target=wait) for _ in range(CONNECTIONS)]
    with backend.write(NS):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert backend._pool.get_stats()["pool_size"] == 1
    assert len(told) == CONNECTIONS
    assert all("another thread is writing" in str(error) for error in told)


def test_however_many_write_there_is_a_connection_to_read_with(url: str) -> None:
    backend = PostgresBackend(url, busy_timeout=60)
    begun, done = threading.Semaphore(0), threading.Event()

    def hold(space: Namespace) -> None:
        with backend.write(space) as writer:
            writer.add([new_turn(namespace=space)])
            begun.release()
            done.wait()

    # Names that do not share one of the queues in which threads wait.
    spaces = {hash(space) % QUEUES: space for space in (("many", str(n)) for n in range(50 * QUEUES))}
    threads = [threading.Thread(target=hold, args=(spaces[n],)) for n in range(2 * CONNECTIONS)]
    for thread in threads:
        thread.start()
    for _ in range(WRITERS):
        begun.acquire()
    assert ids(backend, "turn") == []
    done.set()
    for thread in threads:
        thread.join()
    with backend.read() as reader:
        assert len(reader.namespaces()) == len(threads)
    backend.close()


def test_processes_at_work_for_a_while(url: str, backend: PostgresBackend) -> None:
    """The short form of `python -m benchmarks.backends processes`, in which each process watches for lines of another
    namespace and for work that is done twice, and fails by them."""
    rate, _ = side_by_side(url, "a namespace", workers=4, seconds=1.5, held=0)
    with backend.read() as reader:
        spaces = {("team", f"a4x{n}x") for n in range(4)}
        assert set(reader.namespaces(root=("team",))) == {*spaces, ("team", "shared")}
        shared = reader.count("turn", namespace=("team", "shared"))
        assert sum(reader.count("turn", namespace=space) for space in spaces) == shared
        assert round(rate * 1.5) >= 2 * shared
    assert backend.check() == []


def test_a_long_table_is_not_read_through_for_a_snapshot(backend: PostgresBackend, server: Server) -> None:
    """The rows between two numbers are found by the namespace's index, however many other namespaces hold."""
    schema = backend._place.schema
    with backend.write() as writer:
        for n in range(40):
            writer.add(new_turn(namespace=("many", str(n))) for _ in range(20))
    server.run(f"ANALYZE {schema}.turns")
    with backend.read() as reader:
        asked = f"SELECT n FROM turns {reader._db.by_number} WHERE ns = 3 AND n BETWEEN 50 AND 55 ORDER BY n"
        plan = "\n".join(line for (line,) in reader._db.rows(f"EXPLAIN {asked}"))
    assert "turns_order" in plan, plan
