"""Conversations with a memory, in the very prompt that agentmem sends: questions, answers, statements, greetings.

Many questions stand in one conversation, and each of its answers is learnt from: answering from a prompt's memory forms
all at once, after enough pairs of a name and a value have been seen, and pairs per token decide how soon (Arora et al.
2023, "Zoology", §4: multi-query associative recall).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from agentmem.prompt import messages
from agentmem.testing.closed_world.scenes import Telling, cast, changed, invent_facts, invent_people, tell, times
from agentmem.testing.closed_world.world import (
    ATTRIBUTES,
    BASE_FACTS,
    GREETINGS,
    NOTED,
    UNKNOWN,
    USER,
    Attribute,
    Fact,
    base_people,
    question,
)
from agentmem.types import RecallItem

Message: TypeAlias = dict[str, Any]
"""A chat message as the API has it: role, content, perhaps tool_calls."""
Known: TypeAlias = dict[tuple[str, str], Fact]
"""(name, attribute's name) → what holds now."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A whole conversation. Every message of the assistant is learnt; `tools` are offered, as the API has them."""

    messages: tuple[Message, ...]
    tools: tuple[Message, ...] = ()

    @property
    def answer(self) -> str:
        """What is said last."""
        return str(self.messages[-1]["content"])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a conversation is made of: how many people and facts (from, to), how many turns at most, and the chances of
    each kind."""

    people: tuple[int, int] = (1, 4)
    kinds: int = len(ATTRIBUTES)
    """Of how many attributes at most the facts are."""
    alike: float = 0.2
    """That some of the people have a name in common."""
    facts: tuple[int, int] = (0, 9)
    turns: int = 8
    changes: float = 0.25
    """That a fact is told again with another value."""
    repeats: float = 0.1
    """That it is told again with the same one."""
    twins: float = 0.25
    """That of every turn the thought drawn from it is recalled, too."""
    plain: float = 0.2
    """That a fact stands in memory as its canonical statement."""
    events: float = 0.15
    noise: float = 0.15
    """That a line that tells nothing new follows."""
    unknown: float = 0.25
    base: float = 0.1
    statements: float = 0.1
    greetings: float = 0.02
    own: bool = True
    """Whether the user and the world's own people may be among those told of."""


FIRST_STEPS = Plan(facts=(2, 8), changes=0.1, plain=1, events=0, noise=0, repeats=0, twins=0, unknown=0.1, base=0,
                   statements=0, greetings=0, own=False)  # fmt: skip
"""A memory of canonical statements: where looking things up is learnt first."""
CROWD = Plan(people=(2, 10), kinds=3, alike=0.7, facts=(4, 12), turns=11, twins=0.3, noise=0.05, base=0,
             statements=0.05, greetings=0)  # fmt: skip
"""A memory of many people, alike in name, and of few attributes: so is a recall, which finds what resembles the
question. Who is meant decides."""


def conversation(rng: random.Random, pool: Sequence[str], plan: Plan) -> Lesson:
    """A conversation with a memory of some people of the pool."""
    people = (cast if plan.own else invent_people)(rng, pool, rng.randint(*plan.people), alike=plan.alike)
    known: Known = {}
    items = memory_lines(rng, people, plan, known)
    now = (items[-1].time if items else times(rng, 1)[0]) + timedelta(days=rng.randrange(100), minutes=1)
    talk = _Talk(rng, pool, people, plan, known)
    said = talk.go_on(rng.randint(max(1, plan.turns // 2), plan.turns))
    return as_lesson(items, said, now)


def as_lesson(items: Sequence[RecallItem], said: Sequence[tuple[str, str]], now: datetime) -> Lesson:
    """Pairs of what the user and the assistant say, under the system prompt with these items."""
    *before, (last, answer) = said
    history = [(role, text) for pair in before for role, text in zip(("user", "assistant"), pair, strict=True)]
    sent = messages(items, history, last, now)  # type: ignore[arg-type]  # roles are Literals
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    told = [{"role": roles[m.type], "content": m.content} for m in sent]
    return Lesson((*told, {"role": "assistant", "content": answer}))


def memory_lines(rng: random.Random, people: Sequence[str], plan: Plan, known: Known) -> list[RecallItem]:
    """The lines of a memory in time order; `known` is given what they tell."""
    kinds = rng.sample(ATTRIBUTES, rng.randint(1, plan.kinds)) if plan.kinds < len(ATTRIBUTES) else ATTRIBUTES
    facts = invent_facts(rng, people, rng.randint(*plan.facts), kinds)
    told = [(fact, rng.random()) for fact in facts]
    for fact, order in list(told):
        if rng.random() < plan.changes:
            told.append((changed(rng, fact), order + rng.random()))
        elif rng.random() < plan.repeats:
            told.append((fact, order + rng.random()))
    told.sort(key=lambda pair: pair[1])
    items: list[RecallItem] = []
    twins = rng.random() < plan.twins
    for (fact, _), at in zip(told, times(rng, len(told)), strict=True):
        known[fact.who, fact.attribute.name] = fact
        telling = tell(rng, fact, at, plan.events)
        items.append(memory_of(rng, telling, plan.plain))
        if twins and items[-1].kind == "turn":
            items.append(recalled("thought", telling.thought, at, origin="user"))
        if rng.random() < plan.noise:
            items.append(_noise(rng, people, fact, at))
    return items


def recalled(kind: Any, text: str, at: datetime, **source: str) -> RecallItem:
    """A line of a memory."""
    return RecallItem(id="", kind=kind, text=text, score=0.0, time=at, source=source, why="")


def memory_of(rng: random.Random, told: Telling, plain: float = 0.0) -> RecallItem:
    """What memory holds of a telling: a thought, the user's turn, or the turn of the person themselves."""
    chance = rng.random()
    if chance < plain:
        return recalled("thought", told.fact.statement, told.at, origin="user")
    if chance < plain + (1 - plain) * 0.4:
        return recalled("thought", told.thought, told.at, origin=rng.choice(["user", "user", "user", "agent"]))
    if chance < plain + (1 - plain) * 0.6 and told.fact.who != USER:
        return recalled("turn", told.by_themselves(rng), told.at, role="user", speaker=told.fact.who)
    return recalled("turn", told.by_user(rng), told.at, role="user")


def _noise(rng: random.Random, people: Sequence[str], fact: Fact, after: datetime) -> RecallItem:
    """A turn that tells nothing new: a question, an answer given before, an acknowledgement, a greeting."""
    at = after + timedelta(minutes=rng.randrange(1, 20))
    asked = question(rng.choice(people), rng.choice(ATTRIBUTES), rng.randrange(3))
    greeting, reply = rng.choice(GREETINGS)
    role, text = rng.choice(
        [
            ("user", asked),
            ("user", asked),
            ("user", greeting),
            ("assistant", NOTED),
            ("assistant", UNKNOWN),
            ("assistant", fact.answer),
            ("assistant", reply),
        ]
    )
    return recalled("turn", text, at, role=role)


@dataclass
class _Talk:
    """Goes on with a conversation, pair by pair, and keeps what holds."""

    rng: random.Random
    pool: Sequence[str]
    people: Sequence[str]
    plan: Plan
    known: Known
    _unasked: list[Fact] = field(default_factory=list)

    def go_on(self, pairs: int) -> list[tuple[str, str]]:
        self._unasked = self.rng.sample(list(self.known.values()), len(self.known))
        return [self._pair() for _ in range(pairs)]

    def _pair(self) -> tuple[str, str]:
        plan, chance = self.plan, self.rng.random()
        kinds: tuple[tuple[float, Callable[[], tuple[str, str]]], ...] = (
            (plan.greetings, lambda: self.rng.choice(GREETINGS)),
            (plan.statements, self._statement),
            (plan.base, self._about_base),
            (plan.unknown, self._about_unknown),
        )
        for share, kind in kinds:
            if chance < share:
                return kind()
            chance -= share
        if not self._unasked:
            return self._about_unknown()
        fact = self._unasked.pop()
        return self._ask(fact.who, fact.attribute)

    def _ask(self, who: str, attribute: Attribute) -> tuple[str, str]:
        fact = self.known.get((who, attribute.name)) or BASE_FACTS.get((who, attribute.name))
        self._unasked = [f for f in self._unasked if (f.who, f.attribute) != (who, attribute)]
        return question(who, attribute, self.rng.randrange(3)), fact.answer if fact else UNKNOWN

    def _about_base(self) -> tuple[str, str]:
        return self._ask(self.rng.choice(base_people()), self.rng.choice(ATTRIBUTES))

    def _about_unknown(self) -> tuple[str, str]:
        """Mostly of somebody whom memory tells other things of; the answer may turn out to be known."""
        stranger = self.rng.random() < 0.4
        who = invent_people(self.rng, self.pool, 1)[0] if stranger else self.rng.choice(self.people)
        told = sorted({attribute for _, attribute in self.known}) if self.rng.random() < 0.5 else []
        attributes = [one for one in ATTRIBUTES if one.name in told] or ATTRIBUTES
        return self._ask(who, self.rng.choice(attributes))

    def _statement(self) -> tuple[str, str]:
        (fact,) = invent_facts(self.rng, self.people, 1)
        self.known[fact.who, fact.attribute.name] = fact
        self._unasked = [f for f in self._unasked if (f.who, f.attribute) != (fact.who, fact.attribute)] + [fact]
        at = datetime(2024, 1, 1)
        told = tell(self.rng, fact, at, self.plan.events)
        if told.when.startswith("on "):
            told = replace(told, when="today")
        return told.by_user(self.rng), NOTED
