"""A model's questions about a thought, and which of them are taken."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from agentmem.clock import utc_now
from agentmem.consolidation.modelwriter import ModelWriter
from agentmem.consolidation.writing import Known, Templates, Wordings, Writer
from agentmem.testing.fake_model import FakeChatModel
from agentmem.types import Thought

NOW = utc_now()
TEA = Thought(
    id="t", namespace=("ada",), text="Ada drinks green tea.", recorded_at=NOW, valid_from=NOW, head="Ada",
    relation="drinks", tail="green tea",
)  # fmt: skip
GOOD = [f"What does Ada drink, {n}?" for n in range(7)]


def worded(*said: str | dict[str, Sequence[str]]) -> tuple[Wordings, FakeChatModel]:
    model = FakeChatModel([json.dumps(step) if isinstance(step, dict) else step for step in said])
    writer: Writer = ModelWriter(model)
    return writer.word(TEA, Known([TEA]), random.Random(0)), model


def answers(texts: Sequence[str]) -> dict[str, Sequence[str]]:
    return {"answers": texts}


def test_its_questions_are_taught_and_three_are_kept() -> None:
    found, model = worded({"questions": GOOD}, answers(["Ada drinks green tea."] * 7))
    assert len(found.kept) == 3
    assert {*found.kept, *found.asked} >= set(GOOD)
    assert not set(found.kept) & set(found.asked)
    assert (found.answer, found.expected) == (TEA.text, "green tea")
    assert all('Statement: "Ada drinks green tea."' in str(request[1].content) for request in model.requests)


def test_what_gives_the_answer_away_is_no_question_or_comes_twice_is_not_even_asked() -> None:
    bad = ["Does Ada drink green tea?", "Ada drinks it.", GOOD[0], f"What {list(range(90))}?"]
    found, model = worded({"questions": [*GOOD, *bad]}, answers(["green tea"] * 7))
    assert not {*found.kept, *found.asked} & {"Does Ada drink green tea?", "Ada drinks it."}
    assert len(str(model.requests[1][1].content).splitlines()) == 3 + len(GOOD)


def test_what_it_answers_otherwise_is_left_out() -> None:
    said = ["green tea"] * 5 + ["coffee", "I don't remember."]
    found, _ = worded({"questions": GOOD}, answers(said))
    assert {*found.kept, *found.asked} & set(GOOD) == set(GOOD[:5])


def test_where_too_few_are_left_the_templates_word_it() -> None:
    plain = Templates().word(TEA, Known([TEA]), random.Random(0))
    assert worded({"questions": GOOD}, answers(["coffee"] * 7))[0] == plain
    assert worded({"questions": GOOD}, answers(["green tea"] * 3))[0] == plain, "not one for each question"
    assert worded("no JSON at all")[0] == plain
    assert worded({"questions": []})[0] == plain
