"""Why an item was recalled, in figures and in short words, and what its query was read as.

An item's signals (`fusion.Fused.signals`) add up to its score. Besides them stand the MEASURES, which are no part of
the sum but say how far an item answers at all:

- "coverage": share (0 … 1) of the query's distinct stems that the item holds, weighted by rarity (idf); stems that
  occur nowhere in the namespace count in the whole.
- "context": the same for the item together with the turns beside it.
- "cosine": cosine of the query's and the item's vector; absent without vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from agentmem.cache import NamespaceCache
from agentmem.fusion import Fused, Query, Scene, times
from agentmem.types import Signal

MEASURES = ("coverage", "context", "cosine")
_SHOWN = {
    "its chunk": ("chunk_meaning", "summary", "chunk_words"),
    "its session": ("session",),
    "named speaker": ("speaker", "speaker_chunk"),
    "time named": ("when",),
}
_SHOWN_SHARE = 0.15
"""Of the score, from which such signals are named."""
_SHOWN_GAIN = 0.1
"""In coverage, from which the turns beside are named; in cosine or coverage, from which a thought is."""


def reading(cache: NamespaceCache, query: Query) -> dict[str, tuple[str, ...]]:
    """What a query is read as: its "stems", those of them that are "unheard" of here, the "speakers" it names,
    and the "times", first and last day."""
    return {
        "stems": query.stems,
        "unheard": tuple(stem for stem in query.stems if stem not in cache.postings),
        "speakers": tuple(sorted(cache.speakers_named(query.words).values())),
        "times": tuple(_days(*span) for span in times(cache, query)),
    }


def _days(first: float, last: float) -> str:
    days = [datetime.fromtimestamp(at, UTC).date().isoformat() for at in (first, last)]
    return days[0] if days[0] == days[1] else " to ".join(days)


class Explanation:
    """Explains the ranks of a few documents of one recall. Used under the cache's lock."""

    def __init__(self, scene: Scene, fused: Fused, docs: Sequence[int]) -> None:
        self._fused, self._query, self._vectors = fused, scene.query, scene.cache.vectors
        numbers, layout = np.array(docs, dtype=np.int32), scene.cache.layout()
        self._near = dict(zip(docs, np.stack([layout.before[numbers], layout.after[numbers]], 1).tolist(), strict=True))
        around = {*docs, *chain.from_iterable(self._near.values())}
        self._held = scene.found.held(np.array(sorted(around), dtype=np.int32))
        self._weights = {entry.term: entry.idf for entry in scene.found.entries}
        self._whole = sum(self._weights.values()) or 1.0

    def measures(self, doc: int) -> dict[str, float]:
        held = self._held[doc]
        together = held.union(*(self._held[near] for near in self._near[doc]))
        measures = {"coverage": self._share(held), "context": self._share(together)}
        if self._query.vector is not None and self._vectors.holds(doc):
            measures["cosine"] = float(self._fused.cosine[self._fused.place(doc)])
        return measures

    def _share(self, held: set[str]) -> float:
        return sum(self._weights[stem] for stem in held) / self._whole

    def why(self, doc: int, signals: Sequence[Signal], measures: Mapping[str, float], repeats: int) -> str:
        """The query's words it holds, how near it is in meaning, and what else raised it notably."""
        matched = [word for word, stem in self._query.shown.items() if stem in self._held[doc]]
        reasons = ["words " + ", ".join(matched)] if matched else []
        if "cosine" in measures:
            reasons.append(f"meaning {measures['cosine']:.2f}")
        if measures["context"] >= measures["coverage"] + _SHOWN_GAIN:
            reasons.append("neighbours")
        if any(signal.name == "thought" and signal.value >= _SHOWN_GAIN for signal in signals):
            reasons.append("a thought of it")
        least = _SHOWN_SHARE * self._fused.score[self._fused.place(doc)]
        added = {signal.name: signal.contribution for signal in signals}
        reasons += [said for said, names in _SHOWN.items() if sum(added.get(n, 0) for n in names) >= least > 0]
        if repeats > 1:
            reasons.append(f"said {repeats} times")
        return " · ".join(reasons)
