"""What the user calls a session. It is one entry of the log of operations, "rename", and the newest one counts.

So a title lies where content does: in its namespace, erased byte by byte, and taken along by exports and moves. It goes
when its session's last turn is forgotten, and when what is forgotten is repeated in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from agentmem.digests import normalise
from agentmem.errors import InputError, NotFoundError
from agentmem.ids import new_id
from agentmem.interfaces import Reader, Writer
from agentmem.types import Namespace, Operation, SessionInfo

LONGEST = 200
"""Characters of a title."""
_SHORTEST_REPEAT = 12
"""Characters of a normalised text from which it is looked for in titles, and a title in it."""


def sessions(reader: Reader, *, namespace: Namespace) -> list[SessionInfo]:
    """The sessions by their last turn, latest first, each with its title where it has one."""
    titles = {op.before["session"]: op.before["title"] for op in _renames(reader, namespace)}
    infos = reader.sessions(namespace=namespace)
    return [replace(info, title=titles.get(info.session)) for info in infos] if titles else infos


def rename(writer: Writer, session: str, title: str, *, namespace: Namespace, now: datetime) -> str | None:
    """Call a session by a title, in one line; an empty one takes its title away. Return what it is called now.

    Raises NotFoundError for a session without turns, InputError for a title of more than `LONGEST` characters.
    """
    folded = " ".join(title.split())
    if len(folded) > LONGEST:
        raise InputError(f"the title has {len(folded)} characters: {LONGEST} are the most")
    if not writer.count("turn", namespace=namespace, where={"session": session}):
        raise NotFoundError(f"no session {session!r} in this namespace: `agentmem sessions` lists them")
    former = [op.id for op in _renames(writer, namespace) if op.before["session"] == session]
    writer.remove("operation", former, namespace=namespace)
    if not folded:
        return None
    before = {"session": session, "title": folded}
    writer.add([Operation(id=new_id(), namespace=namespace, name="rename", before=before, recorded_at=now)])
    return folded


def forget(writer: Writer, held: Iterable[str], texts: Sequence[str], *, namespace: Namespace) -> None:
    """Remove the titles of those of the sessions that hold nothing any more, and those that repeat one of the forgotten
    texts or are repeated in one."""
    left = {session: writer.count("turn", namespace=namespace, where={"session": session}) for session in held}
    said = [text for text in map(normalise, texts) if len(text) >= _SHORTEST_REPEAT]
    gone = [op.id for op in _renames(writer, namespace) if left.get(op.before["session"]) == 0 or _repeats(op, said)]
    writer.remove("operation", gone, namespace=namespace)


def _repeats(rename: Operation, said: Sequence[str]) -> bool:
    title = normalise(rename.before["title"])
    return any(text in title or (len(title) >= _SHORTEST_REPEAT and title in text) for text in said)


def _renames(reader: Reader, namespace: Namespace) -> list[Operation]:
    return list(reader.select("operation", namespace=namespace, where={"name": "rename"}, order="id"))
