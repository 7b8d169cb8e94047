"""Whether an answer is right, and what is noted of it."""

from __future__ import annotations

from dataclasses import dataclass

from agentmem.consolidation.curriculum import Aspect, Item
from agentmem.digests import normalise


@dataclass(frozen=True, slots=True)
class Probe:
    """How an item came out: `right` with the adapter, `before` with the model before it (the adapter that served, for
    what it had learned; else the base); `kl` is the mean divergence from the base, nats a token of the base's answer.
    """

    aspect: Aspect
    right: bool
    before: bool
    kl: float | None = None
    thought: str | None = None


def says(answer: str, item: Item, unknown: str) -> bool:
    """Whether an answer is right: it says what is expected, word for word, and does not disown it."""
    said, wanted = f" {_words(answer)} ", f" {_words(item.expected)} "
    if normalise(item.expected) == normalise(unknown):
        return normalise(answer).startswith(normalise(unknown))
    return wanted in said and normalise(unknown) not in normalise(answer)


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in normalise(text)).split())
