"""What only the SQLite backend has: files that cannot be used, migrations, forks, and its checks."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from agentmem.backends import migrations, open_backend, sqlite
from agentmem.backends.copies import copies
from agentmem.backends.sqlite import APPLICATION_ID, VERSION, SqliteBackend
from agentmem.backends.sqlite_files import check_sqlite, file_system
from agentmem.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreFullError,
    StoreMissingError,
    StoreVersionError,
)
from agentmem.memory import Memory
from agentmem.testing.conformance_base import add, ids, snapshot
from agentmem.testing.conformance_files import bytes_on_disk
from agentmem.testing.samples import NS, new_chunk, new_job, new_thought, new_turn
from agentmem.types import Edge, Kind


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def backend(path: Path) -> Iterator[SqliteBackend]:
    backend = SqliteBackend(path, busy_timeout=0.2)
    yield backend
    backend.close()


def fill(path: Path, count: int = 40) -> None:
    backend = SqliteBackend(path)
    add(backend, *(new_turn("words " * 50) for _ in range(count)))
    backend.close()


def refused(path: Path, error: type[StoreError], *words: str) -> None:
    """Opening fails in one line that names the path and what to do, and leaves the file as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error) as caught:
        SqliteBackend(path, busy_timeout=0.1)
    message = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in message
    assert str(path) in message
    assert ";" in message
    assert all(word in message for word in words)
    assert before is None or path.read_bytes() == before


def test_a_missing_store_is_made_only_where_wanted(path: Path) -> None:
    with pytest.raises(StoreMissingError, match="no store there"):
        SqliteBackend(path, create=False)
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreMissingError):
        SqliteBackend(path, create=False)
    nested = path.parent / "a" / "b" / "store.db"
    SqliteBackend(nested).close()
    assert oct(nested.stat().st_mode)[-3:] == "600"
    SqliteBackend(nested, create=False).close()


@pytest.mark.parametrize("store", ["{path}", "sqlite:///{path}"])
def test_urls(path: Path, store: str) -> None:
    backend = open_backend(store.format(path=path))
    assert backend.url == f"sqlite:///{path}"
    backend.close()


@pytest.mark.parametrize("content", [b"Dear diary,\n", b"x", b"SQLite format 3\0", b"SQLite format 3\0" + b"\1" * 5000])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, StoreForeignError)


def test_another_programs_database_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (text)")
    other.close()
    refused(path, StoreForeignError, "another program")


def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    refused(path, StoreForeignError, "directory")


