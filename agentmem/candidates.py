"""Which documents of a large namespace are worth scoring: those that words, meaning or their chunk point to.

A small namespace is scored whole. In a large one a document that none of this points to could not come among the best;
`benchmarks/agreement.py` shows how often the answer is that of scoring everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.episodes import NOBODY, Docs, mates, members
from agentmem.fusion import Query, Time, Weights, has_meaning, nearness, times
from agentmem.indexes.arrays import union
from agentmem.indexes.bm25 import Entry, Matches

Mask = NDArray[np.bool_]

WHOLE = 16_384
"""Documents up to which all are scored: there it costs 4 ms, as much as finding candidates."""
DEPTH = 256
"""How many are taken at first by words, and as many by meaning; for a quarter of them their chunk and those beside."""
_LOOKED_AT = 150_000
"""Entries of the rarest terms that are looked at; a commoner term only ranks what these find."""


def gather(
    cache: NamespaceCache,
    query: Query,
    found: Matches,
    weights: Weights,
    depth: int = DEPTH,
    mask: Mask | None = None,
    led: Docs = NOBODY,
) -> Docs:
    """Candidates, ascending, among the documents that `mask` lets through (None: all); those that thoughts `led` to
    are some of them."""
    layout, few = cache.layout(), depth // 4
    worded = _by_words(cache, found, weights, depth, mask, times(cache, query))
    meant = summed_up = NOBODY
    if query.vector is not None and has_meaning(cache, query):
        meant = cache.vectors.search(query.vector, depth, mask)[0].astype(np.int32)
        if len(cache.summaries):
            summed_up = members(layout, cache.summaries.search(query.vector, few)[0].astype(np.int32))
    chunks = mates(layout, union(worded[:few], meant[:few]))
    docs = union(worded, meant, chunks, summed_up, layout.after[worded], layout.before[meant], led)
    return docs if mask is None else docs[mask[docs]]


def touched(cache: NamespaceCache, found: Matches) -> Mask:
    """Which documents hold a word of the query, shape (documents,)."""
    mask = np.zeros(len(cache), np.bool_)
    for entry in found.entries:
        mask[entry.docs] = True
    return mask


def _by_words(
    cache: NamespaceCache, found: Matches, weights: Weights, depth: int, mask: Mask | None, named: Sequence[Time]
) -> Docs:
    """The documents of the best words, time, chunk and session among those that hold a term, best first."""
    held = [entry.docs for entry in _rarest(found, depth)]
    if not held:
        return np.zeros(0, np.int32)
    docs = union(*held) if len(held) > 1 else held[0]
    if mask is not None:
        docs = docs[mask[docs]]
    often = found.frequencies(docs)
    score = weights.words * found.scores(docs, often) + weights.coverage * found.coverage(docs, often)
    if named:
        score += np.float32(weights.when) * nearness(cache.columns["at"][docs], named)
    layout = cache.layout()
    for weight, groups in ((weights.chunk_words, layout.chunks), (weights.session, layout.sessions)):
        score += np.float32(weight / found.whole) * found.pooled_groups(groups)[groups.numbers[docs]]
    if len(docs) > depth:
        best = np.argpartition(-score, depth - 1)[:depth]
        docs, score = docs[best], score[best]
    return docs[np.argsort(-score, kind="stable")]


def _rarest(found: Matches, depth: int) -> list[Entry]:
    """The rarest terms: as many as it takes to find `depth` documents, and more up to _LOOKED_AT entries."""
    entries = sorted((entry for entry in found.entries if len(entry.docs)), key=lambda entry: len(entry.docs))
    reach = np.cumsum([0, *(len(entry.docs) for entry in entries)])
    taken = (reach[:-1] < depth * len(entries)) | (reach[1:] <= _LOOKED_AT)
    return [entry for entry, wanted in zip(entries, taken, strict=True) if wanted]
