"""Editing, answering anew and forking: the conversation changes, and nothing that was said is lost."""

from __future__ import annotations

from typing import Any

import pytest

from agentmem.agent import Agent
from agentmem.errors import ModelError, NotFoundError
from agentmem.exchange import ToolStep
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, tool_call
from tests.unit.thinking_support import Mind

NS = ("ada",)


def talk(memory: Memory, *script: Any, **how: Any) -> tuple[Agent, FakeChatModel]:
    model = FakeChatModel(list(script))
    return Agent(memory, model, namespace=NS, session="s", **how), model


def told(model: FakeChatModel, request: int) -> list[str]:
    """What the model was shown of the conversation, without the system message."""
    return [message.text for message in model.requests[request][1:]]


def kept(memory: Memory, session: str = "s") -> list[tuple[str, str]]:
    return [(turn.text, turn.status) for turn in memory.turns(namespace=NS, session=session)]


def test_a_question_is_answered_anew_and_the_former_answer_stays_in_the_ledger(memory: Memory) -> None:
    agent, model = talk(memory, "Red.", "Blue.", "Green?")
    question = agent.ask("Which colour?").user_turn
    assert question is not None
    second = agent.ask(question)
    assert kept(memory) == [("Which colour?", "complete"), ("Red.", "superseded"), ("Blue.", "complete")]
    assert second.user_turn == question
    assert second.turn is not None
    assert second.turn.parent_id == question.id
    assert told(model, 1) == ["Which colour?"]
    agent.ask("And now?")
    assert told(model, 2) == ["Which colour?", "Blue.", "And now?"]


def test_a_new_answer_that_fails_leaves_the_former_one(memory: Memory) -> None:
    agent, _ = talk(memory, "Red.", ModelError("gone"))
    question = agent.ask("Which colour?").user_turn
    assert question is not None
    with pytest.raises(ModelError):
        agent.ask(question)
    assert kept(memory) == [("Which colour?", "complete"), ("Red.", "complete")]


def test_answering_an_earlier_question_anew_goes_on_from_there(memory: Memory) -> None:
    agent, model = talk(memory, "One.", "Two.", "Other.")
    first = agent.ask("First?").user_turn
    agent.ask("Second?")
    assert first is not None
    agent.ask(first)
    assert told(model, 2) == ["First?"]
    assert [text for text, status in kept(memory) if status == "complete"] == ["First?", "Other."]
    assert len(kept(memory)) == 5


def test_an_edit_takes_the_place_of_what_it_edits_and_names_it(memory: Memory) -> None:
    agent, model = talk(memory, "Nice.", "Even nicer.")
    first = agent.ask("I moved to Lisbon.").user_turn
    assert first is not None
    edited = agent.ask("I moved to Porto.", instead_of=first.id).user_turn
    assert edited is not None
    assert edited.parent_id == first.id
    assert [status for _, status in kept(memory)] == ["superseded", "superseded", "complete", "complete"]
    assert told(model, 1) == ["I moved to Porto."]
    found = [item.text for item in memory.recall("moved", namespace=NS, wait=0).items]
    assert "I moved to Porto." in found
    assert "I moved to Lisbon." not in found


def test_a_fork_goes_on_after_a_turn_of_another_session(memory: Memory) -> None:
    agent, model = talk(memory, "One.", "Two.", "Forked.", "On.")
    after = agent.ask("First?").turn
    agent.ask("Second?")
    assert after is not None
    agent.begin_session("fork", after=after.id)
    agent.ask("Third?")
    assert told(model, 2) == ["First?", "One.", "Third?"]
    agent.ask("Fourth?")
    assert told(model, 3) == ["First?", "One.", "Third?", "Forked.", "Fourth?"]
    assert len(kept(memory)) == 4
    assert [turn.text for turn in memory.thread("fork", namespace=NS, limit=5)][::-1] == [
        "One.", "Third?", "Forked.", "Fourth?", "On.",
    ]  # fmt: skip


def test_a_fork_of_which_the_first_question_is_answered_anew_keeps_what_it_goes_on_after(memory: Memory) -> None:
    agent, model = talk(memory, "One.", "Forked.", "Again.")
    after = agent.ask("First?").turn
    assert after is not None
    agent.begin_session("fork", after=after.id)
    question = agent.ask("Third?").user_turn
    assert question is not None
    agent.ask(question)
    assert told(model, 2) == ["First?", "One.", "Third?"]


