"""BEAM (Tavakoli et al. 2025): a long talk with an assistant, in batches, each a session "<name>/batch_<n>".

Content is kept verbatim, the "->-> 1,1" that ends most questions too. A message's `time_anchor` (a day) holds from it
on until the next. The message id is the external id, and in the metadata as `message_id`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from agentmem.ingest.chat import read_role
from agentmem.ingest.reading import Node
from agentmem.ingest.times import Time, read_pattern
from agentmem.types import NewTurn

_TIME = "%B-%d-%Y"
_KEPT = ("index", "question_type")


def turns(top: Node, path: Path) -> Iterator[NewTurn]:
    batches = [(number, _messages(batch)) for number, batch in enumerate(top.items(), 1)]
    mark = _mark(message for _, messages in batches for message in messages)
    name = f"{path.parent.name}-{mark[:6]}" if path.parent.name else f"beam-{mark[:6]}"
    time: Time | None = None
    for (number, messages), batch in zip(batches, top.items(), strict=True):
        time = _anchor(batch) or time
        for message in messages:
            time = _anchor(message) or time
            yield _turn(message, time, f"{name}/batch_{number}", f"beam:{mark}")


def _messages(batch: Node) -> list[Node]:
    return [message for group in batch.need("turns").items() for message in group.items()]


def _mark(messages: Iterator[Node]) -> str:
    """What tells chats apart, which have no name of their own: how they are built, not what is said, since what is
    said may have to be forgotten."""
    keys = ("id", "role", "time_anchor", "index", "question_type")
    built = [[message.object().get(key) for key in keys] for message in messages]
    return hashlib.sha256(repr(built).encode()).hexdigest()[:16]


def _anchor(node: Node) -> Time | None:
    given = node.get("time_anchor")
    return read_pattern(given, _TIME, "day") if given else None


def _turn(message: Node, time: Time | None, session: str, source: str) -> NewTurn:
    given = message.object()
    number = message.need("id").name()
    return NewTurn(
        role=read_role(message.need("role")),
        parts=({"type": "text", "text": message.need("content").string()},),
        session=session,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=time.precision if time else "second",
        source=source,
        external_id=number,
        metadata={"message_id": given["id"], **{key: given[key] for key in _KEPT if given.get(key) is not None}},
    )
