"""Conditions of a recall: exact whatever they are, k results where k exist, and clear errors for impossible ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmem.backends.memory import MemoryBackend
from agentmem.errors import InputError
from agentmem.filters import Conditions
from agentmem.ids import new_id
from agentmem.memory import Memory
from agentmem.recall import RecallEngine
from agentmem.thoughts import is_valid
from agentmem.types import Edge, Origin, Thought, Turn, only_quotes

NS = ("tests", "filters")
START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
DAYS = st.integers(0, 30).map(lambda n: START + timedelta(days=n))
FILLING = st.lists(st.sampled_from(("milk", "rain", "bike", "moon")), max_size=3).map(" ".join)


@st.composite
def turns(draw: st.DrawFn, number: int) -> Turn:
    """A turn that holds "tea", and a number by which no two are the same."""
    return Turn(
        id=new_id(),
        namespace=NS,
        role=draw(st.sampled_from(("user", "assistant", "tool"))),
        parts=({"type": "text", "text": f"tea {draw(FILLING)} {number}"},),
        session=draw(st.sampled_from("abc")),
        speaker=draw(st.sampled_from(("Ann", "bo", "user", None))),
        status=draw(st.sampled_from(("complete", "complete", "cancelled", "superseded"))),
        seq=number,
        occurred_at=draw(DAYS),
        recorded_at=draw(DAYS),
        metadata=draw(st.sampled_from(({}, {}, {}, {"quotes": True}))),
    )


@st.composite
def thoughts(draw: st.DrawFn, number: int) -> Thought:
    state = draw(st.sampled_from(("live", "live", "retracted", "merged")))
    begun, ended = sorted((draw(DAYS), draw(DAYS)))
    return Thought(
        id=new_id(),
        namespace=NS,
        text=f"tea {draw(FILLING)} {number}",
        recorded_at=draw(DAYS),
        valid_from=begun,
        valid_to=ended if state == "retracted" else None,
        retracted_at=None if state == "live" else draw(DAYS),
        state=state,  # type: ignore[arg-type]  # a Literal
        origin=draw(st.sampled_from(get_args(Origin))),
    )


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Any], list[Edge]]:
    """Turns and thoughts, and from which turns the thoughts stem."""
    said = [draw(turns(number)) for number in range(draw(st.integers(1, 12)))]
    held = [draw(thoughts(number)) for number in range(100, 100 + draw(st.integers(0, 12)))]
    sources = [(t, s) for t in held for s in draw(st.lists(st.sampled_from(said), max_size=2, unique_by=id))]
    return [*said, *held], [Edge("thought", thought.id, "turn", turn.id, "source") for thought, turn in sources]


@st.composite
def possible_conditions(draw: st.DrawFn) -> Conditions:
    after, before = sorted((draw(DAYS), draw(DAYS) + timedelta(hours=1)))
    given_: dict[str, Any] = {
        "session": draw(st.sampled_from((None, None, "a", "b", "nosuch"))),
        "after": draw(st.sampled_from((None, after))),
        "before": draw(st.sampled_from((None, before))),
        "as_of": draw(st.none() | DAYS),
        "known_at": draw(st.none() | DAYS),
    }
    of_one_kind: list[dict[str, Any]] = [
        {"kinds": ("turn",)},
        {"kinds": ("thought",)},
        {"speaker": draw(st.sampled_from(("ANN", "bo", "User", "tool", "Eve")))},
        {"origin": draw(st.sampled_from(get_args(Origin)))},
    ]
    return Conditions(**given_, **draw(st.sampled_from([{}, {}, *of_one_kind])))


def meets(record: Turn | Thought, wanted: Conditions, turn_of: dict[str, Turn], edges: list[Edge]) -> bool:
    """The conditions asked of one record."""
    if isinstance(record, Turn):
        said, at, kind = _said(record, wanted), record.occurred_at, "turn"
        sessions = {record.session}
    else:
        said, at, kind = _thought(record, wanted), record.valid_from, "thought"
        sessions = {turn_of[edge.parent].session for edge in edges if edge.child == record.id}
    in_range = (wanted.after is None or wanted.after <= at) and (wanted.before is None or at < wanted.before)
    return said and in_range and kind in wanted.kinds and (wanted.session is None or wanted.session in sessions)


def _said(turn: Turn, wanted: Conditions) -> bool:
    if turn.status == "superseded" or only_quotes(turn) or wanted.origin is not None:
        return False
    if wanted.speaker is not None and wanted.speaker.casefold() not in {(turn.speaker or "").casefold(), turn.role}:
        return False
    looking_back = wanted.as_of is not None or wanted.known_at is not None
    said_by_then = turn.occurred_at <= (wanted.as_of or NOW) or not looking_back
    return said_by_then and (wanted.known_at is None or turn.recorded_at <= wanted.known_at)


def _thought(thought: Thought, wanted: Conditions) -> bool:
    if wanted.speaker is not None or wanted.origin not in (None, thought.origin):
        return False
    return is_valid(thought, as_of=wanted.as_of or NOW, known_at=wanted.known_at)


@settings(max_examples=300, deadline=None)
@given(worlds(), possible_conditions(), st.integers(1, 6), FILLING)
def test_filters_agree_with_a_look_at_every_record(
    world: tuple[list[Any], list[Edge]], wanted: Conditions, k: int, asked: str
) -> None:
    records, edges = world
    backend = MemoryBackend()
    with backend.write() as writer:
        writer.add(records)
        writer.link(edges, namespace=NS)
    engine = RecallEngine(backend, clock=lambda: NOW)
    every, found = (
        [item.id for item in engine.recall(f"tea {asked}", None, namespace=NS, k=most, conditions=wanted)]
        for most in (len(records), k)
    )
    turn_of = {record.id: record for record in records if isinstance(record, Turn)}
    assert set(every) == {record.id for record in records if meets(record, wanted, turn_of, edges)}
    assert found == every[:k]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"after": NOW, "before": START}, "exchange"),
        ({"after": NOW, "before": NOW}, "exchange"),
        ({"after": "soon"}, "datetime"),
        ({"kinds": ()}, "turn and thought"),
        ({"kinds": ("turn", "chunk")}, "turn and thought"),
        ({"kinds": "turn"}, "turn and thought"),
        ({"origin": "nosuch"}, "user, agent, tool, code, import"),
        ({"origin": "user", "kinds": ("turn",)}, "only thoughts have an origin"),
        ({"speaker": "Ann", "kinds": ("thought",)}, "only turns have a speaker"),
        ({"speaker": "Ann", "origin": "user"}, "one of the two"),
    ],
)
def test_conditions_that_nothing_meets_are_an_error(memory: Memory, conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        memory.recall("tea", namespace=NS, wait=0, **conditions)


def test_a_session_brings_the_thoughts_that_came_from_it(memory: Memory) -> None:
    here = memory.observe("user", "I bought tea", namespace=NS, session="here")
    there = memory.observe("user", "I sold tea", namespace=NS, session="there")
    for number, sources in enumerate(([here.id], [there.id], [here.id, there.id], [])):
        memory.insert(f"thought {number} about tea", namespace=NS, sources=sources)

    def texts(session: str, **how: Any) -> set[str]:
        found = memory.recall("tea", namespace=NS, session=session, wait=0, **how).items
        return {item.text for item in found}

    assert texts("here") == {"I bought tea", "thought 0 about tea", "thought 2 about tea"}
    assert texts("there", kinds=("thought",)) == {"thought 1 about tea", "thought 2 about tea"}
    memory.forget([there.id], namespace=NS)
    assert texts("here") >= {"I bought tea", "thought 0 about tea"}
    assert texts("there") == set()


def test_few_among_many_are_found(memory: Memory) -> None:
    """A thousand better matches stand in front of the three that meet the conditions."""
    from agentmem.types import NewTurn

    def turn(text: str, session: str, day: int) -> NewTurn:
        at = START + timedelta(days=day)
        return NewTurn(role="user", parts=({"type": "text", "text": text},), session=session, occurred_at=at)

    memory.observe_many([turn(f"green tea, cup {n}", "many", 0) for n in range(1000)], namespace=NS)
    memory.observe_many([turn(f"cold water and no tea, day {n}", "few", n) for n in range(1, 6)], namespace=NS)
    after, before = START + timedelta(days=2), START + timedelta(days=5)
    found = memory.recall("green tea cup", namespace=NS, k=3, after=after, before=before, wait=0).items
    assert sorted(item.text[-1] for item in found) == ["2", "3", "4"]
    assert len(memory.recall("green tea cup", namespace=NS, k=5, session="few", wait=0).items) == 5


def test_what_is_not_wanted_makes_room_for_the_next(memory: Memory) -> None:
    ids = [memory.observe("user", f"tea {number}", namespace=NS).id for number in range(6)]
    found = {item.id for item in memory.recall("tea", namespace=NS, k=4, without=[*ids[:2], "unknown"]).items}
    assert found == set(ids[2:])
    assert memory.recall("tea", namespace=NS, without=ids).items == ()