def test_in_private_nothing_is_superseded(memory: Memory) -> None:
    agent, _ = talk(memory, "Red.", "Blue.", "Green.")
    question = agent.ask("Which colour?").user_turn
    assert question is not None
    agent.private = True
    agent.ask(question)
    agent.ask("Another?", instead_of=question.id)
    assert kept(memory) == [("Which colour?", "complete"), ("Red.", "complete")]


def live(memory: Memory) -> list[str]:
    return [thought.text for thought in memory.thoughts(namespace=NS)]


def test_what_was_learnt_from_a_reworded_question_alone_is_taken_back(memory: Memory) -> None:
    memory.observe("user", "I live in Oslo.", namespace=NS, session="s")
    oslo = memory.insert("Ada lives in Oslo.", namespace=NS)
    reworded = memory.observe("user", "I moved to Rome. I bake.", namespace=NS, session="s").id
    rome = memory.insert("Ada lives in Rome.", namespace=NS, sources=[reworded], supersedes=oslo.thought.id).thought
    paris = memory.insert("Ada lives in Paris.", namespace=NS, sources=[reworded], supersedes=rome.id).thought
    memory.insert("Ada bakes.", namespace=NS, sources=[reworded])
    other = memory.observe("user", "I bake.", namespace=NS, session="t").id
    memory.insert("Ada bakes.", namespace=NS, sources=[other])
    memory.supersede(reworded, namespace=NS)
    assert live(memory) == ["Ada lives in Oslo.", "Ada bakes."]
    assert [memory.get_thought(i, namespace=NS).state for i in (rome.id, paris.id)] == ["retracted"] * 2
    before = [t.text for t in memory.thoughts(namespace=NS, as_of=rome.valid_from)]
    assert not {"Ada lives in Rome.", "Ada lives in Paris."} & {*before}
    assert not [i for i in memory.recall("Where does Ada live?", namespace=NS).items if i.id in (rome.id, paris.id)]


def test_what_is_reworded_while_the_model_thinks_becomes_no_thought(memory: Memory) -> None:
    turn = memory.observe("user", "I moved to Oslo.", namespace=NS, session="s", speaker="Ann", think=True).id
    memory.observe("assistant", "Noted.", namespace=NS, session="s", parent_id=turn)
    mind = Mind({"I moved to Oslo.": ["Ann moved to Oslo."]})

    def reword_meanwhile(name: str, text: str) -> Any:
        memory.supersede(turn, namespace=NS)
        return mind(name, text)

    memory.thinker(Mind(faults=[reword_meanwhile]).model()).flush()
    assert mind.calls
    assert memory.thoughts(namespace=NS, state=None) == []


def test_an_answer_given_anew_takes_nothing_back_that_the_user_said(memory: Memory) -> None:
    agent, _ = talk(memory, "Red.", "Blue.")
    answer = agent.ask("I like colours.")
    question = answer.user_turn
    assert question is not None
    assert answer.turn is not None
    memory.insert("Ada likes colours.", namespace=NS, sources=[question.id, answer.turn.id])
    memory.insert("The agent suggested red.", namespace=NS, sources=[answer.turn.id], origin="agent")
    agent.ask(question)
    assert live(memory) == ["Ada likes colours."]


def test_superseding_what_is_not_there_says_so(memory: Memory) -> None:
    with pytest.raises(NotFoundError):
        memory.supersede("nothing", namespace=NS)


def test_tools_are_told_of_before_and_after_they_run(memory: Memory) -> None:
    memory.observe("user", "Rui mends boats.", namespace=NS, session="old")
    agent, _ = talk(memory, tool_call("search_memory", query="Rui boats"), tool_call("fly"), "Done.", memory_tools=True)
    seen: list[ToolStep] = []
    agent.watch = seen.append
    agent.ask("Who mends boats?")
    assert [(step.name, step.result is None, step.failed) for step in seen] == [
        ("search_memory", True, False), ("search_memory", False, False), ("fly", True, False), ("fly", False, True),
    ]  # fmt: skip
    assert seen[0].arguments == "query='Rui boats'"
    assert seen[1].result == "search_memory: 1 found"
