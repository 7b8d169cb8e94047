"""A server that is killed and started again, many processes on one store, and what forgetting leaves on a server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agentmem import Memory
from agentmem.backends.sqlite import SqliteBackend
from agentmem.config import Settings
from agentmem.errors import StoreError
from agentmem.interfaces import Backend
from agentmem.moving import move
from agentmem.plugins import installed_plugins, open_store
from agentmem.testing.conformance_base import add, ids, select
from agentmem.testing.samples import NS, new_job, new_thought, new_turn
from agentmem.types import Turn
from agentmem_postgres.backend import PostgresBackend
from agentmem_postgres.connection import place_of
from tests.integration.test_move import fill
from tests.postgres.server import Server


@pytest.fixture
def backend(url: str) -> Iterator[PostgresBackend]:
    opened = PostgresBackend(url)
    yield opened
    opened.close()


def in_threads(*work: Callable[[], None]) -> list[threading.Thread]:
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    return threads


def until_it_works(step: Callable[[], object]) -> None:
    """An error says that a step may not have happened: it is tried again, as an agent would."""
    while True:
        try:
            step()
        except StoreError:
            continue
        return


def power_cut(server: Server, restarted: threading.Event) -> None:
    server.kill()
    server.start()
    restarted.set()


@pytest.mark.crash
def test_a_server_killed_in_the_middle_loses_nothing_acknowledged(backend: PostgresBackend, server: Server) -> None:
    acknowledged: list[str] = []
    begun, restarted = threading.Event(), threading.Event()

    def write(name: str) -> None:
        seq, last = 0, 10_000
        while seq < last:
            turn = new_turn(id=f"{name}-{seq}", session=name, seq=seq)
            until_it_works(partial(add_once, backend, turn))
            acknowledged.append(turn.id)
            begun.set()
            if last == 10_000 and restarted.is_set():
                last = seq + 10
            seq += 1

    threads = in_threads(*(partial(write, name) for name in "abc"))
    begun.wait()
    power_cut(server, restarted)
    for thread in threads:
        thread.join()
    assert sorted(ids(backend, "turn")) == sorted(acknowledged)
    with backend.read() as reader:
        assert Counter(c.id for c in reader.changes(namespace=NS, after=0)) == Counter(acknowledged)
    assert backend.check() == []


def add_once(backend: Backend, turn: Turn) -> None:
    if not ids(backend, "turn", where={"id": turn.id}):
        add(backend, turn)


@pytest.mark.crash
def test_no_work_is_done_twice_though_the_server_is_killed(backend: PostgresBackend, server: Server) -> None:
    jobs = [new_job() for _ in range(80)]
    add(backend, *jobs)
    halfway, restarted = threading.Event(), threading.Event()

    def work() -> None:
        while left := ids(backend, "job"):
            if len(left) <= 60:
                halfway.set()
            for job in backend.claim("embed", limit=3, lease_seconds=1):
                # The result and the job's removal commit together: either both are there, or the job is done again.
                until_it_works(partial(finish, backend, job.id))

    threads = in_threads(*[partial(until_it_works, work)] * 3)
    halfway.wait()
    power_cut(server, restarted)
    for thread in threads:
        thread.join()
    assert ids(backend, "job") == []
    assert sorted(thought.text for thought in select(backend, "thought")) == sorted(job.id for job in jobs)


def finish(backend: Backend, job: str) -> None:
    with backend.write() as writer:
        if writer.remove("job", [job], namespace=NS):
            writer.add([new_thought(job)])


def test_what_is_acknowledged_is_on_disk(backend: PostgresBackend, server: Server) -> None:
    """A write's own commit does not wait for the disk, so that the next writer need not; `write` does."""
    server.run("ALTER SYSTEM SET wal_writer_delay = 10000")  # nobody else syncs the log meanwhile
    server.run("SELECT pg_reload_conf()")
    try:
        for _ in range(3):
            with backend.write() as writer:
                writer.add([new_turn()])
                (written,) = writer._db.rows("SELECT pg_current_wal_insert_lsn()::text")[0]
            assert server.run(f"SELECT pg_current_wal_flush_lsn() > '{written}'") == [(True,)]
    finally:
        server.run("ALTER SYSTEM RESET wal_writer_delay")
        server.run("SELECT pg_reload_conf()")


