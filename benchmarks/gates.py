"""How an adapter of the closed world's model comes out at the gates: a whole cycle without a server.

    python benchmarks/gates.py [--facts N] [--seed N] [--threads N] [--control] [--json]

The facts are of people whom the model has never met. With one thread the seconds are those of one core.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agentmem import Memory, Settings
from agentmem.consolidation.cycle import Outcome, Plan, consolidate
from agentmem.consolidation.gates import Judgement
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter

NAMESPACE = ("gates",)


def cycle(facts: int, *, seed: int, threads: int, control: bool) -> Outcome:
    """Learn and judge so many facts in a store of their own."""
    recipe = replace(CLOSED_WORLD, seed=seed)
    plan = Plan(str(closed_world.path()), ClosedWorldWriter(), recipe, control=control, threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(store=str(Path(folder) / "memory.db"))
        with Memory(settings.store, embedder=None, settings=settings) as memory:
            for fact in _invented(facts, seed):
                who, relation = fact.who, fact.attribute.relation
                memory.insert(fact.statement, namespace=NAMESPACE, head=who, relation=relation, tail=fact.value)
            return consolidate(memory.backend, settings, plan, namespace=NAMESPACE)


def _invented(facts: int, seed: int) -> Iterator[closed_world.Fact]:
    rng = random.Random(seed)
    pairs = [(who, a) for who in closed_world.held_out_people() for a in closed_world.ATTRIBUTES]
    yield from (closed_world.Fact(who, attribute, rng.choice(attribute.values)) for who, attribute in pairs[:facts])


def table(judgement: Judgement) -> str:
    lines = [f"{'gate':<12}{'value':>8}{'bound':>8}{'wanted':>8}{'items':>7}  verdict"]
    for gate in judgement.gates:
        numbers = f"{gate.value:>8.3f}{gate.bound:>8.3f}{gate.threshold:>8g}{gate.items:>7}"
        lines.append(f"{gate.name:<12}{numbers}  {gate.verdict}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An adapter at the gates.")
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--control", action="store_true", help="one that learns shuffled answers too")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    found = cycle(chosen.facts, seed=chosen.seed, threads=chosen.threads, control=chosen.control)
    seconds = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, 1)
    judged = {"adapter": found.judgement} | ({} if found.control is None else {"control": found.control})
    if chosen.json:
        print(json.dumps({name: one.as_json() for name, one in judged.items()} | {"cpu_seconds": seconds}))
        return
    for name, one in judged.items():
        print(f"{name}: {'passed' if one.passed else 'failed'}\n{table(one)}")
    print(f"{seconds} s of the processor")


if __name__ == "__main__":
    main()
