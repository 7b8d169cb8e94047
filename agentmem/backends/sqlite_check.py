"""What can be wrong inside a SQLite store, found by looking: the file's structure, then the records' agreement."""

from __future__ import annotations

from collections.abc import Iterator

from agentmem.backends.records import KINDS, LOGGED
from agentmem.backends.rows import TABLES
from agentmem.backends.sqlite_connection import Connection

_ERASED = "substr(data, 1, 1) = x'00'"


def damage(db: Connection) -> list[str]:
    """Faults of the file's structure. Reads the whole file."""
    return [f"the file is damaged: {line}" for (line,) in db.rows("PRAGMA quick_check") if line != "ok"]


def disagreement(db: Connection) -> list[str]:
    """Records that don't fit together, one line for each kind of fault."""
    counted = (
        (db.one(f"SELECT count(*) FROM {source}"), text)
        for source, text in (*_content(), *_vectors(), *_edges(), *_snapshots(), *_others())
    )
    return [f"{count} {text}" for count, text in counted if count]


def _missing(table: str, column: str, held: str) -> str:
    erased = _ERASED if held == "bodies" else "0"
    return f"{table} WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT id FROM {held} WHERE NOT {erased})"


def _unowned(held: str, column: str, kinds: list[str]) -> str:
    used = " UNION ALL ".join(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL" for table in kinds)
    return f"{held} WHERE NOT {_ERASED} AND id NOT IN ({used})"


def _content() -> Iterator[tuple[str, str]]:
    for table in TABLES.values():
        yield _missing(table, "body", "bodies"), f"{table} have lost their content"
    for table in ("turns", "thoughts", "operations"):
        yield f"{table} WHERE body IS NULL", f"{table} have no content"
    yield _unowned("bodies", "body", list(TABLES.values())), "contents belong to no record and are not erased"
    yield f"bodies WHERE NOT {_ERASED} AND NOT json_valid(CAST(data AS TEXT))", "contents cannot be read"


def _vectors() -> Iterator[tuple[str, str]]:
    tables = [TABLES[kind] for kind in KINDS if kind in LOGGED]
    for table in tables:
        yield _missing(table, "vector", "vectors"), f"{table} have lost their vector"
    live = f"vectors WHERE id IN ({' UNION ALL '.join(f'SELECT vector FROM {table}' for table in tables)})"
    yield f"{live} AND length(data) % 4", "vectors have an impossible size"
    yield f"(SELECT 1 FROM {live} GROUP BY length(data) LIMIT -1 OFFSET 1)", "sizes of vectors too many"
    used = " UNION ALL ".join(f"SELECT vector FROM {table} WHERE vector IS NOT NULL" for table in tables)
    unowned = f"vectors WHERE id NOT IN ({used}) AND data <> zeroblob(length(data))"
    yield unowned, "vectors belong to no record and are not erased"


def _edges() -> Iterator[tuple[str, str]]:
    for end, unless in (("child", ""), ("parent", "AND relation <> 'source'")):
        for kind, table in TABLES.items():
            there = f"SELECT 1 FROM {table} t WHERE t.ns = edges.ns AND t.id = {end}"
            source = f"edges WHERE {end}_kind = '{kind}' {unless} AND NOT EXISTS ({there})"
            yield source, f"edges have a {end} ({kind}) that is not there"


def _snapshots() -> Iterator[tuple[str, str]]:
    lost = "part NOT IN (SELECT id FROM snapshot_data) OR snapshot NOT IN (SELECT id FROM snapshots)"
    yield f"snapshot_parts WHERE {lost}", "parts of snapshots have lost their content or their snapshot"
    yield "snapshots WHERE id NOT IN (SELECT snapshot FROM snapshot_ranges)", "snapshots cover no record"
    unowned = "id NOT IN (SELECT part FROM snapshot_parts) AND data <> zeroblob(length(data))"
    yield f"snapshot_data WHERE {unowned}", "parts of snapshots belong to none and are not erased"
    yield "snapshots WHERE ns NOT IN (SELECT id FROM namespaces)", "snapshots are in no namespace"


def _others() -> Iterator[tuple[str, str]]:
    for kind, table in TABLES.items():
        there = f"SELECT 1 FROM {table} t WHERE t.ns = jobs.ns AND t.id = target"
        yield f"jobs WHERE target_kind = '{kind}' AND NOT EXISTS ({there})", f"jobs are for a {kind} that is not there"
        yield f"{table} WHERE ns NOT IN (SELECT id FROM namespaces)", f"{table} are in no namespace"
    newer = "SELECT 1 FROM changes WHERE ns = namespaces.id AND seq > last_change"
    yield f"namespaces WHERE EXISTS ({newer})", "namespaces have changes beyond their newest"
    newest = "SELECT max(last_change) FROM namespaces"
    yield f"namespaces WHERE id = 0 AND last_change < ({newest})", "change counters are behind"
