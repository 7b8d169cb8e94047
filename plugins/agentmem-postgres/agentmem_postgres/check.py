"""What can be wrong with a store in PostgreSQL: settings of the server that lose data, and records that disagree."""

from __future__ import annotations

from collections.abc import Iterator

from agentmem.backends.records import KINDS, LOGGED
from agentmem.backends.rows import TABLES
from agentmem_postgres.connection import Connection


def unsafe_settings(db: Connection) -> list[str]:
    """Settings under which the server may lose what it acknowledged."""
    rows = db.rows("SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'")
    return [f"the server runs with {name} = off: a crash of its machine can lose or damage data" for (name,) in rows]


def disagreement(db: Connection) -> list[str]:
    """Records that don't fit together, one line for each kind of fault."""
    counted = ((db.one(f"SELECT count(*) FROM {source}"), text) for source, text in _faults())
    return [f"{count} {text}" for count, text in counted if count]


def _faults() -> Iterator[tuple[str, str]]:
    for kind, table in TABLES.items():
        yield f"{table} WHERE ns NOT IN (SELECT id FROM namespaces)", f"{table} are in no namespace"
        there = f"SELECT FROM {table} t WHERE t.ns = jobs.ns AND t.id = target"
        yield f"jobs WHERE target_kind = '{kind}' AND NOT EXISTS ({there})", f"jobs are for a {kind} that is not there"
    for table in ("turns", "thoughts", "operations"):
        yield f"{table} WHERE body IS NULL", f"{table} have no content"
    yield from _vectors()
    yield from _edges()
    yield (
        "pg_class WHERE relnamespace = current_schema::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity",
        ("tables have no wall between tenants; their owner can ENABLE ROW LEVEL SECURITY"),
    )
    yield "snapshots WHERE id NOT IN (SELECT snapshot FROM snapshot_ranges)", "snapshots cover no record"
    yield "snapshots WHERE ns NOT IN (SELECT id FROM namespaces)", "snapshots are in no namespace"
    newer = "SELECT FROM changes WHERE ns = namespaces.id AND seq > last_change"
    yield f"namespaces WHERE EXISTS ({newer})", "namespaces have changes beyond their newest"
    yield "namespaces WHERE last_change > (SELECT last_value FROM change_numbers)", "change counters are behind"


def _vectors() -> Iterator[tuple[str, str]]:
    owners = " OR ".join(
        f"kind = '{kind}' AND EXISTS (SELECT FROM {TABLES[kind]} t WHERE t.ns = vectors.ns AND t.n = vectors.n)"
        for kind in KINDS
        if kind in LOGGED
    )
    yield f"vectors WHERE NOT ({owners})", "vectors belong to no record"
    yield "vectors WHERE octet_length(data) % 4 <> 0", "vectors have an impossible size"
    yield "(SELECT FROM vectors GROUP BY octet_length(data) OFFSET 1) AS sizes", "sizes of vectors too many"


def _edges() -> Iterator[tuple[str, str]]:
    for end, unless in (("child", ""), ("parent", "AND relation <> 'source'")):
        for kind, table in TABLES.items():
            there = f"SELECT FROM {table} t WHERE t.ns = edges.ns AND t.id = {end}"
            source = f"edges WHERE {end}_kind = '{kind}' {unless} AND NOT EXISTS ({there})"
            yield source, f"edges have a {end} ({kind}) that is not there"
