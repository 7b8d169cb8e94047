"""A thought leads to the turns it came from: what it says in plain words finds a turn whose own words do not.

So HCAM's summary of a chunk leads into the chunk (Lampinen et al. 2021, section 3). "Is Mara engaged?" finds "Mara is
engaged to Leo", which lifts "She said yes!", from which it was drawn. A thought that did not hold at the time asked
for, or was merged into another, leads nowhere.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from agentmem.cache import NamespaceCache
from agentmem.columns import THOUGHT, TURN
from agentmem.episodes import Docs
from agentmem.filters import Conditions, allowed
from agentmem.fusion import NO_LEADS, Leads, Query, Scores, cosines, has_meaning
from agentmem.indexes.bm25 import Matches
from agentmem.interfaces import Reader

MOST = 16
"""Thoughts that are followed to their turns: one query finds the edges of them all."""


def any_thoughts(cache: NamespaceCache) -> bool:
    return bool((cache.columns["kind"] == THOUGHT).any())


def follow(
    cache: NamespaceCache,
    reader: Reader,
    query: Query,
    found: Matches,
    conditions: Conditions,
    *,
    now: datetime,
    docs: Docs,
    known: Scores | None = None,
) -> Leads:
    """Where the thoughts among `docs` that match best lead; of the conditions, only those on time concern a thought.

    `known` are the cosines of all documents, where they were taken already. A thought that waits for its vector leads
    nowhere yet.
    """
    thoughts = docs[cache.columns["kind"][docs] == THOUGHT]
    if not len(thoughts):
        return NO_LEADS
    holding = Conditions(kinds=("thought",), as_of=conditions.as_of, known_at=conditions.known_at)
    thoughts = thoughts[allowed(cache, reader, holding, now=now, docs=thoughts)]
    dense = has_meaning(cache, query)
    if not dense:
        match = found.coverage(thoughts)
    else:
        match = cosines(cache, query, thoughts) if known is None else known[thoughts]
    best = _best(match)
    followed = {
        cache.ids[int(thoughts[at])]: float(match[at])
        for at in best
        if match[at] > 0 and (not dense or cache.vectors.holds(int(thoughts[at])))
    }
    return _leads(cache, reader, followed) if followed else NO_LEADS


def _best(match: Scores) -> NDArray[np.intp]:
    """Places of the MOST highest, of equals the earlier: the same whether all or candidates are looked at."""
    least = np.partition(match, -MOST)[-MOST] if len(match) > MOST else -np.inf
    high = np.flatnonzero(match >= least)
    return high[np.argsort(-match[high], kind="stable")[:MOST]]


def _leads(cache: NamespaceCache, reader: Reader, followed: dict[str, float]) -> Leads:
    """The turns that these thoughts stem from, as far as they are still there."""
    edges = reader.edges(namespace=cache.namespace, children=list(followed), relation="source")
    sources = cache.ids.numbers([edge.parent for edge in edges])
    match: NDArray[np.float32] = np.array([followed[edge.child] for edge in edges], dtype=np.float32)
    here = (sources >= 0) & (cache.columns["kind"][sources] == TURN)
    turns, places = np.unique(sources[here].astype(np.int32), return_inverse=True)
    best = np.zeros(len(turns), np.float32)
    np.maximum.at(best, places, match[here])
    return Leads(turns, best)
