"""The default backend: one SQLite file in WAL mode, every commit synced before it returns.

A connection per thread; `_connect` is where one is made, and the seam for later encryption.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agentmem.backends.records import KINDS, LOGGED
from agentmem.backends.rows import COLUMNS, TABLES, in_groups, to_records
from agentmem.backends.sql_snapshots import among
from agentmem.backends.sqlite_check import damage, disagreement
from agentmem.backends.sqlite_columns import from_texts, to_column
from agentmem.backends.sqlite_connection import Connection
from agentmem.backends.sqlite_files import check_location, check_sqlite, sizes, sync_directory, sync_file, translated
from agentmem.backends.sqlite_records import ERASE_MARK, RECLAIM_MARK, SqliteReader, SqliteWriter
from agentmem.errors import (
    InputError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreVersionError,
)
from agentmem.interfaces import Abilities
from agentmem.types import Job, Namespace

APPLICATION_ID = 0x61676D6D  # "agmm"
VERSION = 4
"""Number of migrations; kept as the file's user_version."""

_PAGE_BYTES = 4096
_ERASE_WAIT_MS = 500
_CLOSE_WAIT_SECONDS = 5.0
_NAP_SECONDS = 0.001
_READ = "BEGIN"
_WRITE = "BEGIN IMMEDIATE"


