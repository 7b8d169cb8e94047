"""How signals become one score: a sum of contributions, each on a scale that means the same in every namespace.

Meaning is the cosine over a fixed scale and words are BM25 over a fixed scale, neither stretched to the namespace's own
spread, so scores of several namespaces can be ranked together: a namespace that holds nothing to the point scores low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import ROLES, TURN, NamespaceCache
from agentmem.episodes import beside, key_relevance, spread
from agentmem.text import STOP_WORDS, stems, words

Scores = NDArray[np.float32]

FIRST_PERSON = frozenset({"i", "me", "my", "mine", "myself", "we", "us", "our", "ours"})


@dataclass(frozen=True, slots=True)
class Weights:
    """The few numbers of the fusion; chosen by cross-validation over conversations (benchmarks/LOG.md)."""

    meaning: float = 10.0
    """Per unit of cosine."""
    words: float = 0.5
    """Per unit of BM25."""
    near: float = 0.3
    far: float = 0.09
    """Share of the score of a turn's neighbours, and of their neighbours, that it gets."""
    chunk: float = 0.3
    """Share of its chunk's relevance, in meaning and in words, that a document gets."""
    session: float = 0.3
    """The same of its session's relevance in words."""
    speaker: float = 0.7
    """For turns of a speaker whom the query names."""
    asker: float = 1.0
    """For the user's own turns when the query speaks in the first person."""


DEFAULT = Weights()


@dataclass(frozen=True, slots=True)
class Query:
    """A question taken apart: its stems in order, its words, and its unit vector (None: full text alone).

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
        object.__setattr__(self, "stems", tuple(stems(self.text)))
        object.__setattr__(self, "words", frozenset(said))
        object.__setattr__(self, "shown", dict(zip(counted, self.stems, strict=True)))


@dataclass(frozen=True, slots=True)
class Fused:
    """Arrays of shape (documents,): what each signal contributes, their sum, and two measures that are not summed."""

    contributions: Mapping[str, Scores]
    score: Scores
    cosine: Scores
    coverage: Scores


def fuse(cache: NamespaceCache, query: Query, weights: Weights = DEFAULT) -> Fused:
    """Score every document of a namespace against a query. The caller holds the cache's lock."""
    size, layout = len(cache), cache.layout()
    cosine = _cosine(cache, query, size)
    matched = weights.words * cache.postings.scores(query.stems, size)
    meant = weights.meaning * cosine
    pooled = cache.postings.pooled
    chunk = key_relevance(meant, layout) + weights.words * spread(
        pooled(query.stems, layout.chunk, layout.chunks), layout.chunk
    )
    session = weights.words * spread(pooled(query.stems, layout.session, layout.sessions), layout.session)
    contributions = {
        "meaning": meant,
        "words": matched,
        "neighbours": beside(meant + matched, layout, weights.near, weights.far),
        "chunk": weights.chunk * chunk,
        "session": weights.session * session,
        "speaker": weights.speaker * _speaks(cache, query),
        "asker": weights.asker * _asks(cache, query),
    }
    score: Scores = np.sum(np.stack(list(contributions.values())), axis=0)
    return Fused(contributions, score, cosine, cache.postings.coverage(query.stems, size))


def _cosine(cache: NamespaceCache, query: Query, size: int) -> Scores:
    """Cosines; a document that is not embedded yet gets the others' mean, so that it neither wins nor loses by it."""
    if query.vector is None or not len(cache.vectors):
        return np.zeros(size, dtype=np.float32)
    cosine = cache.vectors.scores(query.vector, size)
    present = cache.vectors.present(size)
    cosine[~present] = cosine[present].mean()
    return cosine


def _speaks(cache: NamespaceCache, query: Query) -> Scores:
    named = cache.speakers_named(query.words)
    return np.isin(cache.columns["speaker"], named).astype(np.float32)


def _asks(cache: NamespaceCache, query: Query) -> Scores:
    if not FIRST_PERSON & query.words:
        return np.zeros(len(cache), dtype=np.float32)
    columns = cache.columns
    own: Scores = ((columns["kind"] == TURN) & (columns["role"] == ROLES.index("user"))).astype(np.float32)
    return own
