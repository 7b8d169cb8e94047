"""How often what an adapter learned before is rehearsed when it goes on learning."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

_DECAY = 0.5
_FLOOR = 0.25


def shares(ages: Sequence[float], *, decay: float = _DECAY, floor: float = _FLOOR) -> list[float]:
    """The share of rehearsals for each thought, by the time since its last one (in days); they add up to 1.

    A power law: what was rehearsed lately is drawn more often, as memory traces are (Anderson & Schooler 1991,
    "Reflections of the environment in memory": the odds of need fall as a power of the time since use). `floor` of
    all draws are uniform, so that nothing old is left out for good.
    """
    if not ages:
        return []
    weights = [(1 + max(age, 0.0)) ** -decay for age in ages]
    total = sum(weights)
    return [(1 - floor) * weight / total + floor / len(ages) for weight in weights]


def draw(ages: Mapping[str, float], count: int, rng: random.Random, *, floor: float = _FLOOR) -> list[str]:
    """Which thoughts to rehearse, `count` draws with repetition, from days since each one's last rehearsal."""
    if not ages:
        return []
    return rng.choices(list(ages), shares(list(ages.values()), floor=floor), k=count)
