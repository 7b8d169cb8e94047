"""The backend without a file: everything in RAM, gone with the process. Transactions undo what they did."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from agentmem.backends.records import (
    KIND_OF,
    KINDS,
    LOGGED,
    UNCHANGING,
    columns_of,
    dump_content,
    load_content,
    matches,
    meets,
    require_field,
    require_plain,
    require_scope,
    sort_key,
)
from agentmem.digests import digest, new_key
from agentmem.errors import ConflictError, NotFoundError, StoreClosedError, StoreError, StoreForeignError
from agentmem.interfaces import Abilities, Basis, Matrix, Snapshot, Where
from agentmem.namespaces import check_namespace
from agentmem.types import Change, Edge, Job, Kind, Namespace, Record, Relation, SessionInfo, Turn

ChangeOp: TypeAlias = Literal["add", "replace", "remove", "vector"]
_ABSENT: Any = object()


@dataclass(slots=True)
class _Row:
    number: int
    record: Any
    digest: str | None = None


@dataclass(slots=True)
class _Space:
    """One namespace."""

    born: int
    last: int = 0
    floor: int = 0
    rows: dict[Kind, dict[str, _Row]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    taken: dict[tuple[Any, ...], str] = field(default_factory=dict)
    children: dict[str, dict[Edge, int]] = field(default_factory=dict)
    parents: dict[str, dict[Edge, int]] = field(default_factory=dict)
    vectors: dict[tuple[Kind, str], Matrix] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class _State:
    spaces: dict[Namespace, _Space] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    number: int = 0
    last: int = 0


class _Reader:
    def __init__(self, state: _State) -> None:
        self._state = state

    def _space(self, namespace: Namespace) -> _Space:
        return self._state.spaces.get(namespace) or self._none(namespace)

    @staticmethod
    def _none(namespace: Namespace) -> _Space:
        check_namespace(namespace)
        return _Space(born=0)

    def get(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> list[Any]:
        rows = self._space(namespace).rows[kind]
        return [rows[id].record for id in ids if id in rows]

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
        found = [row.record for row in self._rows(kind, namespace, where or {})]
        if order is not None:
            require_field(kind, order)
            found.sort(key=lambda record: sort_key(getattr(record, order)), reverse=descending)
        elif descending:
            found.reverse()
        return iter(found[:limit])

    def count(self, kind: Kind, *, namespace: Namespace, where: Where | None = None) -> int:
        return len(self._rows(kind, namespace, where or {}))

    def _rows(self, kind: Kind, namespace: Namespace, where: Where) -> list[_Row]:
        for name in where:
            require_field(kind, name)
        rows: Iterable[_Row] = self._candidates(kind, self._space(namespace), where)
        if where:
            plain = {name: condition for name, condition in where.items() if name != "text_digest"}
            wanted = where.get("text_digest", _ABSENT)
            rows = (r for r in rows if (wanted is _ABSENT or meets(r.digest, wanted)) and matches(r.record, plain))
        return sorted(rows, key=attrgetter("number"))

    @staticmethod
    def _candidates(kind: Kind, space: _Space, where: Where) -> Iterable[_Row]:
        rows = space.rows[kind]
        if kind != "turn" or not {"source", "external_id"} <= where.keys():
            return rows.values()
        externals = where["external_id"]
        externals = externals if isinstance(externals, tuple | list | set | frozenset) else [externals]
        if None in externals or not isinstance(where["source"], str | None):
            return rows.values()
        ids = {space.taken.get(("origin", where["source"], external)) for external in externals}
        return [rows[id] for id in ids if id is not None]

    def edges(
        self,
        *,
        namespace: Namespace,
        children: Sequence[str] | None = None,
        parents: Sequence[str] | None = None,
        relation: Relation | None = None,
    ) -> list[Edge]:
        space = self._space(namespace)
        index, keys = (space.children, children) if children is not None else (space.parents, parents)
        groups = index.values() if keys is None else [index.get(key, {}) for key in dict.fromkeys(keys)]
        wanted = None if parents is None else set(parents)
        found = [(n, edge) for group in groups for edge, n in group.items() if wanted is None or edge.parent in wanted]
        return [edge for _, edge in sorted(found, key=lambda f: f[0]) if relation in (None, edge.relation)]

    def vectors(
        self, kind: Kind, *, namespace: Namespace, ids: Sequence[str] | None = None
    ) -> tuple[list[str], Matrix]:
        space = self._space(namespace)
        rows = sorted(space.rows[kind].values(), key=attrgetter("number"))
        wanted = [row.record.id for row in rows] if ids is None else dict.fromkeys(ids)
        have = [id for id in wanted if (kind, id) in space.vectors]
        if not have:
            return [], np.zeros((0, 0), np.float32)
        return have, np.stack([space.vectors[kind, id] for id in have])

    def columns(
        self, kind: Kind, names: Sequence[str], *, namespace: Namespace, where: Where | None = None
    ) -> dict[str, Any]:
        require_plain(kind, names)
        return columns_of(kind, names, (row.record for row in self._rows(kind, namespace, where or {})))

    def snapshots(self, basis: Basis, *, namespace: Namespace) -> Iterator[Snapshot]:  # noqa: ARG002 - it keeps none
        return iter(())

    def sessions(self, *, namespace: Namespace) -> list[SessionInfo]:
        times: dict[str, list[datetime]] = {}
        for row in self._space(namespace).rows["turn"].values():
            times.setdefault(row.record.session, []).append(row.record.occurred_at)
        found = [SessionInfo(namespace, name, len(at), min(at), max(at)) for name, at in times.items()]
        return sorted(found, key=lambda info: (info.last_at, info.session), reverse=True)

    def namespaces(self, *, root: Namespace = ()) -> list[Namespace]:
        held = (name for name, space in self._state.spaces.items() if any(space.rows.values()))
        return sorted(name for name in held if name[: len(root)] == root)

    def changes(self, *, namespace: Namespace, after: int) -> list[Change]:
        space = self._space(namespace)
        if after < space.floor or 0 < after <= space.born or after > space.last:
            raise KeyError(after)
        start = next((i for i in range(len(space.changes), 0, -1) if space.changes[i - 1].seq <= after), 0)
        return space.changes[start:]

    def last_change(self, *, namespace: Namespace) -> int:
        return self._space(namespace).last

    def meta(self, key: str) -> str | None:
        return self._state.meta.get(key)

    def settings(self) -> dict[str, str]:
        return dict(self._state.meta)

    def digest(self, text: str) -> str:
        return digest(self._state.meta["digest_key"], text)


class _Writer(_Reader):
    def __init__(self, state: _State, scope: Namespace | None) -> None:
        super().__init__(state)
        self._scope = scope
        self._undo: list[Callable[[], object]] = []

    def roll_back(self, mark: int = 0) -> None:
        while len(self._undo) > mark:
            self._undo.pop()()

    def _set(self, target: dict[Any, Any], key: Any, value: Any) -> None:
        old = target.get(key, _ABSENT)
        if value is _ABSENT:
            target.pop(key, None)
        else:
            target[key] = value
        self._undo.append(lambda: target.pop(key, None) if old is _ABSENT else target.__setitem__(key, old))

    def _assign(self, target: object, name: str, value: Any) -> None:
        old = getattr(target, name)
        setattr(target, name, value)
        self._undo.append(lambda: setattr(target, name, old))

    def _space(self, namespace: Namespace) -> _Space:
        require_scope(self._scope, namespace)
        return super()._space(namespace)

    def _own(self, namespace: Namespace) -> _Space:
        require_scope(self._scope, namespace)
        if namespace not in self._state.spaces:
            check_namespace(namespace)
            self._set(self._state.spaces, namespace, _Space(born=self._state.last))
        return self._state.spaces[namespace]

    def _number(self) -> int:
        self._state.number += 1
        return self._state.number

    def _log(self, space: _Space, namespace: Namespace, op: ChangeOp, kind: Kind, id: str) -> None:
        if kind not in LOGGED:
            return
        self._assign(self._state, "last", self._state.last + 1)
        self._assign(space, "last", self._state.last)
        space.changes.append(Change(self._state.last, namespace, op, kind, id))
        self._undo.append(space.changes.pop)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """A step of the transaction that leaves no trace if it fails."""
        mark = len(self._undo)
        try:
            yield
        except BaseException:
            self.roll_back(mark)
            raise

    def add(self, records: Iterable[Record]) -> None:
        with self._whole():
            for record in records:
                self._add(record)

    def _add(self, record: Record) -> None:
        kind = KIND_OF[type(record)]
        space = self._own(record.namespace)
        if record.id in space.rows[kind]:
            raise ConflictError(f"{kind} {record.id} exists already; give a new record a new id")
        self._take(space, record)
        text = self.digest(record.text) if kind == "thought" else None  # type: ignore[union-attr]
        self._set(space.rows[kind], record.id, _Row(self._number(), _detached(kind, record), text))
        self._log(space, record.namespace, "add", kind, record.id)

    def _take(self, space: _Space, record: Record) -> None:
        for key in _identities(record):
            if space.taken.get(key, record.id) != record.id:
                raise ConflictError(f"turn {record.id}: {key[0]} {key[1:]} is taken by turn {space.taken[key]}")
            self._set(space.taken, key, record.id)

    def replace(self, records: Iterable[Record]) -> None:
        with self._whole():
            for record in records:
                self._replace(record)

    def _replace(self, record: Record) -> None:
        kind, space = KIND_OF[type(record)], self._space(record.namespace)
        row = space.rows[kind].get(record.id)
        if row is None:
            raise NotFoundError(f"no {kind} {record.id} in this namespace; add it first")
        changed = dump_content(kind, row.record) != dump_content(kind, record)
        if changed and kind in UNCHANGING:
            raise ConflictError(f"{kind} {record.id}: its content never changes; add a new {kind} instead")
        if changed:
            self._set(space.vectors, (kind, record.id), _ABSENT)
        self._release(space, row.record)
        self._take(space, record)
        self._set(space.rows[kind], record.id, _Row(row.number, _detached(kind, record), row.digest))
        self._log(space, record.namespace, "replace", kind, record.id)

    def _release(self, space: _Space, record: Record) -> None:
        for key in _identities(record):
            self._set(space.taken, key, _ABSENT)

    def remove(self, kind: Kind, ids: Sequence[str], *, namespace: Namespace) -> int:
        space = self._space(namespace)
        gone = [id for id in dict.fromkeys(ids) if id in space.rows[kind]]
        for id in gone:
            self._release(space, space.rows[kind][id].record)
            self._set(space.rows[kind], id, _ABSENT)
            self._set(space.vectors, (kind, id), _ABSENT)
            children = [edge for edge in space.children.get(id, ()) if edge.child_kind == kind]
            parents = [e for e in space.parents.get(id, ()) if e.parent_kind == kind and e.relation != "source"]
            self.unlink(children + parents, namespace=namespace)
            self._log(space, namespace, "remove", kind, id)
        return len(gone)

    def link(self, edges: Iterable[Edge], *, namespace: Namespace) -> None:
        space = self._own(namespace)
        for edge in edges:
            if edge not in space.children.get(edge.child, ()):
                number = self._number()
                self._set(space.children.setdefault(edge.child, {}), edge, number)
                self._set(space.parents.setdefault(edge.parent, {}), edge, number)

    def unlink(self, edges: Iterable[Edge], *, namespace: Namespace) -> None:
        space = self._space(namespace)
        for edge in edges:
            self._set(space.children.get(edge.child, {}), edge, _ABSENT)
            self._set(space.parents.get(edge.parent, {}), edge, _ABSENT)

    def set_vectors(self, kind: Kind, ids: Sequence[str], vectors: Matrix, *, namespace: Namespace) -> None:
        space = self._space(namespace)
        for id, vector in zip(ids, np.asarray(vectors, np.float32), strict=True):
            if id in space.rows[kind]:
                self._set(space.vectors, (kind, id), vector.copy())
                self._log(space, namespace, "vector", kind, id)

    def clear_vectors(self, *, namespace: Namespace) -> None:
        require_scope(self._scope, namespace)
        if namespace in self._state.spaces:
            self._assign(self._state.spaces[namespace], "vectors", {})

    def put_snapshot(self, *_: Any, **__: Any) -> bool:
        """Keeps none, as `abilities` says: reading one would take no less than making it."""
        return False

    def drop_snapshots(self, numbers: Iterable[int], *, namespace: Namespace) -> None:
        """There are none."""

    def remove_namespace(self, *, namespace: Namespace) -> dict[str, int]:
        space = self._space(namespace)
        self._set(self._state.spaces, namespace, _ABSENT)
        return {kind: len(rows) for kind, rows in space.rows.items() if rows}

    def set_meta(self, key: str, value: str | None) -> None:
        require_scope(self._scope, None)
        self._set(self._state.meta, key, _ABSENT if value is None else value)

    def compact_changes(self, *, keep: int) -> None:
        require_scope(self._scope, None)
        lines = sorted(change.seq for space in self._state.spaces.values() for change in space.changes)
        cut = lines[-keep - 1] if len(lines) > keep else 0
        for space in self._state.spaces.values():
            dropped = [change for change in space.changes if change.seq <= cut]
            if dropped:
                self._assign(space, "floor", dropped[-1].seq)
                self._assign(space, "changes", space.changes[len(dropped) :])


def _identities(record: Record) -> list[tuple[Any, ...]]:
    """What no two turns of a namespace may share."""
    if not isinstance(record, Turn):
        return []
    origin = [("origin", record.source, record.external_id)] if record.external_id is not None else []
    return [("place", record.session, record.seq), *origin]


def _detached(kind: Kind, record: Record) -> Record:
    """A copy that shares no mutable value with the caller's, as if it had been written to a file and read."""
    return replace(record, **load_content(dump_content(kind, record)))


