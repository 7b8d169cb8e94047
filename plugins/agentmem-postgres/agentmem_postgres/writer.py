"""The writing half of a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentmem.backends.records import KIND_OF, KINDS, LOGGED, UNCHANGING, dump_content
from agentmem.backends.rows import COLUMNS, DIGEST, TABLES
from agentmem.backends.sql import SqlWriter, name_of
from agentmem.backends.sql_snapshots import numbers as snapshots_of
from agentmem.errors import ConflictError, NotFoundError
from agentmem.interfaces import Basis, Matrix
from agentmem.types import Kind, Namespace, Record
from agentmem_postgres.columns import to_row
from agentmem_postgres.reader import PostgresReader
from agentmem_postgres.texts import encode

_LOG = """
    WITH fresh AS (
        INSERT INTO changes (ns, op, kind, id)
        SELECT ns, op, kind, id
        FROM unnest(?::bigint[], ?::text[], ?::text[], ?::text[]) WITH ORDINALITY AS line (ns, op, kind, id, place)
        ORDER BY place
        RETURNING ns, seq
    )
    UPDATE namespaces SET last_change = newest.seq
    FROM (SELECT ns, max(seq) AS seq FROM fresh GROUP BY ns) AS newest WHERE id = newest.ns
"""


class PostgresWriter(SqlWriter, PostgresReader):
    """The only writer of its scope while its transaction lasts, so that numbers of the change log come in the order of
    commits within a namespace."""

    def finish(self) -> None:
        """Write what has gathered, and note that old versions of rows hold what this transaction removed."""
        self.flush()
        if self._removed_content:
            self._db.run("INSERT INTO erasures VALUES (pg_current_xact_id())")

    def flush(self) -> None:
        """Write out the lines of the change log that have gathered."""
        if self._log:
            self._db.run(_LOG, [list(column) for column in zip(*self._log, strict=True)])
            self._log.clear()

    def _own(self, namespace: Namespace) -> int:
        """The namespace's row, made where it has none."""
        if (ns := self._ns(namespace)) > 0:
            return ns
        self._db.run(
            "INSERT INTO namespaces (name, last_change, born, floor) VALUES (?, 0, nextval('change_numbers'), 0)",
            [name_of(namespace)],
        )
        return self._ns(namespace)

    def _add(self, kind: Kind, group: Sequence[Record]) -> None:
        digested = [DIGEST[kind]] if kind in DIGEST else []
        rows = [
            (*to_row(kind, record), *self._digests(record), self._own(record.namespace), dump_content(kind, record))
            for record in group
        ]
        self._insert(kind, [*COLUMNS[kind], *digested, "ns", "body"], rows)

    def _replace(self, record: Record) -> None:
        kind, ns = KIND_OF[type(record)], self._ns(record.namespace)
        rows = self._db.rows(f"SELECT n, body FROM {TABLES[kind]} WHERE ns = ? AND id = ?", [ns, encode(record.id)])
        if not rows:
            raise NotFoundError(f"no {kind} {record.id} in this namespace; add it first")
        n, old = rows[0]
        new = dump_content(kind, record)
        if kind in UNCHANGING and new != old:
            raise ConflictError(f"{kind} {record.id}: its content never changes; add a new {kind} instead")
        if new != old:
            self._content_changed(kind, ns, n)
        assignments = ", ".join(f"{name} = ?" for name in (*COLUMNS[kind], "body"))
        values = [*to_row(kind, record), new, ns, n]
        self._db.run(f"UPDATE {TABLES[kind]} SET {assignments} WHERE ns = ? AND n = ?", values)
        self._note(record.namespace, "replace", kind, [encode(record.id)])

    def _content_changed(self, kind: Kind, ns: int, n: int) -> None:
        """What was made from a record's former content goes with it."""
        self._removed_content |= kind in LOGGED
        self._drop_covering(ns, kind, [n])
        self._db.run("DELETE FROM vectors WHERE ns = ? AND kind = ? AND n = ?", [ns, kind, n])

    def remove(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> int:
        ns, names = self._ns(namespace), list(map(encode, ids))
        gone = self._db.rows(f"DELETE FROM {TABLES[kind]} WHERE ns = ? AND id = ANY(?) RETURNING n, id", [ns, names])
        if not gone:
            return 0
        numbers, found = [n for n, _ in gone], {id for _, id in gone}
        if kind in LOGGED:
            self._removed_content = True
            self._drop_covering(ns, kind, numbers)
            self._db.run("DELETE FROM vectors WHERE ns = ? AND kind = ? AND n = ANY(?)", [ns, kind, numbers])
        self._db.run(
            "DELETE FROM edges WHERE ns = ? AND (child = ANY(?) AND child_kind = ?"
            " OR parent = ANY(?) AND parent_kind = ? AND relation <> 'source')",
            [ns, list(found), kind, list(found), kind],
        )
        self._note(namespace, "remove", kind, [id for id in dict.fromkeys(names) if id in found])
        return len(gone)

    def set_vectors(self, kind: Kind, ids: Sequence[str], vectors: Matrix, *, namespace: Namespace) -> None:
        import numpy as np

        given = dict(zip(map(encode, ids), np.ascontiguousarray(vectors, np.float32), strict=True))
        ns = self._ns(namespace)
        found = self._db.rows(
            f"SELECT id, n FROM {TABLES[kind]} WHERE ns = ? AND id = ANY(?) ORDER BY n", [ns, list(given)]
        )
        self._drop_covering(ns, kind, [n for _, n in found], "vectors")
        rows = [(ns, kind, n, given[id].tobytes()) for id, n in found]
        self._db.many(
            "INSERT INTO vectors VALUES (?, ?, ?, ?) ON CONFLICT (ns, kind, n) DO UPDATE SET data = excluded.data",
            rows,
        )
        self._note(namespace, "vector", kind, [id for id, _ in found])

    def clear_vectors(self, *, namespace: Namespace) -> None:
        self._erase_snapshots(snapshots_of(self._db, self._ns(namespace), "vectors"))
        self._db.run("DELETE FROM vectors WHERE ns = ?", [self._ns(namespace)])

    def _store_snapshot(self, ns: int, basis: Basis, data: bytes) -> int:
        sql = "INSERT INTO snapshots (ns, basis, data) VALUES (?, ?, ?) RETURNING id"
        return int(self._db.one(sql, [ns, basis, data]))

    def _erase_snapshots(self, numbers: Iterable[int]) -> None:
        gone = [list(numbers)]
        if gone != [[]]:
            self._db.run("DELETE FROM snapshot_ranges WHERE snapshot = ANY(?)", gone)
            self._db.run("DELETE FROM snapshots WHERE id = ANY(?)", gone)

    def remove_namespace(self, *, namespace: Namespace) -> dict[str, int]:
        self.flush()
        self._removed_content = True
        ns = self._ns(namespace)
        self._erase_snapshots(snapshots_of(self._db, ns))
        counts = {kind: self._db.run(f"DELETE FROM {TABLES[kind]} WHERE ns = ?", [ns]) for kind in KINDS}
        for table, column in (("vectors", "ns"), ("edges", "ns"), ("changes", "ns"), ("namespaces", "id")):
            self._db.run(f"DELETE FROM {table} WHERE {column} = ?", [ns])
        self._known.pop(namespace, None)
        return {kind: count for kind, count in counts.items() if count}
