"""How signals become one score: a sum of contributions, each on a scale that means the same in every namespace.

Meaning counts by the cosine and words by the share of the question's weight that is held; neither is stretched to the
namespace's own spread. So scores of several namespaces can be ranked together: one that holds nothing to the point
scores low, though what counts as a rare word is each namespace's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.columns import ROLES, THOUGHT
from agentmem.dates import mentions, spans
from agentmem.episodes import NOBODY, Docs, Groups, beside, key_relevance, mates
from agentmem.indexes.arrays import contains, union
from agentmem.indexes.bm25 import Matches, common
from agentmem.text import STOP_WORDS, asks_of_asker, stems, words
from agentmem.types import Signal

Scores = NDArray[np.float32]
Time = tuple[float, float]
"""First and last second."""

_SAMPLE = 512
"""Documents whose mean cosine stands for that of a large namespace."""
_DAYS_NEAR = 7.0
"""Days from a time that the query names, after which that counts 1/e."""
_DAY = 86400.0
_YEARS = 50
"""How many years back a date without a year is looked for."""
_LONG_AGO = 60
"""Days without a word after which "yesterday" counts from the newest record: an old conversation is asked about."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The few numbers of the fusion, fitted over conversations left out in turn (benchmarks/LOG.md).

    Words and pooled words count as BM25 over the summed idf of the query's terms, so that a long question does not
    drown the meaning.
    """

    meaning: float = 5.3
    """Of the cosine."""
    words: float = 0.09
    """Of BM25 as it is: what a rare word adds."""
    coverage: float = 1.6
    """Of the share of the question that is held."""
    before: float = 1.1
    """Of the words of the turn before: the question that a turn answers."""
    after: float = 1.1
    """Of the cosine of the turn after: the answer that a turn got."""
    thought: float = 2.8
    """Of the cosine of a thought drawn from a turn, less the turn's own (benchmarks/summaries.py)."""
    chunk_meaning: float = 2.8
    summary: float = 4.0
    """Of the cosine of the chunk's summary, less that of the chunk's best turn (benchmarks/summaries.py)."""
    chunk_words: float = 1.0
    session: float = 6.0
    """Of the session's pooled words."""
    speaker: float = 1.5
    """For what a speaker said whom the query names."""
    speaker_chunk: float = 3.0
    """Of the pooled words of the chunk, for what such a speaker said in it."""
    asker: float = 2.1
    """For the user's own turns when the query speaks in the first person."""
    when: float = 4.5
    """For what was said at a time that the query names, less with the days between."""
    told: float = 0.6
    """For what tells of its speaker ("I", "my", "our"), and against what asks."""
    substance: float = 0.4
    """Of the idf of a turn's rarest word: "Sounds great!" answers nothing."""


DEFAULT = Weights()


@dataclass(frozen=True, slots=True)
class Query:
    """A question taken apart: its distinct stems, its words, and its unit vector (None: full text alone).

    `shown` maps each of its words that counts to its stem. `today` is the day on which it is asked (None: that of the
    newest record), from which "yesterday" counts.
    """

    text: str
    vector: NDArray[np.float32] | None
    today: date | None = None
    stems: tuple[str, ...] = field(init=False)
    words: frozenset[str] = field(init=False)
    shown: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        said, stemmed = words(self.text), stems(self.text)
        counted = [word for word in said if word not in STOP_WORDS]
        object.__setattr__(self, "stems", tuple(dict.fromkeys(stemmed)))
        object.__setattr__(self, "words", frozenset(said))
        object.__setattr__(self, "shown", dict(zip(counted, stemmed, strict=True)))


@dataclass(frozen=True, slots=True)
class Leads:
    """Turns that thoughts lead to, ascending, and how well the best thought drawn from each matches the query: its
    cosine, or without vectors its coverage."""

    turns: Docs
    match: Scores


NO_LEADS = Leads(NOBODY, np.zeros(0, np.float32))


