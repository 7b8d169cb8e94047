"""The tables, as named steps that are only ever appended to. One transaction takes the steps that are missing.

The namespace leads every key, so that the tables can be partitioned or distributed by it. Content is one JSON blob a
record (`body`), times are microseconds since 1970; `n` counts in order of insertion. Names sort by code point.
"""

from __future__ import annotations

from agentmem.digests import new_key
from agentmem_postgres.connection import Connection
from agentmem_postgres.tenants import wall

_TEXT = 'text COLLATE "C"'
_KINDS = {
    "turns": f"""session {_TEXT} NOT NULL, seq bigint NOT NULL, role text NOT NULL, status text NOT NULL,
        parent_id {_TEXT}, occurred_at bigint NOT NULL, precision text NOT NULL, recorded_at bigint NOT NULL,
        identity text""",
    "chunks": f"""session {_TEXT} NOT NULL, first_seq bigint NOT NULL, last_seq bigint,
        recorded_at bigint NOT NULL""",
    "thoughts": f"""recorded_at bigint NOT NULL, valid_from bigint NOT NULL, valid_to bigint, origin text NOT NULL,
        trusted boolean NOT NULL, strength bigint NOT NULL, state text NOT NULL, retracted_at bigint,
        superseded_by {_TEXT}, text_digest text NOT NULL""",
    "jobs": f"""task {_TEXT} NOT NULL, target_kind text NOT NULL, target {_TEXT} NOT NULL,
        recorded_at bigint NOT NULL, run_after bigint NOT NULL, state text NOT NULL, attempts bigint NOT NULL,
        lease_until bigint""",
    "operations": "name text NOT NULL, recorded_at bigint NOT NULL, undone_at bigint",
    "suppressions": "digest text NOT NULL, recorded_at bigint NOT NULL",
}
_COMMON = f"ns bigint NOT NULL, n bigint GENERATED ALWAYS AS IDENTITY, id {_TEXT} NOT NULL"


def _table(name: str, columns: str) -> tuple[str, str]:
    """A kind's table, in which records are found by their id and in order of insertion."""
    return (
        f"CREATE TABLE {name} ({_COMMON}, {columns}, body bytea, PRIMARY KEY (ns, id))",
        f"CREATE UNIQUE INDEX {name}_order ON {name} (ns, n)",
    )


_RECORDS = (
    f"CREATE TABLE meta (key {_TEXT} PRIMARY KEY, value {_TEXT} NOT NULL)",
    "CREATE SEQUENCE change_numbers",
    # `born` and `floor` say which lines of the change log there never were for this namespace, and are no more.
    f"""CREATE TABLE namespaces (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name {_TEXT} NOT NULL UNIQUE,
        last_change bigint NOT NULL, born bigint NOT NULL, floor bigint NOT NULL)""",
    *(statement for table, columns in _KINDS.items() for statement in _table(table, columns)),
    "CREATE TABLE vectors (ns bigint NOT NULL, kind text NOT NULL, n bigint NOT NULL, data bytea NOT NULL,"
    " PRIMARY KEY (ns, kind, n))",
    "ALTER TABLE vectors ALTER data SET STORAGE EXTERNAL",  # numbers like these do not compress
    f"""CREATE TABLE edges (ns bigint NOT NULL, n bigint GENERATED ALWAYS AS IDENTITY, child_kind text NOT NULL,
        child {_TEXT} NOT NULL, parent_kind text NOT NULL, parent {_TEXT} NOT NULL, relation text NOT NULL,
        PRIMARY KEY (ns, child, child_kind, parent, parent_kind, relation))""",
    f"""CREATE TABLE changes (ns bigint NOT NULL, seq bigint NOT NULL DEFAULT nextval('change_numbers'),
        op text NOT NULL, kind text NOT NULL, id {_TEXT} NOT NULL, PRIMARY KEY (ns, seq))""",
    "CREATE UNIQUE INDEX turns_place ON turns (ns, session, seq)",
    "CREATE UNIQUE INDEX turns_identity ON turns (ns, identity) WHERE identity IS NOT NULL",
    "CREATE INDEX chunks_place ON chunks (ns, session, first_seq)",
    "CREATE INDEX thoughts_text ON thoughts (ns, text_digest)",
    "CREATE INDEX jobs_task ON jobs (task, state, n)",  # workers ask for work of all namespaces
    "CREATE INDEX jobs_target ON jobs (ns, target)",
    "CREATE INDEX suppressions_digest ON suppressions (ns, digest)",
    "CREATE INDEX edges_parent ON edges (ns, parent)",
)
_ADAPTERS = _table("adapters", "name text NOT NULL, recorded_at bigint NOT NULL, state text NOT NULL, served_at bigint")
_SNAPSHOTS = (
    """CREATE TABLE snapshots (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ns bigint NOT NULL,
        basis text NOT NULL, data bytea NOT NULL)""",
    "ALTER TABLE snapshots ALTER data SET STORAGE EXTERNAL",  # packed already
    """CREATE TABLE snapshot_ranges (snapshot bigint NOT NULL, kind text NOT NULL, first bigint NOT NULL,
        last bigint NOT NULL, PRIMARY KEY (snapshot, kind, first))""",
    "CREATE INDEX snapshots_space ON snapshots (ns, basis)",
)
_ERASURES = (
    # The transactions that removed content whose place is not free yet: a row each, so that writers do not meet in it.
    "CREATE TABLE erasures (transaction xid8 PRIMARY KEY)",
    "INSERT INTO erasures SELECT value::xid8 FROM meta WHERE key = 'erase_unfinished'",
    "DELETE FROM meta WHERE key = 'erase_unfinished'",
)
_WALL = wall((*_KINDS, "adapters"))
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("001_records", _RECORDS),
    ("002_adapters", _ADAPTERS),
    ("003_snapshots", _SNAPSHOTS),
    # A new session asks which chunks are open: few of very many.
    ("004_open_chunks", ("CREATE INDEX chunks_open ON chunks (ns) WHERE last_seq IS NULL",)),
    ("005_erasures", _ERASURES),
    ("006_wall", _WALL),
)
VERSION = len(STEPS)


def version_of(db: Connection) -> int | None:
    """The steps that the schema has taken, 0 where it is empty or not there; None where its tables are not ours."""
    held = {name for (name,) in db.rows("SELECT tablename FROM pg_tables WHERE schemaname = ?", [db.schema])}
    if not held:
        return 0
    if not {"meta", "namespaces", "changes"} <= held:
        return None
    found = db.one("SELECT value FROM meta WHERE key = 'schema_version'")
    return None if found is None else int(found)


def apply(db: Connection) -> None:
    """Take the steps that are missing, in the transaction that is open: all of them or none."""
    db.run(f'CREATE SCHEMA IF NOT EXISTS "{db.schema}"')
    done = version_of(db) or 0
    for _, statements in STEPS[done:]:
        for statement in statements:
            db.run(statement)
    if not done:
        db.run("INSERT INTO meta VALUES ('digest_key', ?)", [new_key()])
    db.run(
        "INSERT INTO meta VALUES ('schema_version', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [str(VERSION)],
    )
