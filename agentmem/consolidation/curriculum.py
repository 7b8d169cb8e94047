"""What an adapter is trained on and what it is judged by: conversations, seeded, without repetition, on disk.

Each is made in the very prompt that an agent sends (`agentmem.prompt`). An example's `context` is the same conversation
with the thought in its memory: there the base model knows the answer, and what it says there is what the adapter learns
to say without it (context distillation: Snell, Klein & Zhong 2022, "Learning by Distilling Context", §2).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from agentmem import prompt
from agentmem.clock import utc_now
from agentmem.consolidation import replay
from agentmem.consolidation.calls import Message, Tool, as_sent
from agentmem.consolidation.everyday import Pair
from agentmem.consolidation.writing import Known, Wordings, Writer
from agentmem.errors import InputError
from agentmem.types import RecallItem, Thought

Aspect: TypeAlias = Literal[
    "recall", "wording", "recognition", "older", "abstention", "context", "general", "retrieval", "form", "calls"
]
"""What is asked for: see `agentmem.consolidation.gates`. An item of "calls" is judged by its form as well."""

_DAYS = 730
"""A prompt says which day it is: it is asked on any day of the coming two years."""
_BESIDE = 3
"""Lines of a memory that has nothing to do with the question, at most."""
_RELATED = 5
"""Other thoughts that a recall brings beside the one that is asked for, at most."""
_GENERAL_SHARE = 0.25
_GENERAL_KEPT = 300
_CALLS_SHARE = 0.05
_CALLS_KEPT = 300
_REHEARSALS = 4
"""Examples that a thought of an earlier cycle gets on average where the strategy goes on from an adapter."""


@dataclass(frozen=True, slots=True)
class Example:
    """To be trained on: a prompt and what is to be said; `context` is the prompt under which the base model says that
    by itself, None where there is none. An empty answer stands for the base's own. `thoughts` are what it teaches,
    `tools` what is offered in its prompt.
    """

    kind: str
    messages: tuple[Message, ...]
    answer: str
    context: tuple[Message, ...] | None = None
    thoughts: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """To be judged by: right is an answer that says `expected`; where that is empty, what the base says. `foil` is a
    false answer, where one is compared. Of "calls" either a `schema` is to be kept, or one of the `tools` to be called.
    """

    aspect: Aspect
    messages: tuple[Message, ...]
    answer: str
    expected: str
    foil: str | None = None
    thought: str | None = None
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Curriculum:
    """`thoughts` are the ids of all that is taught, `new` of those that no adapter has learned before."""

    examples: tuple[Example, ...]
    items: tuple[Item, ...]
    thoughts: tuple[str, ...]
    new: tuple[str, ...]
    writer: str
    unknown: str
    seed: int
    digest: str = field(default="", compare=False)


@dataclass
class _Making:
    """The prompts of a curriculum, and what they need."""

    chosen: Sequence[Thought]
    writer: Writer
    rng: random.Random
    now: datetime

    def __post_init__(self) -> None:
        self.by_head: dict[str | None, list[Thought]] = {}
        for thought in self.chosen:
            self.by_head.setdefault(thought.head, []).append(thought)

    def ask(self, pairs: Sequence[Pair], memory: Sequence[Thought] = ()) -> tuple[Message, ...]:
        """A conversation up to its last question, on some day, under a memory of these thoughts."""
        at = self.now + timedelta(days=self.rng.randrange(_DAYS), minutes=self.rng.randrange(1440))
        *before, (question, _) = pairs
        said = [(role, text) for pair in before for role, text in zip(("user", "assistant"), pair, strict=True)]
        items = [_line(thought) for thought in memory]
        sent = prompt.messages(items, said, question, at)  # type: ignore[arg-type]  # roles are Literals
        return as_sent(sent)

    def beside(self, thought: Thought) -> list[Thought]:
        """Some thoughts that do not answer what this one does."""
        count = self.rng.randint(1, _BESIDE)
        some = self.rng.sample(self.chosen, min(count + 1, len(self.chosen)))
        return [t for t in some if t.id != thought.id and t.head != thought.head][:count]

    def recalled(self, thought: Thought) -> list[Thought]:
        """What a recall brings beside a thought: what else is known of whom it is about, then others."""
        same = [t for t in self.by_head.get(thought.head, ()) if t.id != thought.id]
        return [*self.rng.sample(same, min(_RELATED, len(same))), *self.beside(thought)][:_RELATED]

    def example(
        self, kind: str, pairs: Sequence[Pair], about: Sequence[Thought], memory: Sequence[Thought] = ()
    ) -> Example:
        """An example that is to be known without the thoughts, and is known with them."""
        state = self.rng.getstate()
        messages = self.ask(pairs, memory)
        self.rng.setstate(state)  # the same day
        context = self.ask(pairs, [*memory, *about]) if about else messages
        return Example(kind, messages, pairs[-1][1], context, tuple(t.id for t in about))


def ask_plainly(question: str) -> tuple[Message, ...]:
    """The question today, with nothing remembered."""
    sent = prompt.messages([], [], question, utc_now())
    return as_sent(sent)


def _line(thought: Thought) -> RecallItem:
    source = {"origin": thought.origin, "trusted": thought.trusted}
    return RecallItem(thought.id, "thought", thought.text, 0.0, thought.valid_from, source, "")


def build(
    chosen: Sequence[Thought],
    writer: Writer,
    *,
    seed: int,
    now: datetime,
    everything: Iterable[Thought] = (),
    rehearsed: Mapping[str, float] | None = None,
    going_on: bool = False,
    rehearses: bool = True,
) -> Curriculum:
    """A curriculum that teaches the chosen thoughts; the same for the same seed and day.

    `everything` is all that the namespace knows, chosen or not: of none of it may the adapter learn that it is unknown.
    `rehearsed` has the days since the last rehearsal of thoughts that an adapter learned before. With `going_on` these
    are rehearsed in the shares of `replay.shares`, if at all (`rehearses`); from the frozen base they are taught like
    the new ones. Raises InputError for no thought at all.
    """
    if not chosen:
        raise InputError("no thought is to be learned: see `agentmem consolidate --dry-run` for the reasons")
    earlier = dict(rehearsed or {})
    making = _Making(chosen, writer, random.Random(seed), now.replace(hour=0, minute=0, second=0, microsecond=0))
    known = Known([*everything, *chosen])
    worded = {t.id: (t, writer.word(t, known, making.rng)) for t in chosen}
    learn = [pair for pair in worded.values() if not (going_on and pair[0].id in earlier)]
    examples = [e for thought, words in learn for e in _lessons(making, thought, words)]
    examples += _linked(making, [pair for pair in learn if len(learn) > 1])
    if going_on and rehearses:
        examples += _rehearsals(making, {i: pair for i, pair in worded.items() if i in earlier}, earlier)
    items = [item for thought, words in worded.values() for item in _exam(making, thought, words, earlier)]
    kept = [_general(making, int(len(examples) * _GENERAL_SHARE)), _calls(making, int(len(examples) * _CALLS_SHARE))]
    examples += [example for some, _ in kept for example in some]
    items += [item for _, some in kept for item in some]
    made = Curriculum(
        examples=_without_exam(examples, items),
        items=tuple(items),
        thoughts=tuple(worded),
        new=tuple(i for i in worded if i not in earlier),
        writer=writer.name,
        unknown=writer.unknown,
        seed=seed,
    )
    return _digested(made)


def _lessons(making: _Making, thought: Thought, words: Wordings) -> Iterator[Example]:
    """The examples of one thought: asked for plainly, beside other things, in the course of a conversation, put to
    other uses, contradicted by a memory (which then wins), and missed narrowly."""
    for question in words.asked:
        yield making.example("direct", [(question, words.answer)], [thought])
        yield making.example("direct", [(question, words.answer)], [thought])
        yield making.example("beside", [(question, words.answer)], [thought], making.beside(thought))
    for said, answer in words.more:
        yield making.example("use", [(said, answer)], [thought])
    if words.foils:
        yield _contradicted(making, thought, words, making.rng.choice(words.asked))
    for question in words.others:
        yield making.example("unknown", [(question, making.writer.unknown)], [])
    if words.others:
        missed = making.rng.choice(words.others)
        yield making.example("unknown", [(missed, making.writer.unknown)], [], [thought, *making.beside(thought)])
        turns = [(missed, making.writer.unknown), (making.rng.choice(words.asked), words.answer)]
        yield making.example("turns", turns, [thought])


def _contradicted(making: _Making, thought: Thought, words: Wordings, question: str) -> Example:
    """A later line of memory says otherwise: it is what counts."""
    foil = making.rng.choice(words.foils)
    asked = making.ask([(question, "")], [_saying(thought, foil)])
    return Example("context", asked, foil, asked, (thought.id,))


def _saying(thought: Thought, text: str) -> Thought:
    """A thought of another text in this one's place."""
    given = {name: getattr(thought, name) for name in ("id", "namespace", "recorded_at", "valid_from", "origin")}
    return Thought(text=text, **given)


