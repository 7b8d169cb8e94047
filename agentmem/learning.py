"""What was learnt from an exchange: the thoughts that came of its turns, and what became of others through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentmem.interfaces import Reader
from agentmem.ledger import THINK
from agentmem.types import Namespace, Operation, Thought, Turn

How: TypeAlias = Literal["new", "strengthened", "merged", "superseded"]


@dataclass(frozen=True, slots=True)
class Learnt:
    """A thought, and how it came about or ended. `operation` takes a merge or an end back (`Memory.undo`)."""

    thought: Thought
    how: How
    operation: str | None = None


def is_pending(reader: Reader, turn_ids: Sequence[str], *, namespace: Namespace) -> bool:
    """Whether one of these turns still waits to be thought about."""
    where = {"task": THINK, "target": tuple(turn_ids), "state": "queued"}
    return reader.count("job", namespace=namespace, where=where) > 0


def learnt_from(reader: Reader, turn_ids: Sequence[str], *, namespace: Namespace) -> list[Learnt]:
    """What came of these turns and still stands, and what it ended."""
    turns: list[Turn] = reader.get("turn", turn_ids, namespace=namespace)
    edges = reader.edges(namespace=namespace, parents=turn_ids, relation="source")
    ids = list(dict.fromkeys(edge.child for edge in edges))
    thoughts: list[Thought] = reader.get("thought", ids, namespace=namespace)
    if not turns or not thoughts:
        return []
    standing: list[Operation] = list(reader.select("operation", namespace=namespace, where={"undone_at": None}))
    merged = {operation.before.get("merged"): operation.id for operation in standing}
    ended = {operation.before.get("thought"): operation.id for operation in standing}
    begun = min(turn.recorded_at for turn in turns)
    found = [_learnt(t, begun <= t.recorded_at, merged.get(t.id)) for t in thoughts if t.state == "live"]
    where = {"superseded_by": tuple(ids), "state": "retracted"}
    over = reader.select("thought", namespace=namespace, where=where)
    return found + [Learnt(t, "superseded", ended.get(t.id)) for t in over]


def _learnt(thought: Thought, fresh: bool, merge: str | None) -> Learnt:
    if merge is not None:
        return Learnt(thought, "merged", merge)
    return Learnt(thought, "new" if fresh else "strengthened")
