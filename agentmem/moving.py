"""Taking a whole store into another, of whatever kind: records, edges, vectors and settings, the same to the last bit.

What is there already is compared, not written again, so that a move that was stopped goes on where it was, and one made
while the source was written to is made whole by another. Both are then read through and must have equal digests. The
change log and what was derived from records (snapshots) stay behind: the library makes them anew.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias

from agentmem.backends.records import FIELDS, KINDS, LOGGED
from agentmem.errors import ConflictError, InputError, StoreError
from agentmem.interfaces import Backend, Matrix, Reader
from agentmem.namespaces import format_namespace
from agentmem.types import Edge, Kind, Namespace

Progress: TypeAlias = Callable[[int, int], None]
_BATCH = 1000
_MARK = "moving_from"
"""Setting of a target that is not whole yet: the URL that it is filled from."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What the target holds, counted by kind, edges and vectors too, and how much of it this move had to write.

    `digest` is of everything: equal for two stores that hold the same, of whatever kind they are.
    """

    namespaces: int
    counts: dict[str, int]
    written: int
    digest: str


def move(source: Backend, target: Backend, progress: Progress | None = None) -> Moved:
    """Make `target` hold what `source` holds, and nothing else. `source` is only read.

    `progress` gets how many records were looked at, and of how many: each is copied, then read in both. Raises
    ConflictError for a target that holds something else, StoreError where one of the stores was written to meanwhile:
    moving again brings the rest.
    """
    if source.url == target.url:
        raise InputError(f"{source.url}: is both ends of the move; name another store to move to")
    with source.read() as reader:
        _claim(target, source.url)
        spaces = reader.namespaces()
        before = _newest(reader)
        step = _Steps(progress, 3 * sum(reader.count(kind, namespace=space) for space in spaces for kind in KINDS))
        _copy_settings(reader, target)  # first: digests of texts are made with the source's key
        written = sum(_Space(reader, target, space, step).copy() for space in spaces)
        wanted = digest_of(reader, step)
        counts = _counts(reader, spaces)
    _remove_others(target, spaces)
    with target.read() as reader:
        found = digest_of(reader, step)
    with source.read() as reader:
        after = _newest(reader)
    if found != wanted or after != before:
        raise StoreError(f"{target.url if found != wanted else source.url}: was written to meanwhile: move again")
    with target.write() as writer:
        writer.set_meta(_MARK, None)
    target.erase()
    return Moved(len(spaces), counts, written, wanted)


def _newest(reader: Reader) -> dict[Namespace, int]:
    return {space: reader.last_change(namespace=space) for space in reader.namespaces()}


class _Steps:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _claim(target: Backend, url: str) -> None:
    """Mark a target that is empty, or marked for this move already. Raises ConflictError for any other."""
    with target.write() as writer:
        mark = writer.meta(_MARK)
        if mark is None and writer.namespaces():
            raise ConflictError(f"{target.url}: holds memories already; move into a store that is empty")
        if mark not in (None, url):
            raise ConflictError(f"{target.url}: holds half of a move from {mark}; finish that, or choose another store")
        writer.set_meta(_MARK, url)


def _copy_settings(reader: Reader, target: Backend) -> None:
    wanted = reader.settings()
    with target.write() as writer:
        held = {name: value for name, value in writer.settings().items() if name != _MARK}
        for name in held.keys() - wanted.keys():
            writer.set_meta(name, None)
        for name, value in wanted.items() - held.items():
            writer.set_meta(name, value)


def _remove_others(target: Backend, spaces: Sequence[Namespace]) -> None:
    """What an earlier, unfinished move brought and the source has forgotten since."""
    with target.read() as reader:
        others = set(reader.namespaces()) - set(spaces)
    for space in others:
        with target.write() as writer:
            writer.remove_namespace(namespace=space)


class _Space:
    """One namespace on its way, a transaction for each batch."""

    def __init__(self, reader: Reader, target: Backend, namespace: Namespace, step: Callable[[int], None]) -> None:
        self._from = reader
        self._target = target
        self._namespace = namespace
        self._step = step

    def copy(self) -> int:
        """Bring everything over; return how much had to be written."""
        written = sum(self._copy_records(kind) for kind in KINDS) + self._copy_edges()
        return written + sum(self._copy_vectors(kind) for kind in KINDS if kind in LOGGED)

    def _copy_records(self, kind: Kind) -> int:
        ids = _ids(self._from, kind, self._namespace)
        self._remove_surplus(kind, ids)
        written = 0
        for batch in _batches(ids):
            wanted = {record.id: record for record in self._from.get(kind, batch, namespace=self._namespace)}
            with self._target.write() as writer:
                held = {record.id: record for record in writer.get(kind, batch, namespace=self._namespace)}
                fresh = [wanted[name] for name in batch if name not in held]
                changed = [wanted[name] for name in batch if name in held and held[name] != wanted[name]]
                writer.add(fresh)
                writer.replace(changed)
            written += len(fresh) + len(changed)
            self._step(len(batch))
        return written

    def _remove_surplus(self, kind: Kind, wanted: Sequence[str]) -> None:
        with self._target.read() as reader:
            surplus = set(_ids(reader, kind, self._namespace)) - set(wanted)
        if surplus:
            with self._target.write() as writer:
                writer.remove(kind, list(surplus), namespace=self._namespace)

    def _copy_edges(self) -> int:
        wanted = self._from.edges(namespace=self._namespace)
        with self._target.read() as reader:
            held = set(reader.edges(namespace=self._namespace))
        fresh, surplus = [edge for edge in wanted if edge not in held], held - set(wanted)
        for batch in _batches(fresh):
            with self._target.write() as writer:
                writer.link(batch, namespace=self._namespace)
        if surplus:
            with self._target.write() as writer:
                writer.unlink(surplus, namespace=self._namespace)
        return len(fresh)

    def _copy_vectors(self, kind: Kind) -> int:
        written = 0
        for batch in _batches(_ids(self._from, kind, self._namespace)):
            names, matrix = self._from.vectors(kind, namespace=self._namespace, ids=batch)
            with self._target.write() as writer:
                held = dict(zip(*writer.vectors(kind, namespace=self._namespace, ids=names), strict=True))
                new = [at for at, name in enumerate(names) if not _same(held.get(name), matrix[at])]
                if new:
                    writer.set_vectors(kind, [names[at] for at in new], matrix[new], namespace=self._namespace)
            written += len(new)
        return written


def _same(held: Matrix | None, wanted: Matrix) -> bool:
    return held is not None and held.tobytes() == wanted.tobytes()


def _ids(reader: Reader, kind: Kind, namespace: Namespace) -> list[str]:
    found: list[str] = reader.columns(kind, ["id"], namespace=namespace)["id"]
    return found


def _batches(values: Sequence[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _counts(reader: Reader, spaces: Sequence[Namespace]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for space in spaces:
        for kind in KINDS:
            counts[kind] += reader.count(kind, namespace=space)
        counts["edge"] += len(reader.edges(namespace=space))
        counts["vector"] += sum(len(reader.vectors(kind, namespace=space)[0]) for kind in KINDS if kind in LOGGED)
    return {name: count for name, count in counts.items() if count}


def digest_of(reader: Reader, step: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of settings, records in their order, edges and vectors, as hex; `step` gets how many records it read."""
    seen = hashlib.sha256()
    settings = {name: value for name, value in reader.settings().items() if name != _MARK}
    seen.update(json.dumps(settings, sort_keys=True).encode())
    for space in reader.namespaces():
        seen.update(format_namespace(space).encode("utf-8"))
        for kind in KINDS:
            for batch in _batches(_ids(reader, kind, space)):
                _take(seen, [_plain(kind, record) for record in reader.get(kind, batch, namespace=space)])
                if kind in LOGGED:
                    names, matrix = reader.vectors(kind, namespace=space, ids=batch)
                    _take(seen, names)
                    seen.update(matrix.tobytes())
                step(len(batch))
        # The order of edges is when they were made, which a move that went on later does not know.
        _take(seen, sorted(_written(edge) for edge in reader.edges(namespace=space)))
    return seen.hexdigest()


def _take(seen: Any, values: Any) -> None:
    seen.update(json.dumps(values, default=_text, sort_keys=True, separators=(",", ":")).encode("ascii"))


def _plain(kind: Kind, record: Any) -> list[Any]:
    return [getattr(record, name) for name in FIELDS[kind]]


def _written(edge: Edge) -> list[str]:
    return list(asdict(edge).values())


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else dict(value)