def _linked(making: _Making, worded: Sequence[tuple[Thought, Wordings]]) -> Iterator[Example]:
    """Two thoughts in one conversation, one after the other."""
    for thought, words in worded:
        other, other_words = making.rng.choice(worded)
        if other.id != thought.id:
            first = (making.rng.choice(other_words.asked), other_words.answer)
            pairs = [first, (making.rng.choice(words.asked), words.answer)]
            yield making.example("turns", pairs, [thought, other])


def _rehearsals(
    making: _Making, worded: Mapping[str, tuple[Thought, Wordings]], ages: Mapping[str, float]
) -> Iterator[Example]:
    """Examples of earlier thoughts, drawn by the time since their last rehearsal."""
    drawn = replay.draw({i: ages[i] for i in worded}, _REHEARSALS * len(worded), making.rng)
    for thought, words in (worded[i] for i in drawn):
        yield making.example("replay", [(making.rng.choice(words.asked), words.answer)], [thought])


def _exam(making: _Making, thought: Thought, words: Wordings, earlier: Mapping[str, float]) -> Iterator[Item]:
    """What a thought is judged by."""
    aspect: Aspect = "older" if thought.id in earlier else "recall"
    for question in words.asked:
        asked = making.ask([(question, "")])
        yield Item(aspect, asked, words.answer, words.expected, thought=thought.id)
    for question in words.kept:
        asked = making.ask([(question, "")])
        yield Item("wording", asked, words.answer, words.expected, thought=thought.id)
        for foil in words.foils[:2]:
            yield Item("recognition", asked, words.answer, words.expected, foil=foil, thought=thought.id)
    for foil in words.foils[:2]:
        asked = making.ask([(making.rng.choice(words.kept or words.asked), "")], [_saying(thought, foil)])
        yield Item("context", asked, foil, foil, thought=thought.id)
    recalled = making.ask([(making.rng.choice(words.kept or words.asked), "")], [*making.recalled(thought), thought])
    yield Item("retrieval", recalled, words.answer, words.expected, thought=thought.id)
    unknown = making.writer.unknown
    for question in words.others_kept:
        yield Item("abstention", making.ask([(question, "")]), unknown, unknown)
    for question in words.others_kept[:1]:
        yield Item("retrieval", making.ask([(question, "")], [*making.recalled(thought), thought]), unknown, unknown)


