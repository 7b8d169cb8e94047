"""LongMemEval (Wu et al. 2025): per question a haystack of chat sessions, each "<question>/<session id>" here.

Sessions recur in several questions' haystacks at other dates, so they are kept apart by question. Which session and
place a turn has is its external id; `has_answer` and `session_id` are in the metadata. The question and its answer are
not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentmem.ingest.chat import read_role
from agentmem.ingest.reading import Node
from agentmem.ingest.times import Time, read_pattern
from agentmem.types import NewTurn

_TIME = "%Y/%m/%d (%a) %H:%M"


def turns(top: Node) -> Iterator[NewTurn]:
    """Turns of one instance, or of a list of them."""
    for instance in top.items() if isinstance(top.value, list) else [top]:
        yield from _instance(instance)


def _instance(instance: Node) -> Iterator[NewTurn]:
    question = instance.need("question_id").name()
    sessions = instance.need("haystack_sessions").items()
    dates = _beside(instance, "haystack_dates", sessions)
    ids = [node.name() for node in _beside(instance, "haystack_session_ids", sessions)]
    for number, (session, date, name) in enumerate(zip(sessions, dates, ids, strict=True)):
        time = read_pattern(date, _TIME, "minute")
        # An id may stand twice in one haystack.
        own = name if ids.index(name) == number else f"{name}#{number}"
        for place, turn in enumerate(session.items()):
            yield _turn(turn, time, question, own, place)


def _beside(instance: Node, key: str, sessions: list[Node]) -> list[Node]:
    found = instance.need(key)
    if len(found.items()) != len(sessions):
        raise found.fail(f"{len(sessions)} entries, one per session")
    return found.items()


def _turn(turn: Node, time: Time, question: str, session: str, place: int) -> NewTurn:
    metadata = {"session_id": session}
    if "has_answer" in turn.object():
        metadata["has_answer"] = turn.object()["has_answer"]
    return NewTurn(
        role=read_role(turn.need("role")),
        parts=({"type": "text", "text": turn.need("content").string()},),
        session=f"{question}/{session}",
        occurred_at=time.at,
        zone=time.zone,
        precision=time.precision,
        source=f"longmemeval:{question}",
        external_id=f"{session}:{place}",
        metadata=metadata,
    )