@dataclass(frozen=True)
class Scene:
    """What the signals look at: candidate documents and those around them. Document numbers are ascending.

    `around` are the candidates and who stands beside them, `near` these and all of their chunks. Arrays by candidate
    have shape (candidates,); `own`, `before` and `after` say where in `around` each candidate and its neighbours are.
    Turns that only repeat the query stand `apart`: a question that was asked before, or is being asked now, says
    nothing about what stands around it.
    """

    cache: NamespaceCache
    query: Query
    found: Matches
    docs: Docs
    apart: Docs
    around: Docs
    own: Docs | slice
    before: Docs
    after: Docs
    near: Docs
    near_cosine: Scores
    """Of `near`."""
    leads: Leads = NO_LEADS

    @cached_property
    def cosine(self) -> Scores:
        """Of `around`."""
        return self.near_cosine if self.near is self.around else self.near_cosine[_places(self.near, self.around)]

    @cached_property
    def frequencies(self) -> Scores:
        """How often each of `around` holds each term, shape (terms, around)."""
        return self.found.frequencies(self.around)

    @cached_property
    def bm25(self) -> Scores:
        """Of `around`."""
        return self.found.scores(self.around, self.frequencies)

    @cached_property
    def coverage(self) -> Scores:
        """Of `around`."""
        return self.found.coverage(self.around, self.frequencies)

    @cached_property
    def chunk_words(self) -> Scores:
        """Of the candidates."""
        return self.pooled(self.cache.layout().chunks)

    def pooled(self, groups: Groups) -> Scores:
        """BM25 of each candidate's group, as a share of the whole."""
        pooled = self.found.pooled(groups, self.docs, self.apart, self.frequencies[:, self.own])
        return pooled / np.float32(self.found.whole)

    @cached_property
    def chunk_meaning(self) -> Scores:
        """Of the candidates."""
        keys = key_relevance(self.near_cosine, self.cache.layout(), self.near, self.apart)
        return keys[_places(self.near, self.docs)]

    @cached_property
    def speaker(self) -> Scores:
        """1 for the candidates that are turns of the speakers whom the query names, or thoughts that name them."""
        columns, docs = self.cache.columns, self.docs
        named = self.cache.speakers_named(self.query.words)
        if not named:
            return np.zeros(len(docs), dtype=np.float32)
        speaks = np.isin(columns["speaker"][docs], list(named))
        names = {stem for said in named.values() for stem in stems(said)}
        for entry in self.found.entries:
            if entry.term in names:
                at = entry.among(docs)[0]
                speaks[at[columns["kind"][docs[at]] == THOUGHT]] = True
        return speaks.astype(np.float32)


def everything(cache: NamespaceCache, query: Query, found: Matches | None = None) -> Scene:
    """A scene with every document of a namespace, holes included, as candidates: document n at place n."""
    found, layout = found or cache.postings.find(query.stems), cache.layout()
    docs, apart = np.arange(len(cache), dtype=np.int32), cache.repeating(found)
    before, after = (beside(links, docs, apart) for links in (layout.before, layout.after))
    cosine = cosines(cache, query, docs)
    return Scene(cache, query, found, docs, apart, docs, slice(None), before, after, docs, cosine)


def arrange(cache: NamespaceCache, query: Query, found: Matches, docs: Docs, leads: Leads = NO_LEADS) -> Scene:
    """A scene with these documents, ascending, as candidates."""
    layout, apart = cache.layout(), cache.repeating(found)
    before, after = (beside(links, docs, apart) for links in (layout.before, layout.after))
    around = union(docs, before, after)
    near = union(around, mates(layout, docs))
    own, before, after = (_places(around, some) for some in (docs, before, after))
    cosine = cosines(cache, query, near)
    return Scene(cache, query, found, docs, apart, around, own, before, after, near, cosine, leads)