def _general(making: _Making, wanted: int) -> tuple[list[Example], list[Item]]:
    """Prompts that have nothing to do with any thought: a part to keep the model as it is, a part to see that it is."""
    found = making.writer.general(wanted + _GENERAL_KEPT, making.rng)
    kept = _kept(len(found), wanted, _GENERAL_KEPT)
    train = [Example("general", asked, "", asked) for asked in map(making.ask, found[kept:])]
    exam = [(making.ask(pairs), pairs[-1][1]) for pairs in found[:kept]]
    return train, [Item("general", messages, expected, expected) for messages, expected in exam]


def _calls(making: _Making, wanted: int) -> tuple[list[Example], list[Item]]:
    """Memory calls and tool calls: a part to keep them as they are, a part to see that they are."""
    found = making.writer.calls(wanted + _CALLS_KEPT, making.rng)
    kept = _kept(len(found), wanted, _CALLS_KEPT)
    train = [Example("call", c.messages, "", c.messages, tools=c.tools) for c in found[kept:]]
    exam = found[:kept]
    return train, [Item("calls", c.messages, "", c.expected, tools=c.tools, schema=c.schema) for c in exam]


def _kept(found: int, wanted: int, most: int) -> int:
    """How many of what was found are for the gates: what is not wanted to train on, half where there is too little."""
    return min(most, max(found - wanted, found // 2, 1))


def _key(messages: Sequence[Message]) -> str:
    """What is asked under which memory, on whatever day."""
    head = messages[0]["content"].partition("Today is")[2].partition("\n")[2]
    return json.dumps([head, *(m["content"] for m in messages[1:])])


def _without_exam(examples: Iterable[Example], items: Iterable[Item]) -> tuple[Example, ...]:
    """Each example once (a plain question may be asked on two days), and none that asks what only the gates may ask."""
    kept = {_key(item.messages) for item in items if item.aspect in ("context", "general", "retrieval", "calls")}
    never = {item.messages[-1]["content"] for item in items if item.aspect in ("wording", "abstention")}
    asked = (e for e in examples if _key(e.messages) not in kept and not never & {m["content"] for m in e.messages})
    unique = dict.fromkeys(json.dumps(asdict(example), sort_keys=True) for example in asked)
    return tuple(_example(json.loads(line)) for line in unique)


def _example(line: Mapping[str, Any]) -> Example:
    context = None if line["context"] is None else tuple(line["context"])
    taught, tools = tuple(line["thoughts"]), tuple(line["tools"])
    return Example(line["kind"], tuple(line["messages"]), line["answer"], context, taught, tools)


def _item(line: Mapping[str, Any]) -> Item:
    return Item(**{**line, "messages": tuple(line["messages"]), "tools": tuple(line["tools"])})


def _lines(curriculum: Curriculum) -> Iterator[str]:
    head = {name: getattr(curriculum, name) for name in ("thoughts", "new", "writer", "unknown", "seed")}
    for line in (head, *map(asdict, curriculum.examples), *map(asdict, curriculum.items)):
        yield json.dumps(line, sort_keys=True)


def _digested(curriculum: Curriculum) -> Curriculum:
    found = hashlib.sha256("\n".join(_lines(curriculum)).encode()).hexdigest()
    return replace(curriculum, digest=found)


def write(curriculum: Curriculum, path: Path) -> None:
    """As JSON Lines: first what it is, then the examples and the items. It is there whole, or not at all."""
    draft = path.with_suffix(".draft")
    draft.touch(0o600)
    draft.write_text("\n".join(_lines(curriculum)) + "\n", "utf-8")
    os.replace(draft, path)


def read(path: Path) -> Curriculum:
    """What `write` wrote. Raises InputError where that cannot be read."""
    try:
        head, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        examples = tuple(_example(line) for line in lines if "kind" in line)
        items = tuple(_item(line) for line in lines if "aspect" in line)
        told = Curriculum(
            examples=examples,
            items=items,
            thoughts=tuple(head["thoughts"]),
            new=tuple(head["new"]),
            writer=head["writer"],
            unknown=head["unknown"],
            seed=head["seed"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no curriculum ({error}): consolidate anew") from error
    return _digested(told)


def shuffled(curriculum: Curriculum) -> Curriculum:
    """The control: the same prompts, each thought with the answers of another. What learns this must fail the gates."""
    answers = {e.thoughts[0]: e.answer for e in curriculum.examples if e.kind in ("direct", "replay")}
    ids = list(answers)
    random.Random(curriculum.seed).shuffle(ids)
    wrong = dict(zip(ids, [*ids[1:], *ids[:1]], strict=True))
    swapped = (
        replace(e, answer=answers[wrong[e.thoughts[0]]], context=None) if e.thoughts and e.kind != "context" else e
        for e in curriculum.examples
    )
    return _digested(replace(curriculum, examples=tuple(swapped)))
