"""The ledger: turns in order, verbatim, each in a chunk; and what a second ingest must not bring back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, TypeAlias, get_args

from agentmem.clock import as_utc
from agentmem.errors import ConflictError, InputError
from agentmem.ids import new_id
from agentmem.interfaces import Reader, Writer
from agentmem.types import (
    Chunk,
    Edge,
    Job,
    Kind,
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
_ALLOWED = {"role": get_args(Role), "status": get_args(TurnStatus), "precision": get_args(Precision)}
_Origin: TypeAlias = tuple[str | None, str | None]
"""A turn's source and its id there."""
THINK = "think"
"""The task of thinking about an exchange; its target is the user's turn."""
SUMMARIZE = "summarize"
"""The task of summing up a closed chunk, its target."""
_ANSWERED_WITHIN = timedelta(minutes=5)
"""For so long thinking waits for an answer to the turn: then it is taken to have none."""


def as_parts(content: str | Sequence[Part]) -> tuple[Part, ...]:
    """Content as parts: a string is one text part."""
    if isinstance(content, str):
        return ({"type": "text", "text": content},)
    return tuple(content)


def check_turn(new: NewTurn) -> NewTurn:
    """The turn with its time in UTC. Raises InputError where it cannot be remembered."""
    _check_types(new)
    if is_empty(new):
        raise InputError("an empty turn cannot be remembered: give text, or a part of another type")
    return _checked(new)


def _checked(new: NewTurn) -> NewTurn:
    """The same of a turn that holds values of the right types, and content."""
    for name, allowed in _ALLOWED.items():
        if getattr(new, name) not in allowed:
            raise InputError(f"a turn's {name} is one of {', '.join(allowed)}; got {getattr(new, name)!r}")
    if not new.session:
        raise InputError("a turn needs a session: give a non-empty name")
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
    """Appends turns to one namespace within a write transaction, remembering where each session stands.

    What was appended is in the transaction after `finish`: records written together take half the time. With `think`,
    each turn of a user's is queued to be thought about, once it is answered or nobody has for a while, and each chunk
    that closes to be summed up.
    """

    writer: Writer
    namespace: Namespace
    now: datetime
    chunk_turns: int
    think: bool = False
    _next: dict[str, int] = field(default_factory=dict)
    _last: dict[str, Turn] = field(default_factory=dict)
    _latest: dict[str, Chunk | None] = field(default_factory=dict)
    _opened: dict[str, Chunk] = field(default_factory=dict)
    _closed: dict[str, Chunk] = field(default_factory=dict)
    _stored_open: list[Chunk] | None = None
    _waiting: list[Turn | Job] = field(default_factory=list)
    _answered: list[str] = field(default_factory=list)

    def append(self, new: NewTurn) -> Turn:
        """Add one turn, its place in a chunk, and its `embed` job."""
        seq = self._take_seq(new.session)
        self._place(new.session, seq)
        given: dict[str, Any] = {name: getattr(new, name) for name in _FIELDS}
        given["occurred_at"] = new.occurred_at or self.now
        turn = Turn(**given, id=new_id(), namespace=self.namespace, seq=seq, recorded_at=self.now)
        self._waiting += (turn, embed_job("turn", turn.id, namespace=self.namespace, now=self.now))
        if self.think and turn.role == "user":
            later = self.now + _ANSWERED_WITHIN
            self._waiting.append(
                new_job(THINK, "turn", turn.id, namespace=self.namespace, now=self.now, run_after=later)
            )
        elif turn.role == "assistant" and (asked := self._asked(turn)) is not None:
            self._answered.append(asked)
        self._last[turn.session] = turn
        return turn

    def _asked(self, answer: Turn) -> str | None:
        """The turn that an answer is to: the one it names, else the user's turn just before it."""
        before = self._last.get(answer.session)
        if answer.parent_id is None and before is not None and before.role == "user":
            return before.id
        return answer.parent_id

    def finish(self) -> None:
        """Write what was appended."""
        if self._closed:
            self.writer.replace(self._closed.values())
        self.writer.add([*self._opened.values(), *self._waiting])
        if self._answered:
            where = {"target": tuple(self._answered), "task": THINK}
            due = list(self.writer.select("job", namespace=self.namespace, where=where))
            change_jobs(self.writer, due, run_after=self.now)
        self._stored_open = None
        for written in (self._opened, self._closed, self._waiting, self._answered):
            written.clear()

    def _take_seq(self, session: str) -> int:
        if session not in self._next:
            last = self.writer.select(
                "turn", namespace=self.namespace, where={"session": session}, order="seq", descending=True, limit=1
            )
            # Where the last turns were forgotten, their places in a closed chunk stay taken: chunks must not overlap.
            chunk = self._latest_chunk(session)
            free = chunk.last_seq + 1 if chunk is not None and chunk.last_seq is not None else 0
            self._next[session] = free
            for turn in last:
                self._last[session], self._next[session] = turn, max(free, turn.seq + 1)
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
            self._close(chunk, seq - 1)
        opened = new_chunk(session, seq, None, namespace=self.namespace, now=self.now)
        self._opened[opened.id] = self._latest[session] = opened

    def _latest_chunk(self, session: str) -> Chunk | None:
        if session not in self._latest:
            self._latest[session] = latest_chunk(self.writer, session, namespace=self.namespace)
        return self._latest[session]

    def _close(self, chunk: Chunk, last_seq: int) -> None:
        closed = replace(chunk, last_seq=last_seq)
        (self._opened if chunk.id in self._opened else self._closed)[chunk.id] = closed
        if self.think:
            self._waiting.append(summarize_job(chunk, now=self.now))
        latest = self._latest.get(chunk.session)
        if latest is None or latest.first_seq <= chunk.first_seq:
            self._latest[chunk.session] = closed

    def _close_others(self, session: str) -> None:
        """A new session closes what the others left open: a chunk never waits for a session that is over."""
        if self._stored_open is None:
            self._stored_open = list(self.writer.select("chunk", namespace=self.namespace, where={"last_seq": None}))
        here = [chunk for chunk in self._opened.values() if chunk.last_seq is None]
        for chunk in [*here, *(chunk for chunk in self._stored_open if chunk.id not in self._closed)]:
            if chunk.session != session:
                self._close(chunk, self._last_seq(chunk))

    def _last_seq(self, chunk: Chunk) -> int:
        """The last turn of an open chunk's session, or the chunk's first place where none is left."""
        if chunk.session in self._next:
            return self._next[chunk.session] - 1
        turns = self.writer.select(
            "turn", namespace=self.namespace, where={"session": chunk.session}, order="seq", descending=True, limit=1
        )
        return next((turn.seq for turn in turns if turn.seq >= chunk.first_seq), chunk.first_seq)