def _places(held: Docs, docs: Docs) -> Docs:
    """Where documents are in an ascending array that holds them."""
    return docs if len(held) and held[-1] == len(held) - 1 else np.searchsorted(held, docs).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Fused:
    """Arrays of shape (candidates,): the documents, ascending; what each signal measures, by the name of its weight;
    the weighted sum, and the cosines as they are."""

    docs: Docs
    values: Mapping[str, Scores]
    weights: Weights
    score: Scores
    cosine: Scores

    def place(self, doc: int) -> int:
        """Where a candidate is in the arrays."""
        if doc < len(self.docs) and self.docs[doc] == doc:  # where all are scored
            return doc
        return int(np.searchsorted(self.docs, doc))

    def signals(self, doc: int) -> tuple[Signal, ...]:
        """What adds up to a document's score; what adds nothing is left out."""
        at = self.place(doc)
        found = ((name, float(values[at]), getattr(self.weights, name)) for name, values in self.values.items())
        return tuple(Signal(name, value, weight) for name, value, weight in found if value * weight)


def fuse(scene: Scene, weights: Weights = DEFAULT) -> Fused:
    """Score a scene's candidates. The caller holds the cache's lock."""
    values = {name: signal(scene) for name, signal in SIGNALS.items()}
    score = _summed(values, weights, scene)
    for name, prior in PRIORS.items():
        values[name] = prior(scene) * (score > 0)
    score += _summed({name: values[name] for name in PRIORS}, weights, scene)
    return Fused(scene.docs, values, weights, score, scene.cosine[scene.own])


def _summed(values: Mapping[str, Scores], weights: Weights, scene: Scene) -> Scores:
    score = np.zeros(len(scene.docs), dtype=np.float32)
    for name, measured in values.items():
        score += np.float32(getattr(weights, name)) * measured
    return score


def has_meaning(cache: NamespaceCache, query: Query) -> bool:
    """Whether there are vectors to compare; else full text answers alone."""
    return query.vector is not None and len(cache.vectors) > 0


def times(cache: NamespaceCache, query: Query) -> list[Time]:
    """The times that a query names, read against the days that the namespace spans."""
    if not mentions(query.text) or not cache.live.any():
        return []
    at, live = cache.columns["at"], cache.live
    first = datetime.fromtimestamp(at.min(where=live, initial=np.inf), UTC).date()
    last = datetime.fromtimestamp(at.max(where=live, initial=-np.inf), UTC).date()
    today = query.today or last
    if (today - last).days > _LONG_AGO:
        today = last
    years = range(max(first.year, last.year - _YEARS), last.year + 1)
    return [(_second(start), _second(stop) - 1) for start, stop in spans(query.text, today=today, years=years)]


