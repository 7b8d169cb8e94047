"""What mem0 keeps (mem0ai 1 and 2): its memories as JSON, and its history.db.

JSON: what `get_all` or a platform export gives ({"results": [...]}, or the list itself), or the points of its vector
store (objects with a "payload", as Qdrant's scroll gives them). Each memory is a turn, of when its words were last
changed; users, agents, runs and all metadata stay with it, a run is its session. Relations of its graph ("relations")
are turns of three words.

history.db: each wording that a memory had is a turn; those that were replaced are superseded, and what was deleted
there is passed over. The last messages of each conversation, which it holds too, are turns as well. It does not say
whose a memory is: it is read as one person's, and refused where its messages tell of several.

A memory has the same external id in both (its id there and a digest of the words), so one adds to the other only what
is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentmem.errors import FormatError
from agentmem.ingest.chat import read_role
from agentmem.ingest.owners import EVERYBODY, of_one
from agentmem.ingest.reading import Node
from agentmem.ingest.tables import rows
from agentmem.ingest.tables import tables as tables_of
from agentmem.ingest.times import read_time
from agentmem.types import NewTurn, TurnStatus

_LISTS = ("results", "memories", "points")
_TEXTS = ("memory", "data", "text")
_OWNERS = ("user_id", "agent_id", "run_id")
_TIMES = ("updated_at", "created_at")
_MADE_ANEW = frozenset({"id", "hash", "score", "vector", "text_lemmatized", *_TEXTS})
"""What is told otherwise in a turn, and what mem0 derives from the words."""
_HISTORY = "SELECT memory_id, old_memory, new_memory, event, created_at, updated_at, actor_id, role FROM history"


def looks_like(top: Node) -> bool:
    """Whether a JSON value is mem0's."""
    first = next(iter(_memories(top)), None)
    return first is not None and "id" in first.entries() and any(key in _fields(first) for key in _TEXTS[:2])


def turns(top: Node, path: Path, only: Sequence[str] = ()) -> Iterator[NewTurn]:
    """Turns of JSON."""
    yield from map(_memory, of_one(_memories(top), _owner, only, path))
    relations = top.get("relations") if isinstance(top.value, dict) else None
    yield from map(_relation, relations.items() if relations else [])


def _memories(top: Node) -> list[Node]:
    if isinstance(top.value, list):
        return top.items()
    inner = top.get("result") if isinstance(top.value, dict) else None
    holder = inner if inner is not None and isinstance(inner.value, dict) else top
    lists = (holder.get(key) for key in _LISTS if isinstance(holder.entries().get(key), list))
    found = next(lists, None)
    return found.items() if found else []


def _fields(memory: Node) -> Mapping[str, Any]:
    """What is told of a memory, wherever it stands: beside its words, in its payload, or in its metadata."""
    given = memory.entries()
    payload, metadata = given.get("payload"), given.get("metadata")
    rest = {key: value for key, value in given.items() if key not in ("payload", "metadata")}
    return {
        **rest,
        **(metadata if isinstance(metadata, dict) else {}),
        **(payload if isinstance(payload, dict) else {}),
    }


def _owner(memory: Node) -> str:
    fields = _fields(memory)
    return next((str(fields[key]) for key in _OWNERS if fields.get(key)), "")


def _memory(memory: Node) -> NewTurn:
    memory.object()
    fields = Node(_fields(memory), memory.file, memory.where)
    text = next((found for key in _TEXTS if (found := fields.get(key))), None) or fields.need(_TEXTS[0])
    kept = {key: value for key, value in fields.object().items() if key not in _MADE_ANEW and value is not None}
    return _turn(memory.need("id").name(), text.string(), fields, "complete", kept)


def _turn(memory: str, text: str, fields: Node, status: TurnStatus, kept: Mapping[str, Any]) -> NewTurn:
    given = next((found for key in _TIMES if (found := fields.get(key))), None)
    time = read_time(given, "UTC") if given else None
    role, speaker, run = (fields.get(key) for key in ("role", "actor_id", "run_id"))
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return NewTurn(
        role=read_role(role) if role else "user",
        parts=({"type": "text", "text": text},),
        session=run.name() if run else "mem0",
        speaker=speaker.name() if speaker else None,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=time.precision if time else "second",
        source="mem0",
        external_id=f"{memory}:{digest}",
        status=status,
        metadata=kept,
    )


def _relation(relation: Node) -> NewTurn:
    ends = relation.get("destination") or relation.need("target")
    text = " ".join(node.string() for node in (relation.need("source"), relation.need("relationship"), ends))
    return _turn("relation", text, Node({}, relation.file), "complete", {"relation": dict(relation.object())})


def history_turns(path: Path, only: Sequence[str] = ()) -> Iterator[NewTurn]:
    """Turns of history.db: memories in the order in which they were first written, then messages."""
    said = (
        list(rows(path, "messages", "SELECT * FROM messages ORDER BY rowid")) if "messages" in tables_of(path) else []
    )
    people = {_person(message) for message in said}
    if len(people) > 1 and EVERYBODY not in only:
        raise FormatError(
            f"{path}: is of several people, and does not say whose a memory is: export each one's with"
            " get_all(user_id=…) as JSON instead"
        )
    events: dict[str, list[Node]] = {}
    for event in rows(path, "history", f"{_HISTORY} ORDER BY rowid"):
        events.setdefault(event.need("memory_id").name(), []).append(event)
    for memory, told in events.items():
        yield from _wordings(memory, told)
    yield from map(_message, said)


def _person(message: Node) -> str:
    scope = message.get("session_scope")
    named = dict(part.partition("=")[::2] for part in scope.string().split("&")) if scope else {}
    return next((named[key] for key in _OWNERS if key in named), "")


def _wordings(memory: str, events: Sequence[Node]) -> Iterator[NewTurn]:
    """Each wording once, in order; the last one stands, unless the memory was deleted: then none is brought back."""
    if events[-1].need("event").string() == "DELETE":
        return
    wordings = [(said.string(), event) for event in events if (said := event.get("new_memory"))]
    for text, event in dict(wordings).items():
        status: TurnStatus = "complete" if text == wordings[-1][0] else "superseded"
        made = event.get("created_at")
        yield _turn(memory, text, event, status, {"created_at": made.string()} if made else {})


def _message(message: Node) -> NewTurn:
    content, name, scope = (message.get(key) for key in ("content", "name", "session_scope"))
    given = message.get("created_at")
    time = read_time(given, "UTC") if given else None
    return NewTurn(
        role=read_role(message.need("role")),
        parts=({"type": "text", "text": content.string() if content else ""},),
        session=scope.string() if scope and scope.value else "mem0",
        speaker=name.string() if name else None,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=time.precision if time else "second",
        source="mem0:messages",
        external_id=message.need("id").name(),
    )
