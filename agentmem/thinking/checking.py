"""What a model drew from exchanges, checked: a statement that its turn does not bear is dropped, not mended.

A check sees words, not meaning. It asks that names and numbers stand in the exchange, that the turn named as the source
tells some of the content, and that the statement is none about what the assistant is to do. English as the stems are:
in languages that capitalise nouns, or have other pronouns, fewer statements pass.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from agentmem.dates import Span, spans
from agentmem.digests import normalise
from agentmem.text import stems, words
from agentmem.thinking.asking import EXTRACT, RECONCILE, SUMMARISE
from agentmem.thinking.exchanges import Exchange, told
from agentmem.types import Origin, Turn
from agentmem.wording import Wording

LONGEST = 600
"""Characters of a statement: one that is longer is no one statement."""
_LONGEST_FIELD = 80
_SHARE = 4
"""One part in so many of a statement's stems must stand in its source."""
_FEW = 3
"""Stems below which a statement may be made of words that the instructions have too."""
_NEAR_DAYS = 400
"""So far from the turn a date may be that the turn names in words that are not read here ("next spring")."""
_SELF = re.compile(r"\bI(?:['\u2019]\w+)?\s+[a-z]|\b(?:[Mm]y|[Mm]yself|[Yy]ou(?:rs?|rself|rselves)?)\b")
_SEEN_FROM_THEN = re.compile(r"\b(?:today|tonight|yesterday|tomorrow)\b", re.IGNORECASE)
_ASSISTANT = re.compile(r"\W*(?:(?:the|this)\s+)?(?:ai\s+)?(?:assistant|chatbot)\b", re.IGNORECASE)
_ORDER = re.compile(
    r"\b(?:must|should|shall|ha[sd] to|have to|needs? to|is to|are to|ought to|always|never|from now on|henceforth)\b",
    re.IGNORECASE,
)
_OVERRIDE = re.compile(
    r"\b(?:ignor|disregard|overrid|bypass|obey)\w*\b.{0,60}\b(?:instruction|rule|prompt|guideline|polic|order)"
    r"|\b(?:instruction|rule|prompt|guideline)s?\b.{0,60}\b(?:ignor|disregard|overrid|bypass)"
    r"|\bsystem prompt\b|\bassistant\b.{0,40}\b(?:must|should|shall)\b",
    re.IGNORECASE,
)
_MONTHS = "january february march april may june july august september october november december"
_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_MONTH = rf"(?:{'|'.join(name.capitalize() for name in _MONTHS.split())})"
_INNER_NAME = re.compile(r"(?<=[a-z,;] )[A-Z]\w+")
_NTH = r"(?:st|nd|rd|th)?"
_DATE = re.compile(
    rf"\b(?P<iso>\d{{4}}-\d{{2}}(?:-\d{{2}})?)\b|\b(?:\d{{1,2}}{_NTH} )?{_MONTH}\b(?: \d{{1,2}}{_NTH}\b)?"
    r"(?:,? (?P<year>(?:19|20)\d\d))?\b|\b(?P<alone>(?:19|20)\d\d)\b|\b\d{1,2}:\d\d\b"
)
_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
_NUMERALS = {word: str(n) for n, word in enumerate(_COUNTED.split())} | {
    "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "hundred": "100", "once": "1", "twice": "2", "a": "1",
    "an": "1",
}  # fmt: skip
_LEADS_TEXT = "since until on in at after before during every no not yes as while when both all some"
_LEADS = frozenset(_LEADS_TEXT.split())
"""What a statement may begin with, capitalised, that is no name."""
_PARTIES = frozenset({"user", "assistant", "ai"})
_TALK_TEXT = """
    says said tells told asks asked greets greeted hello hi hey thanks thank bye goodbye welcome wants want know knows
    question conversation answer answered mention mentioned talk talked chat statement speaker user assistant remember
"""
_TALK = frozenset(stems(_TALK_TEXT))
"""Stems that say that somebody spoke, not of what."""