def latest_chunk(reader: Reader, session: str, *, namespace: Namespace) -> Chunk | None:
    found = reader.select(
        "chunk", namespace=namespace, where={"session": session}, order="first_seq", descending=True, limit=1
    )
    return next(found, None)


def new_chunk(session: str, first: int, last: int | None, *, namespace: Namespace, now: datetime) -> Chunk:
    return Chunk(id=new_id(), namespace=namespace, session=session, first_seq=first, last_seq=last, recorded_at=now)


def drop_jobs(writer: Writer, targets: Sequence[str], *, namespace: Namespace) -> None:
    """Remove the work that waits for records which go, or which it no longer concerns."""
    jobs = writer.select("job", namespace=namespace, where={"target": tuple(targets)})
    writer.remove("job", [job.id for job in jobs], namespace=namespace)


def link_recalled(writer: Writer, answer_id: str, items: Sequence[tuple[Kind, str]], *, namespace: Namespace) -> None:
    """Edges from an answer to what stood in its prompt, as far as it is there."""
    if not items:
        return
    named: list[tuple[Kind, str]] = [("turn", answer_id), *items]
    there: set[str] = set()
    for kind in {kind for kind, _ in named}:
        where = {"id": tuple(i for k, i in named if k == kind)}
        there.update(writer.columns(kind, ["id"], namespace=namespace, where=where)["id"])
    edges = (Edge("turn", answer_id, kind, i, "recalled") for kind, i in items if {i, answer_id} <= there)
    writer.link(edges, namespace=namespace)


