"""Forgetting: what must go when something is forgotten, shown first (`prepare`), then done (`carry_out`).

The cascade follows the provenance edges. A named thought takes what it was merged from and its source turns; a named
turn takes every thought derived from it. Whatever was merged from something that goes is dissolved, and its other
parents come back. What says the same again is listed apart: thoughts as `repeats`, turns as `echoes`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from agentmem import titles
from agentmem.costs import costs
from agentmem.digests import normalise
from agentmem.errors import InputError, NotFoundError
from agentmem.interfaces import Backend, Reader, Writer
from agentmem.ledger import SUMMARIZE, drop_jobs, external_key, summarize_job, suppress
from agentmem.lineage import withdraw
from agentmem.thoughts import drop, revive, suppression_key
from agentmem.types import Chunk, ForgetPlan, Namespace, Thought, Turn

FindTurns = Callable[[str], Sequence[str]]
"""Ids of the turns that hold every word of a text."""

_SHORTEST_ECHO = 12
"""Characters of a normalised text below which its words elsewhere are no repetition ("Yes.")."""
_SHARED_WORDS = 0.6
"""Share of a forgotten text's words that marks an answer given with it in the prompt as repeating it."""
_SAMPLE = 200


@dataclass
class _Cascade:
    """The sets a plan is made of, grown along the provenance edges until nothing more must go."""

    reader: Reader
    namespace: Namespace
    turns: dict[str, None]
    thoughts: dict[str, None]

    def take_turns(self, ids: Iterable[str]) -> None:
        """These turns and all thoughts derived from them."""
        fresh = [i for i in ids if i not in self.turns]
        self.turns.update(dict.fromkeys(fresh))
        derived = self.reader.edges(namespace=self.namespace, parents=fresh, relation="source")
        self.dissolve(edge.child for edge in derived)

    def dissolve(self, ids: Iterable[str]) -> None:
        """These thoughts and those merged from them."""
        fresh = [i for i in ids if i not in self.thoughts]
        while fresh:
            self.thoughts.update(dict.fromkeys(fresh))
            above = self.reader.edges(namespace=self.namespace, parents=fresh, relation="merged")
            fresh = [e.child for e in above if e.child not in self.thoughts]

    def take_thoughts(self, ids: Iterable[str], *, keep_source: bool) -> None:
        """These thoughts, what they were merged from, and their source turns, whose other thoughts stay."""
        wanted = list(ids)
        below = wanted
        while below:
            self.dissolve(below)
            below = [e.parent for e in self.reader.edges(namespace=self.namespace, children=below, relation="merged")]
            wanted += below
        if not keep_source:
            sources = self.reader.edges(namespace=self.namespace, children=wanted, relation="source")
            existing = self.reader.get("turn", list(dict.fromkeys(e.parent for e in sources)), namespace=self.namespace)
            self.turns.update(dict.fromkeys(turn.id for turn in existing))

    def said(self, named: Iterable[str]) -> list[str]:
        """The thoughts whose repetition matters: not those that go only because what they were merged from does."""
        above = self.reader.edges(namespace=self.namespace, parents=list(self.thoughts), relation="merged")
        dissolved = {edge.child for edge in above} - set(named)
        return [i for i in self.thoughts if i not in dissolved]

    def restored(self) -> list[str]:
        """Parents of dissolved thoughts that come back."""
        below = self.reader.edges(namespace=self.namespace, children=list(self.thoughts), relation="merged")
        return list(dict.fromkeys(e.parent for e in below if e.parent not in self.thoughts))


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be forgotten: records by id, a session, turns before a time; and how far that goes."""

    ids: Sequence[str] = ()
    session: str | None = None
    before: datetime | None = None
    keep_source: bool = False
    repeats: bool = True
    echoes: bool = True


def prepare(backend: Backend, find_turns: FindTurns, choice: Choice, *, namespace: Namespace) -> ForgetPlan:
    """What the choice would take. Changes nothing.

    Raises NotFoundError for an unknown id, InputError for turns named together with `keep_source`.
    """
    with backend.read() as reader:
        intent = plan(reader, choice, namespace=namespace)
    asked: dict[str, Sequence[str]] = {}
    while choice.echoes and not choice.keep_source:
        with backend.read() as reader:
            fresh = [text for text in texts_of(reader, intent) if text not in asked]
        if not fresh:
            break
        # Searching takes a view of its own, so it stands between the two.
        asked |= {text: find_turns(text) if len(text) >= _SHORTEST_ECHO else () for text in fresh}
        before = intent
        with backend.read() as reader:
            intent = with_echoes(reader, intent, asked, repeats=choice.repeats)
        if intent.thoughts == before.thoughts and intent.repeats == before.repeats:
            break  # what the echoes took with them is what has more echoes
    return intent


def plan(reader: Reader, choice: Choice, *, namespace: Namespace) -> ForgetPlan:
    """The plan, echoes aside."""
    named = list(dict.fromkeys([*choice.ids, *_chosen_turns(reader, choice, namespace)]))
    turns = {turn.id: None for turn in reader.get("turn", named, namespace=namespace)}
    thoughts = {thought.id: None for thought in reader.get("thought", named, namespace=namespace)}
    _check_named(named, turns, thoughts, choice.keep_source)
    cascade = _Cascade(reader, namespace, {}, {})
    cascade.take_turns(turns)
    cascade.take_thoughts(thoughts, keep_source=choice.keep_source)
    again = _repeats(reader, cascade.said(thoughts), namespace) if choice.repeats else []
    again = [i for i in again if i not in cascade.thoughts]
    cascade.take_thoughts(again, keep_source=choice.keep_source)
    return _listed(cascade, tuple(named), again, (), choice.keep_source)


def _chosen_turns(reader: Reader, choice: Choice, namespace: Namespace) -> list[str]:
    where: dict[str, Any] = {}
    if choice.session is not None:
        where["session"] = choice.session
    if choice.before is not None:
        where["occurred_at"] = slice(None, choice.before)
    found: list[str] = reader.columns("turn", ["id"], namespace=namespace, where=where)["id"] if where else []
    return found


def _listed(
    cascade: _Cascade, named: tuple[str, ...], repeats: Iterable[str], echoes: Iterable[str], keep_source: bool
) -> ForgetPlan:
    """The plan that a cascade amounts to, what says the same again being listed apart."""
    reader, namespace = cascade.reader, cascade.namespace
    again, echoing = dict.fromkeys(repeats), dict.fromkeys(echoes)
    turns = dict.fromkeys([*cascade.turns, *echoing])
    return ForgetPlan(
        namespace=namespace,
        named=named,
        turns=tuple(i for i in cascade.turns if i not in echoing),
        thoughts=tuple(i for i in cascade.thoughts if i not in again),
        repeats=tuple(again),
        echoes=tuple(echoing),
        restored=tuple(cascade.restored()),
        chunks=tuple(chunk.id for chunk in _chunks_of(reader, list(turns), namespace)),
        keep_source=keep_source,
        samples=_samples(reader, list(turns), list(cascade.thoughts), namespace),
    )


def _check_named(named: Sequence[str], turns: Iterable[str], thoughts: Iterable[str], keep_source: bool) -> None:
    missing = set(named) - set(turns) - set(thoughts)
    if missing:
        raise NotFoundError(f"nothing with id {min(missing)} in this namespace: give ids of turns or thoughts")
    if keep_source and list(turns):
        raise InputError("a source cannot be kept where turns themselves are to be forgotten: name thoughts only")


def _repeats(reader: Reader, gone: Sequence[str], namespace: Namespace) -> list[str]:
    """Thoughts that say again what goes: equal, similar with the same numbers, or of the same head and tail."""
    if not gone:
        return []
    forgotten: list[Thought] = reader.get("thought", gone, namespace=namespace)
    found = _paraphrases(reader, forgotten, namespace)
    texts = {normalise(t.text) for t in forgotten}
    found |= _equal(reader, texts, namespace)
    pairs = {(t.head, t.tail) for t in forgotten if t.head and t.tail}
    if pairs:
        found |= {t.id for t in reader.select("thought", namespace=namespace) if (t.head, t.tail) in pairs}
    return sorted(found - set(gone))


def _paraphrases(reader: Reader, forgotten: Sequence[Thought], namespace: Namespace) -> set[str]:
    gone = [t.id for t in forgotten]
    links = reader.edges(namespace=namespace, children=gone, relation="similar")
    links += reader.edges(namespace=namespace, parents=gone, relation="similar")
    ends = sorted({end for edge in links for end in (edge.child, edge.parent)})
    near: list[Thought] = reader.get("thought", ends, namespace=namespace)
    numbers = {thought.id: _numbers(thought.text) for thought in (*near, *forgotten)}
    pairs = [(edge.child, edge.parent) for edge in links] + [(edge.parent, edge.child) for edge in links]
    return {other for one, other in pairs if other in numbers and numbers.get(one) == numbers[other]}


def _numbers(text: str) -> list[str]:
    """What tells "20 mg" from "40 mg" where a cosine cannot."""
    return sorted(re.findall(r"\d+", text))


def _equal(reader: Reader, texts: Iterable[str], namespace: Namespace) -> set[str]:
    where = {"text_digest": tuple(reader.digest(text) for text in texts)}
    return {thought.id for thought in reader.select("thought", namespace=namespace, where=where)}


def texts_of(reader: Reader, intent: ForgetPlan) -> list[str]:
    """The normalised texts that a plan takes."""
    turns: list[Turn] = reader.get("turn", intent.turns, namespace=intent.namespace)
    thoughts: list[Thought] = reader.get("thought", intent.thoughts + intent.repeats, namespace=intent.namespace)
    records: list[Turn | Thought] = [*turns, *thoughts]
    return list(dict.fromkeys(normalise(record.text) for record in records))


def with_echoes(
    reader: Reader, intent: ForgetPlan, candidates: Mapping[str, Sequence[str]], *, repeats: bool
) -> ForgetPlan:
    """The plan with the turns that stay but repeat one of its texts, to each of which `candidates` has the turns that
    hold all its words: word for word, or in an answer that it was recalled for.

    What repeats a named turn is forgotten like it, with the thoughts derived from it; what repeats a thought or its
    sources goes like a source, and other thoughts from it stay.
    """
    namespace, going = intent.namespace, set(intent.turns)
    staying = dict.fromkeys(i for ids in candidates.values() for i in ids if i not in going)
    said = {turn.id: normalise(turn.text) for turn in reader.get("turn", list(staying), namespace=namespace)}
    repeating = {text: [i for i in ids if text in said.get(i, "")] for text, ids in candidates.items()}
    named = {normalise(turn.text) for turn in reader.get("turn", intent.named, namespace=namespace)}
    like_named = [i for text, ids in repeating.items() if text in named for i in ids]
    echoes = [i for ids in repeating.values() for i in ids]
    echoes += [i for i in _answers(reader, intent, list(candidates)) if i not in going]
    if not echoes:
        return intent
    listed = [*intent.thoughts, *intent.repeats]
    cascade = _Cascade(reader, namespace, dict.fromkeys(intent.turns), dict.fromkeys(listed))
    cascade.take_turns(like_named)
    derived = [i for i in cascade.said(()) if i not in set(listed)]
    again = _repeats(reader, derived, namespace) if repeats else []
    again = [i for i in again if i not in cascade.thoughts]
    cascade.take_thoughts(again, keep_source=False)
    return _listed(cascade, intent.named, [*intent.repeats, *again], echoes, intent.keep_source)


def _answers(reader: Reader, intent: ForgetPlan, texts: Sequence[str]) -> list[str]:
    gone = [*intent.turns, *intent.thoughts, *intent.repeats]
    children = {e.child for e in reader.edges(namespace=intent.namespace, parents=gone, relation="recalled")}
    answers: list[Turn] = reader.get("turn", sorted(children), namespace=intent.namespace)
    wordings = [words for words in (set(text.split()) for text in texts) if words]
    return [a.id for a in answers if _repeats_any(set(normalise(a.text).split()), wordings)]


def _repeats_any(said: set[str], wordings: Sequence[set[str]]) -> bool:
    return any(len(said & words) >= max(2, _SHARED_WORDS * len(words)) for words in wordings)


def _samples(reader: Reader, turns: Sequence[str], thoughts: Sequence[str], namespace: Namespace) -> dict[str, str]:
    records = [*reader.get("turn", turns, namespace=namespace), *reader.get("thought", thoughts, namespace=namespace)]
    return {record.id: record.text[:_SAMPLE] for record in records}


def _chunks_of(reader: Reader, turn_ids: Sequence[str], namespace: Namespace) -> list[Chunk]:
    """The chunks that hold these turns."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for turn in reader.get("turn", turn_ids, namespace=namespace):
        seqs[turn.session].append(turn.seq)
    return [chunk for session, places in seqs.items() for chunk in _holding(reader, session, places, namespace)]