class _Handle:
    """A thread's connection, and a lock that its transactions hold, so that closing waits for their end."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._pid = os.getpid()

    @contextmanager
    def alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            path = self.connection.path
            raise StoreError(f"{path}: a transaction is open in this thread already; finish it first")
        try:
            yield
        finally:
            self._lock.release()

    def close_after(self, seconds: float) -> None:
        if not self._lock.acquire(timeout=0 if self._thread == threading.get_ident() else seconds):
            raise StoreBusyError(f"{self.connection.path}: a transaction is still open; finish it before closing")
        self.connection.raw.close()
        self._lock.release()

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.connection.raw.close()


class SqliteBackend:
    """A Backend in one file. Threads and processes may share the file; after a fork it must be opened anew."""

    abilities = Abilities(durable=True, secure_erase=True, shared=True, backup=True, snapshots=True)

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        busy_timeout: float = 30.0,
        allow_network: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.path = path.absolute()
        self.url = f"sqlite:///{self.path}"
        self._busy_timeout = busy_timeout
        self._clock = clock or (lambda: datetime.now(UTC))
        self._pid = os.getpid()
        self._closed = False
        self._local = threading.local()
        self._handles: weakref.WeakSet[_Handle] = weakref.WeakSet()
        self._writing = threading.Lock()
        check_sqlite()
        check_location(self.path, create=create, allow_network=allow_network)
        self._file = _identity(self.path)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Connection:
        return Connection(self.path, self._busy_timeout)

    def _prepare(self) -> None:
        """Bring the file to this version's schema; quick where it is there already."""
        db = self._handle().connection
        application, version = db.rows("SELECT * FROM pragma_application_id, pragma_user_version")[0]
        empty = not application and not db.one("SELECT count(*) FROM sqlite_master")
        if not empty and application != APPLICATION_ID:
            raise StoreForeignError(f"{self.path}: is another program's database; choose another --store")
        if version > VERSION:
            raise StoreVersionError(f"{self.path}: was written by a newer agentmem (schema {version}); update agentmem")
        if empty:
            db.run(f"PRAGMA page_size = {_PAGE_BYTES}")
        self._patiently(lambda: self._use_wal(db))
        self._refuse_truncated(db)
        if version < VERSION:
            self._migrate(db, backup=not empty)
        if db.one("SELECT 1 FROM meta WHERE key = ?", [ERASE_MARK]):
            self.erase()

    def _use_wal(self, db: Connection) -> None:
        if db.one("PRAGMA journal_mode = WAL") != "wal":
            raise StoreError(f"{self.path}: its file system cannot share memory, as WAL needs; choose another --store")

    def _patiently(self, step: Callable[[], object]) -> None:
        """Wait for other processes where SQLite doesn't, or naps so long that a busy writer starves the others."""
        end = time.monotonic() + self._busy_timeout
        while True:
            try:
                step()
                return
            except StoreBusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(_NAP_SECONDS)

    def _refuse_truncated(self, db: Connection) -> None:
        pages = db.one("PRAGMA page_count")
        size, log = sizes(self.path)
        if not log and size < pages * _PAGE_BYTES and db.one("PRAGMA page_count") == pages:
            whole = pages * _PAGE_BYTES
            raise StoreForeignError(f"{self.path}: is incomplete ({size} of {whole} bytes); restore a backup")

    def _migrate(self, db: Connection, *, backup: bool) -> None:
        from agentmem.backends import migrations

        copy = self.path.with_name(f"{self.path.name}.before-{VERSION}.bak")
        if backup:
            self.backup(copy)
        try:
            migrations.apply(db.raw, application_id=APPLICATION_ID, version=VERSION)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        if backup:
            from agentmem.backends.copies import note_copy

            with self.write() as writer:
                note_copy(writer, copy, "backup", self._clock())

    def _handle(self) -> _Handle:
        if self._pid != os.getpid():
            raise StoreClosedError(f"{self.path}: was opened before a fork; open it again in the new process")
        if self._closed:
            raise StoreClosedError(f"{self.path}: is closed; open it again")
        if self._file != _identity(self.path):
            # SQLite would go on writing to a file that nobody will ever open again.
            raise StoreClosedError(f"{self.path}: was moved or replaced while open; open it again")
        handle: _Handle | None = getattr(self._local, "handle", None)
        if handle is None:
            handle = self._local.handle = _Handle(self._connect())
            self._handles.add(handle)
        return handle

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        handle = self._handle()
        with handle.alone(), self._turn(begin):
            db = handle.connection
            try:
                self._begin(db, begin)
                yield db
            finally:
                db.roll_back()

    def _begin(self, db: Connection, begin: str) -> None:
        if begin == _READ:
            db.run(begin)
            return
        db.run("PRAGMA busy_timeout = 0")
        try:
            self._patiently(lambda: db.run(begin))
        finally:
            db.run(f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}")

    @contextmanager
    def _turn(self, begin: str) -> Iterator[None]:
        """Threads wait here rather than in SQLite, which would poll."""
        if begin == _READ:
            yield
            return
        if not self._writing.acquire(timeout=self._busy_timeout):
            raise StoreBusyError(f"{self.path}: another thread is writing; let it finish, or try again")
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def read(self) -> Iterator[SqliteReader]:
        with self._transaction(_READ) as db:
            yield SqliteReader(db)

    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[SqliteWriter]:
        with self._transaction(_WRITE) as db:
            writer = SqliteWriter(db, namespace)
            yield writer
            writer.finish()
            db.run("COMMIT")

    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Namespace | None = None) -> list[Job]:
        now = self._clock()
        terms = "task = ? AND state = 'queued' AND run_after <= ? AND (lease_until IS NULL OR lease_until <= ?)"
        values = [task, to_column(now), to_column(now)]
        if namespace is not None:
            terms += " AND ns = (SELECT id FROM namespaces WHERE name = ?)"
            values.append(json.dumps(namespace))
        with self._transaction(_READ) as db:
            due = _due(db, terms, values, limit)
            if not due or not lease_seconds:
                return _jobs_by_number(db, due)
        lease = to_column(now + timedelta(seconds=lease_seconds))
        with self._transaction(_WRITE) as db:
            due = _due(db, terms, values, limit)
            leased = [(lease, n) for n in due]
            db.many("UPDATE jobs SET attempts = attempts + 1, lease_until = ? WHERE n = ?", leased)
            claimed = _jobs_by_number(db, due)
            db.run("COMMIT")
        return claimed

    def jobs(self, *, task: str | None = None, state: str | None = None) -> list[Job]:
        wanted = {name: value for name, value in (("task", task), ("state", state)) if value is not None}
        with self._transaction(_READ) as db:
            return _jobs(db, " AND ".join(["1", *(f"t.{name} = ?" for name in wanted)]), [*wanted.values()])

    def erase(self) -> bool:
        with self._transaction(_READ) as db:
            marks = dict(db.rows("SELECT key, value FROM meta WHERE key IN (?, ?)", [RECLAIM_MARK, ERASE_MARK]))
        if RECLAIM_MARK in marks:
            self.reclaim()
        handle = self._handle()
        with handle.alone(), self._turn(_WRITE):
            erased = self._truncate_log(handle.connection)
            if erased and ERASE_MARK in marks:
                # A mark that another process has set since is not ours to take away.
                handle.connection.run("DELETE FROM meta WHERE key = ? AND value = ?", [ERASE_MARK, marks[ERASE_MARK]])
        return erased

    def _truncate_log(self, db: Connection) -> bool:
        db.run(f"PRAGMA busy_timeout = {_ERASE_WAIT_MS}")
        try:
            return bool(db.one("PRAGMA wal_checkpoint(TRUNCATE)") == 0)
        except StoreBusyError:
            return False
        finally:
            db.run(f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}")

    def reclaim(self) -> None:
        """Give freed space back. SQLite copies the store through RAM; needs its size on disk once more meanwhile.

        Deleting overwritten rows moves others, and leaves copies of them behind, until the file is rewritten: a mark
        in `meta` makes the next `erase` finish what a kill interrupted.
        """
        with self._transaction(_WRITE) as db:
            db.run("INSERT OR REPLACE INTO meta VALUES (?, '')", [RECLAIM_MARK])
            for table, column in (("bodies", "body"), ("vectors", "vector")):
                kinds = KINDS if table == "bodies" else LOGGED
                used = " UNION ALL ".join(f"SELECT {column} FROM {TABLES[k]} WHERE {column} IS NOT NULL" for k in kinds)
                db.run(f"DELETE FROM {table} WHERE id NOT IN ({used})")
            db.run("DELETE FROM snapshot_data WHERE id NOT IN (SELECT part FROM snapshot_parts)")
            db.run("COMMIT")
        handle = self._handle()
        with handle.alone(), self._turn(_WRITE):
            handle.connection.run("VACUUM")
            handle.connection.run("DELETE FROM meta WHERE key = ?", [RECLAIM_MARK])
            self._truncate_log(handle.connection)

    def check(self) -> list[str]:
        try:
            with self._transaction(_READ) as db:
                return damage(db) or disagreement(db)
        except StoreForeignError as error:
            return [str(error)]

    def backup(self, path: Path) -> None:
        target = path.absolute()
        if target == self.path or (target.exists() and target.samefile(self.path)):
            raise InputError(f"{path}: is the store itself; choose another file for the backup")
        draft = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            self._copy_to(draft)
            sync_file(draft)
            # A log left by a database that was here before would be replayed into the copy.
            for suffix in ("-wal", "-shm"):
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            os.replace(draft, target)
            sync_directory(target.parent)
        except OSError as error:
            raise StoreError(f"{path}: backup failed ({error.strerror}); choose another place") from error
        finally:
            draft.unlink(missing_ok=True)

    def _copy_to(self, draft: Path) -> None:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        handle = self._handle()
        with handle.alone():
            copy = Connection(draft, self._busy_timeout)
            try:
                handle.connection.raw.backup(copy.raw)
                found = damage(copy)
            except sqlite3.Error as error:
                raise translated(error, draft) from error
            finally:
                copy.raw.close()
        if found:
            raise StoreForeignError(f"{self.path}: is damaged ({found[0]}); see `agentmem doctor`")

    def size(self) -> int:
        return sum(sizes(self.path))

    def close(self) -> None:
        """Close every thread's connection, after the transaction it is in. Does nothing in a forked child."""
        self._closed = True
        if self._pid != os.getpid():
            return
        for handle in list(self._handles):
            handle.close_after(_CLOSE_WAIT_SECONDS)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _due(db: Connection, terms: str, values: list[Any], limit: int) -> list[int]:
    return [n for (n,) in db.rows(f"SELECT n FROM jobs WHERE {terms} ORDER BY n LIMIT ?", [*values, limit])]


def _jobs_by_number(db: Connection, numbers: list[int]) -> list[Job]:
    return [job for group in in_groups(numbers) for job in _jobs(db, among("t.n", group), group)]


def _jobs(db: Connection, terms: str, values: list[Any]) -> list[Job]:
    columns = ", ".join(f"t.{name}" for name in COLUMNS["job"])
    source = "jobs t JOIN namespaces ON namespaces.id = t.ns LEFT JOIN bodies b ON b.id = t.body"
    rows = db.rows(f"SELECT {columns}, name, b.data FROM {source} WHERE {terms} ORDER BY t.n", values)
    namespaces = {name: tuple(json.loads(name)) for name in {row[-2] for row in rows}}
    return to_records("job", rows, [namespaces[row[-2]] for row in rows], from_texts)
