"""The stand-in: it quotes, says when it doesn't remember, and tells statements from questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentmem.agent import Agent
from agentmem.memory import Memory
from agentmem.models.extractive import NOT_REMEMBERED, STAND_IN, is_statement, reply, strength
from agentmem.types import RecallItem

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)


def item(
    text: str, coverage: float, cosine: float | None = None, *, day: int = 0, kind: Any = "turn", **source: Any
) -> RecallItem:
    measures = {"coverage": coverage, "context": coverage} | ({} if cosine is None else {"cosine": cosine})
    full = {"role": "user", "speaker": None, "source": "file", **source}
    return RecallItem(text, kind, text, 1.0, DAY + timedelta(days=day), full, "", measures=measures)


def test_what_bears_on_the_question_is_quoted_with_date_and_speaker() -> None:
    said = reply("Where is the harbour?", [item("It is by the harbour, in the north.", 0.9, 0.6, speaker="Ann")])
    assert said.splitlines()[1:] == ["- 2024-05-01, Ann: “It is by the harbour, in the north.”"]
    assert not said.startswith(NOT_REMEMBERED)


def test_nothing_to_the_point_is_said_to_be_not_remembered() -> None:
    assert reply("Where is it?", []) == f"{NOT_REMEMBERED} anything about that."
    assert reply("Where is it?", [item("I like tea.", 0.0, 0.1)]) == f"{NOT_REMEMBERED} anything about that."
    assert reply("Where is it?", [item("I like tea.", 0.05)]) == f"{NOT_REMEMBERED} anything about that."


def test_what_bears_on_it_a_little_is_offered_as_the_nearest() -> None:
    said = reply(
        "Where do I live?", [item("I moved to Lisbon.", 0.0, 0.33), *(item(f"{n}", 0.0, 0.31) for n in range(9))]
    )
    assert said.startswith(NOT_REMEMBERED)
    assert "Lisbon" in said.splitlines()[1]
    assert len(said.splitlines()) == 4


def test_another_speakers_words_are_not_given_for_the_named_ones() -> None:
    items = [item("I ran the race.", 0.9, 0.7, speaker="Bea"), item("How nice!", 0.2, 0.4, speaker="Ann")]
    said = reply("What did Ann say of the race?", items)
    assert said.startswith(f"{NOT_REMEMBERED} that of Ann.")
    assert "Bea: “I ran the race.”" in said


def test_the_named_speaker_comes_first() -> None:
    items = [item("Great race!", 0.6, 0.6, speaker="Bea"), item("I ran the race.", 0.6, 0.6, speaker="Ann")]
    said = reply("When did Ann run the race?", items).splitlines()
    assert [line.split(": ")[0] for line in said[1:]] == ["- 2024-05-01, Ann", "- 2024-05-01, Bea"]


def test_the_newest_is_marked_where_there_are_several_dates() -> None:
    items = [item("I take 20 mg.", 0.9, 0.6), item("I take 40 mg now.", 0.9, 0.6, day=30)]
    said = reply("What dose do I take?", items).splitlines()
    assert said[1].endswith("mg.”")
    assert said[2].endswith("now.” (newest)")


def test_at_most_six_are_quoted() -> None:
    assert len(reply("Where is it?", [item(f"{n}", 0.9, 0.6) for n in range(20)]).splitlines()) == 7


@pytest.mark.parametrize(
    ("said_by", "shown"),
    [
        ({"role": "user"}, "you"),
        ({"role": "assistant"}, "the assistant"),
        ({"role": "tool", "speaker": "weather"}, "tool weather"),
        ({"role": "assistant", "speaker": "Ann"}, "Ann"),
    ],
)
def test_who_said_it(said_by: dict[str, Any], shown: str) -> None:
    assert f", {shown}: “" in reply("Where is it?", [item("Here it is.", 0.9, 0.6, **said_by)])


def test_thoughts_are_called_thoughts() -> None:
    assert ", thought: “" in reply("Where is it?", [item("It is here.", 0.9, 0.6, kind="thought")])
    assert ", thought from a tool: “" in reply("Where?", [item("It is here.", 0.9, 0.6, kind="thought", trusted=False)])


def test_long_texts_are_quoted_in_part() -> None:
    text = "Nothing happened. " * 100 + "The boat is called Pequod. " + "It rained. " * 100
    said = reply("What is the boat called?", [item(text, 0.9, 0.6)])
    assert "The boat is called Pequod." in said
    assert len(said) < 800


def test_earlier_questions_are_no_answers() -> None:
    asked = item("Where do I live?", 1.0, 1.0, source=None)
    again = item("where do i live now", 1.0, 0.9, source=None)
    assert reply("Where do I live?", [asked, again]).startswith(f"{NOT_REMEMBERED} anything")
    both = item("I live in Rome. Isn't it fine?", 1.0, 0.9, source=None)
    assert "Rome" in reply("Where do I live?", [asked, both])


def test_strength_without_vectors_counts_words_alone() -> None:
    assert strength(item("x", 0.25)) == pytest.approx(1)
    assert strength(item("x", 0.25, 0.45)) == pytest.approx(1)


@pytest.mark.parametrize(
    "text",
    [
        "I moved to Lisbon",
        "My sister is called Ana.",
        "Hello",
        "thanks!",
        "Remember that I like tea",
        "When I was young, I lived in Porto.",
        "What a day!",
        "Remind me to call Ana",
        "The meeting with Tom is on Friday",
        "Have a good day.",
        "We adopted a cat",
    ],
)
def test_statements(text: str) -> None:
    assert is_statement(text)
    assert reply(text, [item("I moved to Lisbon", 1.0, 1.0)]) == "Noted."
    assert "private" in reply(text, [], private=True)


@pytest.mark.parametrize(
    "text",
    [
        "Where do I live?",
        "where do I live",
        "who's Ana",
        "When did Caroline go to the support group",
        "I forgot. Where do I live?",
        "did I tell you about Ana",
        "Tell me about my sister.",
        "support group Caroline",
        "List my pets",
        "Is it far?",
        "(really?)",
    ],
)
def test_questions(text: str) -> None:
    assert not is_statement(text)


def test_the_stand_in_does_not_quote_itself(memory: Memory) -> None:
    agent = Agent(memory, namespace=("n",))
    agent.ask("My boat is called Pequod.")
    first = agent.ask("What is my boat called?")
    assert "Pequod" in first.text
    second = Agent(memory, namespace=("n",)).ask("What is my boat called?")
    assert second.text == first.text
    assert not any(one.source["role"] == "assistant" for one in second.recollection.items)
    assert second.model == STAND_IN


def test_the_readme_question_quotes_its_evidence(shared_data: Path) -> None:
    """Needs LoCoMo, whose text may not be copied here: ids only."""
    ingest = pytest.importorskip("agentmem.ingest")
    with Memory("memory:") as memory:
        memory.observe_many(ingest.read_turns(shared_data / "locomo" / "conv-26.json"), namespace=("n",))
        memory.flush()
        answer = Agent(memory, namespace=("n",)).ask("When did Caroline go to the LGBTQ support group?")
        (evidence,) = [t for t in memory.turns(namespace=("n",)) if t.metadata.get("dia_id") == "D1:3"]
        assert evidence.text in answer.text
        assert evidence.occurred_at.date().isoformat() in answer.text
        assert Agent(memory, namespace=("n",)).ask("What is the capital of Mongolia?").text.startswith(NOT_REMEMBERED)
