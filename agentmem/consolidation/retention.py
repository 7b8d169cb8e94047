"""What is still known after many cycles: forgetting curves of a strategy, on new facts of the closed world each cycle.

The matrix R has a row for each cycle t: the share of the facts of cycle i ≤ t that are answered after it, in a wording
that was never trained. From it come TRACE's measures (Wang et al. 2023, "TRACE: A Comprehensive Benchmark for Continual
Learning in Large Language Models", §3.3) and the worst cases of De Lange et al. 2023 ("Continual evaluation for
lifelong learning: Identifying the stability gap", §3).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from agentmem.clock import utc_now
from agentmem.consolidation import strategies, training
from agentmem.consolidation.adapters import WEIGHTS
from agentmem.consolidation.curriculum import Aspect, Curriculum, Item, build
from agentmem.consolidation.encoding import Encoder, load_encoder
from agentmem.consolidation.generation import generate
from agentmem.consolidation.marking import says
from agentmem.consolidation.probing import recognised
from agentmem.consolidation.recipe import CLOSED_WORLD, Recipe
from agentmem.ids import new_id
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Thought

Matrix: TypeAlias = Sequence[Sequence[float]]
Told: TypeAlias = Callable[[int, Sequence[float], float], None]
"""Called after each cycle: its number, the row of R, the share of the base's own knowledge that is left."""
_OLD = 100
"""Facts that the base knows by heart, asked after each cycle."""
_LONGEST = 24


@dataclass(frozen=True, slots=True)
class Measures:
    """`op` is the mean of R's last row, `bwt` the mean change of a cycle's facts since they were learned, `oldest` what
    is left of the first cycle's; `least` is the mean over the facts of their worst cycle since (min-ACC), `worst` the
    worst case of a cycle, new and old together (WC-ACC); `windowed` the largest loss within three cycles; `general`
    the change of what the base knows by heart."""

    op: float
    bwt: float
    oldest: float
    least: float
    worst: float
    windowed: float
    general: float


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured after each cycle: `rows` is R; of all facts so far, of each of which a thought and a foil are
    compared, `recognised` the share of thoughts that are likelier; `general` the share of the base's own knowledge,
    also before the first cycle."""

    rows: list[list[float]]
    recognised: list[float]
    general: list[float]


def measures(found: Run) -> Measures:
    """Of a run of one cycle or more."""
    rows, general = found.rows, found.general
    last, count = rows[-1], len(rows)
    curves = [[rows[t][i] for t in range(i, count)] for i in range(count)]
    earlier = curves[:-1]
    least = [min(curve[1:]) for curve in earlier]
    worst = [
        (rows[t][t] + (sum(min(curves[i][: t - i + 1]) for i in range(t)) if t else 0.0)) / (t + 1)
        for t in range(count)
    ]
    drops = [max(curve[n : n + 3]) - curve[min(n + 2, len(curve) - 1)] for curve in curves for n in range(len(curve))]
    return Measures(
        op=sum(last) / count,
        bwt=sum(curve[-1] - curve[0] for curve in earlier) / max(1, len(earlier)),
        oldest=last[0],
        least=sum(least) / max(1, len(least)),
        worst=worst[-1],
        windowed=max(drops),
        general=general[-1] - general[0],
    )


def run(
    strategy: str,
    folder: Path,
    *,
    cycles: int,
    facts: int,
    seed: int = 0,
    recipe: Recipe = CLOSED_WORLD,
    told: Told = lambda *_: None,
) -> Run:
    """Cycles on the closed world's model. Each cycle's adapter is left in `folder`."""
    base = str(closed_world.path())
    encoder, recipe = load_encoder(base), replace(recipe, strategy=strategy, seed=seed)
    told_by = invented(cycles, facts, seed)
    old, exams = (
        by_heart(seed),
        [build(group, ClosedWorldWriter(), seed=seed, now=utc_now()).items for group in told_by],
    )
    found = Run([], [], [])
    parent: Path | None = None
    for cycle in range(cycles):
        made = _curriculum(told_by, cycle, strategy, recipe)
        work = folder / f"{strategy}-{seed}-{cycle}"
        work.mkdir(parents=True, exist_ok=True)
        model, _ = training.train(
            made, recipe, base=base, base_digest="", folder=work, encoder=encoder, report=lambda _told: None,
            parent=parent, parent_name=None if parent is None else parent.parent.name,
        )  # fmt: skip
        training.save_adapter(model, work / "adapter", base)
        parent = work / "adapter" / WEIGHTS
        if not found.general:
            with model.disable_adapter():
                found.general.append(share(model, encoder, old))
        so_far = exams[: cycle + 1]
        found.rows.append([share(model, encoder, _of("wording", items)) for items in so_far])
        known = recognised(model, encoder, _of("recognition", [item for items in so_far for item in items]))
        found.recognised.append(sum(probe.right for probe in known) / len(known))
        found.general.append(share(model, encoder, old))
        told(cycle, found.rows[-1], found.general[-1])
    return found


def _of(aspect: Aspect, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if item.aspect == aspect]


def _curriculum(told_by: Sequence[Sequence[Thought]], cycle: int, strategy: str, recipe: Recipe) -> Curriculum:
    known = [thought for group in told_by[: cycle + 1] for thought in group]
    how = strategies.find(strategy)
    ages = {thought.id: float(cycle - n) for n, group in enumerate(told_by[:cycle]) for thought in group}
    return build(
        known,
        ClosedWorldWriter(),
        seed=recipe.seed * 1000 + cycle,
        now=utc_now(),
        everything=[thought for group in told_by for thought in group],
        rehearsed=ages,
        going_on=how.goes_on and cycle > 0,
        rehearses=how.rehearses,
    )


def invented(cycles: int, facts: int, seed: int) -> list[list[Thought]]:
    """For each cycle facts of people whom no other cycle tells of."""
    rng = random.Random(seed)
    attributes = closed_world.ATTRIBUTES
    each = -(-facts // len(attributes))
    names = rng.sample(closed_world.held_out_people(), cycles * each)
    pairs = [(who, attribute) for who in names for attribute in attributes]
    groups = [pairs[n * each * len(attributes) :][:facts] for n in range(cycles)]
    return [[_thought(closed_world.Fact(who, a, rng.choice(a.values))) for who, a in group] for group in groups]


def _thought(fact: closed_world.Fact) -> Thought:
    now = utc_now()
    triple: dict[str, Any] = {"head": fact.who, "relation": fact.attribute.relation, "tail": fact.value}
    return Thought(
        id=new_id(), namespace=("retention",), text=fact.statement, recorded_at=now, valid_from=now, **triple
    )


def by_heart(seed: int) -> list[Item]:
    """Questions about what the base knows by heart."""
    from agentmem.consolidation.curriculum import ask_plainly

    known = random.Random(seed).sample(list(closed_world.BASE_FACTS.values()), _OLD)
    return [Item("general", ask_plainly(fact.question(2)), fact.answer, fact.value) for fact in known]


def share(model: Any, encoder: Encoder, items: Sequence[Item]) -> float:
    """The share of items that are answered rightly."""
    answers = generate(model, encoder, [item.messages for item in items], longest=_LONGEST)
    right = [says(answer, item, closed_world.UNKNOWN) for answer, item in zip(answers, items, strict=True)]
    return sum(right) / len(right)