@dataclass(frozen=True, slots=True)
class Note:
    """A statement that was drawn from a turn and passed. `sources` are the turns that bear it, that turn first."""

    text: str
    head: str | None
    relation: str | None
    tail: str | None
    exchange: Exchange
    sources: tuple[Turn, ...]
    origin: Origin
    trusted: bool

    @property
    def turn(self) -> Turn:
        return self.sources[0]


def notes(exchanges: Sequence[Exchange], drawn: Iterable[Mapping[str, Any]]) -> tuple[list[Note], Counter[str]]:
    """The statements of an answer to `extract` that pass, each once, and how many did not, by the reason."""
    places = [(exchange, turn) for exchange in exchanges for turn in exchange.turns]
    passed: dict[tuple[str, str], Note] = {}
    dropped: Counter[str] = Counter()
    for one in drawn:
        if not 1 <= one["turn"] <= len(places):
            dropped["unknown turn"] += 1
            continue
        exchange, turn = places[one["turn"] - 1]
        reason, note = _note(exchange, turn, one)
        if note is None:
            dropped[reason] += 1
        else:
            passed.setdefault((exchange.job.id, normalise(note.text)), note)
    return list(passed.values()), dropped


def _note(exchange: Exchange, turn: Turn, one: Mapping[str, str]) -> tuple[str, Note | None]:
    text = " ".join(one["text"].split())
    of_user = turn.role == "user"
    reason = _unfit(text) or (_not_the_users(text) if of_user else _not_the_assistants(text, exchange, turn))
    if reason:
        return reason, None
    reason, sources = _borne(text, exchange, turn)
    if reason:
        return reason, None
    head, relation, tail = (_field(one[name], exchange) for name in ("head", "relation", "tail"))
    origin: Origin = "user" if of_user else "agent"
    return "", Note(text, head, relation, tail, exchange, sources, origin, of_user or not exchange.tainted)


def _unfit(text: str) -> str:
    """Why a text is no statement that stands on its own, "" where it is one."""
    if not text or len(text) > LONGEST:
        return "no statement"
    if text.endswith("?"):
        return "a question"
    if _SELF.search(text) or _SEEN_FROM_THEN.search(text):
        return "not on its own"
    if _OVERRIDE.search(text) or _restates(text):
        return "an instruction"
    return ""


def _restates(text: str) -> bool:
    """Whether a text is made of the words of our own prompts."""
    said = set(stems(text))
    return len(said) >= _FEW and said <= _prompts() | _TALK


@cache
def _prompts() -> frozenset[str]:
    from agentmem.prompt import RULES

    texts = (RULES, EXTRACT.instruction, RECONCILE.instruction, SUMMARISE.instruction)
    return frozenset(stem for text in texts for stem in stems(text))


def _not_the_users(text: str) -> str:
    """What a user says of the assistant is a wish or an instruction, and no fact."""
    return "about the assistant" if _ASSISTANT.match(text) else ""


def _not_the_assistants(text: str, exchange: Exchange, turn: Turn) -> str:
    """Of what the assistant says, only what it did or promised is kept: about the user it can but guess or repeat."""
    if not _ASSISTANT.match(text):
        return "a guess"
    if _ORDER.search(text):
        return "an instruction"
    said = (set(stems(text)) - _TALK) & set(stems(turn.text))
    known = {stem for recalled in exchange.recalled for stem in stems(recalled)}
    return "from memory" if said <= known else ""


def _borne(text: str, exchange: Exchange, turn: Turn) -> tuple[str, tuple[Turn, ...]]:
    """Why a text is not borne by its turn, "" where it is; and the turns that bear it."""
    if not _dates_fit(text, turn):
        return "a date of its own", ()
    undated = _DATE.sub(" ", text)
    wanted = telling(undated) - _speakers(exchange)
    sources, lacking = [turn], wanted - _words(turn)
    for other in exchange.turns:
        if lacking and other is not turn and lacking & _words(other):
            sources.append(other)
            lacking -= _words(other)
    if lacking:
        return "a name or number of its own", ()
    content = set(stems(undated)) - _TALK - {stem for name in _speakers(exchange) for stem in stems(name)}
    tells = told(turn.text) if turn.role == "user" else turn.text
    shared = content & set(stems(tells))
    if not shared or _SHARE * len(shared) < len(content):
        return "not said", ()
    return "", tuple(sources)


