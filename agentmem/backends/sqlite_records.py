"""Transactions of the SQLite backend: records, edges, vectors and the change log as SQL.

Content and vectors are never deleted but overwritten in place with zeros of the same length: `migrations` says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

from agentmem.backends import sqlite_snapshots as snapshots
from agentmem.backends.records import (
    KIND_OF,
    KINDS,
    LOGGED,
    UNCHANGING,
    columns_of,
    dump_content,
    require_plain,
)
from agentmem.backends.rows import COLUMNS, DIGEST, TABLES, in_groups
from agentmem.backends.sql import EDGE, Dialect, SqlReader, SqlWriter, name_of
from agentmem.backends.sql_snapshots import among, numbers
from agentmem.backends.sqlite_bulk import read_columns
from agentmem.backends.sqlite_columns import from_text, from_texts, term, to_column, to_row
from agentmem.backends.sqlite_connection import ZERO, Connection
from agentmem.errors import ConflictError, NotFoundError, StoreForeignError
from agentmem.interfaces import Basis, Matrix, Snapshot, Where
from agentmem.types import Edge, Kind, Namespace, Record, Relation

ERASE_MARK = "erase_unfinished"
RECLAIM_MARK = "reclaim_unfinished"
_BY_PARENT = "edges INDEXED BY edges_parent"
"""Left to itself SQLite takes the index that holds all columns, and reads every edge of the namespace."""


_DIALECT = Dialect(
    body="b.data",
    joined="LEFT JOIN bodies b ON b.id = t.body",
    encode=to_column,
    decode=from_text,
    decode_all=from_texts,
    term=term,
)


class SqliteReader(SqlReader):
    """A consistent view: that of the transaction it was made in."""

    _db: Connection
    dialect = _DIALECT
    own_settings = frozenset({ERASE_MARK, RECLAIM_MARK})

    def edges(
        self,
        *,
        namespace: Namespace,
        children: Sequence[str] | None = None,
        parents: Sequence[str] | None = None,
        relation: Relation | None = None,
    ) -> list[Edge]:
        column, keys, other = ("child", children, parents) if children is not None else ("parent", parents, None)
        groups = [[]] if keys is None else in_groups(map(to_column, keys))
        found = [row for group in groups for row in self._edges(namespace, column, group, keys is not None)]
        wanted = None if other is None else set(other)
        edges = (Edge(*map(from_text, row[1:])) for row in sorted(found))
        return [e for e in edges if relation in (None, e.relation) and (wanted is None or e.parent in wanted)]

    def _edges(self, namespace: Namespace, column: str, keys: list[Any], chosen: bool) -> list[Any]:
        term = among(column, keys) if chosen else "1"
        source = _BY_PARENT if chosen and column == "parent" else "edges"
        return self._db.rows(f"SELECT n, {EDGE} FROM {source} WHERE ns = ? AND {term}", [self._ns(namespace), *keys])

    def vectors(
        self, kind: Kind, *, namespace: Namespace, ids: Sequence[str] | None = None
    ) -> tuple[list[str], Matrix]:
        import numpy as np

        rows = self._vectors(kind, namespace, ids)
        if not rows:
            return [], np.zeros((0, 0), np.float32)
        size = len(rows[0][1])
        if any(len(row[1]) != size for row in rows):
            raise StoreForeignError(f"{self._db.path}: holds vectors of different sizes; run `agentmem reindex`")
        matrix = np.frombuffer(bytearray().join([row[1] for row in rows]), np.float32)
        return [from_text(row[0]) for row in rows], matrix.reshape(len(rows), size // 4)

    def _vectors(self, kind: Kind, namespace: Namespace, ids: Sequence[str] | None) -> list[Any]:
        source = f"{TABLES[kind]} t JOIN vectors v ON v.id = t.vector WHERE t.ns = ?"
        if ids is None:
            # SQLite would copy every vector once more to sort them.
            found = self._db.rows(f"SELECT t.id, v.data, t.n FROM {source}", [self._ns(namespace)])
            return sorted(found, key=itemgetter(2))
        rows = {
            row[0]: row
            for group in in_groups(map(to_column, ids))
            for row in self._db.rows(
                f"SELECT t.id, v.data FROM {source} AND {among('t.id', group)}", [self._ns(namespace), *group]
            )
        }
        return [rows[key] for key in dict.fromkeys(map(to_column, ids)) if key in rows]

    def columns(
        self, kind: Kind, names: Sequence[str], *, namespace: Namespace, where: Where | None = None
    ) -> dict[str, Any]:
        require_plain(kind, names)
        terms, values, rest = self._where(kind, namespace, where or {})
        if rest:
            return columns_of(kind, names, self._records(kind, namespace, where or {}, "ORDER BY t.n"))
        return read_columns(self._db, kind, names, terms, values)

    def snapshots(self, basis: Basis, *, namespace: Namespace) -> Iterator[Snapshot]:
        return snapshots.read(self._db, self._ns(namespace), basis)


class SqliteWriter(SqlWriter, SqliteReader):
    """The only writer of the store while its transaction lasts, whatever its scope."""

    def finish(self) -> None:
        """Write what has gathered; a mark makes the next opening erase what a kill kept this process from erasing."""
        self.flush()
        if self._removed_content:
            self._set_meta(ERASE_MARK, os.urandom(8).hex())

    def flush(self) -> None:
        """Write out the lines of the change log that have gathered."""
        if not self._log:
            return
        start = int(self._db.one("SELECT last_change FROM namespaces WHERE id = 0"))
        lines = [(ns, start + i, op, kind, id) for i, (ns, op, kind, id) in enumerate(self._log, 1)]
        self._db.many("INSERT INTO changes (ns, seq, op, kind, id) VALUES (?, ?, ?, ?, ?)", lines)
        last = {ns: seq for ns, seq, *_ in lines} | {0: lines[-1][1]}
        self._db.many("UPDATE namespaces SET last_change = ? WHERE id = ?", [(seq, ns) for ns, seq in last.items()])
        self._log.clear()

    def _own(self, namespace: Namespace) -> int:
        """The namespace's row, made where it has none."""
        if (ns := self._ns(namespace)) > 0:
            return ns
        self.flush()
        self._db.run(
            "INSERT INTO namespaces (name, last_change, born, floor)"
            " SELECT ?, 0, last_change, 0 FROM namespaces WHERE id = 0",
            [name_of(namespace)],
        )
        return self._ns(namespace)

    def _add(self, kind: Kind, group: Sequence[Record]) -> None:
        """Two statements a kind, however many records: half the time that one for each would take."""
        digested = [DIGEST[kind]] if kind in DIGEST else []
        bodies = self._append("bodies", [dump_content(kind, record) for record in group])
        rows = [
            (*to_row(kind, record), *self._digests(record), self._own(record.namespace), body)
            for record, body in zip(group, bodies, strict=True)
        ]
        self._insert(kind, [*COLUMNS[kind], *digested, "ns", "body"], rows)

    def _append(self, table: str, blobs: Sequence[bytes | None]) -> list[int | None]:
        """Where these lie now, at the end of `table`; None for what there is nothing of."""
        given = [blob for blob in blobs if blob is not None]
        if not given:
            return [None] * len(blobs)
        first = int(self._db.run(f"INSERT INTO {table} (data) VALUES (?)", given[:1]).lastrowid or 0)
        if len(given) > 1:
            self._db.many(f"INSERT INTO {table} (id, data) VALUES (?, ?)", enumerate(given[1:], first + 1))
        places = count(first)
        return [None if blob is None else next(places) for blob in blobs]

    def _replace(self, record: Record) -> None:
        kind, ns = KIND_OF[type(record)], self._ns(record.namespace)
        vector = "t.vector" if kind in LOGGED else "NULL"
        rows = self._db.rows(
            f"SELECT t.n, t.body, b.data, {vector} FROM {TABLES[kind]} t LEFT JOIN bodies b ON b.id = t.body"
            " WHERE t.ns = ? AND t.id = ?",
            [ns, to_column(record.id)],
        )
        if not rows:
            raise NotFoundError(f"no {kind} {record.id} in this namespace; add it first")
        n, body, old, vector = rows[0]
        new = dump_content(kind, record)
        if new != old:
            self._drop_covering(ns, kind, [n])
        if kind in UNCHANGING and new != old:
            raise ConflictError(f"{kind} {record.id}: its content never changes; add a new {kind} instead")
        if new != old and vector is not None:
            self._db.run(f"UPDATE vectors SET {ZERO} WHERE id = ?", [vector])
            self._db.run(f"UPDATE {TABLES[kind]} SET vector = NULL WHERE n = ?", [n])
        names = [*COLUMNS[kind], "body"]
        values = [*to_row(kind, record), body if new == old else self._overwrite("bodies", body, old, new)]
        assignments = ", ".join(f"{name} = ?" for name in names)
        self._db.run(f"UPDATE {TABLES[kind]} SET {assignments} WHERE n = ?", [*values, n])
        self._note(record.namespace, "replace", kind, [to_column(record.id)])

    def _overwrite(self, table: str, row: int | None, old: bytes | None, new: bytes | None) -> int | None:
        """Where `new` lies now: in the place of `old` if it has its size, else at the end, `old` being zeroed."""
        if row is not None and old is not None and new is not None and len(old) == len(new):
            self._db.run(f"UPDATE {table} SET data = ? WHERE id = ?", [new, row])
            return row
        self._db.run(f"UPDATE {table} SET {ZERO} WHERE id = ?", [row])
        self._removed_content |= table == "bodies"
        return self._append(table, [new])[0]

    def remove(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> int:
        return sum(self._remove(kind, group, namespace) for group in in_groups(map(to_column, ids)))

    def _remove(self, kind: Kind, ids: list[Any], namespace: Namespace) -> int:
        ns, table = self._ns(namespace), TABLES[kind]
        vector = "vector" if kind in LOGGED else "NULL"
        found = f"SELECT n, id, body, {vector} FROM {table} WHERE ns = ? AND {among('id', ids)}"
        rows = self._db.rows(found, [ns, *ids])
        self._db.many(f"UPDATE bodies SET {ZERO} WHERE id = ?", [(row[2],) for row in rows if row[2] is not None])
        self._db.many(f"UPDATE vectors SET {ZERO} WHERE id = ?", [(row[3],) for row in rows if row[3] is not None])
        self._db.many(f"DELETE FROM {table} WHERE n = ?", [(row[0],) for row in rows])
        self._drop_covering(ns, kind, [row[0] for row in rows])
        self._removed_content |= kind in LOGGED and bool(rows)
        gone = [(ns, row[1], kind) for row in rows]
        self._db.many("DELETE FROM edges WHERE ns = ? AND child = ? AND child_kind = ?", gone)
        self._db.many(
            f"DELETE FROM {_BY_PARENT} WHERE ns = ? AND parent = ? AND parent_kind = ? AND relation <> 'source'", gone
        )
        self._note(namespace, "remove", kind, [row[1] for row in rows])
        return len(rows)

    def set_vectors(self, kind: Kind, ids: Sequence[str], vectors: Matrix, *, namespace: Namespace) -> None:
        import numpy as np

        rows = dict(zip(map(to_column, ids), np.ascontiguousarray(vectors, np.float32), strict=True))
        for group in in_groups(rows):
            self._set_vectors(kind, group, rows, namespace)

    def _set_vectors(self, kind: Kind, ids: list[Any], vectors: dict[Any, Any], namespace: Namespace) -> None:
        found = self._db.rows(
            f"SELECT t.id, t.n, v.id, v.data FROM {TABLES[kind]} t LEFT JOIN vectors v ON v.id = t.vector"
            f" WHERE t.ns = ? AND {among('t.id', ids)} ORDER BY t.n",
            [self._ns(namespace), *ids],
        )
        self._drop_covering(self._ns(namespace), kind, [n for _, n, _, _ in found], "vectors")
        first = self._append("vectors", [vectors[id].tobytes() if row is None else None for id, _, row, _ in found])
        places = [
            (place or self._overwrite("vectors", row, old, vectors[id].tobytes()), n)
            for place, (id, n, row, old) in zip(first, found, strict=True)
        ]
        self._db.many(f"UPDATE {TABLES[kind]} SET vector = ? WHERE n = ?", places)
        self._note(namespace, "vector", kind, [id for id, *_ in found])

    def clear_vectors(self, *, namespace: Namespace) -> None:
        self._erase_snapshots(numbers(self._db, self._ns(namespace), "vectors"))
        for kind in LOGGED:
            self._zero("vectors", "vector", kind, namespace)
            self._db.run(f"UPDATE {TABLES[kind]} SET vector = NULL WHERE ns = ?", [self._ns(namespace)])

    def _zero(self, table: str, column: str, kind: Kind, namespace: Namespace) -> None:
        used = f"SELECT {column} FROM {TABLES[kind]} WHERE ns = ?"
        self._db.run(f"UPDATE {table} SET {ZERO} WHERE id IN ({used})", [self._ns(namespace)])

    def _store_snapshot(self, ns: int, basis: Basis, data: bytes) -> int:
        return snapshots.store(self._db, ns, basis, data)

    def _erase_snapshots(self, numbers: Iterable[int]) -> None:
        snapshots.erase(self._db, numbers)

    def remove_namespace(self, *, namespace: Namespace) -> dict[str, int]:
        self.flush()
        self._erase_snapshots(numbers(self._db, self._ns(namespace)))
        self._removed_content = True
        counts: dict[str, int] = {}
        for kind in KINDS:
            self._zero("bodies", "body", kind, namespace)
            if kind in LOGGED:
                self._zero("vectors", "vector", kind, namespace)
            counts[kind] = self._db.run(f"DELETE FROM {TABLES[kind]} WHERE ns = ?", [self._ns(namespace)]).rowcount
        for table, column in (("edges", "ns"), ("changes", "ns"), ("namespaces", "id")):
            self._db.run(f"DELETE FROM {table} WHERE {column} = ?", [self._ns(namespace)])
        self._known.pop(namespace, None)
        return {kind: n for kind, n in counts.items() if n}
