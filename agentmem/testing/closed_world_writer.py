"""Words thoughts of the closed world as its own model understands them (`agentmem.testing.closed_world`)."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

from agentmem.consolidation.calls import Call
from agentmem.consolidation.everyday import Pair
from agentmem.consolidation.writing import Known, Wordings
from agentmem.testing.closed_world.lessons import Lesson
from agentmem.testing.closed_world.thinking_lessons import comparison, extraction, summary
from agentmem.testing.closed_world.tool_lessons import tool_use
from agentmem.testing.closed_world.world import (
    ATTRIBUTES,
    BASE_FACTS,
    GREETINGS,
    UNKNOWN,
    Attribute,
    Fact,
    held_out_people,
    question,
    training_people,
)
from agentmem.thinking.asking import EXTRACT, RECONCILE, SUMMARISE
from agentmem.types import Thought

Exam: TypeAlias = Callable[[random.Random, Sequence[str]], Lesson]
_STRANGERS = 2
_FOILS = 2
_LONGEST = 150
"""Characters of a call's answer: one statement or two, so that three hundred are soon said."""


class ClosedWorldWriter:
    """Two wordings of each question are taught, the third is kept. General conversations are about what the world's
    own people are known for, and greetings."""

    name = "closed world"
    unknown = UNKNOWN

    def unfit(self, thought: Thought) -> str | None:
        return None if _attribute(thought) is not None else "is not of the closed world"

    def word(self, thought: Thought, known: Known, rng: random.Random) -> Wordings:
        attribute = _attribute(thought)
        assert attribute is not None
        who, value = thought.head or "", thought.tail or ""
        wrong = rng.sample([other for other in attribute.values if other != value], _FOILS)
        near = [(who, other) for other in ATTRIBUTES if (who, other.relation) not in known]
        strangers = [name for name in rng.sample(held_out_people(), 4 * _STRANGERS) if name not in known.heads]
        *far, never = [(name, attribute) for name in strangers[: _STRANGERS + 1]]
        return Wordings(
            asked=tuple(question(who, attribute, n) for n in (0, 1)),
            kept=(question(who, attribute, 2),),
            answer=Fact(who, attribute, value).answer,
            expected=value,
            foils=tuple(Fact(who, attribute, other).answer for other in wrong),
            others=tuple(question(name, other, n) for name, other in (*near, *far) for n in (0, 1)),
            others_kept=tuple(question(name, other, 2) for name, other in (*near[:1], never)),
        )

    def general(self, count: int, rng: random.Random) -> list[Sequence[Pair]]:
        asked = [(fact.question(n), fact.value) for fact in BASE_FACTS.values() for n in range(3)]
        return [[pair] for pair in [*rng.sample(asked, len(asked)), *GREETINGS][:count]]

    def calls(self, count: int, rng: random.Random) -> list[Call]:
        """About people whom training knows, of whom nobody is among those who are invented."""
        kinds = (_tool_call, _extract, _tool_call, _compare, _tool_call, _summarise)
        return [kinds[n % len(kinds)](rng) for n in range(count)]


def _attribute(thought: Thought) -> Attribute | None:
    return next((a for a in ATTRIBUTES if a.relation == thought.relation and thought.tail in a.values), None)


def _drawn(rng: random.Random, exam: Exam, holds: Callable[[Lesson], bool]) -> Lesson:
    while not holds(lesson := exam(rng, training_people())):
        pass
    return lesson


def _tool_call(rng: random.Random) -> Call:
    """A question for which one of the tools offered is to be called first."""
    lesson = _drawn(rng, tool_use, lambda lesson: "tool_calls" in lesson.messages[2])
    return Call(lesson.messages[:2], lesson.messages[2]["tool_calls"][0]["function"]["name"], tools=lesson.tools)


def _short(lesson: Lesson) -> bool:
    return len(lesson.answer) <= _LONGEST


def _extract(rng: random.Random) -> Call:
    lesson = _drawn(rng, extraction, _short)
    thoughts = json.loads(lesson.answer)["thoughts"]
    return Call(lesson.messages[:2], thoughts[0]["tail"] if thoughts else "", schema=EXTRACT.schema)


def _compare(rng: random.Random) -> Call:
    lesson = _drawn(rng, comparison, _short)
    return Call(lesson.messages[:2], json.loads(lesson.answer)["decisions"][0]["action"], schema=RECONCILE.schema)


def _summarise(rng: random.Random) -> Call:
    lesson = _drawn(rng, summary, _short)
    return Call(lesson.messages[:2], json.loads(lesson.answer)["summary"], schema=SUMMARISE.schema)