def _second(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def nearness(at: NDArray[np.float64], named: Sequence[Time]) -> Scores:
    """How near seconds are to the nearest of some times, shape of `at`: 1 inside, exp(-days / 7) outside."""
    apart = np.full(at.shape, np.inf)
    for first, last in named:
        np.minimum(apart, np.maximum(first - at, at - last), out=apart)
    near: Scores = np.exp(np.minimum(-apart, 0) / (_DAY * _DAYS_NEAR), dtype=np.float64).astype(np.float32)
    return near


def cosines(cache: NamespaceCache, query: Query, docs: Docs) -> Scores:
    """Cosines; a document that is not embedded yet gets the others' mean, so that it neither wins nor loses by it."""
    if query.vector is None or not len(cache.vectors):
        return np.zeros(len(docs), dtype=np.float32)
    if len(docs) == len(cache):
        cosine = cache.vectors.scores(query.vector, len(cache))
        present = cache.vectors.present(len(cache))
        if not present.all():
            cosine[~present] = cosine[present].mean()
        return cosine
    cosine = cache.vectors.scores_at(query.vector, docs.astype(np.intp))
    missing = [place for place in np.flatnonzero(cosine == 0) if not cache.vectors.holds(int(docs[place]))]
    if missing:
        cosine[missing] = _mean_cosine(cache, query.vector)
    return cosine


def _mean_cosine(cache: NamespaceCache, vector: Scores) -> np.float32:
    """The mean of all cosines, by a sample."""
    sample = np.unique(np.linspace(0, len(cache) - 1, _SAMPLE).astype(np.intp))
    found = cache.vectors.scores_at(vector, sample)
    found = found[cache.vectors.present(len(cache))[sample]]
    return np.float32(found.mean() if len(found) else 0)


# -- the signals: what each measures of every candidate, shape (candidates,) ------------------------------------------


def _meaning(scene: Scene) -> Scores:
    return scene.cosine[scene.own]


def _words(scene: Scene) -> Scores:
    return scene.bm25[scene.own]


def _coverage(scene: Scene) -> Scores:
    return scene.coverage[scene.own]


def _before(scene: Scene) -> Scores:
    asked: Scores = scene.bm25[scene.before] / np.float32(scene.found.whole)
    return asked


def _after(scene: Scene) -> Scores:
    return scene.cosine[scene.after]


def _thought(scene: Scene) -> Scores:
    """By how much the best thought drawn from a turn matches better than the turn itself."""
    gain = np.zeros(len(scene.docs), dtype=np.float32)
    led, at = common(scene.leads.turns, scene.docs)
    if len(at):
        own = (scene.cosine if has_meaning(scene.cache, scene.query) else scene.coverage)[scene.own]
        gain[at] = np.maximum(0, scene.leads.match[led] - own[at])
    return gain


def _summary(scene: Scene) -> Scores:
    """By how much the summary of a chunk matches better than the best of its turns."""
    summaries, layout, query = scene.cache.summaries, scene.cache.layout(), scene.query
    gain = np.zeros(len(scene.docs), dtype=np.float32)
    if not len(summaries) or query.vector is None or not has_meaning(scene.cache, query):
        return gain
    numbers = layout.summaries[layout.chunks.numbers[scene.docs]]
    numbers[contains(scene.apart, scene.docs)] = 0
    asked, which = np.unique(numbers, return_inverse=True)
    cosines = summaries.scores_at(query.vector, asked.astype(np.intp))[which]
    np.maximum(cosines - scene.chunk_meaning, 0, out=gain, where=numbers > 0)
    return gain


def _session(scene: Scene) -> Scores:
    return scene.pooled(scene.cache.layout().sessions)


def _asker(scene: Scene) -> Scores:
    """1 for what the user said, thoughts included that stem from no tool, when the query says "I" or "my" and does not
    ask what the assistant said."""
    if not asks_of_asker(scene.query.text):
        return np.zeros(len(scene.docs), dtype=np.float32)
    own: Scores = (scene.cache.columns["role"][scene.docs] == ROLES.index("user")).astype(np.float32)
    return own


def _speaker_chunk(scene: Scene) -> Scores:
    return scene.speaker * scene.chunk_words


def _when(scene: Scene) -> Scores:
    """exp(-days / 7) from the nearest of the times that the query names; 1 within it, 0 where it names none."""
    named = times(scene.cache, scene.query)
    at = scene.cache.columns["at"][scene.docs] if named else np.zeros(0)
    return nearness(at, named) if named else np.zeros(len(scene.docs), dtype=np.float32)


def _told(scene: Scene) -> Scores:
    told: Scores = scene.cache.columns["told"][scene.docs].astype(np.float32)
    return told


def _substance(scene: Scene) -> Scores:
    return scene.cache.postings.rarest(scene.docs)


SIGNALS: Mapping[str, Callable[[Scene], Scores]] = {
    "meaning": _meaning,
    "words": _words,
    "coverage": _coverage,
    "before": _before,
    "after": _after,
    "thought": _thought,
    "chunk_meaning": lambda scene: scene.chunk_meaning,
    "summary": _summary,
    "chunk_words": lambda scene: scene.chunk_words,
    "session": _session,
    "speaker": lambda scene: scene.speaker,
    "speaker_chunk": _speaker_chunk,
    "asker": _asker,
    "when": _when,
}
"""By the names of their weights."""
PRIORS: Mapping[str, Callable[[Scene], Scores]] = {"told": _told, "substance": _substance}
"""What speaks for a turn whatever is asked: counted only where a signal says that it bears on the query at all."""
