"""Made-up people, what was told of them and when: what every lesson begins with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentmem.testing.closed_world.world import ATTRIBUTES, USER, Attribute, Fact, base_people

_FIRST = datetime(2022, 1, 1)
_DAYS = 8 * 365
_DAY_WORDS = {"today": 0, "yesterday": 1, "two days ago": 2}


@dataclass(frozen=True, slots=True)
class Telling:
    """A fact, when it is told, and (for a change) the day on which it came true, with the words for that day."""

    fact: Fact
    at: datetime
    when: str = ""
    day: str = ""

    def by_user(self, rng: random.Random) -> str:
        """As the user words it."""
        return self.fact.happened(self.when) if self.when else self.fact.wording(rng.randrange(3))

    def by_themselves(self, rng: random.Random) -> str:
        """As the person words it."""
        return self.fact.happened_to_oneself(self.when) if self.when else self.fact.said_of_oneself(rng.randrange(3))

    @property
    def thought(self) -> str:
        """The self-contained statement: the date instead of "yesterday"."""
        return self.fact.noted(self.day) if self.when else self.fact.statement


def tell(rng: random.Random, fact: Fact, at: datetime, events: float) -> Telling:
    """The fact told at a time; with a chance of `events` as a change with its day."""
    if rng.random() >= events:
        return Telling(fact, at)
    word, back = rng.choice([*_DAY_WORDS.items(), ("", rng.randrange(3, 30))])
    day = f"{at - timedelta(days=back):%Y-%m-%d}"
    return Telling(fact, at, word or f"on {day}", day)


def times(rng: random.Random, count: int) -> list[datetime]:
    """Times in order, somewhere in eight years."""
    return sorted(_FIRST + timedelta(days=rng.randrange(_DAYS), minutes=rng.randrange(1440)) for _ in range(count))


def invent_people(rng: random.Random, pool: Sequence[str], count: int, *, alike: float = 0.2) -> list[str]:
    """That many people of the pool; with a chance of `alike` some of them have a name in common."""
    may_share = rng.random() < alike
    chosen: list[str] = []
    while len(chosen) < count:
        names = {part for known in chosen for part in known.split()}
        if may_share and chosen and rng.random() < 0.5:
            shared = rng.choice(chosen).split()[rng.randrange(2)]
            name = rng.choice([other for other in pool if shared in other.split()])
        else:
            name = rng.choice(pool)
            if not may_share and not names.isdisjoint(name.split()):
                continue
        if name not in chosen:
            chosen.append(name)
    return chosen


def cast(rng: random.Random, pool: Sequence[str], count: int, *, alike: float = 0.2) -> list[str]:
    """People of the pool, now and then the user or one of the world's own people among them."""
    people = invent_people(rng, pool, count, alike=alike)
    if rng.random() < 0.15:
        people[0] = USER
    if rng.random() < 0.2:
        people[-1] = rng.choice(base_people())
    return people


def invent_facts(
    rng: random.Random, people: Sequence[str], count: int, attributes: Sequence[Attribute] = ATTRIBUTES
) -> list[Fact]:
    """Facts of these people, no two of one attribute of one person."""
    pairs = [(who, attribute) for who in people for attribute in attributes]
    return [invent_fact(rng, who, attribute) for who, attribute in rng.sample(pairs, min(count, len(pairs)))]


def invent_fact(rng: random.Random, who: str, attribute: Attribute) -> Fact:
    return Fact(who, attribute, rng.choice(attribute.values))


def changed(rng: random.Random, fact: Fact) -> Fact:
    """The same person's attribute with another value."""
    others = [value for value in fact.attribute.values if value != fact.value]
    return Fact(fact.who, fact.attribute, rng.choice(others))
