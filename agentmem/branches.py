"""A conversation that is edited, answered anew, or gone on with from an earlier place: nothing that was said is lost.

- A turn that another took the place of, and what followed it, has status "superseded": it stays in the ledger, and
  neither recall nor a model is shown it. The turn in its place names it as its `parent_id`. What was learnt from such
  turns alone is taken back.
- A fork is a session whose first turn names, as its `parent_id`, the turn of another session that it goes on after.
  What was said up to there belongs to it as well; it is not copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from agentmem import thoughts
from agentmem.interfaces import Reader, Writer
from agentmem.types import Namespace, Operation, Thought, Turn

_ALL = 2**62


def supersede(writer: Writer, turn: Turn, *, itself: bool, namespace: Namespace, now: datetime) -> int:
    """Mark what follows a turn in its session as superseded, with `itself` the turn too; return how many that were."""
    where = {"session": turn.session, "seq": range(turn.seq + (not itself), _ALL)}
    standing = [t for t in writer.select("turn", namespace=namespace, where=where) if t.status != "superseded"]
    writer.replace(replace(t, status="superseded") for t in standing)
    drawn = writer.edges(namespace=namespace, parents=[t.id for t in standing], relation="source")
    _unlearn(writer, [edge.child for edge in drawn], namespace=namespace, now=now)
    return len(standing)


def _unlearn(writer: Writer, ids: Sequence[str], *, namespace: Namespace, now: datetime) -> None:
    """Retract the thoughts that only superseded turns bear, from when they began on, as if they had never held; what
    they had ended holds again, as far as that is borne."""
    found: list[Thought] = writer.get("thought", list(dict.fromkeys(ids)), namespace=namespace)
    gone = [thought for thought in found if thought.state == "live" and _is_superseded(writer, thought)]
    for thought in gone:
        thoughts.retract(
            writer, thought.id, namespace=namespace, now=now, superseded_by=None, valid_to=thought.valid_from
        )
    if ended := _ended_by(writer, gone, namespace):
        for operation in ended:
            thoughts.undo(writer, operation.id, namespace=namespace, now=now)
        _unlearn(writer, [operation.before["thought"] for operation in ended], namespace=namespace, now=now)


def _is_superseded(reader: Reader, thought: Thought) -> bool:
    """Whether a thought has turns that it was drawn from, and all of them are superseded."""
    edges = reader.edges(namespace=thought.namespace, children=[thought.id], relation="source")
    turns: list[Turn] = reader.get("turn", [edge.parent for edge in edges], namespace=thought.namespace)
    return bool(turns) and all(turn.status == "superseded" for turn in turns)


def _ended_by(reader: Reader, successors: Sequence[Thought], namespace: Namespace) -> list[Operation]:
    """The operations that ended thoughts in favour of these, and still stand."""
    where = {"superseded_by": tuple(thought.id for thought in successors), "state": "retracted"}
    ended = {thought.id for thought in reader.select("thought", namespace=namespace, where=where)} if successors else ()
    standing = reader.select("operation", namespace=namespace, where={"undone_at": None}) if ended else ()
    return [operation for operation in standing if operation.before.get("thought") in ended]


def thread(
    reader: Reader,
    session: str,
    *,
    namespace: Namespace,
    limit: int,
    follows: str | None = None,
    before: Turn | None = None,
) -> Iterator[Turn]:
    """The conversation up to its end, or up to the turn `before` which it is wanted: at most `limit` turns, the newest
    first. What the session was forked from is part of it. `follows` is the turn that it goes on after, for a session
    that has no turn yet."""
    last, seen = _ALL if before is None else before.seq, set[str]()
    while limit > 0 and session not in seen:
        seen.add(session)
        where = {"session": session, "seq": range(last)}
        first: Turn | None = None
        for turn in reader.select("turn", namespace=namespace, where=where, order="seq", descending=True, limit=limit):
            first, limit = turn, limit - 1
            yield turn
        if limit <= 0:
            return
        if first is None and before is not None:  # the very first turn of a session is the one that is looked before
            first = before
        left = _left(reader, first, follows, namespace)
        if left is None:
            return
        session, last, follows, before = left.session, left.seq + 1, None, None


def _left(reader: Reader, first: Turn | None, follows: str | None, namespace: Namespace) -> Turn | None:
    """The turn of another session that one goes on after, whose first turn is `first`."""
    wanted = follows if first is None else first.parent_id
    found: list[Turn] = reader.get("turn", [wanted], namespace=namespace) if wanted else []
    return found[0] if found and (first is None or found[0].session != first.session) else None
