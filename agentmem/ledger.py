"""The ledger: turns in order, verbatim, each in a chunk; and what a second ingest must not bring back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, get_args

from agentmem.clock import as_utc
from agentmem.errors import ConflictError, InputError
from agentmem.ids import new_id
from agentmem.interfaces import Reader, Writer
from agentmem.types import (
    Chunk,
    Job,
    Namespace,
    NewTurn,
    Observed,
    Part,
    Precision,
    Role,
    Suppression,
    Turn,
    TurnStatus,
)

_FIELDS = tuple(f.name for f in fields(NewTurn))


def as_parts(content: str | Sequence[Part]) -> tuple[Part, ...]:
    """Content as parts: a string is one text part."""
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    return tuple(content)


def check_turn(new: NewTurn) -> NewTurn:
    """The turn with its time in UTC. Raises InputError where it cannot be remembered."""
    _check_types(new)
    for name, value, allowed in (
        ("role", new.role, Role),
        ("status", new.status, TurnStatus),
        ("precision", new.precision, Precision),
    ):
        if value not in get_args(allowed):
            raise InputError(f"a turn's {name} is one of {', '.join(get_args(allowed))}; got {value!r}")
    if not new.session:
        raise InputError("a turn needs a session: give a non-empty name")
    if is_empty(new):
        raise InputError("an empty turn cannot be remembered: give text, or a part of another type")
    if new.occurred_at is None:
        return new
    moment = as_utc(new.occurred_at)
    return replace(new, occurred_at=moment, zone="floating" if new.occurred_at.tzinfo is None else new.zone)


def _check_types(new: NewTurn) -> None:
    """Callers without a type checker, and files, may give anything: what is stored must not break those who read it."""
    for name in ("session", "zone"):
        if not isinstance(getattr(new, name), str):
            raise InputError(f"a turn's {name} is a string; got {getattr(new, name)!r}")
    for name in ("speaker", "source", "external_id", "parent_id"):
        if not isinstance(getattr(new, name), str | None):
            raise InputError(f"a turn's {name} is a string or None; got {getattr(new, name)!r}")
    if not isinstance(new.metadata, Mapping):
        raise InputError(f"a turn's metadata is a mapping; got {type(new.metadata).__name__}")
    for part in new.parts:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise InputError('a part of a turn is a mapping with a "type", such as {"type": "text", "text": "…"}')
        if any(not isinstance(part.get(name, ""), str | None) for name in ("text", "caption")):
            raise InputError("the text and the caption of a part are strings")


def is_empty(new: NewTurn) -> bool:
    return not new.text.strip() and all(part.get("type") == "text" for part in new.parts)


@dataclass
class Appender:
    """Appends turns to one namespace within a write transaction, remembering where each session stands."""

    writer: Writer
    namespace: Namespace
    now: datetime
    chunk_turns: int
    _next: dict[str, int] = field(default_factory=dict)
    _chunks: dict[str, Chunk | None] = field(default_factory=dict)

    def append(self, new: NewTurn) -> Turn:
        """Add one turn, its place in a chunk, and its `embed` job."""
        seq = self._take_seq(new.session)
        self._place(new.session, seq)
        given: dict[str, Any] = {name: getattr(new, name) for name in _FIELDS}
        given["occurred_at"] = new.occurred_at or self.now
        turn = Turn(**given, id=new_id(), namespace=self.namespace, seq=seq, recorded_at=self.now)
        self.writer.add([turn, embed_job("turn", turn.id, namespace=self.namespace, now=self.now)])
        return turn

    def _take_seq(self, session: str) -> int:
        if session not in self._next:
            last = self.writer.select(
                "turn", namespace=self.namespace, where={"session": session}, order="seq", descending=True, limit=1
            )
            # Where the last turns were forgotten, their places in a closed chunk stay taken: chunks must not overlap.
            chunk = self._latest_chunk(session)
            free = chunk.last_seq + 1 if chunk is not None and chunk.last_seq is not None else 0
            self._next[session] = max(free, next((turn.seq + 1 for turn in last), 0))
        seq = self._next[session]
        self._next[session] = seq + 1
        return seq

    def _place(self, session: str, seq: int) -> None:
        """Put the turn in the session's open chunk, or close that and open another (by size)."""
        chunk = self._latest_chunk(session)
        if chunk is None:
            self._close_others(session)
        elif chunk.last_seq is None and seq - chunk.first_seq < self.chunk_turns:
            return
        elif chunk.last_seq is None:
            self.writer.replace([replace(chunk, last_seq=seq - 1)])
        opened = new_chunk(session, seq, None, namespace=self.namespace, now=self.now)
        self.writer.add([opened])
        self._chunks[session] = opened

    def _latest_chunk(self, session: str) -> Chunk | None:
        if session not in self._chunks:
            self._chunks[session] = latest_chunk(self.writer, session, namespace=self.namespace)
        return self._chunks[session]

    def _close_others(self, session: str) -> None:
        """A new session closes what the others left open: a chunk never waits for a session that is over."""
        for chunk in list(self.writer.select("chunk", namespace=self.namespace, where={"last_seq": None})):
            if chunk.session != session:
                self.writer.replace([replace(chunk, last_seq=_last_seq(self.writer, chunk))])
                self._chunks.pop(chunk.session, None)


