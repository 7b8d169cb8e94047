"""Plain JSON Lines of turns, and OpenAI-style chats.

JSON Lines, one turn a line:

    {"role": "user", "text": "…", "session": "monday", "speaker": "Ann", "occurred_at": "2024-05-31T18:30:00+02:00"}

`role` (user, assistant, tool, system) and one of `text`, `content` (a string or OpenAI-style parts) or `parts` (ours)
are needed. Optional: `session`, `speaker` (also `name`), `occurred_at` (ISO 8601 or epoch; also `timestamp`,
`created_at`), `zone` (of a time that names none), `precision`, `source`, `external_id` (also `id`), `status` and
`metadata`; other keys are kept in the metadata.

OpenAI-style: a JSON list of messages, `{"messages": […]}`, a list of such, or JSON Lines of such, each its own session.
A message's `tool_calls` become parts of type "tool_call"; what else it holds is kept in the metadata.

A turn without an id gets one from its place and its own content, so that a file that grew adds only what is new. Files
are told apart by name and by how the first turn looks from outside (role, session, time, length), not by what it says:
that may have to be forgotten while the others stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from agentmem.ingest.reading import Node, is_lines, lines, whole
from agentmem.ingest.times import Time, read_time
from agentmem.types import NewTurn, Part, Precision, Role, TurnStatus

ROLES: dict[str, Role] = {
    **{role: role for role in get_args(Role)},
    "human": "user",
    "ai": "assistant",
    "developer": "system",
    "function": "tool",
}
_TIMES = ("occurred_at", "timestamp", "created_at")
_IDS = ("external_id", "id")
_READ = frozenset(
    {
        "role",
        "text",
        "content",
        "parts",
        "session",
        "speaker",
        "name",
        "zone",
        "precision",
        "source",
        "status",
        "metadata",
    }
    | {"tool_calls", *_TIMES, *_IDS}
)


def read_role(node: Node) -> Role:
    role = ROLES.get(node.string())
    if role is None:
        raise node.fail(f"a role ({', '.join(get_args(Role))})")
    return role


def plain_turns(nodes: Iterable[Node], path: Path) -> Iterator[NewTurn]:
    """Turns of plain JSON Lines."""
    return _identified((message_turn(node) for node in nodes), "jsonl", path.stem)


def conversations(path: Path) -> Iterator[tuple[Node, bool]]:
    """The lists of messages in an OpenAI-style file, and whether there may be several."""
    if is_lines(path):
        yield from ((node, True) for node in lines(path))
        return
    top = whole(path)
    many = isinstance(top.value, list) and bool(top.value) and "messages" in top.items()[0].entries()
    yield from ((node, many) for node in (top.items() if many else [top]))


def openai_turns(chats: Iterable[tuple[Node, bool]], path: Path) -> Iterator[NewTurn]:
    """Turns of OpenAI-style chats."""
    for number, (chat, many) in enumerate(chats, 1):
        messages = (chat if isinstance(chat.value, list) else chat.need("messages")).items()
        given = chat.get("id") if isinstance(chat.value, dict) else None
        name = given.name() if given else f"{path.stem}-{number}" if many else path.stem
        yield from _identified((message_turn(message) for message in messages), "openai", name)


def message_turn(node: Node) -> NewTurn:
    """One message as a turn, without a session, source or id that it does not name."""
    time = _time(node)
    speaker, session = node.get("speaker") or node.get("name"), node.get("session")
    source = node.get("source")
    given_id = next((found for key in _IDS if (found := node.get(key))), None)
    return NewTurn(
        role=read_role(node.need("role")),
        parts=tuple(_parts(node)),
        session=session.name() if session else "",
        speaker=speaker.string() if speaker else None,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=_choice(node, "precision", Precision) or (time.precision if time else "second"),
        source=source.string() if source else None,
        external_id=given_id.name() if given_id else None,
        status=_choice(node, "status", TurnStatus) or "complete",
        metadata=_metadata(node),
    )


def _time(node: Node) -> Time | None:
    given = next((found for key in _TIMES if (found := node.get(key))), None)
    zone = node.get("zone")
    return read_time(given, zone.string() if zone else None) if given else None


def _choice(node: Node, key: str, allowed: Any) -> Any:
    found = node.get(key)
    if found is not None and found.value not in get_args(allowed):
        raise found.fail(f"one of {', '.join(get_args(allowed))}")
    return found.value if found else None


def _metadata(node: Node) -> Mapping[str, Any]:
    given = node.get("metadata")
    others = {key: value for key, value in node.object().items() if key not in _READ and value is not None}
    return {**others, **(given.object() if given else {})}


def _parts(node: Node) -> Iterator[Part]:
    keys = [key for key in ("text", "content", "parts") if node.get(key)]
    calls = node.get("tool_calls")
    if len(keys) > 1 or not (keys or calls or "content" in node.object()):
        raise node.fail('a turn with one of "text", "content" and "parts"')
    for key in keys:
        content = node.need(key)
        yield from (
            map(_part, content.items())
            if key != "text" and isinstance(content.value, list)
            else [{"type": "text", "text": content.string()}]
        )
    yield from map(_call, calls.items() if calls else [])


def _part(node: Node) -> Part:
    """One content part: the texts of OpenAI's two interfaces as our text, anything else as it is."""
    if isinstance(node.value, str):
        return {"type": "text", "text": node.value}
    kind = node.need("type").string()
    if kind in ("text", "input_text", "output_text", "refusal"):
        return {"type": "text", "text": node.need("refusal" if kind == "refusal" else "text").string()}
    return dict(node.object())


def _call(node: Node) -> Part:
    function = node.get("function") or node
    arguments = function.object().get("arguments")
    return {
        "type": "tool_call",
        "id": node.object().get("id"),
        "name": function.need("name").string(),
        "arguments": arguments,
    }


def _identified(turns: Iterable[NewTurn], format: str, name: str) -> Iterator[NewTurn]:
    """The turns with session, source and external id where they have none of their own."""
    mark = ""
    for place, turn in enumerate(turns):
        mark = mark or _mark(turn)
        yield replace(
            turn,
            session=turn.session or f"{name}-{mark[:4]}",
            source=turn.source or f"{format}:{name}:{mark}",
            external_id=turn.external_id or f"{place}:{_digest(_outside(turn), list(turn.parts))}",
        )


def _mark(first: NewTurn) -> str:
    return _digest(_outside(first), len(first.text))[:8]


def _outside(turn: NewTurn) -> list[str | None]:
    at = turn.occurred_at.isoformat() if turn.occurred_at else None
    return [turn.role, turn.speaker, turn.session, at]


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
