"""Taking a namespace out of a store and into another: JSON Lines, whole and checked.

The first line says what the file is, then comes a record, edge or vector a line, and the last line counts the lines
and holds the SHA-256 of all before it. Ids, both times, states, provenance, waiting work and suppressions are in it.
Exports and backups are noted in the store, so that the receipt of a later forget can name what it cannot reach.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal, get_args, get_origin, get_type_hints

from agentmem.backends.copies import copies, note_copy
from agentmem.backends.records import FIELDS, KINDS
from agentmem.backends.sqlite_files import sync_directory
from agentmem.backends.sqlite_restore import restore
from agentmem.clock import utc_now
from agentmem.embedqueue import KINDS as EMBEDDED
from agentmem.embedqueue import check_identity, identity_of, record_identity
from agentmem.errors import ConflictError, FormatError, StoreError
from agentmem.interfaces import Backend, Clock, EmbedderIdentity, Matrix, Reader, Writer
from agentmem.ledger import embed_job
from agentmem.namespaces import check_namespace
from agentmem.types import Edge, Kind, Namespace

__all__ = ["copies", "export_records", "import_records", "remember_copy", "restore"]

FORMAT, VERSION = "agentmem export", 1
_CHOICES: dict[type[Any], dict[str, tuple[Any, ...]]] = {
    cls: {name: get_args(hint) for name, hint in get_type_hints(cls).items() if get_origin(hint) is Literal}
    for cls in (*KINDS.values(), Edge)
}
_TIMES = frozenset(f.name for cls in KINDS.values() for f in fields(cls) if "datetime" in str(f.type))


def remember_copy(backend: Backend, path: Path, kind: str, clock: Clock = utc_now) -> None:
    """Note an export or backup, which a later forget cannot reach."""
    with backend.write() as writer:
        note_copy(writer, path, kind, clock())


def export_records(backend: Backend, path: Path, *, namespace: Namespace, clock: Clock = utc_now) -> dict[str, int]:
    """Write everything of one namespace to `path`, and count it by kind. The file appears whole or not at all."""
    with backend.read() as reader, _whole_file(path) as file:
        counts = _write(file, reader, namespace, clock())
    remember_copy(backend, path, "export", clock)
    return counts


@contextmanager
def _whole_file(path: Path) -> Iterator[IO[str]]:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        sync_directory(path.absolute().parent)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        draft.unlink(missing_ok=True)


def _write(file: IO[str], reader: Reader, namespace: Namespace, now: datetime) -> dict[str, int]:
    counts: Counter[str] = Counter()
    seen = hashlib.sha256()
    identity = identity_of(reader)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": now,
        "namespace": namespace,
        "embedder": identity and asdict(identity),
        "digest_key": reader.meta("digest_key"),
    }
    for line in (head, *_lines(reader, namespace)):
        text = json.dumps(line, default=_plain, separators=(",", ":")) + "\n"
        seen.update(text.encode("ascii"))
        file.write(text)
        counts[str(line.get("kind", "header"))] += 1
    file.write(json.dumps({"end": True, "lines": counts.total(), "sha256": seen.hexdigest()}) + "\n")
    del counts["header"]
    return dict(counts)


def _lines(reader: Reader, namespace: Namespace) -> Iterator[dict[str, Any]]:
    for kind in KINDS:
        for record in reader.select(kind, namespace=namespace):
            values = {name: getattr(record, name) for name in FIELDS[kind] if name != "namespace"}
            yield {"kind": kind, **values}
    for edge in reader.edges(namespace=namespace):
        yield {"kind": "edge", **asdict(edge)}
    for kind in EMBEDDED:
        for record_id, vector in zip(*reader.vectors(kind, namespace=namespace), strict=True):
            yield {"kind": "vector", "of": kind, "id": record_id, "data": base64.b64encode(vector.tobytes()).decode()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def import_records(backend: Backend, path: Path, *, namespace: Namespace | None = None) -> dict[str, int]:
    """Read what `export_records` wrote, into `namespace` (None: the one it came from), and count what was new by kind.

    The whole file is checked before anything is stored, and one transaction stores it. Records that are there already
    stay as they are. Raises FormatError for a damaged file, EmbedderMismatchError where the store's vectors are another
    embedder's, ConflictError where other records stand in the places of these.
    """
    head = _check_file(path)
    with backend.write() as writer:
        number = 1
        try:
            _adopt(writer, head)
            reading = _Import(writer, check_namespace(namespace or head["namespace"]), Counter(), _dimension(head))
            for number, line in _read(path):
                if number > 1 and "end" not in line:
                    reading.take(line)
            reading.finish()
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(
                f"{path}, line {number}: not a record of this version ({error}); export it anew"
            ) from error
        except ConflictError as error:
            raise ConflictError(
                f"{path}: does not fit beside what is there ({error}); give another --namespace"
            ) from error
    return dict(reading.counts)


def _dimension(head: Mapping[str, Any]) -> int | None:
    return None if head["embedder"] is None else int(head["embedder"]["dimension"])


def _adopt(writer: Writer, head: Mapping[str, Any]) -> None:
    """Take over the export's embedder, or check it; an empty store takes over the key of the digests too, so that what
    was forgotten for good stays so."""
    if not writer.namespaces() and head.get("digest_key"):
        writer.set_meta("digest_key", head["digest_key"])
    if head["embedder"] is not None:
        identity = EmbedderIdentity(**head["embedder"])
        check_identity(writer, identity)
        record_identity(writer, identity)


class _Import:
    """Stores lines in the order of the file, in batches of one kind."""

    def __init__(self, writer: Writer, namespace: Namespace, counts: Counter[str], dimension: int | None) -> None:
        self._writer = writer
        self._namespace = namespace
        self.counts = counts
        self._dimension = dimension
        self._batch: list[dict[str, Any]] = []
        self._fresh: set[str] = set()
        self._embedded: set[str] = set()

    def take(self, line: dict[str, Any]) -> None:
        if self._batch and (len(self._batch) == 1000 or _group(line) != _group(self._batch[0])):
            self._store()
        self._batch.append(line)

    def finish(self) -> None:
        """Store the rest, and queue what came without a vector."""
        self._store()
        now = utc_now()
        for kind in EMBEDDED:
            queued = {job.target for job in self._writer.select("job", namespace=self._namespace)}
            records = (r for r in self._writer.select(kind, namespace=self._namespace) if r.id in self._fresh)
            ids = [r.id for r in records if kind != "chunk" or r.summary is not None]
            lacking = [i for i in ids if i not in self._embedded and i not in queued]
            self._writer.add(embed_job(kind, i, namespace=self._namespace, now=now) for i in lacking)

    def _store(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        kind = batch[0]["kind"]
        if kind == "edge":
            self._store_edges(batch)
        elif kind == "vector":
            self._store_vectors(batch)
        else:
            self._store_records(kind, batch)

    def _store_records(self, kind: Kind, batch: list[dict[str, Any]]) -> None:
        ids = [line["id"] for line in batch]
        known = {record.id for record in self._writer.get(kind, ids, namespace=self._namespace)}
        fresh = [_record(kind, line, self._namespace) for line in batch if line["id"] not in known]
        self._writer.add(fresh)
        self._fresh |= {record.id for record in fresh}
        self.counts[kind] += len(fresh)

    def _store_edges(self, batch: list[dict[str, Any]]) -> None:
        edges = [Edge(**{name: _value(Edge, name, line[name]) for name in line if name != "kind"}) for line in batch]
        self._writer.link((e for e in edges if e.child in self._fresh), namespace=self._namespace)

    def _store_vectors(self, batch: list[dict[str, Any]]) -> None:
        wanted = [line for line in batch if line["id"] in self._fresh]
        ids = [line["id"] for line in wanted]
        if ids:
            matrix = _matrix(wanted)
            if matrix.shape[1] != self._dimension:
                raise ValueError(f"a vector of {matrix.shape[1]} numbers, not {self._dimension}")
            self._writer.set_vectors(batch[0]["of"], ids, matrix, namespace=self._namespace)
            self._embedded.update(ids)


def _group(line: Mapping[str, Any]) -> tuple[Any, Any]:
    return line["kind"], line.get("of")


def _matrix(lines: Iterable[Mapping[str, Any]]) -> Matrix:
    import numpy as np

    rows = [np.frombuffer(base64.b64decode(line["data"], validate=True), dtype=np.float32) for line in lines]
    return np.stack(rows)


def _record(kind: Kind, line: Mapping[str, Any], namespace: Namespace) -> Any:
    values = {name: _value(KINDS[kind], name, line[name]) for name in FIELDS[kind] if name != "namespace"}
    record = KINDS[kind](**values, namespace=namespace)
    return replace(record, lease_until=None) if kind == "job" else record


def _value(cls: type[Any], name: str, value: Any) -> Any:
    if value not in _CHOICES[cls].get(name, (value,)):
        raise ValueError(f"{name} is {value!r}")
    if name in _TIMES and value is not None:
        return datetime.fromisoformat(value)
    return tuple(value) if name == "parts" else value


def _read(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="ascii") as file:
        for number, text in enumerate(file, 1):
            yield number, json.loads(text)


def _check_file(path: Path) -> dict[str, Any]:
    """The first line of a file that is whole. Raises FormatError otherwise."""
    seen = hashlib.sha256()
    head: dict[str, Any] | None = None
    last: bytes = b""
    lines = 0
    try:
        with path.open("rb") as file:
            for text in file:
                if lines:
                    seen.update(last)
                head = _check_head(path, text) if head is None else head
                last, lines = text, lines + 1
        end = json.loads(last) if lines > 1 else {}
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}, line {max(lines, 1)}: cannot be read ({error}); export it anew") from error
    if head is None or not isinstance(end, dict) or "sha256" not in end:
        raise FormatError(f"{path}: is cut off after line {lines}: its last line is missing; export it anew")
    if (end["sha256"], end.get("lines")) != (seen.hexdigest(), lines - 1):
        raise FormatError(f"{path}: was changed or damaged since it was written; export it anew")
    return head


def _check_head(path: Path, text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise FormatError(f"{path}: is not an agentmem export; to read a conversation, use `agentmem ingest`")
    if head.get("version") != VERSION:
        raise FormatError(f"{path}: was written by a newer agentmem (version {head.get('version')}); update agentmem")
    return head