def latest_chunk(reader: Reader, session: str, *, namespace: Namespace) -> Chunk | None:
    found = reader.select(
        "chunk", namespace=namespace, where={"session": session}, order="first_seq", descending=True, limit=1
    )
    return next(found, None)


def _last_seq(reader: Reader, chunk: Chunk) -> int:
    turns = reader.select(
        "turn", namespace=chunk.namespace, where={"session": chunk.session}, order="seq", descending=True, limit=1
    )
    return next((turn.seq for turn in turns if turn.seq >= chunk.first_seq), chunk.first_seq)


def new_chunk(session: str, first: int, last: int | None, *, namespace: Namespace, now: datetime) -> Chunk:
    return Chunk(id=new_id(), namespace=namespace, session=session, first_seq=first, last_seq=last, recorded_at=now)


def drop_jobs(writer: Writer, targets: Sequence[str], *, namespace: Namespace) -> None:
    """Remove the work that waits for records which go, or which it no longer concerns."""
    jobs = writer.select("job", namespace=namespace, where={"target": tuple(targets)})
    writer.remove("job", [job.id for job in jobs], namespace=namespace)


def embed_job(kind: str, target: str, *, namespace: Namespace, now: datetime) -> Job:
    return Job(
        id=new_id(), namespace=namespace, task="embed", target_kind=kind, target=target, recorded_at=now, run_after=now
    )


def append_all(appender: Appender, turns: Iterable[NewTurn]) -> Observed:
    """Append what is new: not known by (source, external_id), not suppressed, not empty."""
    writer, namespace = appender.writer, appender.namespace
    suppressing = writer.count("suppression", namespace=namespace) > 0
    added: list[Turn] = []
    known = suppressed = empty = 0
    for new in turns:
        _check_types(new)
        if is_empty(new):
            empty += 1
        elif find_external(writer, new, namespace=namespace) is not None:
            known += 1
        elif suppressing and is_suppressed(writer, external_key(new), namespace=namespace):
            suppressed += 1
        else:
            added.append(appender.append(check_turn(new)))
    return Observed(tuple(added), known, suppressed, empty)


def append_one(appender: Appender, new: NewTurn) -> Turn:
    """Append a turn; one that is known by (source, external_id) is returned as it is. Raises ConflictError where it
    was forgotten."""
    known = find_external(appender.writer, new, namespace=appender.namespace)
    if known is not None:
        return known
    if is_suppressed(appender.writer, external_key(new), namespace=appender.namespace):
        raise ConflictError(
            f"turn {new.external_id!r} of {new.source!r} was forgotten; to keep it, give another source"
        )
    return appender.append(new)


def find_external(reader: Reader, new: NewTurn, *, namespace: Namespace) -> Turn | None:
    if new.external_id is None:
        return None
    where: Mapping[str, Any] = {"source": new.source, "external_id": new.external_id}
    return next(reader.select("turn", namespace=namespace, where=where, limit=1), None)


def external_key(turn: NewTurn) -> str | None:
    """What identifies a turn's origin for suppression, None where it has none."""
    return None if turn.external_id is None else f"turn\0{turn.source}\0{turn.external_id}"


def is_suppressed(reader: Reader, key: str | None, *, namespace: Namespace) -> bool:
    if key is None:
        return False
    return reader.count("suppression", namespace=namespace, where={"digest": reader.digest(key)}) > 0


def suppress(writer: Writer, keys: Iterable[str], *, namespace: Namespace, now: datetime) -> None:
    """Record that what these keys stand for must not come back by itself."""
    wanted = {writer.digest(key) for key in keys}
    known = {s.digest for s in writer.select("suppression", namespace=namespace, where={"digest": tuple(wanted)})}
    fresh = sorted(wanted - known)
    writer.add(Suppression(id=new_id(), namespace=namespace, digest=digest, recorded_at=now) for digest in fresh)
