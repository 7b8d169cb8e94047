"""Consolidation at the size of a card: a larger closed-world base, and thousands of facts into its adapter.

    python benchmarks/consolidation_gpu.py --base FOLDER [--facts N]... [--hidden N] [--layers N] [--steps N] [--json]

The base is trained first, into the folder, where it is not there yet; what was stopped goes on. Then, for each number
of facts: the seconds that training took, tokens a second, the share of the card's bf16 peak that these come to, the
memory, what the adapter answers of the facts in a wording that was trained and in one that never was, and what is left
of what the base knew by heart. On a processor everything runs too, with small figures:

    python benchmarks/consolidation_gpu.py --base /tmp/base --facts 12 --hidden 64 --layers 2 --steps 20 --epochs 1
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from agentmem.clock import utc_now
from agentmem.consolidation import training
from agentmem.consolidation.curriculum import Aspect, Curriculum, build
from agentmem.consolidation.encoding import Encoder, load_encoder
from agentmem.consolidation.recipe import CLOSED_WORLD, Recipe
from agentmem.consolidation.retention import by_heart, share, thought_of
from agentmem.testing import closed_world
from agentmem.testing.closed_world import train as closed_world_training
from agentmem.testing.closed_world.world import training_people
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Thought

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 operations a second, from the makers' data sheets."""
_OPERATIONS = 4
"""A token and a weight: two forward, two back to the inputs; a frozen weight has no gradient of its own."""
_ASKED = 500


@dataclass(frozen=True, slots=True)
class Found:
    """`peak_share` is None where the card's peak is not known; `gigabytes` are the card's, else the process's."""

    facts: int
    examples: int
    steps: int
    seconds: float
    tokens_per_second: float
    peak_share: float | None
    gigabytes: float
    recall: float
    wording: float
    by_heart_before: float
    by_heart: float


def base_model(folder: Path, *, hidden: int, layers: int, steps: int, device: str) -> None:
    """A closed-world model of that size, trained where it is not there yet."""
    if (folder / "model.safetensors").exists():
        return
    grown = layers + layers // 2
    heads = max(2, hidden // 64)
    recipe = closed_world_training.Recipe(
        steps=steps, hidden=hidden, layers=layers, grown=grown, heads=heads, inner=hidden * 8 // 3
    )
    closed_world_training.train(folder, recipe, device=device)


def consolidated(base: str, facts: int, recipe: Recipe) -> Found:
    """So many facts into an adapter of the base."""
    encoder, thoughts = load_encoder(base), _told(facts, recipe.seed)
    made = build(thoughts, ClosedWorldWriter(), seed=recipe.seed, now=utc_now(), everything=thoughts)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model, run = training.train(
            made, recipe, base=base, base_digest="", folder=Path(folder), encoder=encoder, report=lambda _told: None
        )
    seconds = time.perf_counter() - begun
    tokens = sum(len(lesson.row.ids) for lesson in run.lessons) / len(run.lessons) * run.steps * recipe.batch
    weights = sum(weight.numel() for weight in model.get_base_model().parameters())
    old = by_heart(recipe.seed)
    with model.disable_adapter():
        before = share(model, encoder, old)
    return Found(
        facts=facts,
        examples=len(run.lessons),
        steps=run.steps,
        seconds=round(seconds, 1),
        tokens_per_second=round(tokens / seconds),
        peak_share=_share_of_peak(tokens / seconds * weights * _OPERATIONS),
        gigabytes=round(_memory(), 2),
        recall=_asked(model, encoder, made, "recall"),
        wording=_asked(model, encoder, made, "wording"),
        by_heart_before=before,
        by_heart=share(model, encoder, old),
    )


def _told(facts: int, seed: int) -> list[Thought]:
    """Facts of people whom the base knows nothing of by heart."""
    rng = random.Random(seed)
    people = [*closed_world.held_out_people(), *training_people()]
    pairs = [(who, attribute) for who in people for attribute in closed_world.ATTRIBUTES][:facts]
    return [thought_of(closed_world.Fact(who, attribute, rng.choice(attribute.values))) for who, attribute in pairs]


def _asked(model: Any, encoder: Encoder, made: Curriculum, aspect: Aspect) -> float:
    items = [item for item in made.items if item.aspect == aspect]
    return share(model, encoder, random.Random(0).sample(items, min(_ASKED, len(items))))


def _share_of_peak(operations: float) -> float | None:
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((peak for name, peak in PEAKS.items() if name in card), None)
    return None if peak is None else round(operations / peak, 4)


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Consolidation at the size of a card.")
    parser.add_argument("--base", type=Path, required=True, help="the folder of the base; made where it is not there")
    parser.add_argument("--facts", type=int, action="append")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8, help="at first; half as many more grow half-way")
    parser.add_argument("--steps", type=int, default=10_000, help="of the base's training")
    parser.add_argument("--epochs", type=float, default=CLOSED_WORLD.epochs)
    parser.add_argument("--batch", type=int, default=CLOSED_WORLD.batch)
    parser.add_argument("--rate", type=float, default=CLOSED_WORLD.rate)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base_model(chosen.base, hidden=chosen.hidden, layers=chosen.layers, steps=chosen.steps, device=device)
    recipe = replace(CLOSED_WORLD, epochs=chosen.epochs, batch=chosen.batch, rate=chosen.rate)
    found = [asdict(consolidated(str(chosen.base), facts, recipe)) for facts in chosen.facts or (1000, 5000, 10_000)]
    if chosen.json:
        print(json.dumps({"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "runs": found}))
        return
    print("\t".join(found[0]))
    for one in found:
        print("\t".join(str(value) for value in one.values()))


if __name__ == "__main__":
    main()
