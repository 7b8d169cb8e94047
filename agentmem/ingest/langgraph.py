"""What LangGraph keeps: items of its long-term store, and the conversations in its checkpoints.

Store: the SQLite file of `SqliteStore`, or its items as JSON (a list of what `Item.dict()` gives). Each item is a turn
of when it was last changed. Where its value holds nothing but one text (or a text and its kind), that is what is said;
else key and value are, as JSON. Namespace, key and value are in its metadata. Its external id comes from all three, so
that a changed value is a new turn.

Checkpoints: the SQLite file of `SqliteSaver`; needs `langgraph-checkpoint`, which wrote it. A thread is a session; each
message in any list of messages of the outermost graph is a turn, of when the first checkpoint that has it was made.
What lies on the way to a thread's newest checkpoint is complete; what a fork or an edit left is superseded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentmem.errors import FormatError
from agentmem.ingest.chat import message_turn
from agentmem.ingest.owners import EVERYBODY, of_one
from agentmem.ingest.reading import Node
from agentmem.ingest.tables import rows
from agentmem.ingest.times import Time, read_time
from agentmem.types import NewTurn

ITEM = frozenset({"namespace", "key", "value"})
_TEXTS = ("text", "content", "memory", "data")
_KINDS = frozenset({"kind", "type"})
_SEPARATOR = "."
"""Between the parts of a namespace, as LangGraph writes them; a part cannot hold one."""
_STORE = "SELECT prefix AS namespace, key, value, created_at, updated_at FROM store ORDER BY rowid"
_CHECKPOINTS = """
    SELECT thread_id, checkpoint_id, parent_checkpoint_id, type, checkpoint FROM checkpoints
    WHERE checkpoint_ns = '' ORDER BY thread_id, checkpoint_id
"""
"""Ids of checkpoints are in order of time."""


def item_turns(top: Node, path: Path, only: Sequence[str] = ()) -> Iterator[NewTurn]:
    """Turns of a list of items."""
    yield from map(_item, of_one(top.items(), _namespace, only, path, separator=_SEPARATOR))


def store_turns(path: Path, only: Sequence[str] = ()) -> Iterator[NewTurn]:
    """Turns of a store's SQLite file."""
    held = map(_with_value, rows(path, "store", _STORE))
    yield from map(_item, of_one(held, _namespace, only, path, separator=_SEPARATOR))


def _namespace(item: Node) -> str:
    given = item.need("namespace")
    if isinstance(given.value, list):
        return _SEPARATOR.join(part.string() for part in given.items())
    return given.string()


def _item(item: Node) -> NewTurn:
    namespace, key, value = _namespace(item), item.need("key").name(), item.need("value").value
    given = item.get("updated_at") or item.get("created_at")
    time = read_time(given, "UTC") if given else None
    told = json.dumps(value, ensure_ascii=False, sort_keys=True)
    mark = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return NewTurn(
        role="user",
        parts=({"type": "text", "text": _said(value) or f"{key}: {told}"},),
        session=namespace,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=time.precision if time else "second",
        source=f"langgraph:{namespace}",
        external_id=f"{key}:{mark}",
        metadata={"namespace": namespace.split(_SEPARATOR), "key": key, "value": value},
    )


def _with_value(row: Node) -> Node:
    """A row's value is JSON."""
    written = row.need("value")
    try:
        return Node({**row.object(), "value": json.loads(written.value)}, row.file, row.where)
    except (TypeError, ValueError) as error:
        raise written.fail("a value that is JSON") from error


def _said(value: Any) -> str | None:
    """The one text that a value is there for, None where it holds more, or none."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else None
    rest = value.keys() - _KINDS
    name = next((name for name in _TEXTS if rest == {name}), None)
    text = value.get(name) if name else None
    return text if isinstance(text, str) else None


@dataclass
class _Message:
    """A message as one checkpoint has it."""

    turn: NewTurn
    checkpoint: str


def checkpoint_turns(path: Path, only: Sequence[str] = ()) -> Iterator[NewTurn]:
    """Turns of a checkpointer's SQLite file, thread by thread; `only` names threads."""
    threads: dict[str, list[Node]] = {}
    for row in rows(path, "checkpoints", _CHECKPOINTS):
        threads.setdefault(row.need("thread_id").name(), []).append(row)
    unknown = [name for name in only if name not in threads and name != EVERYBODY]
    if unknown:
        raise FormatError(f"{path}: holds no thread {unknown[0]!r}")
    for thread, checkpoints in threads.items():
        if not only or thread in only or EVERYBODY in only:
            yield from _thread(thread, checkpoints)


def _thread(thread: str, checkpoints: Sequence[Node]) -> Iterator[NewTurn]:
    way = _way_to(checkpoints)
    found: dict[str, _Message] = {}
    standing: dict[str, str] = {}
    for checkpoint in checkpoints:
        name = checkpoint.need("checkpoint_id").name()
        for turn in _messages(thread, checkpoint):
            identity = str(turn.external_id)
            first = found.setdefault(identity, _Message(turn, name))
            if name in way:
                first.checkpoint = name
                standing[identity.partition(":")[0]] = identity
    for identity, message in found.items():
        stands = message.checkpoint in way and standing.get(identity.partition(":")[0]) == identity
        yield message.turn if stands else replace(message.turn, status="superseded")


def _way_to(checkpoints: Sequence[Node]) -> set[str]:
    """The newest checkpoint and those that it came from."""
    parents: dict[str, Any] = {
        row.need("checkpoint_id").name(): row.object().get("parent_checkpoint_id") for row in checkpoints
    }
    name, way = next(reversed(parents)), set[str]()
    while name in parents and name not in way:
        way.add(name)
        name = parents[name]
    return way


def _messages(thread: str, row: Node) -> Iterator[NewTurn]:
    from langchain_core.messages import BaseMessage, convert_to_openai_messages

    state = _state(row)
    time = read_time(Node(state["ts"], row.file, row.where), "UTC") if "ts" in state else None
    for channel in (state.get("channel_values") or {}).values():
        for message in channel if isinstance(channel, list) else []:
            if isinstance(message, BaseMessage):
                written = dict(convert_to_openai_messages(message))
                name = message.id or _digest(written)
                yield _placed(message_turn(Node(written, row.file, row.where)), thread, name, time, written)


def _placed(turn: NewTurn, thread: str, name: str, time: Time | None, written: Mapping[str, Any]) -> NewTurn:
    return replace(
        turn,
        session=thread,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        source=f"langgraph:{thread}",
        external_id=f"{name.replace(':', '_')}:{_digest(written)}",
    )


def _digest(written: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(written, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _state(row: Node) -> Mapping[str, Any]:
    """A checkpoint, in which only plain values, times and messages are made: nothing that a file names is imported."""
    try:
        from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    except ImportError as error:
        raise FormatError(
            f"{row.file}: reading checkpoints needs langgraph-checkpoint: pip install langgraph-checkpoint"
        ) from error
    written = (row.need("type").string(), row.object()["checkpoint"])
    try:
        state = JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(written)
    except Exception as error:  # its parts raise anything for bytes that are none of theirs
        raise row.fail(f"a checkpoint that langgraph-checkpoint reads ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise row.fail("a checkpoint")
    return state
