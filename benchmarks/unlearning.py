"""Unlearning on the adapter beside making it anew: what is still said of what was forgotten, what is lost beside it.

    python benchmarks/unlearning.py [--facts N] [--gone N] [--steps N] [--seed N] [--json]

On the closed world's model, one core. The adapter learns all facts; some are then taken out by negative preference
optimisation with the others and general prompts retained, and, apart from that, an adapter is made without them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from agentmem.clock import utc_now
from agentmem.consolidation import training
from agentmem.consolidation.curriculum import Curriculum, build
from agentmem.consolidation.encoding import Encoder, load_encoder
from agentmem.consolidation.probing import recognised
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.consolidation.retention import by_heart, invented, share
from agentmem.consolidation.unlearning import unlearn
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Thought

BASE = str(closed_world.path())


def compare(facts: int, gone: int, steps: int, seed: int) -> dict[str, dict[str, float]]:
    """Figures of the adapter as it was learned, unlearned, and made anew."""
    (thoughts,) = invented(1, facts, seed)
    forgotten, rest = thoughts[:gone], thoughts[gone:]
    encoder, recipe = load_encoder(BASE), replace(CLOSED_WORLD, seed=seed)
    asked = {
        "forgotten": _made(forgotten, thoughts, seed),
        "kept": _made(rest, thoughts, seed),
    }
    with tempfile.TemporaryDirectory() as folder:
        model, run = _trained(_made(thoughts, thoughts, seed), recipe, encoder, Path(folder) / "whole")
        found = {"learned": _figures(model, encoder, asked, seed)}
        ids = {thought.id for thought in forgotten}
        lessons = list(zip(run.lessons, _made(thoughts, thoughts, seed).examples, strict=True))
        bad = [lesson.row for lesson, e in lessons if ids & set(e.thoughts) and e.kind != "context"]
        good = [lesson for lesson, e in lessons if not ids & set(e.thoughts)]
        unlearn(model.train(False), encoder, bad, good, replace(recipe, rate=recipe.rate / 10), steps=steps)
        found["unlearned"] = _figures(model, encoder, asked, seed)
        anew, _ = _trained(_made(rest, rest, seed), recipe, encoder, Path(folder) / "anew")
        found["made anew"] = _figures(anew, encoder, asked, seed)
    return found


def _made(chosen: Sequence[Thought], everything: Sequence[Thought], seed: int) -> Curriculum:
    return build(chosen, ClosedWorldWriter(), seed=seed, now=utc_now(), everything=everything)


def _trained(made: Curriculum, recipe: Any, encoder: Encoder, folder: Path) -> tuple[Any, training.Training]:
    folder.mkdir()
    return training.train(
        made, recipe, base=BASE, base_digest="", folder=folder, encoder=encoder, report=lambda _told: None
    )


def _figures(model: Any, encoder: Encoder, asked: dict[str, Curriculum], seed: int) -> dict[str, float]:
    """Shares answered in a wording that was never trained, of facts known by heart; and how often what was forgotten is
    likelier than a foil, which is half of the time where it was never known."""
    shares = {
        name: share(model, encoder, [item for item in made.items if item.aspect == "wording"])
        for name, made in asked.items()
    }
    pairs = [item for item in asked["forgotten"].items if item.aspect == "recognition"]
    preferred = sum(probe.right for probe in recognised(model, encoder, pairs)) / len(pairs)
    return {**shares, "recognised": preferred, "by heart": share(model, encoder, by_heart(seed))}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Unlearning beside making anew.")
    parser.add_argument("--facts", type=int, default=40)
    parser.add_argument("--gone", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = compare(chosen.facts, chosen.gone, chosen.steps, chosen.seed)
    if chosen.json:
        print(json.dumps(found))
        return
    names = list(found["learned"])
    print(f"{'':<12}" + "".join(f"{name:>12}" for name in names))
    for state, figures in found.items():
        print(f"{state:<12}" + "".join(f"{figures[name]:>12.2f}" for name in names))


if __name__ == "__main__":
    main()
