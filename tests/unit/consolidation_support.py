"""People and facts of the closed world as thoughts, for the tests of consolidation."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentmem.memory import Memory
from agentmem.testing import closed_world
from agentmem.types import Namespace, Thought

NS: Namespace = ("ada",)


def facts(people: int, each: int = 6, *, skip: int = 0, seed: int = 7) -> list[closed_world.Fact]:
    """So many facts of each of so many people whom the model has never met; the same for the same seed."""
    rng = random.Random(seed)
    names = closed_world.held_out_people()[skip : skip + people]
    return [
        closed_world.Fact(who, attribute, rng.choice(attribute.values))
        for who in names
        for attribute in rng.sample(closed_world.ATTRIBUTES, each)
    ]


def remember(memory: Memory, told: Sequence[closed_world.Fact], namespace: Namespace = NS) -> list[Thought]:
    return [
        memory.insert(
            fact.statement,
            namespace=namespace,
            head=fact.who,
            relation=fact.attribute.relation,
            tail=fact.value,
        ).thought
        for fact in told
    ]
