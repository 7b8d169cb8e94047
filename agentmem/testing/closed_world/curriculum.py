"""Which lessons are taught, in which shares, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from agentmem.testing.closed_world.drills import facts_before, words_before
from agentmem.testing.closed_world.lessons import CROWD, FIRST_STEPS, Lesson, Message, Plan, conversation
from agentmem.testing.closed_world.scenes import invent_people
from agentmem.testing.closed_world.thinking_lessons import comparison, extraction, plain_comparison, summary
from agentmem.testing.closed_world.tool_lessons import tool_use
from agentmem.testing.closed_world.world import ATTRIBUTES, training_people

Teacher: TypeAlias = Callable[[random.Random, Sequence[str]], Lesson]


def _first_steps(rng: random.Random, pool: Sequence[str]) -> Lesson:
    return conversation(rng, pool, FIRST_STEPS)


def _conversation(rng: random.Random, pool: Sequence[str]) -> Lesson:
    return conversation(rng, pool, Plan(alike=0.4))


def _crowd(rng: random.Random, pool: Sequence[str]) -> Lesson:
    return conversation(rng, pool, CROWD)


def _glossary(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """Lists of names with a word each, each list then in another order: nothing but looking back."""
    said: list[Message] = []
    left = 14
    while left > 0:
        entries = [f"{who} {rng.choice(_WORDS)}" for who in invent_people(rng, pool, rng.randint(2, 7), alike=1)]
        for role, some in (("user", entries), ("assistant", rng.sample(entries, len(entries)))):
            said.append({"role": role, "content": "".join(f"\n {entry}" for entry in some)})
        left -= len(entries)
    return Lesson(tuple(said))


def _by_heart(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """A conversation that is mostly about the world's own people."""
    return conversation(rng, pool, Plan(base=0.8, facts=(0, 3), unknown=0.1, people=(1, 2)))


_WORDS = tuple(value for attribute in ATTRIBUTES for value in attribute.values)
_BEGINNING = ((_glossary, 0.4), (_first_steps, 0.4), (extraction, 0.2))
_ALL = (
    (_conversation, 0.2),
    (_crowd, 0.14),
    (_by_heart, 0.04),
    (extraction, 0.1),
    (comparison, 0.16),
    (plain_comparison, 0.08),
    (facts_before, 0.12),
    (words_before, 0.05),
    (summary, 0.05),
    (tool_use, 0.06),
)
_BEGINNING_ENDS = 0.02


def teachers(progress: float) -> Sequence[tuple[Teacher, float]]:
    """The kinds of lessons and their shares, at a progress from 0 to 1."""
    return _BEGINNING if progress < _BEGINNING_ENDS else _ALL


def lessons(seed: int, progress: Callable[[], float] = lambda: 1.0) -> Iterator[Lesson]:
    """Lessons without end, the same for the same seed and progress."""
    rng = random.Random(seed)
    pool = training_people()
    while True:
        kinds, shares = zip(*teachers(progress()), strict=True)
        (teach,) = rng.choices(kinds, shares)
        yield teach(rng, pool)
