"""One-sided 95 % bounds: of a share, of a mean, and of what was lost between two answers to the same questions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_CONFIDENCE = 0.95
_Z = 1.6449
"""The 95th percentile of the normal distribution."""


def lower_bound(right: int, items: int) -> float:
    """The exact one-sided 95 % lower bound of a share (Clopper & Pearson 1934)."""
    if right == 0:
        return 0.0
    return _root(lambda p: 1 - _at_most(right - 1, items, p) - (1 - _CONFIDENCE))


def most_lost(lost: int, won: int, items: int) -> float:
    """The one-sided 95 % upper bound of (lost - won) / items: each item was answered twice, `lost` were right the first
    time alone, `won` the second time alone.

    The score interval for the difference of paired shares (Tango 1998, "Equivalence test and confidence interval for
    the difference in proportions for the paired-sample design", §3). Unlike the normal one it says something where
    nothing was lost: of n items then z²/(n + z²).
    """
    return _root(lambda share: -_score(lost, won, items, share) - _Z, low=(lost - won) / items)


def least_lost(lost: int, won: int, items: int) -> float:
    """The lower bound that goes with `most_lost`: above it the loss is proven."""
    return -most_lost(won, lost, items)


def _score(lost: int, won: int, items: int, share: float) -> float:
    """How many standard errors the loss stands above `share`, were `share` the truth; falls with it."""
    a = 2 * items
    b = -lost - won + (2 * items - lost + won) * share
    c = -won * share * (1 - share)
    likeliest = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    spread = items * (2 * likeliest + share * (1 - share))
    return (lost - won - items * share) / math.sqrt(max(spread, 1e-12))


def mean_bound(values: Sequence[float]) -> float:
    """The one-sided 95 % upper bound of a mean, by the normal distribution."""
    items, mean = len(values), sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / max(1, items - 1))
    return mean + _Z * spread / math.sqrt(items)


def _root(rising: Callable[[float], float], *, low: float = 0.0, high: float = 1.0) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return low


def _at_most(count: int, items: int, p: float) -> float:
    """The chance of at most `count` successes in so many trials."""
    if p <= 0:
        return 1.0
    if p >= 1:
        return 1.0 if count >= items else 0.0
    total = math.lgamma(items + 1)
    logs = (
        total - math.lgamma(k + 1) - math.lgamma(items - k + 1) + k * math.log(p) + (items - k) * math.log1p(-p)
        for k in range(count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))
