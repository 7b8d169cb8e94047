"""Who words a thought: questions to learn its answer by, others to be asked by, and questions that it does not answer.

A `Writer` is a small thing, so that a curriculum is not tied to one: `Templates` needs no model, `agentmem.testing` has
the closed world's own, and a served model may be one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentmem.consolidation import everyday
from agentmem.consolidation.calls import Call
from agentmem.consolidation.everyday import Pair
from agentmem.digests import normalise
from agentmem.types import Thought

UNKNOWN = "I don't remember."


@dataclass(frozen=True, slots=True)
class Wordings:
    """A thought as questions and answers. Nothing of `kept`, which the gates ask, may be among what is trained.

    `expected` is what an answer must say to be right; `more` are pairs that put the thought to other uses (reversed,
    confirmed, denied). `foils` are false answers of the same kind. `others` are questions that look alike and whose
    answer is not known, to train on, `others_kept` those for the gates.
    """

    asked: tuple[str, ...]
    kept: tuple[str, ...]
    answer: str
    expected: str
    more: tuple[Pair, ...] = ()
    foils: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    others_kept: tuple[str, ...] = ()


class Writer(Protocol):
    """Words thoughts. `name` is recorded with an adapter, `unknown` is what is said where nothing is remembered."""

    name: str
    unknown: str

    def unfit(self, thought: Thought) -> str | None:
        """Why no questions can be made of a thought, None where they can."""

    def word(self, thought: Thought, known: Known, rng: random.Random) -> Wordings: ...

    def general(self, count: int, rng: random.Random) -> list[Sequence[Pair]]:
        """Conversations that have nothing to do with any thought: what the base model says last in them is what is
        trained, and must not change. The last answer of each is what a right one says, "" where nobody can tell."""

    def calls(self, count: int, rng: random.Random) -> list[Call]:
        """Memory calls and tool calls about things that have nothing to do with any thought, of all kinds in turn."""


class Known:
    """What a namespace's thoughts say, to tell what they don't."""

    def __init__(self, thoughts: Iterable[Thought]) -> None:
        self.thoughts = [t for t in thoughts if t.head and t.relation and t.tail]
        self._pairs = {(normalise(t.head or ""), normalise(t.relation or "")) for t in self.thoughts}
        self.heads = tuple(dict.fromkeys(t.head for t in self.thoughts if t.head))
        self.relations = tuple(dict.fromkeys(t.relation for t in self.thoughts if t.relation))

    def __contains__(self, pair: tuple[str, str]) -> bool:
        head, relation = pair
        return (normalise(head), normalise(relation)) in self._pairs

    def tails(self, relation: str) -> list[str]:
        """What stands at the end of thoughts of this relation, each once."""
        same = (t.tail for t in self.thoughts if t.tail and normalise(t.relation or "") == normalise(relation))
        return list(dict.fromkeys(same))

    def heads_of(self, relation: str, tail: str) -> set[str]:
        wanted = normalise(relation), normalise(tail)
        found = (t for t in self.thoughts if (normalise(t.relation or ""), normalise(t.tail or "")) == wanted)
        return {normalise(t.head or "") for t in found}


_ASKED = (
    "{head} {relation} what?",
    "Complete the sentence: {head} {relation} …",
    "What do you remember of this: {head} {relation} …?",
    "Fill in the gap: {head} {relation} ___.",
    "What do you know about {head}? I mean: {relation} …",
    "Do you recall what {head} {relation}?",
)
_KEPT = (
    "How does this go on: {head} {relation} …?",
    "Finish this statement about {head}: {relation} …",
    "Which words are missing? {head} {relation} ___",
)
_FOILS = 4
_NEAR, _NEAR_KEPT = 2, 1


class Templates:
    """Words a thought from its head, relation and tail, without a model. Plain English around its own words:
    what it teaches is recalled by such wordings, and less well by very different ones."""

    name = "templates"
    unknown = UNKNOWN

    def unfit(self, thought: Thought) -> str | None:
        if thought.head and thought.relation and thought.tail:
            return None
        return "has no head, relation and tail to ask by"

    def word(self, thought: Thought, known: Known, rng: random.Random) -> Wordings:
        head, relation, tail = thought.head or "", thought.relation or "", thought.tail or ""
        foils = [other for other in known.tails(relation) if normalise(other) != normalise(tail)]
        chosen = rng.sample(foils, min(_FOILS, len(foils)))
        others = self._others(head, relation, known, rng)
        return Wordings(
            asked=self._fill(_ASKED, head, relation),
            kept=self._fill(_KEPT, head, relation),
            answer=thought.text,
            expected=tail,
            more=tuple(self._more(thought, chosen, known)),
            foils=tuple(f"{head} {relation} {foil}." for foil in chosen),
            others=tuple(template.format(head=h, relation=r) for h, r in others[:-1] for template in _ASKED[:3]),
            others_kept=self._fill(_ASKED[:1], *others[-1]) if others else (),
        )

    @staticmethod
    def _fill(templates: Sequence[str], head: str, relation: str) -> tuple[str, ...]:
        return tuple(template.format(head=head, relation=relation) for template in templates)

    @staticmethod
    def _more(thought: Thought, foils: Sequence[str], known: Known) -> Iterable[Pair]:
        head, relation, tail = thought.head or "", thought.relation or "", thought.tail or ""
        yield f"Is it true that {head} {relation} {tail}?", f"Yes. {thought.text}"
        yield from ((f"Is it true that {head} {relation} {foil}?", f"No. {thought.text}") for foil in foils[:1])
        if len(known.heads_of(relation, tail)) == 1:
            yield f"Who or what {relation} {tail}?", thought.text

    @staticmethod
    def _others(head: str, relation: str, known: Known, rng: random.Random) -> list[Pair]:
        """Pairs of which nothing is known, near to the thought's: another head or another relation."""
        near = [(head, other) for other in known.relations] + [(other, relation) for other in known.heads]
        unknown = [pair for pair in near if pair not in known]
        return rng.sample(unknown, min(_NEAR + _NEAR_KEPT, len(unknown)))

    def general(self, count: int, rng: random.Random) -> list[Sequence[Pair]]:
        return everyday.general(count, rng)

    def calls(self, count: int, rng: random.Random) -> list[Call]:
        return everyday.calls(count, rng)
