"""Transactions as SQL, as far as databases agree: a backend says in its `Dialect`, and in what it adds, how it differs.

Values stand as `?` in statements; a connection to a database that marks them otherwise translates.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, repeat
from typing import Any, Protocol

from agentmem.backends import sql_snapshots
from agentmem.backends.records import KIND_OF, LOGGED, NULLABLE, matches, require_field, require_scope, sort_key
from agentmem.backends.rows import COLUMNS, TABLES, DecodeTexts, Term, conditions, in_groups, to_records, to_time
from agentmem.digests import digest, identity_digest
from agentmem.errors import StoreForeignError
from agentmem.interfaces import Basis, Where
from agentmem.namespaces import check_namespace
from agentmem.types import Change, Edge, Kind, Namespace, Record, SessionInfo, Thought, Turn

EDGE = "child_kind, child, parent_kind, parent, relation"
_BATCH = 1000


class SqlConnection(Protocol):
    """A connection in a transaction; its errors are agentmem's."""

    @property
    def name(self) -> str:
        """The store's, for messages."""

    @property
    def lost(self) -> bool:
        """Whether the transaction is over already, so that nothing of it can be rolled back."""

    @property
    def by_number(self) -> str:
        """What follows a table's name where rows of a namespace are looked for by their numbers."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> Any: ...
    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> Any: ...
    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]: ...
    def one(self, sql: str, values: Sequence[Any] = ()) -> Any: ...


@dataclass(frozen=True)
class Dialect:
    """`body` is the column of a record's content, in its table or in one that is joined. Texts are encoded for the
    database, decoded one by one or all of a column at once; `term` writes a condition on a column."""

    body: str
    joined: str
    encode: Callable[[str], Any]
    decode: Callable[[Any], str]
    decode_all: DecodeTexts
    term: Term


class SqlReader:
    """A consistent view: that of the transaction it was made in."""

    dialect: Dialect
    own_settings: frozenset[str]
    """What the backend keeps among the settings for itself."""

    def __init__(self, connection: Any) -> None:
        self._db = connection
        self._known: dict[Namespace, int] = {}
        self._key: str | None = None

    def _ns(self, namespace: Namespace) -> int:
        """The namespace's row, -1 where it has none."""
        if namespace not in self._known:
            found = self._db.one("SELECT id FROM namespaces WHERE name = ?", [name_of(namespace)])
            if found is None:
                return -1
            self._known[namespace] = found
        return self._known[namespace]

    def _digest_key(self) -> str:
        self._key = self._key or self._db.one("SELECT value FROM meta WHERE key = 'digest_key'")
        if self._key is None:
            raise StoreForeignError(f"{self._db.name}: its digest key is gone; restore a backup (`agentmem restore`)")
        return self._key

    def _identity(self, source: str | None, external_id: str) -> str:
        return identity_digest(self._digest_key(), source, external_id)

    def _where(self, kind: Kind, namespace: Namespace, where: Where) -> tuple[str, list[Any], Where]:
        terms, values, rest = conditions(kind, where, self._identity, self.dialect.term)
        return " AND ".join(["t.ns = ?", *terms]), [self._ns(namespace), *values], rest

    def get(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> list[Any]:
        found = {r.id: r for group in in_groups(ids) for r in self._records(kind, namespace, {"id": group})}
        return [found[id] for id in ids if id in found]

    def select(
        self,
        kind: Kind,
        *,
        namespace: Namespace,
        where: Where | None = None,
        order: str | None = None,
        descending: bool = False,
        limit: int | None = None,
    ) -> Iterator[Any]:
        if order in COLUMNS[kind] or order is None:
            return self._records(kind, namespace, where or {}, _ordered(kind, order, descending), limit)
        require_field(kind, order)
        found = list(self._records(kind, namespace, where or {}, "ORDER BY t.n"))
        found.sort(key=lambda record: sort_key(getattr(record, order)), reverse=descending)
        return iter(found[:limit])

    def _records(
        self, kind: Kind, namespace: Namespace, where: Where, order: str = "", limit: int | None = None
    ) -> Iterator[Any]:
        """Reads all rows at once, so that writes and the transaction's end don't disturb; makes records as they go."""
        terms, values, rest = self._where(kind, namespace, where)
        cut = f"LIMIT {limit:d}" if limit is not None and not rest else ""
        columns = ", ".join(f"t.{name}" for name in COLUMNS[kind])
        source = f"{TABLES[kind]} t {self.dialect.joined}"
        rows = self._db.rows(f"SELECT {columns}, {self.dialect.body} FROM {source} WHERE {terms} {order} {cut}", values)
        parts = (rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH))
        found = (r for part in parts for r in to_records(kind, part, repeat(namespace), self.dialect.decode_all))
        return islice((record for record in found if matches(record, rest)), limit) if rest else found

    def count(self, kind: Kind, *, namespace: Namespace, where: Where | None = None) -> int:
        terms, values, rest = self._where(kind, namespace, where or {})
        if rest:
            return sum(1 for _ in self._records(kind, namespace, where or {}))
        return int(self._db.one(f"SELECT count(*) FROM {TABLES[kind]} t WHERE {terms}", values))

    def sessions(self, *, namespace: Namespace) -> list[SessionInfo]:
        rows = self._db.rows(
            "SELECT session, count(*), min(occurred_at), max(occurred_at) FROM turns WHERE ns = ? GROUP BY session"
            " ORDER BY 4 DESC, 1 DESC",
            [self._ns(namespace)],
        )
        decode = self.dialect.decode
        return [SessionInfo(namespace, decode(s), n, to_time(first), to_time(last)) for s, n, first, last in rows]

    def namespaces(self, *, root: Namespace = ()) -> list[Namespace]:
        held = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE ns = s.id)" for table in TABLES.values())
        names = (tuple(json.loads(name)) for (name,) in self._db.rows(f"SELECT name FROM namespaces s WHERE {held}"))
        return sorted(name for name in names if name[: len(root)] == root)

    def changes(self, *, namespace: Namespace, after: int) -> list[Change]:
        ns = self._ns(namespace)
        rows = self._db.rows("SELECT born, floor, last_change FROM namespaces WHERE id = ?", [ns])
        born, floor, last = rows[0] if rows else (0, 0, 0)
        if after < floor or 0 < after <= born or after > last:
            raise KeyError(after)
        lines = "SELECT seq, op, kind, id FROM changes WHERE ns = ? AND seq > ? ORDER BY seq"
        rows = self._db.rows(lines, [ns, after])
        return [Change(seq, namespace, op, kind, self.dialect.decode(id)) for seq, op, kind, id in rows]

    def last_change(self, *, namespace: Namespace) -> int:
        return self._db.one("SELECT last_change FROM namespaces WHERE id = ?", [self._ns(namespace)]) or 0

    def meta(self, key: str) -> str | None:
        found = self._db.one("SELECT value FROM meta WHERE key = ?", [self.dialect.encode(key)])
        return None if found is None else self.dialect.decode(found)

    def settings(self) -> dict[str, str]:
        decode = self.dialect.decode
        found = ((decode(key), decode(value)) for key, value in self._db.rows("SELECT key, value FROM meta"))
        return {key: value for key, value in found if key not in self.own_settings}

    def digest(self, text: str) -> str:
        return digest(self._digest_key(), text)