def change_jobs(writer: Writer, jobs: Iterable[Job], **changes: Any) -> None:
    """Give jobs other values, those of them that are still there."""
    for job in jobs:
        writer.replace(replace(left, **changes) for left in writer.get("job", [job.id], namespace=job.namespace))


def embed_job(kind: str, target: str, *, namespace: Namespace, now: datetime) -> Job:
    return new_job("embed", kind, target, namespace=namespace, run_after=now, now=now)


def summarize_job(chunk: Chunk, *, now: datetime) -> Job:
    return new_job(SUMMARIZE, "chunk", chunk.id, namespace=chunk.namespace, run_after=now, now=now)


def new_job(task: str, kind: str, target: str, *, namespace: Namespace, now: datetime, run_after: datetime) -> Job:
    return Job(
        id=new_id(),
        namespace=namespace,
        task=task,
        target_kind=kind,
        target=target,
        recorded_at=now,
        run_after=run_after,
    )


def append_all(appender: Appender, turns: Sequence[NewTurn]) -> Observed:
    """Append what is new: not known by (source, external_id), not suppressed, not empty. What is known, and now comes
    as superseded, is superseded here too."""
    for new in turns:
        _check_types(new)
    known = _known(appender.writer, turns, namespace=appender.namespace)
    forgotten = _suppressed(appender.writer, turns, namespace=appender.namespace)
    added: list[Turn] = []
    replaced: list[Turn] = []
    again = suppressed = empty = 0
    for new in turns:
        origin = (new.source, new.external_id)
        if is_empty(new):
            empty += 1
        elif (there := known.get(origin)) is not None:
            again += 1
            if new.status == "superseded" and there.status == "complete":
                replaced.append(replace(there, status="superseded"))
        elif origin in forgotten:
            suppressed += 1
        else:
            added.append(appender.append(_checked(new)))
            if new.external_id is not None:
                known[origin] = added[-1]
    appender.finish()
    appender.writer.replace(replaced)
    return Observed(tuple(added), again, suppressed, empty)


def append_one(appender: Appender, new: NewTurn) -> Turn:
    """Append a turn; one that is known by (source, external_id) is returned as it is. Raises ConflictError where it
    was forgotten."""
    known = next(_find_external(appender.writer, new.source, [new.external_id], namespace=appender.namespace), None)
    if known is not None:
        return known
    if _suppressed(appender.writer, [new], namespace=appender.namespace):
        raise ConflictError(
            f"turn {new.external_id!r} of {new.source!r} was forgotten; to keep it, give another source"
        )
    turn = appender.append(new)
    appender.finish()
    return turn


def _known(reader: Reader, turns: Iterable[NewTurn], *, namespace: Namespace) -> dict[_Origin, Turn]:
    """Those of the turns that are there already, by origin."""
    by_source: dict[str | None, list[str | None]] = defaultdict(list)
    for new in turns:
        by_source[new.source].append(new.external_id)
    found = (_find_external(reader, source, ids, namespace=namespace) for source, ids in by_source.items())
    return {(turn.source, turn.external_id): turn for turn in chain.from_iterable(found)}


def _find_external(
    reader: Reader, source: str | None, ids: Iterable[str | None], *, namespace: Namespace
) -> Iterator[Turn]:
    wanted = {id_ for id_ in ids if id_ is not None}
    if not wanted:
        return iter(())
    where: Mapping[str, Any] = {"source": source, "external_id": wanted}
    return reader.select("turn", namespace=namespace, where=where)


def external_key(turn: NewTurn) -> str | None:
    """What identifies a turn's origin for suppression, None where it has none."""
    return None if turn.external_id is None else f"turn\0{turn.source}\0{turn.external_id}"


def _suppressed(reader: Reader, turns: Iterable[NewTurn], *, namespace: Namespace) -> set[_Origin]:
    """The origins of those of the turns that must not come back."""
    keys = {(new.source, new.external_id): key for new in turns if (key := external_key(new)) is not None}
    if not keys or next(reader.select("suppression", namespace=namespace, limit=1), None) is None:
        return set()
    digests = {origin: reader.digest(key) for origin, key in keys.items()}
    where = {"digest": set(digests.values())}
    held = {found.digest for found in reader.select("suppression", namespace=namespace, where=where)}
    return {origin for origin, digest in digests.items() if digest in held}


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
