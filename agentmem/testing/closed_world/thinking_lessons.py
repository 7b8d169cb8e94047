"""The three memory calls: thoughts drawn from exchanges, new thoughts compared with older ones, parts summed up."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from agentmem.testing.closed_world.drills import otherwise
from agentmem.testing.closed_world.lessons import Lesson
from agentmem.testing.closed_world.scenes import Telling, cast, changed, invent_fact, invent_facts, tell, times
from agentmem.testing.closed_world.world import (
    ATTRIBUTES,
    BASE_FACTS,
    GREETINGS,
    NOTED,
    PET_NAMES,
    PETS,
    UNKNOWN,
    USER,
    Attribute,
    Fact,
    question,
)
from agentmem.thinking.asking import Dated, Numbered, extract_messages, reconcile_messages, summarise_messages
from agentmem.types import NewTurn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

NOTHING_TOLD = "Nothing was told."
_EVENTS = 0.3
_TOGETHER = (1, 1, 1, 2, 2, 3, 5, 7, 9, 11)
"""As many exchanges as a call has room for where this model is served: eleven."""


def extraction(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """Draw the thoughts from some exchanges."""
    talk = [_exchange(rng, pool, at) for at in times(rng, rng.choice(_TOGETHER))]
    thoughts: list[dict[str, Any]] = []
    number = 0
    for exchange in talk:
        for _, told in exchange:
            number += 1
            thoughts += [_thought(number, telling) for telling in told]
    return _lesson(extract_messages([[turn for turn, _ in exchange] for exchange in talk]), {"thoughts": thoughts})


def summary(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """Sum up a chunk: what was told in it, in order, as statements."""
    turns: list[NewTurn] = []
    told: list[str] = []
    for at in times(rng, rng.randint(1, 4)):
        for turn, tellings in _exchange(rng, pool, at):
            turns.append(turn)
            told += [telling.thought for telling in tellings]
    return _lesson(summarise_messages(turns), {"summary": " ".join(told) or NOTHING_TOLD})


def comparison(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """Decide what becomes of some new statements, most of which stand beside what is known of the same person."""
    people = cast(rng, pool, rng.randint(4, 10), alike=0.5)
    together = rng.choice(_TOGETHER)
    most = 4 if together < 4 else 2  # where there are many, less is shown beside each
    board = _Board(rng, people, times(rng, 1)[0], most, long_ago=rng.random() < 0.5)
    return _compared([board.group() for _ in range(together)])


def plain_comparison(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """The same with little beside a new statement but the one that it repeats or changes."""
    people = cast(rng, pool, rng.randint(4, 10), alike=0.5)
    board = _Board(rng, people, times(rng, 1)[0], 0, long_ago=rng.random() < 0.5, shares=(1, 4, 4, 1))
    return _compared([board.group() for _ in range(rng.choice(_TOGETHER))])


def _compared(groups: Sequence[tuple[Numbered, list[Numbered], dict[str, Any]]]) -> Lesson:
    asked = reconcile_messages([(new, existing) for new, existing, _ in groups])
    return _lesson(asked, {"decisions": [decision for _, _, decision in groups]})


def as_json(answer: Any) -> str:
    """The answer as the model writes it: no space that the grammar does not ask for."""
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))


def _lesson(asked: Sequence[BaseMessage], answer: Any) -> Lesson:
    system, user = (str(message.content) for message in asked)
    return Lesson(
        (
            {"role": "system", "content": system},
            {"role": "user", "content": user},
            {"role": "assistant", "content": as_json(answer)},
        )
    )


def _thought(number: int, told: Telling) -> dict[str, Any]:
    fact = told.fact
    return {
        "turn": number,
        "text": told.thought,
        "head": fact.who,
        "relation": fact.attribute.relation,
        "tail": fact.value,
    }


def _exchange(rng: random.Random, pool: Sequence[str], at: datetime) -> list[tuple[NewTurn, list[Telling]]]:
    """What the user said and what the assistant answered, each with what it tells."""
    people = cast(rng, pool, 2)
    speaker = rng.choice(people) if rng.random() < 0.4 else None
    speaker = None if speaker == USER else speaker
    chance = rng.random()
    told: list[Telling] = []
    if chance < 0.12:
        text, reply = rng.choice(GREETINGS)
    elif chance < 0.35:
        who, attribute = rng.choice([*people, USER]), rng.choice(ATTRIBUTES)
        text = question(who, attribute, rng.randrange(3))
        reply = rng.choice([UNKNOWN, BASE_FACTS.get((who, attribute.name), invent_fact(rng, who, attribute)).answer])
    else:
        facts = invent_facts(rng, [speaker or USER, *people], rng.choice([1, 1, 1, 2]))
        told = [tell(rng, fact, at, _EVENTS) for fact in facts]
        text = " ".join(t.by_themselves(rng) if t.fact.who == speaker else t.by_user(rng) for t in told)
        reply = NOTED
    return [(_turn("user", text, at, speaker), told), (_turn("assistant", reply, at, None), [])]


def _turn(role: Any, text: str, at: datetime, speaker: str | None) -> NewTurn:
    return NewTurn(role=role, parts=({"type": "text", "text": text},), occurred_at=at, speaker=speaker)


@dataclass
class _Board:
    """New statements with the existing ones beside them, each under one number over the whole message.

    An existing statement may stand beside several new ones, and a new one beside those after it.
    """

    rng: random.Random
    people: Sequence[str]
    now: datetime
    most: int
    """How many existing statements stand beside a new one that it does not concern."""
    long_ago: bool
    """Whether the existing statements are older than a day."""
    shares: Sequence[int] = (5, 2, 3, 1)
    """How often a new statement stands beside all, says the same as one, replaces one, can be merged with one."""
    _numbers: dict[Dated, int] = field(default_factory=dict)
    _held: dict[tuple[str, str], Telling] = field(default_factory=dict)
    """(name, attribute's name) → what an existing statement, or the last new one, tells of it."""
    _closed: set[tuple[str, str]] = field(default_factory=set)
    """Of these nothing more is said: a new statement is about them already."""

    def group(self) -> tuple[Numbered, list[Numbered], dict[str, Any]]:
        """A new statement, the existing ones, and what is to be decided."""
        rng = self.rng
        (action,) = rng.choices(["new", "same", "replaces", "merge"], self.shares)
        who, attribute = self._subject(fresh=action in ("new", "merge"))
        held = self._held.get((who, attribute.name))
        if action == "merge" and not self._is_fresh(who, PETS):
            action = "new"
        text, concerned = "", []
        if action == "merge":
            attribute = PETS
            new, old, text = self._named_pet(who)
            concerned = [old]
        elif action == "new":
            told = tell(rng, invent_fact(rng, who, attribute), self.now, _EVENTS)
            new = self._hold(told)
        else:
            held = held or self._older(invent_fact(rng, who, attribute))
            concerned = [(held.at, held.thought)]
            fact = held.fact if action == "same" else changed(rng, held.fact)
            new = self._hold(otherwise(rng, held, fact, self.now))
        self._closed.add((who, attribute.name))
        listed = concerned + self._others(who, attribute, 0 if concerned else 1)
        rng.shuffle(listed)
        *beside, numbered = [self._number(statement) for statement in (*listed, new)]
        numbers = sorted(self._number(statement)[0] for statement in concerned)
        return numbered, beside, {"new": numbered[0], "existing": numbers, "action": action, "text": text}

    def _number(self, statement: Dated) -> Numbered:
        return self._numbers.setdefault(statement, len(self._numbers) + 1), statement

    def _is_fresh(self, who: str, attribute: Attribute) -> bool:
        return (who, attribute.name) not in self._closed | self._held.keys()

    def _subject(self, *, fresh: bool) -> tuple[str, Attribute]:
        """What no new statement of this message is about, and if `fresh` no existing one either."""
        taken = self._closed | self._held.keys() if fresh else self._closed
        return self.rng.choice([(who, a) for who in self.people for a in ATTRIBUTES if (who, a.name) not in taken])

    def _hold(self, told: Telling) -> Dated:
        self._held[told.fact.who, told.fact.attribute.name] = told
        return told.at, told.thought

    def _before(self) -> datetime:
        return self.now - timedelta(days=self.rng.randrange(1, 400) * self.long_ago)

    def _older(self, fact: Fact) -> Telling:
        return tell(self.rng, fact, self._before(), _EVENTS)

    def _named_pet(self, who: str) -> tuple[Dated, Dated, str]:
        """A pet and its name: the new statement, the existing one, and one that says both."""
        rng, name = self.rng, self.rng.choice(PET_NAMES)
        pet = invent_fact(rng, who, PETS)
        new, old = rng.sample([pet.statement, pet.named(name)], 2)
        return (self.now, new), (self._before(), old), f"{pet.statement[:-1]} called {name}."

    def _others(self, who: str, attribute: Attribute, least: int) -> list[Dated]:
        """Statements that stay: of the same person other attributes, of others the same attribute."""
        rng = self.rng
        own = [(who, a) for a in ATTRIBUTES if a not in (attribute, PETS)]
        others = [(other, attribute) for other in self.people if other != who]
        if attribute == PETS:
            others = [pair for pair in others if (pair[0], PETS.name) not in self._closed]
        count = max(least, min(self.most, rng.choice([0, 1, 1, 2, 2, 3, 4])))
        of_others = sum(rng.random() < 0.25 for _ in range(count))
        some = rng.sample(others, min(of_others, len(others))) + rng.sample(own, min(count - of_others, len(own)))
        return [self._known(other, kind) for other, kind in some or own[:1]]

    def _known(self, who: str, attribute: Attribute) -> Dated:
        held = self._held.get((who, attribute.name))
        if held is None:
            return self._hold(self._older(invent_fact(self.rng, who, attribute)))
        return held.at, held.thought