PROCESS = """
import sys
from agentmem.testing.samples import new_job, new_turn
from agentmem_postgres.backend import PostgresBackend
url, me = sys.argv[1], sys.argv[2]
backend, namespace = PostgresBackend(url), ("team", me)
for seq in range(15):
    for space in (namespace, ("team", "shared")):
        turn = new_turn(f"{me} says {seq}", id=f"{me}-{seq}", session=me, seq=seq, namespace=space)
        with backend.write() as writer:
            writer.add([turn, new_job(turn.id, id=f"{me}-{seq}", namespace=space)])
    with backend.read() as reader:
        assert all(me in t.text for t in reader.select("turn", namespace=namespace))
done = []
while jobs := backend.claim("embed", limit=5, lease_seconds=60):
    with backend.write() as writer:
        for job in jobs:
            writer.remove("job", [job.id], namespace=job.namespace)
    done += [job.id for job in jobs]
backend.close()
print(len(done))
"""


def test_many_processes_share_one_store(url: str, backend: PostgresBackend) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, url, f"p{n}"], stdout=subprocess.PIPE, text=True, env=environment
        )
        for n in range(4)
    ]
    answers = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert sum(map(int, answers)) == 4 * 15 * 2
    assert backend.jobs() == []
    assert len(ids(backend, "turn", namespace=("team", "shared"))) == 60
    assert {t.text.split()[0] for t in select(backend, "turn", namespace=("team", "p2"))} == {"p2"}
    assert backend.check() == []


def test_what_is_removed_is_gone_from_the_tables_after_reclaiming(backend: PostgresBackend, server: Server) -> None:
    """The log keeps it for as long as the server keeps its log: that is why `secure_erase` is not declared."""
    secret = "the secret of the blue kiln"
    turn, kept = new_turn(secret), new_turn("what stays")
    add(backend, turn, kept)
    with backend.write() as writer:
        writer.remove("turn", [turn.id], namespace=NS)
    assert backend.erase()
    backend.reclaim()
    server.run("CHECKPOINT")
    tables = b"".join(path.read_bytes() for path in (server.folder / "base").rglob("*") if path.is_file())
    assert secret.encode() not in tables
    assert b"what stays" in tables
    assert not backend.abilities.secure_erase


def test_who_does_not_own_the_tables_cannot_erase_and_says_so(
    url: str, backend: PostgresBackend, server: Server
) -> None:
    schema = place_of(url).schema
    turn = new_turn()
    add(backend, turn)
    clerk = f"clerk_{schema}"
    server.run(
        f"CREATE ROLE {clerk} LOGIN; GRANT USAGE, CREATE ON SCHEMA {schema} TO {clerk};"
        f" GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {clerk};"
        f" GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {clerk}"
    )
    other = PostgresBackend(url.replace("postgres@", f"{clerk}@"))
    with other.write() as writer:
        writer.remove("turn", [turn.id], namespace=NS)
    assert other.erase() is False
    other.close()
    assert backend.erase() is True


@pytest.mark.usefixtures("installed")
def test_a_memory_in_postgres_recalls_after_reopening_and_forgets(url: str) -> None:
    settings = Settings(store=url)
    with Memory(url, embedder=None, settings=settings) as memory:
        memory.observe("user", "I keep a blue kiln in the garden.", namespace=NS)
        memory.observe("user", "My sister is called Ines.", namespace=NS)
    with Memory(url, embedder=None, settings=settings, create=False) as memory:
        (item, *_) = memory.recall("blue kiln", namespace=NS).items
        assert item.text == "I keep a blue kiln in the garden."
        receipt = memory.forget(memory.plan_forget(ids=[item.id], namespace=NS), namespace=NS)
        assert receipt.erased == "removed"
        assert "kiln" not in "".join(i.text for i in memory.recall("blue kiln", namespace=NS).items)
        assert memory.stats(namespace=NS).turns == 1


@pytest.mark.usefixtures("installed")
def test_the_plug_in_is_found_by_its_entry_point(url: str) -> None:
    (found,) = [found for found in installed_plugins() if found.name == "postgres"]
    assert (found.version, found.error) == ("0.1.0", None)
    assert found.backends["postgresql"].durable
    open_store(url, Settings()).close()


def test_a_store_moves_from_a_file_to_the_server_and_back(url: str, backend: PostgresBackend, tmp_path: Path) -> None:
    old, back = SqliteBackend(tmp_path / "old.db"), SqliteBackend(tmp_path / "back.db")
    fill(old)
    digest = move(old, backend).digest
    assert move(backend, back).digest == digest
    assert url.partition("//")[2] in backend.url
    assert backend.check() == back.check() == []
