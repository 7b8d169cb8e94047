"""Forgetting curves: what is still known after many cycles of consolidation, strategy by strategy.

    python benchmarks/retention.py [STRATEGY...] [--cycles N] [--facts N] [--seeds N] [--json] [--plot FILE]

On the closed world's own model, one core. A cycle of the default learns all facts so far, so T cycles take about T²/2
times the first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

DEFAULT = ("from-base", "replay", "sequential", "l2", "hft", "migu")


def measured(strategy: str, chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The figures of a strategy, over its seeds."""
    import torch

    from agentmem.consolidation.recipe import CLOSED_WORLD
    from agentmem.consolidation.retention import measures, run

    torch.set_num_threads(1)
    recipe = replace(CLOSED_WORLD, epochs=chosen.epochs)
    begun, runs = time.process_time(), []
    for seed in range(chosen.seeds):
        rows, general = run(
            strategy,
            folder,
            cycles=chosen.cycles,
            facts=chosen.facts,
            seed=seed,
            recipe=recipe,
            told=_tell(strategy, seed),
        )
        runs.append({"rows": rows, "general": general, **asdict(measures(rows, general))})
    return {"runs": runs, "cpu_seconds": round(time.process_time() - begun, 1)}


def _tell(strategy: str, seed: int) -> Any:
    def told(cycle: int, row: Sequence[float], general: float) -> None:
        shown = " ".join(f"{share:.2f}" for share in row)
        print(f"{strategy}, seed {seed}, cycle {cycle + 1}: {shown}; by heart {general:.2f}", flush=True)

    return told


def table(found: dict[str, Any]) -> str:
    """A line for each strategy: means over seeds."""
    names = ("op", "bwt", "oldest", "least", "worst", "windowed", "general")
    lines = [f"{'strategy':<12}" + "".join(f"{name:>10}" for name in names) + f"{'cpu s':>10}"]
    for strategy, told in found.items():
        cells = "".join(f"{mean(one[name] for one in told['runs']):>10.3f}" for name in names)
        lines.append(f"{strategy:<12}{cells}{told['cpu_seconds']:>10.0f}")
    return "\n".join(lines)


def draw(found: dict[str, Any], path: Path) -> None:
    """Forgetting curves: what is left of the first cycle's facts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for strategy, told in found.items():
        curve = [mean(one["rows"][t][0] for one in told["runs"]) for t in range(len(told["runs"][0]["rows"]))]
        axes.plot(range(1, len(curve) + 1), curve, marker="o", label=strategy)
    axes.set(xlabel="cycle", ylabel="known of the first cycle's facts", ylim=(0, 1.02))
    axes.legend()
    figure.savefig(path, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Forgetting curves of consolidation.")
    parser.add_argument("strategies", nargs="*", default=DEFAULT)
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--facts", type=int, default=50, help="new ones each cycle")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=float, default=8.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(name, chosen, Path(folder)) for name in chosen.strategies}
    print(json.dumps(found) if chosen.json else table(found))
    if chosen.plot:
        draw(found, chosen.plot)


if __name__ == "__main__":
    main()
