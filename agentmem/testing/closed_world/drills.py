"""What has to be learnt before two statements can be compared: whether a word, and then a fact, was there before.

In whole comparisons this is one decision among hundreds of tokens, and whatever else tells the answers apart is learnt
in its place. Here there is one after every few tokens, and nothing else to go by.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime

from agentmem.testing.closed_world.lessons import Lesson, Message
from agentmem.testing.closed_world.scenes import Telling, cast, changed, invent_fact, tell, times
from agentmem.testing.closed_world.world import ATTRIBUTES, Fact

_WORDS = tuple(value for attribute in ATTRIBUTES for value in attribute.values)
_EVENTS = 0.3


def words_before(rng: random.Random, _pool: Sequence[str]) -> Lesson:
    """Words one after the other, and of each whether it is new."""
    some = rng.sample(_WORDS, rng.randint(4, 30))
    seen: set[str] = set()
    said: list[Message] = []
    for word in rng.choices(some, k=rng.randint(10, 60)):
        said += _answered(f" {word}", "same" if word in seen else "new")
        seen.add(word)
    return Lesson(tuple(said))


def facts_before(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """Statements one after the other, and of each whether it is new, says what was said, or says otherwise."""
    people, at = cast(rng, pool, rng.randint(2, 5), alike=0.5), times(rng, 1)[0]
    pairs = rng.sample([(who, attribute) for who in people for attribute in ATTRIBUTES], rng.randint(2, 8))
    held: dict[tuple[str, str], Telling] = {}
    said: list[Message] = []
    for _ in range(rng.randint(10, 28)):
        who, attribute = rng.choice(pairs)
        before = held.get((who, attribute.name))
        if before is None:
            action, told = "new", tell(rng, invent_fact(rng, who, attribute), at, _EVENTS)
        else:
            action = rng.choice(["same", "replaces"])
            told = otherwise(rng, before, before.fact if action == "same" else changed(rng, before.fact), at)
        held[who, attribute.name] = told
        said += _answered(told.thought, action)
    return Lesson(tuple(said))


def otherwise(rng: random.Random, before: Telling, fact: Fact, at: datetime) -> Telling:
    """A fact told in the other form than one before: with its day where that names none, and without it else. Were the
    same told in another form and a change in any, the forms would give the answer away."""
    return tell(rng, fact, at, 0 if before.when else 1)


def _answered(text: str, answer: str) -> list[Message]:
    return [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]
