"""The stand-in for a language model: it quotes what is remembered and bears on the question, and concludes nothing.

How far an item bears on a question is its `strength`, from the measures of `agentmem.recall`; 1 is enough to quote it
as an answer, half of that to offer it as the nearest there is. Where the question names someone who is among the
speakers, what that person said comes first, and if others' words fit clearly better, the answer says so: most false
questions ("What did Ann say of the race?", when Bea ran it) show in this. The figures were chosen on LoCoMo by
cross-validation over its conversations (benchmarks/stand_in.py, benchmarks/LOG.md).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentmem.prompt import excerpt
from agentmem.text import stems, words
from agentmem.types import RecallItem

STAND_IN = "stand-in"
NOT_REMEMBERED = "I don't remember"
QUOTED = 6
"""Items quoted at most."""
_OFFERED = 3
"""Items offered at most where nothing bears on the question well."""
_LONGEST_QUOTE = 600


@dataclass(frozen=True, slots=True)
class Limits:
    """When an item is quoted, and when another speaker's words count as the better fit."""

    by_vector: float = 1.15
    """Coverage plus twice the cosine that gives strength 1. Of unrelated questions one in thirty reaches it."""
    by_words: float = 0.25
    """The same for coverage alone, where there is no vector."""
    nearest: float = 0.5
    """Strength below which an item is not even offered."""
    contrast: float = 0.05
    """By how much others' coverage may exceed the named speaker's."""


DEFAULT = Limits()


def reply(question: str, items: Sequence[RecallItem], *, private: bool = False, limits: Limits = DEFAULT) -> str:
    """The stand-in's whole answer. It begins with NOT_REMEMBERED unless something bears on the question."""
    if is_statement(question):
        return "Not kept: this is a private session." if private else "Noted."
    lead, quoted = choose(question, items, limits)
    return "\n".join([lead, *_quotes(quoted, question)])


def choose(question: str, items: Sequence[RecallItem], limits: Limits = DEFAULT) -> tuple[str, list[RecallItem]]:
    """The line that leads the answer, and the items to quote after it, best first."""
    near = [item for item in items if strength(item, limits) >= limits.nearest and not _asks_only(item, question)]
    if not near:
        return f"{NOT_REMEMBERED} anything about that.", []
    named = _named(question, near)
    own = [item for item in near if not named or _speaker(item) in named or item.kind == "thought"]
    others = [item for item in near if item not in own]
    if others and _coverage(others) - _coverage(own) > limits.contrast:
        return f"{NOT_REMEMBERED} that of {' or '.join(sorted(named))}. Nearest to it:", near[:QUOTED]
    if max(strength(item, limits) for item in near) < 1:
        return f"{NOT_REMEMBERED} that as such. Nearest to it:", near[:_OFFERED]
    return "From memory, as it was said:", (own + others)[:QUOTED]


def strength(item: RecallItem, limits: Limits = DEFAULT) -> float:
    """How far an item bears on the question: 1 is enough for an answer."""
    coverage, cosine = item.measures.get("coverage", 0.0), item.measures.get("cosine")
    if cosine is not None:
        return (coverage + 2 * cosine) / limits.by_vector
    # Without vectors a turn that shares no word may still be the reply to one that does.
    return max(coverage, item.measures.get("context", 0.0) - limits.by_words / 5) / limits.by_words


def _asks_only(item: RecallItem, question: str) -> bool:
    """Whether the item is a question put to the agent before, or the question itself: neither answers anything."""
    typed = item.source.get("role") == "user" and not item.source.get("source")
    single = not re.search(r"[.!?\n]\s*\S", item.text)
    if typed and single and not is_statement(item.text):
        return True
    return item.text.rstrip().endswith("?") and set(stems(item.text)) <= set(stems(question))


def _named(question: str, items: Sequence[RecallItem]) -> set[str]:
    """The one speaker whom the question names; nobody where it names several: then it is about all of them."""
    asked = set(words(question))
    named = {s for item in items if (s := _speaker(item)) and asked & set(words(s))}
    return named if len(named) == 1 else set()


def _speaker(item: RecallItem) -> str:
    return str(item.source.get("speaker") or "")


def _coverage(items: Sequence[RecallItem]) -> float:
    return max((item.measures.get("coverage", 0.0) for item in items), default=0.0)


def _quotes(items: Sequence[RecallItem], question: str) -> list[str]:
    newest = max((item.time for item in items), default=None)
    several = len({item.time for item in items}) > 1
    return [_quote(item, question) + (" (newest)" if several and item.time == newest else "") for item in items]


def _quote(item: RecallItem, question: str) -> str:
    return f"- {item.time:%Y-%m-%d}, {_who(item)}: “{excerpt(item.text, question, _LONGEST_QUOTE)}”"


def _who(item: RecallItem) -> str:
    if item.kind == "thought":
        return "thought" if item.source.get("trusted", True) else "thought from a tool"
    role = item.source.get("role")
    if role == "tool":
        return f"tool {_speaker(item)}".rstrip()
    return _speaker(item) or {"user": "you", "assistant": "the assistant"}.get(str(role), str(role))


_QUESTION_WORD = re.compile(r"(who|what|when|where|which|whose|whom|why|how)\b(?!\s+(i|we|my|our|an?)\b)", re.I)
_ASKING_VERB = re.compile(
    r"(do|does|did|is|are|am|was|were|can|could|will|would|should|has|have|had|may|might|shall)\s+"
    r"(i|you|we|he|she|it|they|my|your|our|his|her|their|the|there|an?|any|this|that)\b",
    re.I,
)
_REQUEST = re.compile(
    r"(please\s+)?((tell|remind|show|give)\s+(me|us)\b(?!\s+to\b)|list|name|describe|summari[sz]e|quote|recall|find|search)\b",
    re.I,
)
_FINITE = re.compile(
    r"\b(i|i'm|i've|i'll|we|he|she|they|it|is|are|am|was|were|has|have|had|will|would|can|do|don't|remember|remind)\b",
    re.I,
)
_GREETING = re.compile(
    r"(hi|hello|hey|thanks|thank you|please|ok|okay|yes|no|bye|goodbye|good (morning|evening|night))\b", re.I
)
_KEYWORDS = 6


def is_statement(text: str) -> bool:
    """Whether the user tells something rather than asks. A few bare words count as a search."""
    said = text.strip().replace("\u2019", "'")
    if re.search(r"\?(\s|$|[\"')\]])", said):
        return False
    ended = said.endswith((".", "!"))
    if _REQUEST.match(said) or (not ended and (_QUESTION_WORD.match(said) or _ASKING_VERB.match(said))):
        return False
    return ended or bool(_FINITE.search(said) or _GREETING.match(said)) or len(said.split()) > _KEYWORDS
