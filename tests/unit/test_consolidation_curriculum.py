"""What an adapter is taught and asked: complete, seeded, without what only the gates may ask."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.consolidation import curriculum, replay
from agentmem.consolidation.curriculum import Curriculum, Example, build
from agentmem.consolidation.writing import UNKNOWN, Known, Templates, Writer
from agentmem.errors import InputError
from agentmem.memory import Memory
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Thought
from tests.unit.consolidation_support import facts, remember

WRITERS: tuple[Writer, ...] = (Templates(), ClosedWorldWriter())
NOW = datetime.fromisoformat("2026-05-01T12:00:00+00:00")


@pytest.fixture(scope="module")
def thoughts() -> Iterator[list[Thought]]:
    with Memory("memory:", embedder=None, settings=Settings()) as memory:
        yield remember(memory, facts(6, 4))


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.name)
def made(request: pytest.FixtureRequest, thoughts: list[Thought]) -> Curriculum:
    return build(thoughts, request.param, seed=3, now=NOW, everything=thoughts)


def question(example: Example) -> str:
    return example.messages[-1]["content"]


def test_every_thought_is_taught_and_asked_for(made: Curriculum, thoughts: list[Thought]) -> None:
    ids = {thought.id for thought in thoughts}
    assert {i for e in made.examples for i in e.thoughts} == ids == set(made.thoughts) == set(made.new)
    for aspect in ("recall", "wording", "recognition", "context"):
        assert {item.thought for item in made.items if item.aspect == aspect} == ids
    assert {e.kind for e in made.examples} >= {"direct", "beside", "turns", "context", "unknown", "general"}


def test_what_the_gates_ask_is_not_taught(made: Curriculum) -> None:
    asked = {item.messages[-1]["content"] for item in made.items if item.aspect in ("wording", "abstention")}
    assert asked
    assert not asked & {question(e) for e in made.examples}


def test_the_answer_stands_in_the_context_and_not_in_the_prompt(made: Curriculum, thoughts: list[Thought]) -> None:
    texts = {thought.id: thought.text for thought in thoughts}
    plain = [e for e in made.examples if e.kind in ("direct", "beside")]
    for example in plain:
        (taught,) = example.thoughts
        assert example.answer == texts[taught]
        assert texts[taught] not in "".join(m["content"] for m in example.messages)
        assert texts[taught] in "".join(m["content"] for m in example.context or ())
        assert (example.context or ())[1:] == example.messages[1:]


def test_a_memory_that_says_otherwise_wins(made: Curriculum, thoughts: list[Thought]) -> None:
    texts = {thought.id: thought.text for thought in thoughts}
    for example in (e for e in made.examples if e.kind == "context"):
        assert example.answer in example.messages[0]["content"]
        assert example.answer != texts[example.thoughts[0]]


def test_of_what_is_known_nothing_is_taught_to_be_unknown(made: Curriculum) -> None:
    known = {question(e) for e in made.examples if e.kind in ("direct", "beside")}
    missed = {question(e) for e in made.examples if e.kind == "unknown"}
    assert missed
    assert not known & missed
    assert {e.answer for e in made.examples if e.kind == "unknown"} == {UNKNOWN}


def test_nothing_is_there_twice(made: Curriculum) -> None:
    texts = [str(example) for example in made.examples]
    assert len(set(texts)) == len(texts)


def test_it_follows_from_the_seed_and_is_read_as_it_was_written(
    made: Curriculum, thoughts: list[Thought], tmp_path: Path
) -> None:
    writer = next(w for w in WRITERS if w.name == made.writer)
    again = build(thoughts, writer, seed=3, now=NOW, everything=thoughts)
    other = build(thoughts, writer, seed=4, now=NOW, everything=thoughts)
    assert again.digest == made.digest != other.digest
    path = tmp_path / "curriculum.jsonl"
    curriculum.write(made, path)
    read = curriculum.read(path)
    assert (read, read.digest) == (made, made.digest)
    assert path.stat().st_mode & 0o077 == 0
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")
    with pytest.raises(InputError, match="no curriculum"):
        curriculum.read(path)


def test_the_control_has_the_same_prompts_and_other_answers(made: Curriculum) -> None:
    wrong = curriculum.shuffled(made)
    assert [e.messages for e in wrong.examples] == [e.messages for e in made.examples]
    pairs = [(a, b) for a, b in zip(made.examples, wrong.examples, strict=True) if a.kind == "direct"]
    assert all(a.answer != b.answer for a, b in pairs)
    assert Counter(b.answer for _, b in pairs).keys() == Counter(a.answer for a, _ in pairs).keys()
    assert all(b.context is None for _, b in pairs)
    assert wrong.items == made.items


def test_going_on_new_thoughts_are_taught_and_earlier_ones_rehearsed(thoughts: list[Thought]) -> None:
    earlier = {t.id: 10.0 for t in thoughts[:12]}
    made = build(thoughts, Templates(), seed=1, now=NOW, rehearsed=earlier, going_on=True)
    taught = {i for e in made.examples if e.kind == "direct" for i in e.thoughts}
    again = {i for e in made.examples if e.kind == "replay" for i in e.thoughts}
    assert taught == set(made.new) == {t.id for t in thoughts[12:]}
    assert again <= set(earlier)
    assert len(again) > 6
    assert {item.thought for item in made.items if item.aspect == "older"} == set(earlier)
    without = build(thoughts, Templates(), seed=1, now=NOW, rehearsed=earlier, going_on=True, rehearses=False)
    assert not any(e.kind == "replay" for e in without.examples)


def test_an_empty_selection_is_an_error() -> None:
    with pytest.raises(InputError, match="--dry-run"):
        build([], Templates(), seed=0, now=utc_now())


def test_a_reversed_question_is_asked_only_where_it_has_one_answer(thoughts: list[Thought]) -> None:
    one = replace(thoughts[0], head="Ada", relation="likes", tail="tea", text="Ada likes tea.")
    other = replace(one, head="Bo", text="Bo likes tea.")
    reverse = "Who or what likes tea?"
    alone = Templates().word(one, Known([one]), random.Random(0))
    both = Templates().word(one, Known([one, other]), random.Random(0))
    assert reverse in dict(alone.more)
    assert reverse not in dict(both.more)


def test_rehearsals_follow_a_power_law_with_a_floor() -> None:
    young, old = 0.0, 99.0
    first, second = replay.shares([young, old])
    assert first + second == pytest.approx(1)
    assert first > second > 0.125  # half of the floor is the old one's
    bare = replay.shares([young, old], floor=0)
    assert bare[0] / bare[1] == pytest.approx(100**0.5)
    drawn = Counter(replay.draw({"young": young, "old": old}, 4000, random.Random(0)))
    assert drawn["young"] / 4000 == pytest.approx(first, abs=0.03)
    assert replay.draw({}, 3, random.Random(0)) == []
