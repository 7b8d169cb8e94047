"""What one ranking of turns is worth for one question, at every cut from the first turn to the first twenty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CUTS = (5, 10, 20)
"""The numbers of turns that figures are given for."""
DEPTH = max(CUTS)
"""How deep a ranking is asked for."""
Values = NDArray[np.float64]


def measure(keys: Sequence[str], tokens: Sequence[int], evidence: frozenset[str]) -> dict[str, Values]:
    """The figures of a ranking, best first, of at most DEPTH turns known by `keys`, `tokens` long.

    `recall` is the share of the evidence among the first k turns, `all_evidence` 1 where that is all of it, `ndcg` the
    normalised discounted gain with a gain of 1 for a turn of evidence (Järvelin & Kekäläinen 2002), `tokens` the length
    of the first k turns: each of shape (DEPTH,), entry k - 1. `mrr`, shape (1,), is 1 / rank of the first turn of
    evidence, 0 where it is not among the first DEPTH. Evidence that comes twice counts once.
    """
    gains, spent = np.zeros(DEPTH), np.zeros(DEPTH)
    wanted = set(evidence)
    for rank, (key, length) in enumerate(zip(keys[:DEPTH], tokens, strict=False)):
        spent[rank] = length
        if key in wanted:
            wanted.remove(key)
            gains[rank] = 1
    discounts = 1 / np.log2(np.arange(DEPTH) + 2)
    found, ideal = np.cumsum(gains), np.cumsum(discounts * (np.arange(DEPTH) < len(evidence)))
    return {
        "recall": found / len(evidence),
        "all_evidence": (found == len(evidence)).astype(np.float64),
        "ndcg": np.cumsum(gains * discounts) / ideal,
        "tokens": np.cumsum(spent),
        "mrr": np.array([1 / (1 + np.argmax(gains)) if gains.any() else 0.0]),
    }
