"""A store in a schema of a PostgreSQL database, for many processes on many machines."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from agentmem.backends.rows import COLUMNS, from_time, to_records
from agentmem.backends.sql import name_of
from agentmem.errors import (
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreMissingError,
    StoreVersionError,
)
from agentmem.interfaces import Abilities
from agentmem.types import Job, Namespace
from agentmem_postgres import schema
from agentmem_postgres.check import disagreement, unsafe_settings
from agentmem_postgres.connection import CONSENT, EVERYTHING, Connection, Raw, connect, place_of, translated
from agentmem_postgres.erasing import erase, rewrite
from agentmem_postgres.reader import PostgresReader
from agentmem_postgres.tenants import require_wall
from agentmem_postgres.texts import decode_all, encode
from agentmem_postgres.writer import PostgresWriter

ABILITIES = Abilities(durable=True, secure_erase=False, shared=True, backup=False, snapshots=True)
CONNECTIONS = 10
"""The most that one process opens; further threads wait for one."""
WRITERS = CONNECTIONS - 2
"""So many of them may write at once: however long writers wait for each other, there is one to read with."""
QUEUES = 64
"""In which threads wait to write, by namespace; two namespaces seldom share one."""

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_ALONE, _AMONG_OTHERS = "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared"
_SYNC = "SELECT pg_logical_emit_message(true, 'agentmem', '')"
"""Ends when the log is on disk up to here, as a commit of whatever was written does; changes nothing."""
_CLOSE_WAIT_SECONDS = 5.0


class PostgresBackend:
    """A Backend at `postgresql://user@host/database?schema=name`. Thread-safe; after a fork it must be opened anew.

    The schema (by default `agentmem`) is made where it is missing. A write transaction holds advisory locks (see
    `_locks`); reading and claiming work take none.
    """

    abilities = ABILITIES

    def __init__(
        self,
        url: str,
        *,
        create: bool = True,
        busy_timeout: float = 30.0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._place = place_of(url)
        self.url = self._place.url
        self._busy_timeout = busy_timeout
        self._clock = clock or (lambda: datetime.now(UTC))
        self._pid = os.getpid()
        self._closed = False
        self._local = threading.local()
        self._queues = [threading.Lock() for _ in range(QUEUES)]
        self._writers = threading.BoundedSemaphore(WRITERS)
        self._prepare(create)
        self._pool: ConnectionPool[Raw] = ConnectionPool(
            self._place.conninfo,
            kwargs={"autocommit": True},
            min_size=0,
            max_size=CONNECTIONS,
            open=True,
            configure=self._configure,
            timeout=busy_timeout,
            reconnect_timeout=busy_timeout,
            num_workers=1,
        )

    def _prepare(self, create: bool) -> None:
        """Bring the schema to this version; one query where it is there already."""
        raw = connect(self._place)
        try:
            self._configure(raw)
            db = Connection(raw, self._place)
            if (version := self._version(db)) < schema.VERSION:
                if not version and not create:
                    raise StoreMissingError(f"{self.url}: no store there; check the URL, or add something to make one")
                self._require_consent(version)
                db.run(_WRITE)
                db.run(self._locks(None))
                if self._version(db) < schema.VERSION:
                    schema.apply(db)
                db.run("COMMIT")
            if self._place.root != EVERYTHING:
                require_wall(db)
            erase(db)
        finally:
            raw.close()

    def _require_consent(self, version: int) -> None:
        """Others may be using the store as it is, and no backup of a server can be made from here."""
        if version and not self._place.upgrade:
            raise StoreVersionError(
                f"{self.url}: is of an older agentmem-postgres (schema {version}, this one's is {schema.VERSION});"
                f" back it up (pg_dump), end what still uses it, then open it once with ?upgrade={CONSENT}"
            )

    def _version(self, db: Connection) -> int:
        version = schema.version_of(db)
        if version is None:
            raise StoreForeignError(f"{self.url}: the schema holds other tables; choose another with ?schema=NAME")
        if version > schema.VERSION:
            raise StoreVersionError(
                f"{self.url}: was written by a newer agentmem-postgres (schema {version}); update it"
            )
        return version

    def _configure(self, raw: Raw) -> None:
        """Settings of a fresh connection. A server may be told not to wait for its disk; this store does."""
        wait = max(1, int(self._busy_timeout * 1000))
        root = self._place.root.replace("'", "''")
        raw.execute(
            f"SET search_path TO \"{self._place.schema}\"; SET lock_timeout = {wait}; SET agentmem.tenant = '{root}';"
            " SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )

    @contextmanager
    def _connection(self, begin: str) -> Iterator[Connection]:
        """A connection in the one transaction of this thread, which is rolled back unless it was committed."""
        with self._alone(), self._borrowed(begin) as db:
            yield db

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if getattr(self._local, "busy", False):
            raise StoreError(f"{self.url}: a transaction is open in this thread already; finish it first")
        self._local.busy = True
        try:
            yield
        finally:
            self._local.busy = False

    @contextmanager
    def _borrowed(self, begin: str) -> Iterator[Connection]:
        raw = self._begun(begin)
        try:
            yield Connection(raw, self._place)
        finally:
            self._end(raw)

    def _begun(self, begin: str) -> Raw:
        """A connection whose transaction has begun: one that died while nobody used it is passed over."""
        if self._closed or self._pid != os.getpid():
            raise StoreClosedError(f"{self.url}: is closed, or was opened before a fork; open it again")
        end = time.monotonic() + self._busy_timeout
        while True:
            raw = self._take(end - time.monotonic())
            try:
                raw.execute(begin)
                return raw
            except psycopg.Error as error:
                dead = raw.closed
                self._pool.putconn(raw)
                if not dead or time.monotonic() > end:
                    raise translated(error, self._place) from error

    def _take(self, seconds: float) -> Raw:
        try:
            return self._pool.getconn(timeout=max(seconds, 0.001))
        except PoolClosed as error:
            raise StoreClosedError(f"{self.url}: is closed; open it again") from error
        except PoolTimeout as error:
            connect(self._place).close()  # where the server is the reason, this says it
            raise StoreBusyError(f"{self.url}: all {CONNECTIONS} connections are in use; try again") from error

    def _end(self, raw: Raw) -> None:
        try:
            if not raw.closed and raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                raw.rollback()
        except psycopg.Error:
            raw.close()  # the server is gone, and with it the transaction
        finally:
            self._pool.putconn(raw)

    @contextmanager
    def read(self) -> Iterator[PostgresReader]:
        with self._connection(_READ) as db:
            yield PostgresReader(db)

    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[PostgresWriter]:
        with self._alone(), self._borrowed_in_turn(namespace) as (db, release):
            writer = PostgresWriter(db, namespace)
            yield writer
            writer.finish()
            db.run("COMMIT")
            # The lock is free: the next writer works while this one waits for the disk, and one sync serves both.
            release()
            db.run(_SYNC)

    def _locks(self, namespace: Namespace | None) -> str:
        """Has others wait: who writes to this namespace or to the whole store (None: who writes at all).

        A transaction takes two at the most, the store's first, so that no two wait for each other. They are held from
        before the first number in the change log until the commit shows: within a namespace, numbers come in the order
        of commits. That is all that `changes` promises, which is asked of one namespace at a time.
        """
        store = _number(self._place.schema)
        if namespace is None:
            return f"SELECT {_ALONE}({store})"
        return f"SELECT {_AMONG_OTHERS}({store}); SELECT {_ALONE}({_number(self._place.schema, name_of(namespace))})"

    @contextmanager
    def _borrowed_in_turn(self, namespace: Namespace | None) -> Iterator[tuple[Connection, Callable[[], None]]]:
        """A connection when it is this thread's turn to write, and a function that gives the turn on."""
        begin = f"{_WRITE}; SET LOCAL synchronous_commit = off; {self._locks(namespace)}"
        # Threads wait here for each other, so that those that wait hold no connection.
        queue = self._queues[hash(namespace) % QUEUES]
        with ExitStack() as turn:
            turn.enter_context(self._waited(queue))
            with self._waited(self._writers), self._borrowed(begin) as db:
                yield db, turn.close

    @contextmanager
    def _waited(self, lock: threading.Lock | threading.BoundedSemaphore) -> Iterator[None]:
        if not lock.acquire(timeout=self._busy_timeout):
            raise StoreBusyError(f"{self.url}: another thread is writing; let it finish, or try again")
        try:
            yield
        finally:
            lock.release()

    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Namespace | None = None) -> list[Job]:
        """Workers anywhere claim at once: each passes over the rows that another is just taking."""
        now = self._clock()
        terms = "task = ? AND state = 'queued' AND run_after <= ? AND (lease_until IS NULL OR lease_until <= ?)"
        values: list[Any] = [encode(task), from_time(now), from_time(now)]
        if namespace is not None:
            terms += " AND ns = (SELECT id FROM namespaces WHERE name = ?)"
            values.append(name_of(namespace))
        if not lease_seconds:
            with self._connection(_READ) as db:
                return _jobs(db, f"WHERE {terms} ORDER BY n LIMIT ?", [*values, limit])
        with self._connection(_WRITE) as db:
            lease = from_time(now + timedelta(seconds=lease_seconds))
            due = f"SELECT ns, n FROM jobs WHERE {terms} ORDER BY n LIMIT ? FOR UPDATE SKIP LOCKED"
            leased = db.rows(
                f"WITH due AS MATERIALIZED ({due}) UPDATE jobs SET attempts = attempts + 1, lease_until = ? FROM due"
                " WHERE jobs.ns = due.ns AND jobs.n = due.n RETURNING jobs.n",
                [*values, limit, lease],
            )
            claimed = _jobs(db, "WHERE n = ANY(?) ORDER BY n", [[n for (n,) in leased]]) if leased else []
            db.run("COMMIT")
        return claimed

    def jobs(self, *, task: str | None = None, state: str | None = None) -> list[Job]:
        wanted = {name: encode(value) for name, value in (("task", task), ("state", state)) if value is not None}
        terms = " AND ".join(["TRUE", *(f"{name} = ?" for name in wanted)])
        with self._connection(_READ) as db:
            return _jobs(db, f"WHERE {terms} ORDER BY n", [*wanted.values()])

    def erase(self) -> bool:
        """Free the space of what was removed: see `erasing` for what that is worth."""
        with self._idle() as db:
            return erase(db)

    def reclaim(self) -> None:
        """Write every table anew without what was removed; waits for all others, and keeps them waiting."""
        with self._idle() as db:
            rewrite(db)

    @contextmanager
    def _idle(self) -> Iterator[Connection]:
        """A connection outside any transaction, as VACUUM wants it."""
        with self._connection(_READ) as db:
            db.run("COMMIT")
            yield db

    def check(self) -> list[str]:
        with self._connection(_READ) as db:
            return [*unsafe_settings(db), *disagreement(db)]

    def backup(self, path: Path) -> None:
        raise StoreError(
            f"{self.url}: {path} was not written: use the server's own means (pg_dump, base backups), or export"
        )

    def size(self) -> int:
        with self._borrowed(_READ) as db:
            total = (
                "SELECT sum(pg_total_relation_size(quote_ident(schemaname) || '.' || quote_ident(tablename)))::bigint"
            )
            return int(db.one(f"{total} FROM pg_tables WHERE schemaname = ?", [self._place.schema]) or 0)

    def close(self) -> None:
        """Close the connections; one in a transaction, when that ends. Does nothing in a forked child."""
        if self._pid == os.getpid() and not self._closed:
            self._closed = True
            self._pool.close(_CLOSE_WAIT_SECONDS)


def _number(*names: str) -> int:
    """The advisory lock of a schema, or of a namespace in it; PostgreSQL keeps those of each database apart."""
    said = " ".join(("agentmem", *names)).encode()
    return int.from_bytes(hashlib.blake2b(said, digest_size=8).digest(), signed=True)


def _jobs(db: Connection, rest: str, values: list[Any]) -> list[Job]:
    names = ", ".join(f"jobs.{name}" for name in COLUMNS["job"])
    source = "SELECT s.name AS space, jobs.* FROM jobs JOIN namespaces s ON s.id = jobs.ns"
    rows = db.rows(f"SELECT {names}, body, space FROM ({source}) AS jobs {rest}", values)
    namespaces = {row[-1]: tuple(json.loads(row[-1])) for row in rows}
    return to_records("job", [row[:-1] for row in rows], [namespaces[row[-1]] for row in rows], decode_all)