class SqlWriter(SqlReader):
    """While its transaction lasts, the only writer of the namespace that is its scope, or of the store (None)."""

    def __init__(self, connection: Any, scope: Namespace | None = None) -> None:
        super().__init__(connection)
        self._scope = scope
        self._log: list[tuple[int, str, Kind, Any]] = []
        self._removed_content = False

    def _ns(self, namespace: Namespace) -> int:
        require_scope(self._scope, namespace)
        return super()._ns(namespace)

    @abstractmethod
    def flush(self) -> None:
        """Write out the lines of the change log that have gathered."""

    @abstractmethod
    def _own(self, namespace: Namespace) -> int:
        """The namespace's row, made where it has none."""

    @abstractmethod
    def _add(self, kind: Kind, group: Sequence[Record]) -> None:
        """Store records of one kind."""

    @abstractmethod
    def _replace(self, record: Record) -> None: ...

    def _note(self, namespace: Namespace, op: str, kind: Kind, ids: Iterable[Any]) -> None:
        """`ids` as the database has them."""
        if kind in LOGGED:
            ns = self._own(namespace)
            self._log.extend((ns, op, kind, id) for id in ids)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A step of the transaction that leaves no trace if it fails."""
        self.flush()
        self._db.run("SAVEPOINT step")
        try:
            yield
        except BaseException:
            self._log.clear()
            self._known.clear()
            if not self._db.lost:
                self._db.run("ROLLBACK TO step")
            raise
        self._db.run("RELEASE step")

    def add(self, records: Iterable[Record]) -> None:
        waiting = iter(records)
        with self._whole():
            while group := list(islice(waiting, _BATCH)):
                self._add_all(group)

    def _add_all(self, records: Sequence[Record]) -> None:
        kinds: dict[Kind, list[Record]] = {}
        for record in records:
            kinds.setdefault(KIND_OF[type(record)], []).append(record)
        for kind, group in kinds.items():
            self._add(kind, group)
        for record in records:
            self._note(record.namespace, "add", KIND_OF[type(record)], [self.dialect.encode(record.id)])

    def _insert(self, kind: Kind, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        marks = ", ".join("?" * len(names))
        self._db.many(f"INSERT INTO {TABLES[kind]} ({', '.join(names)}) VALUES ({marks})", rows)

    def _digests(self, record: Record) -> list[str | None]:
        """What stands in the column `rows.DIGEST`, where the record's kind has one."""
        if isinstance(record, Thought):
            return [self.digest(record.text)]
        if isinstance(record, Turn):
            return [None if record.external_id is None else self._identity(record.source, record.external_id)]
        return []

    def replace(self, records: Iterable[Record]) -> None:
        with self._whole():
            for record in records:
                self._replace(record)

    def link(self, edges: Iterable[Edge], *, namespace: Namespace) -> None:
        rows = [(self._own(namespace), *self._edge_row(edge)) for edge in edges]
        self._db.many(f"INSERT INTO edges (ns, {EDGE}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)

    def unlink(self, edges: Iterable[Edge], *, namespace: Namespace) -> None:
        terms = " AND ".join(f"{name} = ?" for name in EDGE.split(", "))
        rows = [(self._ns(namespace), *self._edge_row(edge)) for edge in edges]
        self._db.many(f"DELETE FROM edges WHERE ns = ? AND {terms}", rows)

    def _edge_row(self, edge: Edge) -> tuple[Any, ...]:
        encode = self.dialect.encode
        return edge.child_kind, encode(edge.child), edge.parent_kind, encode(edge.parent), edge.relation

    @abstractmethod
    def _store_snapshot(self, ns: int, basis: Basis, data: bytes) -> int:
        """Keep a snapshot; return its number."""

    @abstractmethod
    def _erase_snapshots(self, numbers: Iterable[int]) -> None: ...

    def put_snapshot(
        self,
        basis: Basis,
        data: bytes,
        *,
        covers: Mapping[Kind, Sequence[str]],
        seen: int,
        namespace: Namespace,
        instead: bool = False,
    ) -> bool:
        if self._disturbed(basis, covers, seen, namespace):
            return False
        ns = self._ns(namespace)
        ids = {kind: list(map(self.dialect.encode, names)) for kind, names in covers.items()}
        ranges = sql_snapshots.ranges_of(self._db, ns, ids)
        others = sql_snapshots.meeting(self._db, ns, basis, ranges)
        if not ranges or (others and not instead):
            return False
        self._erase_snapshots(others)
        number = self._store_snapshot(ns, basis, data)
        rows = [(number, *bounds) for bounds in ranges]
        self._db.many("INSERT INTO snapshot_ranges (snapshot, kind, first, last) VALUES (?, ?, ?, ?)", rows)
        return True

    def _disturbed(self, basis: Basis, covers: Mapping[Kind, Sequence[str]], seen: int, namespace: Namespace) -> bool:
        """Whether what a snapshot was made from may have changed after the change `seen`."""
        try:
            missed = self.changes(namespace=namespace, after=seen)
        except KeyError:
            return True
        ops = {"remove"} if basis == "text" else {"remove", "vector"}
        touched = {(change.kind, change.id) for change in missed if change.op in ops}
        return any((kind, id) in touched for kind, ids in covers.items() for id in ids)

    def _drop_covering(self, ns: int, kind: Kind, rows: Iterable[int], basis: Basis | None = None) -> None:
        """Erase the snapshots that cover a row, with `basis` only those made from that."""
        self._erase_snapshots(sql_snapshots.covering(self._db, ns, kind, rows, basis))

    def drop_snapshots(self, numbers: Iterable[int], *, namespace: Namespace) -> None:
        self._erase_snapshots(set(sql_snapshots.numbers(self._db, self._ns(namespace))) & set(numbers))

    def changes(self, *, namespace: Namespace, after: int) -> list[Change]:
        self.flush()
        return super().changes(namespace=namespace, after=after)

    def last_change(self, *, namespace: Namespace) -> int:
        self.flush()
        return super().last_change(namespace=namespace)

    def set_meta(self, key: str, value: str | None) -> None:
        require_scope(self._scope, None)
        self._set_meta(key, value)

    def _set_meta(self, key: str, value: str | None) -> None:
        self._db.run("DELETE FROM meta WHERE key = ?", [self.dialect.encode(key)])
        if value is not None:
            self._db.run("INSERT INTO meta VALUES (?, ?)", [self.dialect.encode(key), self.dialect.encode(value)])

    def compact_changes(self, *, keep: int) -> None:
        require_scope(self._scope, None)
        self.flush()
        cut = self._db.one("SELECT seq FROM changes ORDER BY seq DESC LIMIT 1 OFFSET ?", [keep])
        if cut is None:
            return
        self._db.run(
            "UPDATE namespaces SET floor = coalesce("
            "(SELECT max(seq) FROM changes WHERE ns = namespaces.id AND seq <= ?), floor)",
            [cut],
        )
        self._db.run("DELETE FROM changes WHERE seq <= ?", [cut])


def _ordered(kind: Kind, order: str | None, descending: bool) -> str:
    """Nothing comes before everything. That is said only where it must be, since no index has it."""
    nulls = "" if order not in NULLABLE[kind] else " NULLS LAST" if descending else " NULLS FIRST"
    direction = "DESC" if descending else "ASC"
    return f"ORDER BY t.n {direction}" if order is None else f"ORDER BY t.{order} {direction}{nulls}, t.n"


@lru_cache(maxsize=1024)
def name_of(namespace: Namespace) -> str:
    """A namespace as its row has it."""
    return json.dumps(check_namespace(namespace))
