"""Conditions on what a recall may bring, as masks over a cache's columns: as many as are asked for are found where so
many exist, however narrow the conditions are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.clock import as_utc
from agentmem.columns import NEVER, ORIGINS, ROLES, STATES, THOUGHT, TURN
from agentmem.display import minute
from agentmem.errors import InputError
from agentmem.interfaces import Reader
from agentmem.types import Origin, RecalledKind

Docs: TypeAlias = NDArray[np.intp] | NDArray[np.int32] | slice
Mask: TypeAlias = NDArray[np.bool_]

EVERY = slice(None)
KINDS: dict[RecalledKind, int] = {"turn": TURN, "thought": THOUGHT}
_PASSED_OVER = ("superseded", "quoting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a record must meet, all of it; what is None is no condition.

    `session` lets through its turns, and the thoughts that stem from one of them. `speaker` is a turn's speaker
    whatever its case, or a role; `origin` is a thought's: each leaves the other kind out. `after` (inclusive) and
    `before` (exclusive) bound when a turn was said, or from when a thought holds. `as_of` asks what was true at a time,
    `known_at` what was recorded by then; without them thoughts are those valid now. Raises InputError for conditions
    that nothing could ever meet.
    """

    kinds: Sequence[RecalledKind] = get_args(RecalledKind)
    session: str | None = None
    speaker: str | None = None
    origin: Origin | None = None
    after: datetime | None = None
    before: datetime | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("after", "before", "as_of", "known_at"):
            if (moment := getattr(self, name)) is not None:
                object.__setattr__(self, name, as_utc(moment))
        _check_kinds(self)
        if self.after is not None and self.before is not None and self.after >= self.before:
            raise InputError(f"nothing is after {minute(self.after)} and before {minute(self.before)}: exchange them")


def _check_kinds(conditions: Conditions) -> None:
    kinds, origin = conditions.kinds, conditions.origin
    if not kinds or not set(kinds) <= set(KINDS):
        raise InputError(f"the kinds to recall are turn and thought, one or both; got {kinds!r}")
    if origin is not None and origin not in get_args(Origin):
        raise InputError(f"a thought's origin is one of {', '.join(get_args(Origin))}; got {origin!r}")
    if origin is not None and conditions.speaker is not None:
        raise InputError("only turns have a speaker and only thoughts an origin: ask for one of the two")
    if origin is not None and "thought" not in kinds:
        raise InputError("only thoughts have an origin: ask for thoughts too, or leave the origin out")
    if conditions.speaker is not None and "turn" not in kinds:
        raise InputError("only turns have a speaker: ask for turns too, or leave the speaker out")


def allowed(
    cache: NamespaceCache, reader: Reader, conditions: Conditions, *, now: datetime, docs: Docs = EVERY
) -> Mask:
    """Which of the documents meet the conditions, shape (len(docs),). The caller holds the cache's lock."""
    passing: Mask = cache.live[docs] & _times(cache, conditions, now, docs)
    state, kind = cache.columns["state"][docs], cache.columns["kind"][docs]
    for left_out in KINDS.keys() - set(conditions.kinds):
        passing &= kind != KINDS[left_out]
    for passed_over in _PASSED_OVER:
        passing &= state != STATES.index(passed_over)
    if conditions.origin is not None:
        passing &= cache.columns["origin"][docs] == ORIGINS.index(conditions.origin)
    if conditions.speaker is not None:
        passing &= _spoken_by(cache, conditions.speaker, docs)
    if conditions.session is not None:
        passing &= _of_session(cache, reader, conditions.session, np.arange(len(cache))[docs], passing)
    return passing


def _times(cache: NamespaceCache, conditions: Conditions, now: datetime, docs: Docs) -> Mask:
    as_of, known_at = conditions.as_of, conditions.known_at
    held = _true_then(cache, (as_of or now).timestamp(), None if known_at is None else known_at.timestamp(), docs)
    if as_of is None and known_at is None:
        # A turn was said, whatever its clock showed: only a question about a time asks for its date.
        held |= cache.columns["kind"][docs] == TURN
    at = cache.columns["at"][docs]
    if conditions.after is not None:
        held &= at >= conditions.after.timestamp()
    if conditions.before is not None:
        held &= at < conditions.before.timestamp()
    return held


def _true_then(cache: NamespaceCache, as_of: float, known_at: float | None, docs: Docs) -> Mask:
    """Documents that held at `as_of` by what was known at `known_at`: `thoughts.is_valid` over arrays, and the turns
    that were said by then."""
    at, until, state = (cache.columns[name][docs] for name in ("at", "until", "state"))
    true: Mask = (at <= as_of) & (as_of < until) & (state != STATES.index("merged"))
    if known_at is None:
        return true
    gone, recorded = (cache.columns[name][docs] for name in ("gone", "recorded"))
    untouched = (gone > known_at) & (gone < NEVER)
    return (recorded <= known_at) & (true | (untouched & (at <= as_of)))


def _spoken_by(cache: NamespaceCache, speaker: str, docs: Docs) -> Mask:
    """Turns by a speaker of this name, or of this role."""
    wanted = speaker.casefold()
    numbers = [number for name, number in cache.speakers.items() if name.casefold() == wanted]
    spoken = np.isin(cache.columns["speaker"][docs], numbers)
    if wanted in ROLES:
        spoken |= cache.columns["role"][docs] == ROLES.index(wanted)
    turns: Mask = cache.columns["kind"][docs] == TURN
    return spoken & turns


def _of_session(cache: NamespaceCache, reader: Reader, session: str, docs: NDArray[np.intp], passing: Mask) -> Mask:
    """Which documents are turns of a session, or thoughts still `passing` that stem from one."""
    number = cache.sessions.number(session)
    inside: Mask = cache.columns["session"][docs] == number
    thoughts = docs[passing & (cache.columns["kind"][docs] == THOUGHT)]
    turns = np.flatnonzero((cache.columns["session"] == number) & cache.live)
    return inside | np.isin(docs, _stemming(cache, reader, thoughts, turns))


def _stemming(cache: NamespaceCache, reader: Reader, thoughts: NDArray[np.intp], turns: NDArray[np.intp]) -> list[int]:
    """Those of the thoughts that have one of the turns as a source; the edges are sought from the smaller side."""
    if not len(thoughts) or not len(turns):
        return []
    if len(thoughts) <= len(turns):
        edges = reader.edges(namespace=cache.namespace, children=_ids(cache, thoughts), relation="source")
    else:
        edges = reader.edges(namespace=cache.namespace, parents=_ids(cache, turns), relation="source")
    wanted = set(_ids(cache, turns))
    children: list[int] = cache.ids.numbers([edge.child for edge in edges if edge.parent in wanted]).tolist()
    return children


def _ids(cache: NamespaceCache, docs: Iterable[int]) -> list[str]:
    return [cache.ids[doc] for doc in docs]