def _holding(reader: Reader, session: str, places: Iterable[int], namespace: Namespace) -> list[Chunk]:
    """The chunks of a session that hold one of these places, each sought by itself: there may be very many others.
    Chunks do not overlap."""
    held: list[Chunk] = []
    for seq in sorted(places, reverse=True):
        if held and held[-1].first_seq <= seq:
            continue
        where = {"session": session, "first_seq": range(seq + 1)}
        found = reader.select("chunk", namespace=namespace, where=where, order="first_seq", descending=True, limit=1)
        held += [chunk for chunk in found if chunk.last_seq is None or seq <= chunk.last_seq]
    return held[::-1]


def carry_out(
    writer: Writer, intent: ForgetPlan, *, now: datetime
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Do what the plan says to what is still there; return the ids that went, by kind, and the thoughts that came back.

    What was derived from a named turn, or merged from a listed thought, since the plan was made goes too. The caller
    erases the bytes afterwards (`Backend.erase`). Adapters that learned any of it leave service in this transaction;
    the caller removes their files (`agentmem.consolidation.adapters.retire`).
    """
    namespace = intent.namespace
    cascade = _Cascade(writer, namespace, {}, {})
    cascade.dissolve([*intent.thoughts, *intent.repeats])
    cascade.take_turns(i for i in intent.turns if i in set(intent.named))
    restored = cascade.restored()
    turns: list[Turn] = writer.get("turn", intent.turns + intent.echoes, namespace=namespace)
    thoughts: list[Thought] = writer.get("thought", list(cascade.thoughts), namespace=namespace)
    chunks = _chunks_of(writer, [t.id for t in turns], namespace)
    keys = [key for key in map(external_key, turns) if key is not None]
    if intent.keep_source:
        keys += [suppression_key(t.text) for t in thoughts]
    suppress(writer, keys, namespace=namespace, now=now)
    adapters = withdraw(writer, [t.id for t in thoughts], namespace=namespace)
    _remove_thoughts(writer, thoughts, namespace)
    _remove_turns(writer, [t.id for t in turns], namespace)
    _mend_chunks(writer, chunks, namespace, now)
    said = [turn.text for turn in turns] + [thought.text for thought in thoughts]
    titles.forget(writer, {t.session for t in turns}, said, namespace=namespace)
    _forget_operations(writer, {t.id for t in turns} | {t.id for t in thoughts}, namespace)
    gone = {
        "turns": tuple(t.id for t in turns),
        "chunks": tuple(c.id for c in chunks),
        "thoughts": tuple(t.id for t in thoughts),
        "adapters": tuple(adapter.name for adapter in adapters),
    }
    return gone, tuple(t.id for t in writer.get("thought", restored, namespace=namespace))


def _remove_thoughts(writer: Writer, thoughts: Sequence[Thought], namespace: Namespace) -> None:
    ids = [t.id for t in thoughts]
    if not ids:
        return
    below = list(writer.select("thought", namespace=namespace, where={"superseded_by": tuple(ids), "state": "merged"}))
    drop(writer, ids, namespace=namespace)
    for thought in below:
        if thought.id not in set(ids):
            revive(writer, thought)


def _remove_turns(writer: Writer, ids: Sequence[str], namespace: Namespace) -> None:
    if not ids:
        return
    drop_jobs(writer, ids, namespace=namespace)
    writer.remove("turn", ids, namespace=namespace)


def _mend_chunks(writer: Writer, chunks: Sequence[Chunk], namespace: Namespace, now: datetime) -> None:
    """A chunk that lost a turn loses its summary, which is made anew where a model made it; one that lost all is
    removed."""
    empty = [c.id for c in chunks if not _count_turns(writer, c)]
    where = {"target": tuple(c.id for c in chunks), "task": SUMMARIZE}
    waiting = {job.target for job in writer.select("job", namespace=namespace, where=where)}
    again = [c for c in chunks if c.id in waiting or (c.summary is not None and costs(writer))]
    drop_jobs(writer, [c.id for c in chunks], namespace=namespace)
    writer.add(summarize_job(c, now=now) for c in again if c.id not in set(empty))
    writer.remove("chunk", empty, namespace=namespace)
    writer.replace(replace(c, summary=None) for c in chunks if c.summary is not None and c.id not in set(empty))


def _count_turns(reader: Reader, chunk: Chunk) -> int:
    stop = chunk.last_seq + 1 if chunk.last_seq is not None else 2**62
    where = {"session": chunk.session, "seq": range(chunk.first_seq, stop)}
    return reader.count("turn", namespace=chunk.namespace, where=where)


def _forget_operations(writer: Writer, gone: set[str], namespace: Namespace) -> None:
    """Undo entries that name what went cannot be carried out any more."""
    stale = [op.id for op in writer.select("operation", namespace=namespace) if gone & set(_ids_in(op.before.values()))]
    writer.remove("operation", stale, namespace=namespace)


def _ids_in(values: Iterable[object]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from (str(item) for item in value)