class MemoryBackend:
    """A Backend in RAM. One transaction at a time; safe to use from several threads, not after a fork."""

    abilities = Abilities(durable=False, secure_erase=True, shared=False, backup=False)
    url = "memory:"

    def __init__(self, *, clock: Callable[[], datetime] | None = None, dumped: bytes | None = None) -> None:
        self._clock = clock or (lambda: datetime.now(UTC))
        self._state = _State(meta={"digest_key": new_key()}) if dumped is None else _loaded(dumped)
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._closed = False

    @contextmanager
    def _hold(self) -> Iterator[None]:
        if self._closed:
            raise StoreClosedError("memory: is closed; open it again")
        if self._holder == threading.get_ident():
            raise StoreError("memory: a transaction is open in this thread already; finish it first")
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    @contextmanager
    def read(self) -> Iterator[_Reader]:
        with self._hold():
            yield _Reader(self._state)

    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[_Writer]:
        with self._hold():
            writer = _Writer(self._state, namespace)
            try:
                yield writer
            except BaseException:
                writer.roll_back()
                raise

    def dump(self) -> bytes:
        """Everything it holds, within a transaction as that left it so far; `dumped` takes it. Not for strangers'
        bytes: they are a pickle."""
        return pickle.dumps(self._state, pickle.HIGHEST_PROTOCOL)

    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Namespace | None = None) -> list[Job]:
        now = self._clock()
        lease = now + timedelta(seconds=lease_seconds)
        with self.write() as writer:
            queued = [job for job in self._jobs(task, "queued") if namespace in (None, job.namespace)]
            due = [job for job in queued if _is_due(job, now)][:limit]
            if not lease_seconds:
                return due
            claimed = [replace(job, attempts=job.attempts + 1, lease_until=lease) for job in due]
            writer.replace(claimed)
        return claimed

    def jobs(self, *, task: str | None = None, state: str | None = None) -> list[Job]:
        with self._hold():
            return self._jobs(task, state)

    def _jobs(self, task: str | None, state: str | None) -> list[Job]:
        rows = [row for space in self._state.spaces.values() for row in space.rows["job"].values()]
        jobs: list[Job] = [row.record for row in sorted(rows, key=attrgetter("number"))]
        return [job for job in jobs if task in (None, job.task) and state in (None, job.state)]

    def erase(self) -> bool:
        return True

    def reclaim(self) -> None:
        """Python frees what is no longer held."""

    def check(self) -> list[str]:
        return []

    def backup(self, path: Path) -> None:
        raise StoreError(f"memory: has no file to back up to {path}; export it instead")

    def size(self) -> int:
        return 0

    def close(self) -> None:
        self._closed = True


def _loaded(dumped: bytes) -> _State:
    try:
        state = pickle.loads(dumped)
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
        raise StoreForeignError(f"memory: this is no dump of one, or of another version ({error})") from error
    if not isinstance(state, _State):
        raise StoreForeignError("memory: this is no dump of one; choose another file")
    return state


def _is_due(job: Job, now: datetime) -> bool:
    return job.run_after <= now and (job.lease_until is None or job.lease_until <= now)
