"""The SQLite schema, as named steps that are only ever appended to; imported when a store is created or upgraded.

Content lies in `bodies`, `vectors` and `snapshot_data`, which only grow at the end and are overwritten in place: SQLite
moves rows of a table that shrinks or grows in the middle, and leaves stale copies of moved rows behind even with
secure_delete (measured: about one in 500 deletions). The other tables hold ids, numbers, states, session names and
keyed digests.
"""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

from agentmem.digests import new_key

steps = Migrations("agentmem")

_KINDS = {
    "turns": """session TEXT NOT NULL, seq INTEGER NOT NULL, role TEXT NOT NULL, status TEXT NOT NULL, parent_id TEXT,
        occurred_at INTEGER NOT NULL, precision TEXT NOT NULL, recorded_at INTEGER NOT NULL, identity TEXT,
        vector INTEGER, body INTEGER""",
    "chunks": """session TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER, recorded_at INTEGER NOT NULL,
        vector INTEGER, body INTEGER""",
    "thoughts": """recorded_at INTEGER NOT NULL, valid_from INTEGER NOT NULL, valid_to INTEGER, origin TEXT NOT NULL,
        trusted INTEGER NOT NULL, strength INTEGER NOT NULL, state TEXT NOT NULL, retracted_at INTEGER,
        superseded_by TEXT, text_digest TEXT NOT NULL, vector INTEGER, body INTEGER""",
    "jobs": """task TEXT NOT NULL, target_kind TEXT NOT NULL, target TEXT NOT NULL, recorded_at INTEGER NOT NULL,
        run_after INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, lease_until INTEGER,
        body INTEGER""",
    "operations": "name TEXT NOT NULL, recorded_at INTEGER NOT NULL, undone_at INTEGER, body INTEGER",
    "suppressions": "digest TEXT NOT NULL, recorded_at INTEGER NOT NULL, body INTEGER",
}
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Row 0, the empty namespace, stands for the whole store. `born` and `floor` say which lines the log never had.
    """CREATE TABLE namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last_change INTEGER NOT NULL,
        born INTEGER NOT NULL, floor INTEGER NOT NULL)""",
    "INSERT INTO namespaces VALUES (0, '[]', 0, 0, 0)",
    "CREATE TABLE bodies (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """CREATE TABLE edges (n INTEGER PRIMARY KEY, ns INTEGER NOT NULL, child_kind TEXT NOT NULL, child TEXT NOT NULL,
        parent_kind TEXT NOT NULL, parent TEXT NOT NULL, relation TEXT NOT NULL,
        UNIQUE (ns, child, child_kind, parent, parent_kind, relation))""",
    """CREATE TABLE changes (ns INTEGER NOT NULL, seq INTEGER NOT NULL, op TEXT NOT NULL, kind TEXT NOT NULL,
        id TEXT NOT NULL, PRIMARY KEY (ns, seq)) WITHOUT ROWID""",
)
_INDEXES = (
    "CREATE UNIQUE INDEX turns_place ON turns (ns, session, seq)",
    "CREATE UNIQUE INDEX turns_identity ON turns (ns, identity) WHERE identity IS NOT NULL",
    "CREATE INDEX chunks_place ON chunks (ns, session, first_seq)",
    "CREATE INDEX thoughts_text ON thoughts (ns, text_digest)",
    "CREATE INDEX jobs_task ON jobs (task, state)",
    "CREATE INDEX jobs_target ON jobs (ns, target)",
    "CREATE INDEX suppressions_digest ON suppressions (ns, digest)",
    "CREATE INDEX edges_parent ON edges (ns, parent)",
)
_SNAPSHOTS = (
    "CREATE TABLE snapshots (id INTEGER PRIMARY KEY, ns INTEGER NOT NULL, basis TEXT NOT NULL, size INTEGER NOT NULL)",
    """CREATE TABLE snapshot_ranges (snapshot INTEGER NOT NULL, kind TEXT NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, PRIMARY KEY (snapshot, kind, first)) WITHOUT ROWID""",
    """CREATE TABLE snapshot_parts (snapshot INTEGER NOT NULL, place INTEGER NOT NULL, part INTEGER NOT NULL UNIQUE,
        PRIMARY KEY (snapshot, place)) WITHOUT ROWID""",
    "CREATE TABLE snapshot_data (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE INDEX snapshots_space ON snapshots (ns, basis)",
)


@steps(name="001_records")
def _records(db: Database) -> None:
    common = "n INTEGER PRIMARY KEY, ns INTEGER NOT NULL, id TEXT NOT NULL"
    kinds = (f"CREATE TABLE {table} ({common}, {columns}, UNIQUE (ns, id))" for table, columns in _KINDS.items())
    for statement in (*_TABLES, *kinds, *_INDEXES):
        db.conn.execute(statement)
    db.conn.execute("INSERT INTO meta VALUES ('digest_key', ?)", [new_key()])


@steps(name="002_snapshots")
def _snapshots(db: Database) -> None:
    for statement in _SNAPSHOTS:
        db.conn.execute(statement)


@steps(name="003_adapters")
def _adapters(db: Database) -> None:
    db.conn.execute(
        """CREATE TABLE adapters (n INTEGER PRIMARY KEY, ns INTEGER NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL,
        recorded_at INTEGER NOT NULL, state TEXT NOT NULL, served_at INTEGER, body INTEGER, UNIQUE (ns, id))"""
    )


@steps(name="004_open_chunks")
def _open_chunks(db: Database) -> None:
    # A new session asks which chunks are open: few of very many.
    db.conn.execute("CREATE INDEX chunks_open ON chunks (ns) WHERE last_seq IS NULL")


def apply(connection: sqlite3.Connection, *, application_id: int, version: int) -> None:
    """Run the steps that are missing, in one transaction: a kill leaves either all of them or none.

    Does nothing where another process was faster. Raises sqlite3.Error.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] < version:
            steps.apply(Database(connection, execute_plugins=False, recursive_triggers=False))
            connection.execute(f"PRAGMA application_id = {application_id}")
            connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