def telling(text: str) -> set[str]:
    """Names and numbers of a text."""
    wording = Wording(text)
    names = wording.names - _LEADS - _PARTIES - set(_DAYS.split()) - set(_MONTHS.split()) - _NUMERALS.keys()
    return {*names, *wording.numbers}


def dates(text: str) -> tuple[frozenset[str], str]:
    """The dates that a text names, and the text without them."""
    return frozenset(match[0] for match in _DATE.finditer(text)), _DATE.sub(" ", text)


def _words(turn: Turn) -> set[str]:
    said = set(words(turn.text))
    return said | {_NUMERALS[word] for word in said & _NUMERALS.keys()}


def _speakers(exchange: Exchange) -> set[str]:
    return {word for turn in exchange.turns for word in words(turn.speaker or "")}


def _dates_fit(text: str, turn: Turn) -> bool:
    """Whether the dates of a text are named in its turn, or near enough to it to be meant by it."""
    said, named = turn.occurred_at.date(), set(words(turn.text))
    meant = spans(turn.text, today=said, years=[said.year - 1, said.year, said.year + 1])
    for match in _DATE.finditer(text):
        iso, year = match["iso"], match["year"] or match["alone"]
        if iso is not None and iso not in turn.text:
            day = _day(iso)
            if day is None or not (abs((day - said).days) <= _NEAR_DAYS or str(day.year) in named or _in(meant, day)):
                return False
        if year is not None and year not in named and not _near(int(year), said.year, meant):
            return False
    return True


def _near(year: int, now: int, meant: Iterable[Span]) -> bool:
    return abs(year - now) <= 1 or any(first.year <= year <= stop.year for first, stop in meant)


def _in(meant: Iterable[Span], day: date) -> bool:
    return any(first <= day < stop for first, stop in meant)


def _day(iso: str) -> date | None:
    try:
        return date.fromisoformat(iso if len(iso) > len("2024-05") else f"{iso}-01")
    except ValueError:
        return None


def _field(text: str, exchange: Exchange) -> str | None:
    """A head, relation or tail without names or numbers of its own; None where there is nothing to keep."""
    shown = " ".join(text.split())
    known = _speakers(exchange).union(*(_words(turn) for turn in exchange.turns))
    if not shown or len(shown) > _LONGEST_FIELD or telling(_DATE.sub(" ", shown)) - known:
        return None
    return shown


def adds(text: str, known: Iterable[str]) -> bool:
    """Whether a text has a name or a number that none of the known ones has, or is unfit to be kept."""
    held: set[str] = set().union(*(set(words(one)) for one in known))
    held |= {_NUMERALS[word] for word in held & _NUMERALS.keys()}
    return bool(_unfit(text) or telling(text) - held)


def foreign(text: str, turns: Iterable[Turn]) -> bool:
    """Whether a summary of turns has a number, or a name within a sentence, that none of them has; or gives orders."""
    said = list(turns)
    known = set().union(*(_words(turn) | set(words(turn.speaker or "")) for turn in said))
    undated = _DATE.sub(" ", text)
    names = {word for name in _INNER_NAME.findall(undated) for word in words(name)}
    return bool((telling(undated) & (names | Wording(undated).numbers)) - known or _OVERRIDE.search(text))


def same_subject(one: str | None, other: str | None) -> bool:
    """Whether two heads name the same; unknown ones name nothing."""
    return bool(one and other) and subject(one) == subject(other)


def subject(head: str | None) -> str:
    return normalise(head or "").removeprefix("the ")


def content(text: str) -> frozenset[str]:
    """The stems of a statement that say what it is about."""
    return frozenset(stem for stem in stems(text) if stem not in _TALK)
