"""The large tables in parts by namespace: smaller indexes, vacuumed one by one, and laid on several disks.

Nothing of agentmem's looks different: the namespace leads every key, so that each statement finds its part.
"""

from __future__ import annotations

from agentmem.errors import InputError, StoreVersionError
from agentmem_postgres.backend import PostgresBackend
from agentmem_postgres.connection import Connection, connect, place_of

TABLES = ("turns", "chunks", "thoughts", "vectors", "edges", "changes")
"""What grows with what is remembered. Work is asked for across namespaces, and stays in one piece."""
_OLDEST_SERVER = 17_00_00
"""From here on a table in parts can number its rows."""


def partition(url: str, parts: int) -> None:
    """Put the tables of an empty store, made where there is none, in `parts` parts. `url` is the owner's.

    Raises InputError where the store holds something, or confines somebody already, StoreVersionError for a server
    older than PostgreSQL 17, and StoreError and its kin.
    """
    PostgresBackend(url).close()
    place = place_of(url)
    raw = connect(place)
    try:
        if raw.info.server_version < _OLDEST_SERVER:
            raise StoreVersionError(f"{place.url}: tables in parts need PostgreSQL 17 or newer")
        db = Connection(raw, place)
        with raw.transaction():
            db.run(f'SET LOCAL search_path TO "{place.schema}"')
            db.run(f"LOCK TABLE namespaces, {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
            if db.one("SELECT 1 FROM namespaces LIMIT 1") or db.one("SELECT 1 FROM tenants LIMIT 1"):
                raise InputError(f"{place.url}: is in use; put an empty store in parts, then move and confine")
            for table in TABLES:
                _partition(db, table, parts)
    finally:
        raw.close()


def _partition(db: Connection, table: str, parts: int) -> None:
    walls = db.rows(
        "SELECT policyname, qual FROM pg_policies WHERE schemaname = ? AND tablename = ?", [db.schema, table]
    )
    db.run(f"ALTER TABLE {table} RENAME TO whole")
    db.run(f"CREATE TABLE {table} (LIKE whole INCLUDING ALL) PARTITION BY HASH (ns)")
    db.run("DROP TABLE whole")
    names = [f"{table}_{part}" for part in range(parts)]
    for part, name in enumerate(names):
        db.run(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES WITH (MODULUS {parts:d}, REMAINDER {part})")
    for name, condition in walls:
        db.run(f"CREATE POLICY {name} ON {table} USING ({condition})")
    # The parts have no policy: who asks one of them by its own name, past the wall, sees nothing.
    for name in (table, *names):
        db.run(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
