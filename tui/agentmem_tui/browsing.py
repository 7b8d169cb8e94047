"""Which thoughts the browser lists, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentmem.types import Thought

Sort: TypeAlias = Literal["newest", "oldest", "text", "strength"]
_KEYS: Mapping[Sort, tuple[Callable[[Thought], Any], bool]] = {
    "newest": (lambda thought: (thought.valid_from, thought.id), True),
    "oldest": (lambda thought: (thought.valid_from, thought.id), False),
    "text": (lambda thought: thought.text.lower(), False),
    "strength": (lambda thought: (thought.strength, thought.valid_from), True),
}
SORTS: tuple[Sort, ...] = tuple(_KEYS)
STATES = ("live", "all", "retracted", "merged")
_FIELDS: Mapping[str, Callable[[Thought], str]] = {
    "about": lambda thought: f"{thought.head or ''} {thought.tail or ''}",
    "from": lambda thought: thought.origin,
    "since": lambda thought: f"{thought.valid_from:%Y-%m-%d}",
    "state": lambda thought: thought.state,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: words that the text holds, and `field:value` for about, from (its origin), since, state."""

    words: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, text: str) -> Wanted:
        words, fields = [], []
        for word in text.lower().split():
            name, colon, value = word.partition(":")
            if colon and name in _FIELDS:
                fields.append((name, value))
            else:
                words.append(word)
        return cls(tuple(words), tuple(fields))

    def takes(self, thought: Thought) -> bool:
        text = thought.text.lower()
        return all(word in text for word in self.words) and all(
            _since(thought, value) if name == "since" else value in _FIELDS[name](thought).lower()
            for name, value in self.fields
        )


def _since(thought: Thought, value: str) -> bool:
    return _FIELDS["since"](thought)[: len(value)] >= value


def listed(thoughts: Iterable[Thought], wanted: Wanted, *, state: str, sort: Sort) -> list[Thought]:
    """The thoughts of a state ("all": any) that are wanted, in order."""
    key, backwards = _KEYS[sort]
    found = (t for t in thoughts if (state == "all" or t.state == state) and wanted.takes(t))
    return sorted(found, key=key, reverse=backwards)
