"""The parts of a question that asks for several things: "Where does Ann live, and what does Bob drink?"

Asked as one, such a question finds what answers its strongest part: its vector lies between those of the parts, and
what holds one part's words comes before all that holds the other's. So each part is asked for itself too, and they
take turns (agentmem/search.py).

Only what is plainly a question of its own is a part: up to each question mark, and what follows "and", "or", "but" or a
semicolon where it begins as a question does. English only, as the stems are; what is not taken apart is asked whole.
"""

from __future__ import annotations

import re

from agentmem.text import stems

MOST = 4
"""Parts at most, each of which costs an embedding and a recall; the last takes in the rest."""
_ASKING = r"(?:what|where|who|whom|whose|when|how|which|why)\b"
_HELPING = r"(?:is|was|were|are|am|has|have|had|can|could|will|would|should|do|does|did)"
_BEGINS = rf"(?:{_ASKING}|(?:do|does|did)\b|{_HELPING}\s+(?:i|you|he|she|it|we|they)\b)"
"""Narrower after "and" than at the beginning: "… and is his prized possession" is no question."""
_SENTENCE = re.compile(r"(?<=\?)\s+")
_JOINT = re.compile(rf"(?:[,;]?\s+(?:and|or|but)\s+(?:also\s+|then\s+)?|;\s+)(?={_BEGINS})", re.I)
_ASKS = re.compile(rf"\b{_ASKING}|^{_HELPING}\b", re.I)
_SOMEBODY = re.compile(r"\b(?:he|she|they|him|her|them|his|hers|their|theirs)\b", re.I)
_WORD = re.compile(r"(?<=\s)[^\W\d_]+")


def parts(text: str) -> tuple[str, ...]:
    """What `text` asks, part by part, at most MOST; () where it asks one thing, or nothing.

    A statement goes with the question after it. A part that speaks of "her" or "them" and names nobody gets the names
    of the part before: "When did Ann leave and where did she go?" asks "where did she go? Ann".
    """
    found = [part for sentence in _questions(" ".join(text.split())) for part in _taken_apart(sentence)]
    if len(found) < 2 or not all(map(stems, found)):
        return ()
    return tuple(_named([*found[: MOST - 1], " ".join(found[MOST - 1 :])] if len(found) > MOST else found))


def _questions(text: str) -> list[str]:
    """The text up to each question mark; what comes after the last goes with it."""
    *whole, last = _SENTENCE.split(text)
    if whole and not last.endswith("?"):
        whole[-1] += f" {last}"
        return whole
    return [*whole, last]


def _taken_apart(sentence: str) -> list[str]:
    found = _JOINT.split(sentence)
    return found if all(_ASKS.search(part) and stems(part) for part in found) else [sentence]


def _named(found: list[str]) -> list[str]:
    names: list[str] = []
    out = []
    for part in found:
        own = _names(part)
        lacking = not own and _SOMEBODY.search(part)
        out.append(" ".join([part, *names]) if lacking else part)
        names = own or names
    return out


def _names(part: str) -> list[str]:
    """Its capitalised words, but for the first, which always is."""
    return list(dict.fromkeys(word for word in _WORD.findall(part) if word[0].isupper() and word != "I"))
