"""What ways of consolidating keep, side by side: cycles of new facts, seed by seed, with intervals and curves.

It is measured on the closed world's own model (`agentmem.consolidation.retention`); nobody's memory is touched.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from agentmem.evals.intervals import LEVEL, interval

if TYPE_CHECKING:
    from agentmem.consolidation.recipe import Recipe

Report: TypeAlias = Callable[[int, int], None]
_BARS = "▁▂▃▄▅▆▇█"


def compare(
    strategies: Sequence[str],
    *,
    cycles: int,
    facts: int,
    seeds: int,
    recipe: Recipe,
    progress: Report = lambda _done, _total: None,
) -> dict[str, Any]:
    """For each strategy its measures with intervals over the seeds, the curves of the first cycle's facts and of what
    is recognised of all, the runs themselves, and the seconds of the processor. Raises InputError for a strategy that
    there is none of."""
    from agentmem.consolidation.strategies import find

    for strategy in strategies:
        find(strategy)
    done, total = 0, len(strategies) * seeds * cycles

    def told(*_: object) -> None:
        nonlocal done
        done += 1
        progress(done, total)

    found: dict[str, Any] = {}
    progress(0, total)
    with tempfile.TemporaryDirectory() as folder:
        for strategy in strategies:
            found[strategy] = _measured(strategy, Path(folder), cycles, facts, seeds, recipe, told)
    told_of = {"cycles": cycles, "facts": facts, "seeds": seeds, "epochs": recipe.epochs, "level": LEVEL}
    return {**told_of, "strategies": found}


def _measured(
    strategy: str, folder: Path, cycles: int, facts: int, seeds: int, recipe: Recipe, told: Callable[..., None]
) -> dict[str, Any]:
    from agentmem.consolidation.retention import Measures, measures, run

    begun = time.process_time()
    runs: list[dict[str, Any]] = []
    for seed in range(seeds):
        one = run(strategy, folder, cycles=cycles, facts=facts, seed=seed, recipe=recipe, told=told)
        runs.append({**asdict(one), "measures": asdict(measures(one))})
    names = [field.name for field in fields(Measures)]
    values = np.array([[run["measures"][name] for name in names] for run in runs])
    curves = np.array([[row[0] for row in run["rows"]] for run in runs])
    return {
        "measures": dict(zip(names, _bounds(values), strict=True)),
        "curve": _bounds(curves),
        "recognised": _bounds(np.array([run["recognised"] for run in runs])),
        "cpu_seconds": round(time.process_time() - begun, 1),
        "runs": runs,
    }


def _bounds(values: Any) -> list[dict[str, float | None]]:
    """Mean and interval of each column, over the seeds; one seed has no interval."""
    found = interval(values, range(len(values)))
    columns = zip(found.mean, found.low, found.high, strict=True)
    return [{"mean": float(m), "low": _number(low), "high": _number(high)} for m, low, high in columns]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def bars(curve: Sequence[Mapping[str, float | None]]) -> str:
    """A curve between 0 and 1 as a line of bars, one a cycle."""
    shares = [min(1.0, max(0.0, point["mean"] or 0.0)) for point in curve]
    return "".join(_BARS[round(share * (len(_BARS) - 1))] for share in shares)
