"""New statements beside the ones that are there: which to compare, and what the model's decisions come to.

Cosine and words choose what is compared; they decide nothing. A decision is checked before it counts: what refers to
nothing that was shown, contradicts another, or loses a name, a number or a negation leaves the new statement standing
beside the old ones, and is counted as refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from agentmem.digests import normalise
from agentmem.filters import Conditions
from agentmem.interfaces import Backend, Matrix
from agentmem.text import count_tokens, stems
from agentmem.thinking.asking import Dated, Numbered, reconcile_messages
from agentmem.thinking.checking import Note, adds, content, dates, same_subject, telling
from agentmem.types import Namespace, Thought
from agentmem.wording import Wording

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from agentmem.recall import RecallEngine

Other: TypeAlias = "Thought | int"
"""What a new statement is compared with: a stored thought, or an earlier new one by its place."""

_LOOKED = 12
"""Thoughts looked at for each statement, by words and by meaning."""
MOST = 6
"""Of them so many are shown to the model."""
_NEAR = 0.6
"""Cosine from which two statements are compared. With MiniLM "lives in Oslo" and "moved to Lisbon" are at 0.6."""
_ALIKE = 0.5
"""Share of the shorter one's stems from which they are, too."""
_THOUGHTS = Conditions(kinds=("thought",))


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a new statement: `action` as in the model's answer, `others` what it concerns."""

    action: str
    others: tuple[Other, ...] = ()
    text: str = ""


NEW = Decision("new")


class Comparison:
    """New statements, for each what it is to be compared with, and the numbers under which the model sees them all."""

    def __init__(self, notes: Sequence[Note], others: Sequence[Sequence[Other]]) -> None:
        self.notes = notes
        self.asked = [place for place, beside in enumerate(others) if beside]
        self._others = others
        self._numbers: dict[str | int, int] = {}
        for place in self.asked:
            for other in (*others[place], place):
                self._numbers.setdefault(_key(other), len(self._numbers) + 1)

    def messages(self) -> list[BaseMessage]:
        return reconcile_messages(
            (self._numbered(place), [self._numbered(other) for other in self._others[place]]) for place in self.asked
        )

    def _numbered(self, other: Other) -> Numbered:
        return self._numbers[_key(other)], self._dated(other)

    def _dated(self, other: Other) -> Dated:
        if isinstance(other, int):
            return self.notes[other].turn.occurred_at, self.notes[other].text
        return other.valid_from, other.text

    def decisions(self, answer: Iterable[Mapping[str, Any]]) -> tuple[list[Decision], Counter[str]]:
        """One decision for each statement, and how many of the model's were refused, by the reason."""
        given: dict[int, list[Mapping[str, Any]]] = {}
        for one in answer:
            given.setdefault(one["new"], []).append(one)
        refused: Counter[str] = Counter()
        decided = [NEW] * len(self.notes)
        for place in self.asked:
            reason, decided[place] = self._decide(place, given.pop(self._numbers[place], []))
            refused[reason] += bool(reason)
        refused["unknown statement"] += len(given)
        return decided, +refused

    def _decide(self, place: int, given: Sequence[Mapping[str, Any]]) -> tuple[str, Decision]:
        """Why the model's decision is refused ("": it is not), and what holds then."""
        if len(given) != 1:
            return "contradictory" if given else "undecided", NEW
        (one,) = given
        shown = {self._numbers[_key(other)]: other for other in self._others[place]}
        if one["action"] == "new":
            return "", NEW
        if not one["existing"] or not set(one["existing"]) <= shown.keys():
            return "unknown statement", NEW
        others = tuple(shown[number] for number in dict.fromkeys(one["existing"]))
        reason = self._fault(place, one["action"], others, one["text"])
        return reason, NEW if reason else Decision(one["action"], others, " ".join(one["text"].split()))

    def _fault(self, place: int, action: str, others: Sequence[Other], text: str) -> str:
        new, texts = self.notes[place], [self._dated(other)[1] for other in others]
        if action == "same":
            return "" if any(_holds(known, new.text) for known in texts[:1]) else "says more"
        if any(_heads_differ(new.head, self._head(other)) for other in others):
            return "another subject"
        if new.origin != "user" and any(self._origin(other) != new.origin for other in others):
            return "not the assistant's to change"
        if action == "replaces":
            return "" if all(set(stems(new.text)) & set(stems(known)) for known in texts) else "another subject"
        return "says more" if adds(text, [new.text, *texts]) or _drops(text, [new.text, *texts]) else ""

    def _head(self, other: Other) -> str | None:
        return self.notes[other].head if isinstance(other, int) else other.head

    def _origin(self, other: Other) -> str:
        return self.notes[other].origin if isinstance(other, int) else other.origin


