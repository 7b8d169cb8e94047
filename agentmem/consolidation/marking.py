"""Whether an answer is right, and what is noted of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentmem.consolidation.calls import called, keeps
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


_DISOWNS = re.compile(
    r"\b(?:(?:do not|don't|can't|cannot|couldn't|unable to)(?: \w+)? (?:remember|know|recall|have|find|tell|say)"
    r"|no (?:memory|record|information|mention|idea)|not (?:sure|certain|mentioned|aware)|nothing (?:about|on))\b"
)
"""Words in which models say that they do not know."""


def says(answer: str, item: Item, unknown: str) -> bool:
    """Whether an answer is right: it says what is expected, word for word, and does not disown it. Where nothing is
    known, any words that say so are right."""
    if item.aspect == "calls":
        return well_formed(answer, item) and _calls(answer, item)
    if normalise(item.expected) == normalise(unknown):
        return normalise(answer).startswith(normalise(unknown)) or _DISOWNS.search(_plain(answer)) is not None
    return _holds(answer, item.expected) and normalise(unknown) not in normalise(answer)


def well_formed(answer: str, item: Item) -> bool:
    """Whether an answer is JSON under the item's schema, or a call of one of its tools."""
    return keeps(answer, item.schema) if item.schema is not None else called(answer, item.tools) is not None


def _calls(answer: str, item: Item) -> bool:
    """Whether a call says what is expected (of JSON some words, or none in particular), or is of the right tool."""
    if item.schema is not None:
        return not item.expected or _holds(answer, item.expected)
    return called(answer, item.tools) == item.expected


def _holds(answer: str, expected: str) -> bool:
    return f" {_words(expected)} " in f" {_words(answer)} "


def _plain(text: str) -> str:
    return normalise(text).replace("\u2019", "'")


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in normalise(text)).split())
