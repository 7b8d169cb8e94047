"""What came of an exchange; and what the user pins or leaves out for the next answer."""

from __future__ import annotations

from agentmem.agent import Agent
from agentmem.learning import Learnt
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel
from tests.unit.thinking_support import NS, Mind

OSLO, BERGEN = "The user lives in Oslo.", "The user lives in Bergen."


def told(found: list[Learnt] | None) -> list[tuple[str, str, bool]]:
    assert found is not None
    return [(one.how, one.thought.text, one.operation is not None) for one in found]


def test_what_came_of_each_exchange_is_told_apart(memory: Memory) -> None:
    mind = Mind(
        draws={"I live in Oslo.": [OSLO], "Yes, I live in Oslo.": [OSLO], "I live in Bergen now.": [BERGEN]},
        decides={BERGEN: ("replaces", [OSLO])},
    )
    model = mind.model("Noted.")
    agent = Agent(memory, model, namespace=NS, think=True)
    turns = []
    for said in ("I live in Oslo.", "Yes, I live in Oslo.", "I live in Bergen now."):
        answer = agent.ask(said)
        assert answer.user_turn is not None
        assert answer.turn is not None
        turns.append([answer.user_turn.id, answer.turn.id])
        memory.thinker(model).flush()
        expected = {0: [("new", OSLO, False)], 1: [("strengthened", OSLO, False)]}.get(len(turns) - 1)
        if expected is not None:
            assert told(memory.learnt(turns[-1], namespace=NS)) == expected
    assert told(memory.learnt(turns[2], namespace=NS)) == [("new", BERGEN, False), ("superseded", OSLO, True)]
    (_, over) = memory.learnt(turns[2], namespace=NS) or []
    memory.undo(over.operation, namespace=NS)
    assert told(memory.learnt(turns[2], namespace=NS)) == [("new", BERGEN, False)]


def test_it_is_none_while_the_exchange_waits_to_be_thought_about(memory: Memory) -> None:
    turn = memory.observe("user", "I live in Oslo.", namespace=NS, think=True)
    assert memory.learnt([turn.id], namespace=NS) is None


def test_nothing_comes_of_turns_that_were_forgotten_or_taught_nothing(memory: Memory) -> None:
    turn = memory.observe("user", "Hm.", namespace=NS)
    assert memory.learnt([turn.id], namespace=NS) == []
    memory.forget([turn.id], namespace=NS)
    assert memory.learnt([turn.id], namespace=NS) == []


def test_a_merge_is_told_with_what_takes_it_back(memory: Memory) -> None:
    turn = memory.observe("user", "Oslo, always.", namespace=NS)
    ids = [memory.insert(text, namespace=NS, sources=[turn.id]).thought.id for text in (OSLO, BERGEN)]
    merged, operation = memory.merge(ids, "The user lives in Norway.", namespace=NS)
    (learnt,) = memory.learnt([turn.id], namespace=NS) or []
    assert (learnt.how, learnt.thought.id, learnt.operation) == ("merged", merged.id, operation.id)


def test_what_is_pinned_stands_first_in_the_next_answer_and_what_is_left_out_in_none(memory: Memory) -> None:
    far = memory.observe("user", "Rui mends boats.", namespace=NS, session="old")
    near = memory.observe("user", "Ana bakes bread.", namespace=NS, session="old")
    agent = Agent(memory, FakeChatModel(["Bread."], repeat=True), namespace=NS, think=False)
    first = agent.ask("Who bakes bread?").recollection.items
    assert near.id in [item.id for item in first]
    (pin,) = [i for i in memory.recall("boats", namespace=NS, wait=0).items if i.id == far.id]
    agent.pinned, agent.left_out = (pin,), frozenset([near.id])
    second = [item.id for item in agent.ask("Who bakes it?").recollection.items]
    assert second[0] == far.id
    assert near.id not in second
    agent.begin_session()
    third = [item.id for item in agent.ask("Who bakes bread?").recollection.items]
    assert third[0] == near.id


def test_what_was_pinned_and_forgotten_meanwhile_does_not_come_back(memory: Memory) -> None:
    turn = memory.observe("user", "Rui mends boats.", namespace=NS, session="old")
    agent = Agent(memory, FakeChatModel(["Yes."]), namespace=NS, think=False)
    agent.pinned = memory.recall("boats", namespace=NS, wait=0).items
    memory.forget([turn.id], namespace=NS)
    assert turn.id not in [item.id for item in agent.ask("Who?").recollection.items]