def test_a_newer_store_is_refused(path: Path) -> None:
    fill(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    refused(path, StoreVersionError, "update agentmem")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_store_is_refused(path: Path, share: float) -> None:
    fill(path)
    os.truncate(path, int(path.stat().st_size * share))
    refused(path, StoreForeignError)


def test_a_damaged_store_is_reported_by_check(path: Path) -> None:
    fill(path, 400)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    backend = SqliteBackend(path)
    assert backend.check()
    with pytest.raises(StoreForeignError):
        backend.backup(path.with_name("copy.db"))
    assert not path.with_name("copy.db").exists()
    backend.close()


def test_a_locked_store_is_busy_and_then_usable(backend: SqliteBackend, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match="another process"):
        add(backend, new_turn())
    assert ids(backend, "turn") == []
    other.close()
    add(backend, new_turn())


def test_a_store_locked_for_reading_too_is_busy(path: Path) -> None:
    fill(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    refused(path, StoreBusyError)
    other.close()
    SqliteBackend(path).close()


def test_threads_wait_for_their_turn_only_so_long(backend: SqliteBackend) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            add(backend, new_turn())
        except StoreError as error:
            caught.append(error)

    with backend.write():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [type(error) for error in caught] == [StoreBusyError]


AS_NOBODY = """
import os, sys
from pathlib import Path
from agentmem.backends.sqlite import SqliteBackend
from agentmem.errors import AgentmemError
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    SqliteBackend(Path(sys.argv[1]))
except AgentmemError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("part", ["file", "folder", "missing"])
def test_what_cannot_be_written_is_refused(tmp_path_factory: pytest.TempPathFactory, part: str) -> None:
    folder = tmp_path_factory.mktemp("readonly")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    path = folder / "store.db"
    if part != "missing":
        fill(path)
        path.chmod(0o444 if part == "file" else 0o666)
    if part == "folder":
        folder.chmod(0o555)
    command = [sys.executable, "-c", AS_NOBODY, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    folder.chmod(0o755)
    if "Permission denied" in done.stderr:
        pytest.skip("the source tree cannot be read by an unprivileged user")
    assert done.stdout.startswith("StoreReadOnlyError"), done.stderr
    assert str(path) in done.stdout


def test_a_file_system_that_takes_no_more_loses_nothing(backend: SqliteBackend) -> None:
    add(backend, new_turn())
    before = snapshot(backend)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (backend.size() + 20_000, hard))
    try:
        with pytest.raises(StoreFullError, match="nothing was lost"):
            add(backend, new_turn("much " * 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(backend) == before
    add(backend, new_turn())
    assert backend.check() == []


def test_a_full_database_loses_nothing(backend: SqliteBackend) -> None:
    add(backend, new_turn())
    before = snapshot(backend)
    raw = backend._handle().connection.raw
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StoreFullError, match="no space left"):
        add(backend, new_turn("much " * 100_000))
    raw.execute("PRAGMA max_page_count = 1000000")
    assert snapshot(backend) == before
    add(backend, new_turn())


def test_a_network_file_system_is_refused_unless_allowed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.backends.sqlite_files.file_system", lambda _: "nfs4")
    refused(path, StoreError, "network", "nfs4")
    SqliteBackend(path, allow_network=True).close()


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/x /mnt/share nfs4 rw 0 0\nhost:/y /mnt/share/in\\040side fuse.sshfs rw 0 0\n"
    )
    found = [
        file_system(Path(path), mounts) for path in ("/a", "/mnt/shared/a", "/mnt/share/a", "/mnt/share/in side/a")
    ]
    assert found == ["ext4", "ext4", "nfs4", "fuse.sshfs"]
    assert file_system(tmp_path, tmp_path / "missing") == ""


def test_an_old_sqlite_is_refused() -> None:
    check_sqlite((3, 35, 0))
    with pytest.raises(StoreVersionError, match=r"3\.34\.1 is too old; use a Python built with SQLite 3\.35\.0"):
        check_sqlite((3, 34, 1))


@pytest.mark.parametrize(
    "statements", [[], ["PRAGMA page_size = 4096", "PRAGMA journal_mode = WAL"]], ids=["empty", "wal"]
)
def test_a_half_created_store_is_completed(path: Path, statements: list[str]) -> None:
    path.touch()
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
    fill(path)


def test_a_creation_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "new_key", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        SqliteBackend(path)
    tables = sqlite3.connect(path).execute("SELECT count(*) FROM sqlite_master").fetchone()
    assert tables == (0,)
    monkeypatch.undo()
    fill(path)


CREATE = """
import sys
from pathlib import Path
from agentmem.backends.sqlite import SqliteBackend
sys.stdin.readline()
backend = SqliteBackend(Path(sys.argv[1]))
with backend.read() as reader:
    print(reader.digest("same"))
"""


def test_processes_that_create_at_once_all_succeed(path: Path) -> None:
    command = [sys.executable, "-c", CREATE, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    answers = {child.communicate()[0] for child in children}
    assert [child.returncode for child in children] == [0] * 4
    assert len(answers) == 1


def test_an_upgrade_keeps_a_copy_and_everything(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(path)

    def later(db: object) -> None:
        db.conn.execute("ALTER TABLE turns ADD COLUMN mood TEXT")  # type: ignore[attr-defined]

    monkeypatch.setattr(migrations.steps, "_migrations", [*migrations.steps._migrations])
    migrations.steps(name="999_mood")(later)
    monkeypatch.setattr(sqlite, "VERSION", VERSION + 1)
    backend = SqliteBackend(path)
    assert len(ids(backend, "turn")) == 40
    assert backend._handle().connection.one("PRAGMA user_version") == VERSION + 1
    with backend.read() as reader:
        (noted,) = copies(reader)
    backend.close()
    copy = path.with_name(f"store.db.before-{VERSION + 1}.bak")
    monkeypatch.setattr(sqlite, "VERSION", VERSION)
    old = SqliteBackend(copy)
    assert len(ids(old, "turn")) == 40
    old.close()
    assert noted.startswith(f"{copy} (backup of ")


def test_a_store_of_the_first_version_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations.steps, "_migrations", migrations.steps._migrations[:1])
    monkeypatch.setattr(sqlite, "VERSION", 1)
    fill(path)
    monkeypatch.undo()
    backend = SqliteBackend(path)
    assert len(ids(backend, "turn")) == 40
    with backend.write() as writer:
        covers: dict[Kind, list[str]] = {"turn": [turn.id for turn in writer.select("turn", namespace=NS)]}
        seen = writer.last_change(namespace=NS)
        assert writer.put_snapshot("text", b"derived", covers=covers, seen=seen, namespace=NS)
    assert backend.check() == []
    backend.close()


def test_the_schema_is_as_many_steps_as_the_version_says() -> None:
    assert len(migrations.steps._migrations) == VERSION


def test_the_files_settings(backend: SqliteBackend) -> None:
    expected = {
        "application_id": APPLICATION_ID,
        "user_version": VERSION,
        "page_size": 4096,
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "temp_store": 2,
        "foreign_keys": 0,
        "busy_timeout": 200,
    }
    connection = backend._handle().connection
    assert {name: connection.one(f"PRAGMA {name}") for name in expected} == expected
    assert backend.erase()
    assert connection.one("PRAGMA busy_timeout") == 200


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_use_after_a_fork_is_an_error(backend: SqliteBackend) -> None:
    add(backend, new_turn())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ids(backend, "turn")
        except StoreClosedError:
            backend.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    add(backend, new_turn())
    assert backend.check() == []


def test_closing_leaves_one_file_and_ended_threads_no_connection(backend: SqliteBackend, path: Path) -> None:
    threads = [threading.Thread(target=lambda: add(backend, new_turn())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    del threads, thread
    assert len(ids(backend, "turn")) == 5
    assert len(backend._handles) == 1
    backend.close()
    assert [file.name for file in path.parent.iterdir()] == ["store.db"]


def test_a_moved_store_is_not_written_to(backend: SqliteBackend, path: Path) -> None:
    add(backend, new_turn())
    backend.erase()
    path.rename(path.with_name("moved.db"))
    with pytest.raises(StoreClosedError, match="moved"):
        add(backend, new_turn())


def test_a_backup_over_a_database_left_by_a_crash_ignores_its_log(backend: SqliteBackend, path: Path) -> None:
    target = path.with_name("target.db")
    fill(target)
    crashed = SqliteBackend(target)
    add(crashed, new_turn())
    for suffix in ("", "-wal"):
        shutil.copy(f"{target}{suffix}", path.with_name(f"kept.db{suffix}"))
    crashed.close()
    kept = path.with_name("kept.db")
    add(backend, new_turn())
    backend.backup(kept)
    copy = SqliteBackend(kept, create=False)
    assert snapshot(copy) == snapshot(backend)
    assert copy.check() == []
    copy.close()


DAMAGE = {
    "turns have lost their content": "DELETE FROM bodies WHERE id = (SELECT min(body) FROM turns)",
    "thoughts have lost their content": "UPDATE bodies SET data = zeroblob(9) WHERE id = (SELECT body FROM thoughts)",
    "turns have no content": "UPDATE turns SET body = NULL WHERE n = 1",
    "contents belong to no record and are not erased": "UPDATE chunks SET body = NULL",
    "contents cannot be read": "UPDATE bodies SET data = substr(data, 1, 8)",
    "turns have lost their vector": "DELETE FROM vectors WHERE id = (SELECT min(vector) FROM turns)",
    "vectors have an impossible size": "UPDATE vectors SET data = substr(data, 1, 7)",
    "sizes of vectors too many": "UPDATE vectors SET data = substr(data, 1, 4) WHERE id = 1",
    "vectors belong to no record and are not erased": "UPDATE turns SET vector = NULL",
    "edges have a child (thought) that is not there": "UPDATE edges SET child = 'nobody'",
    "edges have a parent (thought) that is not there": "UPDATE edges SET parent = 'nobody'",
    "jobs are for a turn that is not there": "UPDATE jobs SET target = 'nobody'",
    "parts of snapshots have lost their content": "DELETE FROM snapshot_data",
    "snapshots cover no record": "DELETE FROM snapshot_ranges",
    "parts of snapshots belong to none and are not erased": "DELETE FROM snapshot_parts",
    "snapshots are in no namespace": "UPDATE snapshots SET ns = 77",
    "turns are in no namespace": "UPDATE turns SET ns = 77",
    "namespaces have changes beyond their newest": "UPDATE namespaces SET last_change = 1",
    "change counters are behind": "UPDATE namespaces SET last_change = 1 WHERE id = 0",
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_check_finds(backend: SqliteBackend, fault: str) -> None:
    turns, thoughts = [new_turn(), new_turn()], [new_thought(), new_thought()]
    add(backend, *turns, *thoughts, new_chunk(summary="s"), new_job(turns[0].id))
    with backend.write() as writer:
        writer.set_vectors("turn", [turn.id for turn in turns], np.ones((2, 4), np.float32), namespace=NS)
        writer.link([Edge("thought", thoughts[1].id, "thought", thoughts[0].id, "similar")], namespace=NS)
        covers: dict[Kind, list[str]] = {"turn": [turns[0].id]}
        writer.put_snapshot("text", b"derived", covers=covers, seen=writer.last_change(namespace=NS), namespace=NS)
    assert backend.check() == []
    backend._handle().connection.run(DAMAGE[fault])
    assert any(fault in line for line in backend.check())


def test_a_reclaim_that_was_killed_is_finished_by_the_next_erase(
    backend: SqliteBackend, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = [new_turn("words " * 200) for _ in range(200)]
    add(backend, *turns)
    with backend.write() as writer:
        writer.remove("turn", [turn.id for turn in turns[:150]], namespace=NS)
    assert backend.erase()
    size = path.stat().st_size
    connection = backend._handle().connection
    run = connection.run

    def die(sql: str, *values: object) -> sqlite3.Cursor:
        if sql == "VACUUM":
            raise KeyboardInterrupt
        return run(sql, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(connection, "run", die)
    with pytest.raises(KeyboardInterrupt):
        backend.reclaim()
    monkeypatch.undo()
    assert backend.erase()
    assert path.stat().st_size < size * 0.6
    assert backend.check() == []


FORGET_AND_DIE = """
import os, signal, sys
from pathlib import Path
from agentmem.backends.sqlite import SqliteBackend
backend = SqliteBackend(Path(sys.argv[1]))
namespace = ("test", "ada")
with backend.write() as writer:
    writer.remove("turn", [turn.id for turn in writer.select("turn", namespace=namespace)], namespace=namespace)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_had_no_time_to_erase_goes_at_the_next_opening(path: Path) -> None:
    backend = SqliteBackend(path)
    add(backend, new_turn("the secret is out"))
    command = [sys.executable, "-c", FORGET_AND_DIE, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    assert b"the secret is out" in bytes_on_disk(path.parent)
    SqliteBackend(path).close()
    assert b"the secret is out" not in bytes_on_disk(path.parent)
    with backend.read() as reader:
        assert reader.meta("erase_unfinished") is None
    backend.close()


def test_opening_a_store_that_is_up_to_date_imports_nothing_heavy(path: Path) -> None:
    fill(path)
    code = (
        "import sys; from pathlib import Path; from agentmem.backends import open_backend\n"
        "with open_backend(Path(sys.argv[1])).read() as reader: reader.count('turn', namespace=('test', 'ada'))\n"
        "print([name for name in ('numpy', 'sqlite_utils', 'agentmem.backends.migrations') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"


@contextmanager
def planned(backend: SqliteBackend, table: str) -> Iterator[list[str]]:
    """How SQLite goes about what is asked of a table inside; filled at the end."""
    plans: list[str] = []
    said: list[str] = []
    raw = backend._handle().connection.raw
    raw.set_trace_callback(said.append)
    yield plans
    raw.set_trace_callback(None)
    asked = [sql for sql in said if f"FROM {table}" in sql]
    plans += [raw.execute(f"EXPLAIN QUERY PLAN {sql}").fetchone()[-1] for sql in asked]


def test_edges_are_found_by_their_ends_and_not_by_reading_all(backend: SqliteBackend) -> None:
    turns = [new_turn(str(n)) for n in range(3)]
    add(backend, *turns)
    with planned(backend, "edges") as plans, backend.write() as writer:
        writer.link([Edge("turn", turns[0].id, "turn", turns[1].id, "recalled")], namespace=NS)
        assert writer.edges(namespace=NS, parents=[turns[1].id]) == writer.edges(namespace=NS, children=[turns[0].id])
        writer.remove("turn", [turns[2].id], namespace=NS)
    assert len(plans) == 4
    assert all("child=?" in plan or "parent=?" in plan for plan in plans), plans


def test_a_new_session_and_a_forget_do_not_read_all_chunks(path: Path) -> None:
    with Memory(path, embedder=None) as memory:
        backend = memory.backend
        assert isinstance(backend, SqliteBackend)
        turns = [memory.observe("user", str(n), namespace=NS, session="long") for n in range(20)]
        with planned(backend, "chunks") as plans:
            memory.observe("user", "hello", namespace=NS, session="another")
            memory.forget([turns[3].id, turns[4].id, turns[17].id], namespace=NS)
        assert any("chunks_open" in plan for plan in plans)
        assert all("chunks_open" in plan or "session=?" in plan or " (ns=? AND id=?)" in plan for plan in plans), plans
        assert [chunk.last_seq for chunk in memory.chunks(namespace=NS, session="long")] == [7, 15, 19]
