"""What is still known after many cycles: forgetting curves of a strategy, on new facts of the closed world each cycle.

The matrix R has a row for each cycle t: the share of the facts of cycle i ≤ t that are answered after it, in a wording
that was never trained. From it come TRACE's measures (Wang et al. 2023, "TRACE: A Comprehensive Benchmark for Continual
Learning in Large Language Models", §3.3) and the worst cases of De Lange et al. 2023 ("Continual evaluation for
lifelong learning: Identifying the stability gap", §3).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from agentmem.clock import utc_now
from agentmem.consolidation import strategies, training
from agentmem.consolidation.adapters import WEIGHTS, base_digest
from agentmem.consolidation.curriculum import Aspect, Curriculum, Item, build
from agentmem.consolidation.encoding import Encoder, load_encoder
from agentmem.consolidation.generation import generate
from agentmem.consolidation.marking import says
from agentmem.consolidation.probing import recognised
from agentmem.consolidation.recipe import CLOSED_WORLD, Recipe, as_values
from agentmem.errors import InputError
from agentmem.ids import new_id
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Thought

Matrix: TypeAlias = Sequence[Sequence[float]]
_OLD = 100
"""Facts that the base knows by heart, asked after each cycle."""
_WATCHED = 50
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
    dip: float
    least: float
    worst: float
    windowed: float
    general: float


@dataclass(slots=True)
class Run:
    """What was measured after each cycle: `rows` is R; of all facts so far, of each of which a thought and a foil are
    compared, `recognised` the share of thoughts that are likelier; `general` the share of the base's own knowledge,
    also before the first cycle. `within` has for each cycle, before it and at ten places of its training, the share of
    some earlier facts that are answered: empty where there are none, and where training begins from the base anew.
    `seconds` are the processor's."""

    rows: list[list[float]] = field(default_factory=list)
    recognised: list[float] = field(default_factory=list)
    general: list[float] = field(default_factory=list)
    within: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0


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
        dip=max((shares[0] - min(shares) for shares in found.within if shares), default=0.0),
        least=sum(least) / max(1, len(least)),
        worst=worst[-1],
        windowed=max(drops),
        general=general[-1] - general[0],
    )


@dataclass(frozen=True, slots=True)
class Task:
    """A run to be made on the closed world's model: so many cycles, each with so many new facts."""

    strategy: str
    seed: int
    cycles: int
    facts: int
    recipe: Recipe = CLOSED_WORLD

    def file(self, folder: Path) -> Path:
        """Where what was measured so far is kept."""
        return folder / f"{self.strategy}-{self.seed}.json"

    def kind(self) -> dict[str, Any]:
        """What a run that was stopped must have in common with this one, to be gone on with."""
        recipe = as_values(replace(self.recipe, strategy=self.strategy, seed=self.seed))
        return {"cycles": self.cycles, "facts": self.facts, "base": _base(), "recipe": recipe}


@cache
def _base() -> str:
    return base_digest(str(closed_world.path()))


def kept(task: Task, folder: Path) -> Run:
    """As far as the run has come. Raises InputError where the folder has one of another kind."""
    file = task.file(folder)
    if not file.exists():
        return Run()
    found, kind = json.loads(file.read_text("utf-8")), task.kind()
    if found["kind"] != kind:
        other = ", ".join(sorted(name for name in kind if kind[name] != found["kind"].get(name)))
        raise InputError(f"{file} is of another kind of run ({other}): choose another folder, or remove it")
    return Run(**found["run"])


def _keep(found: Run, task: Task, folder: Path) -> None:
    """Whole, or not at all."""
    draft = task.file(folder).with_suffix(".draft")
    draft.write_text(json.dumps({"kind": task.kind(), "run": asdict(found)}), "utf-8")
    os.replace(draft, task.file(folder))


def run(task: Task, folder: Path) -> Run:
    """Cycle after cycle, from where it was stopped. Each one's adapter is left in the folder."""
    recipe = replace(task.recipe, strategy=task.strategy, seed=task.seed)
    found, encoder = kept(task, folder), load_encoder(str(closed_world.path()))
    told_by, old = invented(task.cycles, task.facts, task.seed), by_heart(task.seed)
    exams = [build(group, ClosedWorldWriter(), seed=task.seed, now=utc_now()).items for group in told_by]
    for cycle in range(len(found.rows), task.cycles):
        begun = time.process_time()
        earlier = _of("wording", [item for items in exams[:cycle] for item in items])
        watched = random.Random(task.seed).sample(earlier, min(_WATCHED, len(earlier)))
        model, shares = _learned(_curriculum(told_by, cycle, recipe), recipe, folder, cycle, encoder, watched)
        found.within.append(shares)
        if not found.general:
            with model.disable_adapter():
                found.general.append(share(model, encoder, old))
        so_far = exams[: cycle + 1]
        found.rows.append([share(model, encoder, _of("wording", items)) for items in so_far])
        known = recognised(model, encoder, _of("recognition", [item for items in so_far for item in items]))
        found.recognised.append(sum(probe.right for probe in known) / len(known))
        found.general.append(share(model, encoder, old))
        found.seconds += time.process_time() - begun
        _keep(found, task, folder)
    return found


def _learned(
    made: Curriculum, recipe: Recipe, folder: Path, cycle: int, encoder: Encoder, watched: Sequence[Item]
) -> tuple[Any, list[float]]:
    """The model with the cycle's adapter, which begins with the one before where the strategy goes on; and what of the
    watched it knew on the way."""
    base = str(closed_world.path())
    work, before = (folder / f"{recipe.strategy}-{recipe.seed}-{n}" for n in (cycle, cycle - 1))
    work.mkdir(parents=True, exist_ok=True)
    looks = bool(watched) and strategies.find(recipe.strategy).goes_on
    model, trained = training.train(
        made, recipe, base=base, base_digest=_base(), folder=work, encoder=encoder, report=lambda _told: None,
        parent=before / "adapter" / WEIGHTS if cycle else None, parent_name=before.name if cycle else None,
        watch=(lambda model: share(model, encoder, watched)) if looks else None,
    )  # fmt: skip
    training.save_adapter(model, work / "adapter", base)
    return model, trained.watched


def _of(aspect: Aspect, items: Sequence[Item]) -> list[Item]:
    return [item for item in items if item.aspect == aspect]


def _curriculum(told_by: Sequence[Sequence[Thought]], cycle: int, recipe: Recipe) -> Curriculum:
    known = [thought for group in told_by[: cycle + 1] for thought in group]
    how = strategies.find(recipe.strategy)
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
    return [[thought_of(closed_world.Fact(who, a, rng.choice(a.values))) for who, a in group] for group in groups]


def thought_of(fact: closed_world.Fact) -> Thought:
    """A fact as a thought that nobody's memory holds."""
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
