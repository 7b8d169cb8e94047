"""The reading half of a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agentmem.backends.records import FORMS, LOGGED, columns_of, in_form, require_plain
from agentmem.backends.rows import TABLES
from agentmem.backends.sql import EDGE, Dialect, SqlReader
from agentmem.errors import StoreForeignError
from agentmem.interfaces import Basis, Matrix, Snapshot, Where
from agentmem.types import Edge, Kind, Namespace, Relation
from agentmem_postgres.columns import term
from agentmem_postgres.connection import Connection
from agentmem_postgres.texts import decode, decode_all, encode

VERSION_KEY = "schema_version"
_MICROSECONDS = 1e6


class PostgresReader(SqlReader):
    """A consistent view: that of the transaction it was made in."""

    _db: Connection
    dialect = Dialect(body="t.body", joined="", encode=encode, decode=decode, decode_all=decode_all, term=term)
    own_settings = frozenset({VERSION_KEY})

    def edges(
        self,
        *,
        namespace: Namespace,
        children: Sequence[str] | None = None,
        parents: Sequence[str] | None = None,
        relation: Relation | None = None,
    ) -> list[Edge]:
        given = {"child": children, "parent": parents, "relation": None if relation is None else [relation]}
        chosen = {name: list(map(encode, keys)) for name, keys in given.items() if keys is not None}
        terms = "".join(f" AND {name} = ANY(?)" for name in chosen)
        values = [self._ns(namespace), *chosen.values()]
        rows = self._db.rows(f"SELECT {EDGE} FROM edges WHERE ns = ?{terms} ORDER BY n", values)
        return [Edge(kind, decode(child), of, decode(parent), via) for kind, child, of, parent, via in rows]

    def vectors(
        self, kind: Kind, *, namespace: Namespace, ids: Sequence[str] | None = None
    ) -> tuple[list[str], Matrix]:
        import numpy as np

        rows = self._vectors(kind, namespace, ids) if kind in LOGGED else []
        if not rows:
            return [], np.zeros((0, 0), np.float32)
        size = len(rows[0][1])
        if any(len(data) != size for _, data in rows):
            raise StoreForeignError(f"{self._db.name}: holds vectors of different sizes; run `agentmem reindex`")
        matrix = np.frombuffer(bytearray().join([data for _, data in rows]), np.float32)
        return [decode(id) for id, _ in rows], matrix.reshape(len(rows), size // 4)

    def _vectors(self, kind: Kind, namespace: Namespace, ids: Sequence[str] | None) -> list[tuple[Any, ...]]:
        source = f"{TABLES[kind]} t JOIN vectors v ON v.ns = t.ns AND v.kind = ? AND v.n = t.n WHERE t.ns = ?"
        values = [kind, self._ns(namespace)]
        if ids is None:
            return self._db.rows(f"SELECT t.id, v.data FROM {source} ORDER BY t.n", values)
        wanted = list(map(encode, dict.fromkeys(ids)))
        rows = dict(self._db.rows(f"SELECT t.id, v.data FROM {source} AND t.id = ANY(?)", [*values, wanted]))
        return [(id, rows[id]) for id in wanted if id in rows]

    def columns(
        self, kind: Kind, names: Sequence[str], *, namespace: Namespace, where: Where | None = None
    ) -> dict[str, Any]:
        require_plain(kind, names)
        terms, values, rest = self._where(kind, namespace, where or {})
        if rest:
            return columns_of(kind, names, self._records(kind, namespace, where or {}, "ORDER BY t.n"))
        chosen = ", ".join(f"t.{name}" for name in names)
        rows = self._db.rows(f"SELECT {chosen} FROM {TABLES[kind]} t WHERE {terms} ORDER BY t.n", values)
        return {name: _column(kind, name, [row[at] for row in rows]) for at, name in enumerate(names)}

    def snapshots(self, basis: Basis, *, namespace: Namespace) -> Iterator[Snapshot]:
        held = self._db.rows(
            "SELECT id FROM snapshots WHERE ns = ? AND basis = ? ORDER BY id", [self._ns(namespace), basis]
        )
        return (Snapshot(n, self._db.one("SELECT data FROM snapshots WHERE id = ?", [n])) for (n,) in held)


def _column(kind: Kind, name: str, values: list[Any]) -> Any:
    form = FORMS[kind][name]
    column = in_form(form, decode_all(values) if form == "text" else values)
    return column / _MICROSECONDS if form == "time" else column
