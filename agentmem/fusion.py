"""How signals become one score: a sum of contributions, each on a scale that means the same in every namespace.

Meaning counts by the cosine and words by the share of the question's weight that is held; neither is stretched to the
namespace's own spread. So scores of several namespaces can be ranked together: one that holds nothing to the point
scores low, though what counts as a rare word is each namespace's own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import ROLES, THOUGHT, NamespaceCache
from agentmem.episodes import Layout, key_relevance
from agentmem.text import STOP_WORDS, stems, words
from agentmem.types import Signal

Scores = NDArray[np.float32]

COMMON = 2.0
"""The idf that a word counts with at least in the whole that BM25 is a share of: in a small namespace no word is rare,
which must not make every match a perfect one."""
FIRST_PERSON = frozenset({"i", "me", "my", "mine", "myself", "we", "us", "our", "ours"})


@dataclass(frozen=True, slots=True)
class Weights:
    """The few numbers of the fusion, fitted over conversations left out in turn (benchmarks/LOG.md).

    Words and pooled words count as BM25 over the summed idf of the query's terms, so that a long question does not
    drown the meaning.
    """

    meaning: float = 5.0
    """Of the cosine."""
    words: float = 0.08
    """Of BM25 as it is: what a rare word adds."""
    coverage: float = 2.0
    """Of the share of the question that is held."""
    before: float = 1.0
    """Of the words of the turn before: the question that a turn answers."""
    after: float = 1.4
    """Of the cosine of the turn after: the answer that a turn got."""
    chunk_meaning: float = 2.7
    chunk_words: float = 2.6
    session: float = 6.0
    """Of the session's pooled words."""
    speaker: float = 2.7
    """For what a speaker said whom the query names."""
    asker: float = 2.4
    """For the user's own turns when the query speaks in the first person."""


DEFAULT = Weights()


@dataclass(frozen=True, slots=True)
class Query:
    """A question taken apart: its distinct stems, its words, and its unit vector (None: full text alone).

    `shown` maps each of its words that counts to its stem.
    """

    text: str
    vector: NDArray[np.float32] | None
    stems: tuple[str, ...] = field(init=False)
    words: frozenset[str] = field(init=False)
    shown: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        said = words(self.text)
        counted = [word for word in said if word not in STOP_WORDS]
        object.__setattr__(self, "stems", tuple(dict.fromkeys(stems(self.text))))
        object.__setattr__(self, "words", frozenset(said))
        object.__setattr__(self, "shown", dict(zip(counted, stems(self.text), strict=True)))


@dataclass(frozen=True, slots=True)
class Fused:
    """Arrays of shape (documents,): what each signal measures, by the name of its weight, the weighted sum, and the
    cosines as they are."""

    values: Mapping[str, Scores]
    weights: Weights
    score: Scores
    cosine: Scores

    def signals(self, doc: int) -> tuple[Signal, ...]:
        """What adds up to a document's score; what adds nothing is left out."""
        found = (Signal(name, float(v[doc]), getattr(self.weights, name)) for name, v in self.values.items())
        return tuple(signal for signal in found if signal.contribution)


def fuse(cache: NamespaceCache, query: Query, weights: Weights = DEFAULT) -> Fused:
    """Score every document of a namespace against a query. The caller holds the cache's lock."""
    postings, layout, size = cache.postings, _layout(cache, query), len(cache)
    cosine = _cosine(cache, query, size)
    whole = np.float32(sum(max(postings.idf(stem), COMMON) for stem in query.stems) or 1.0)
    bm25 = postings.scores(query.stems, size)
    values = {
        "meaning": cosine,
        "words": bm25,
        "coverage": postings.coverage(query.stems, size),
        "before": bm25[layout.before] / whole,
        "after": cosine[layout.after],
        "chunk_meaning": key_relevance(cosine, layout),
        "chunk_words": postings.pooled(query.stems, layout.chunk, layout.chunks) / whole,
        "session": postings.pooled(query.stems, layout.session, layout.sessions) / whole,
        "speaker": _speaks(cache, query),
        "asker": _asks(cache, query),
    }
    score = np.zeros(size, dtype=np.float32)
    for name, measured in values.items():
        score += np.float32(getattr(weights, name)) * measured
    return Fused(values, weights, score, cosine)


def _layout(cache: NamespaceCache, query: Query) -> Layout:
    """The layout without turns that only repeat the query.

    A question that was asked before, or is being asked now, says nothing about what stands around it.
    """
    repeating = cache.repeating(query.stems)
    return cache.layout().without(repeating) if repeating else cache.layout()


def _cosine(cache: NamespaceCache, query: Query, size: int) -> Scores:
    """Cosines; a document that is not embedded yet gets the others' mean, so that it neither wins nor loses by it."""
    if query.vector is None or not len(cache.vectors):
        return np.zeros(size, dtype=np.float32)
    cosine = cache.vectors.scores(query.vector, size)
    present = cache.vectors.present(size)
    cosine[~present] = cosine[present].mean()
    return cosine


def _speaks(cache: NamespaceCache, query: Query) -> Scores:
    """1 for turns of the speakers whom the query names, and for thoughts that name them."""
    named = cache.speakers_named(query.words)
    out = np.zeros(len(cache), dtype=np.float32)
    for number in named:
        out[cache.columns["speaker"] == number] = 1
    for name in {stem for said in named.values() for stem in stems(said) if stem in query.stems}:
        docs = cache.postings.postings(name)[0]
        out[docs[cache.columns["kind"][docs] == THOUGHT]] = 1
    return out


def _asks(cache: NamespaceCache, query: Query) -> Scores:
    """1 for what the user said, thoughts included that stem from no tool, when the query says "I" or "my"."""
    if not FIRST_PERSON & query.words:
        return np.zeros(len(cache), dtype=np.float32)
    own: Scores = (cache.columns["role"] == ROLES.index("user")).astype(np.float32)
    return own
