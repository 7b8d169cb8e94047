"""Which thoughts of a namespace are worth learning by heart, and why the others are not.

Weights are slow to change, so only what is settled goes into them: live, trusted, said once and for all. What is left
out is still recalled as text.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agentmem.digests import normalise
from agentmem.interfaces import Reader
from agentmem.secrets import find_secret
from agentmem.types import Namespace, Thought

_PASSING = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|right now|at the moment|currently|for now|this (?:morning|afternoon|evening"
    r"|week|weekend|month)|next (?:week|weekend|month))\b",
    re.IGNORECASE,
)
"""Words of a statement that is about a time near its telling."""
_LONGEST = 1000
"""Characters of a thought; a statement is a sentence or two, and a longer text is better recalled."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a thought must be to be learned.

    `settled` is how long it must have stood uncorrected, `strength` how often it must have been stated. What has been
    replaced more than `changes` times (same head and relation) changes too often. One answer may occur `same_answer`
    times, and more where that is no more than a twentieth of all, so that it is not learned as the answer to anything.
    """

    settled: timedelta = timedelta(0)
    strength: int = 1
    changes: int = 2
    same_answer: int = 8
    most: int = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """The thoughts to learn, strongest and then oldest first; the others, each with the reason."""

    chosen: tuple[Thought, ...]
    left_out: tuple[tuple[Thought, str], ...]


Teachable = Callable[[Thought], str | None]
"""Why no questions can be made of a thought; None where they can."""


def select(
    reader: Reader, *, namespace: Namespace, now: datetime, teachable: Teachable, rules: Rules | None = None
) -> Selection:
    """Choose among all thoughts of exactly this namespace."""
    rules = rules or Rules()
    thoughts: list[Thought] = list(reader.select("thought", namespace=namespace, order="id"))
    changes = Counter(_asked(t) for t in thoughts if t.state == "retracted" and t.superseded_by is not None)
    refused: dict[str, str] = {}
    for thought in thoughts:
        reason = _unfit(thought, rules, now, changes) or teachable(thought)
        if reason is not None:
            refused[thought.id] = reason
    fit = sorted((t for t in thoughts if t.id not in refused), key=lambda t: (-t.strength, t.recorded_at, t.id))
    for choose in (_repeated, _ambiguous):
        refused |= choose([t for t in fit if t.id not in refused])
    refused |= _too_common([t for t in fit if t.id not in refused], rules)
    left = [t for t in fit if t.id not in refused]
    refused |= {t.id: f"beyond the {rules.most} strongest" for t in left[rules.most :]}
    return Selection(
        tuple(t for t in fit if t.id not in refused), tuple((t, refused[t.id]) for t in thoughts if t.id in refused)
    )


def _unfit(thought: Thought, rules: Rules, now: datetime, changes: Counter[tuple[str, str]]) -> str | None:
    """What of the thought itself speaks against learning it."""
    text = thought.text
    checks: Iterable[tuple[bool, str]] = (
        (thought.state == "merged", "merged into another thought"),
        (thought.superseded_by is not None, "superseded"),
        (thought.state != "live" or thought.valid_to is not None, "no longer true"),
        (thought.valid_from > now, "not true yet"),
        (thought.origin == "tool" or not thought.trusted, "from a tool, untrusted"),
        (bool(thought.metadata.get("secret")) or find_secret(text) is not None, "holds a secret"),
        (bool(thought.metadata.get("volatile")), "marked as volatile"),
        (_PASSING.search(text) is not None, "about a passing time"),
        (changes[_asked(thought)] > rules.changes, "changes too often"),
        (now - thought.recorded_at < rules.settled, f"younger than {_days(rules.settled)}"),
        (thought.strength < rules.strength, f"stated fewer than {rules.strength} times"),
        (len(text) > _LONGEST, f"longer than {_LONGEST} characters"),
    )
    return next((reason for holds, reason in checks if holds), None)


def _days(age: timedelta) -> str:
    return f"{age / timedelta(days=1):g} days"


def _asked(thought: Thought) -> tuple[str, str]:
    """What a thought answers: of whom, and what; its text where it names neither."""
    if thought.head and thought.relation:
        return normalise(thought.head), normalise(thought.relation)
    return normalise(thought.text), ""


def answer_of(thought: Thought) -> str:
    """The normalised answer that a thought gives: its tail, else its text."""
    return normalise(thought.tail or thought.text)


def _repeated(thoughts: Sequence[Thought]) -> dict[str, str]:
    """Those that say the same as a stronger one: equal text, or equal head, relation and tail."""
    first: dict[tuple[str, ...], str] = {}
    refused: dict[str, str] = {}
    for thought in thoughts:
        said = [(normalise(thought.text),)]
        if thought.head and thought.relation and thought.tail:
            said.append((*_asked(thought), normalise(thought.tail)))  # type: ignore[arg-type]  # any number of texts
        if any(key in first for key in said):
            refused[thought.id] = "says the same as another"
        else:
            first.update(dict.fromkeys(said, thought.id))
    return refused


def _ambiguous(thoughts: Sequence[Thought]) -> dict[str, str]:
    """Those of one head and relation with several answers: a question would have more than one right answer."""
    answers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for thought in thoughts:
        answers[_asked(thought)].add(answer_of(thought))
    return {t.id: "one of several answers to the same question" for t in thoughts if len(answers[_asked(t)]) > 1}


def _too_common(thoughts: Sequence[Thought], rules: Rules) -> dict[str, str]:
    """Those whose answer occurs too often already."""
    most = max(rules.same_answer, len(thoughts) // 20)
    seen: Counter[str] = Counter()
    refused: dict[str, str] = {}
    for thought in thoughts:
        seen[answer_of(thought)] += 1
        if seen[answer_of(thought)] > most:
            refused[thought.id] = f"{most} others have the same answer"
    return refused
