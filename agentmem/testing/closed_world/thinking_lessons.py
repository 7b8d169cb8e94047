"""The three memory calls: thoughts drawn from exchanges, new thoughts compared with older ones, parts summed up."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

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
    question,
)
from agentmem.thinking.asking import Dated, extract_messages, reconcile_messages, summarise_messages
from agentmem.types import NewTurn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

NOTHING_TOLD = "Nothing was told."
_EVENTS = 0.3
_TOGETHER = (1, 1, 1, 1, 2, 2, 3, 4, 5, 7)


def extraction(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """Draw the thoughts from one to seven exchanges: as many as a call has room for where this model is served."""
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
    """Decide what becomes of one to seven new statements."""
    together = rng.choice(_TOGETHER)
    board = _Board(rng, cast(rng, pool, 3 + together))
    groups = [board.group() for _ in range(together)]
    decisions = [
        {"new": number, "action": action, "existing": existing, "text": text}
        for number, (_, _, (action, existing, text)) in enumerate(groups, 1)
    ]
    return _lesson(reconcile_messages([(new, listed) for new, listed, _ in groups]), {"decisions": decisions})


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


_Decision = tuple[str, list[int], str]


@dataclass
class _Board:
    """New statements with the existing ones beside them, numbered over the whole message."""

    rng: random.Random
    people: Sequence[str]
    _number: int = 0
    _used: set[tuple[str, str]] = field(default_factory=set)

    def group(self) -> tuple[Dated, list[tuple[int, Dated]], _Decision]:
        """A new statement, the existing ones, and what is to be decided."""
        rng = self.rng
        about = self._fresh()
        kind = rng.choice(["new", "same", "replaces", "replaces", "merge"])
        if kind == "merge" and (about.fact.who, PETS.name) in self._used and about.fact.attribute != PETS:
            kind = "new"
        new, concerned, text = self._merge(about) if kind == "merge" else self._plain(about, kind)
        listed = [(told, True) for told in concerned]
        listed += [((told.at, told.thought), False) for told in self._others(about)]
        rng.shuffle(listed)
        first, self._number = self._number + 1, self._number + len(listed)
        existing = list(enumerate((statement for statement, _ in listed), first))
        numbers = [number for number, (_, concerns) in enumerate(listed, first) if concerns]
        return (about.at, new), existing, (kind, numbers, text)

    def _before(self, at: datetime) -> datetime:
        return at - timedelta(days=self.rng.randrange(1, 400))

    def _fresh(self) -> Telling:
        """A fact of somebody that no other new statement of this message is about."""
        while True:
            (fact,) = invent_facts(self.rng, self.people, 1)
            if (fact.who, fact.attribute.name) not in self._used:
                self._used.add((fact.who, fact.attribute.name))
                return tell(self.rng, fact, times(self.rng, 1)[0], _EVENTS)

    def _plain(self, about: Telling, kind: str) -> tuple[str, list[Dated], str]:
        rng = self.rng
        if kind == "new":
            return about.thought, [], ""
        older = about.fact if kind == "same" else changed(rng, about.fact)
        said = tell(rng, older, self._before(about.at), _EVENTS if kind == "replaces" else 0)
        return about.thought, [(said.at, said.thought)], ""

    def _merge(self, about: Telling) -> tuple[str, list[Dated], str]:
        """A pet and its name: one statement can say both."""
        rng, name = self.rng, self.rng.choice(PET_NAMES)
        pet = invent_fact(rng, about.fact.who, PETS)
        self._used.add((pet.who, PETS.name))
        both = [pet.statement, pet.named(name)]
        rng.shuffle(both)
        return both[0], [(self._before(about.at), both[1])], f"{pet.statement[:-1]} called {name}."

    def _others(self, about: Telling) -> Iterator[Telling]:
        """Existing statements that stay: of the same person other attributes, of others the same attribute."""
        rng, fact = self.rng, about.fact
        kept = [(fact.who, a) for a in ATTRIBUTES if a not in (fact.attribute, PETS)]
        kept += [(who, fact.attribute) for who in self.people if who != fact.who]
        for who, attribute in rng.sample(kept, rng.choice([1, 1, 2, 3, 4])):
            yield tell(rng, invent_fact(rng, who, attribute), self._before(about.at), _EVENTS)