def _key(other: Other) -> str | int:
    return other if isinstance(other, int) else other.id


def _heads_differ(one: str | None, other: str | None) -> bool:
    return bool(one and other) and not same_subject(one, other)


def _holds(known: str, new: str) -> bool:
    """Whether a known statement has every name and number of a new one, and the same negations. A date may be new where
    the known one names none: since when something is so, its turn says."""
    (old_dates, _), (new_dates, undated) = dates(known), dates(new)
    held = telling(undated) <= Wording(known).words and _negations(known) == _negations(new)
    return held and (not old_dates or new_dates <= old_dates)


def _negations(text: str) -> frozenset[str]:
    wording = Wording(text)
    return wording.telling - wording.names - wording.numbers


def _drops(text: str, parts: Sequence[str]) -> bool:
    """Whether a merged statement loses a name, a number or a negation of its parts."""
    held = Wording(text).words
    return any((telling(part) | _negations(part)) - held for part in parts)


def compare(
    notes: Sequence[Note],
    vectors: Matrix | None,
    engine: RecallEngine,
    backend: Backend,
    *,
    namespace: Namespace,
    budget: int,
) -> Comparison:
    """What is to be asked about new statements of one namespace, in a prompt of about `budget` tokens.

    `vectors` are theirs, shape (len(notes), dimension), or None: then words alone find what is near.
    """
    near = [_near(note, None if vectors is None else vectors[n], engine, namespace) for n, note in enumerate(notes)]
    ids = list(dict.fromkeys(i for found in near for i in found))
    with backend.read() as reader:
        stored = {thought.id: thought for thought in reader.get("thought", ids, namespace=namespace)}
    others = [_beside(n, notes, vectors, near[n], stored) for n in range(len(notes))]
    for most in (MOST, MOST // 2, 2):
        asked = Comparison(notes, [beside[:most] for beside in others])
        if count_tokens("\n".join(message.text for message in asked.messages()[1:])) <= budget:
            break
    return asked


def _near(note: Note, vector: Any, engine: RecallEngine, namespace: Namespace) -> dict[str, float]:
    """Ids of the stored thoughts nearest to a statement, by words or by meaning, with the cosines that are known."""
    by_words = engine.recall(note.text, None, namespace=namespace, k=_LOOKED, conditions=_THOUGHTS)
    found = {item.id: 0.0 for item in by_words}
    if vector is not None:
        found.update(engine.nearest_thoughts(vector, namespace=namespace, k=_LOOKED))
    return found


def _beside(
    place: int,
    notes: Sequence[Note],
    vectors: Matrix | None,
    near: Mapping[str, float],
    stored: Mapping[str, Thought],
) -> list[Other]:
    """What a new statement is compared with, the nearest first: what has its head, or is near in words or meaning.

    Nothing, where one says just the same: that is strengthened without asking.
    """
    note = notes[place]
    found: list[tuple[Other, str, str | None, float]] = [
        (thought, thought.text, thought.head, cosine)
        for i, cosine in near.items()
        if (thought := stored.get(i)) is not None and _stands(thought)
    ]
    for earlier in range(place):
        cosine = 0.0 if vectors is None else float(vectors[place] @ vectors[earlier])
        found.append((earlier, notes[earlier].text, notes[earlier].head, cosine))
    if any(normalise(text) == normalise(note.text) for _, text, _, _ in found):
        return []
    ranked = [(_nearness(note, text, head, cosine), other) for other, text, head, cosine in found]
    ranked.sort(key=lambda pair: -pair[0])
    return [other for nearness, other in ranked if nearness > 0]


def _stands(thought: Thought) -> bool:
    return thought.state == "live" and thought.valid_to is None


def _nearness(note: Note, text: str, head: str | None, cosine: float) -> float:
    """How near two statements are, 0 where they need not be compared."""
    one, other = content(note.text), content(text)
    alike = len(one & other) / (min(len(one), len(other)) or 1)
    same = same_subject(note.head, head)
    if not same and cosine < _NEAR and alike < _ALIKE:
        return 0.0
    return same + max(cosine, 0.0) + alike + 1e-6
