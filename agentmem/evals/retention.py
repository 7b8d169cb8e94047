"""What ways of consolidating keep, side by side: cycles of new facts, seed by seed, with intervals and curves.

It is measured on the closed world's own model (`agentmem.consolidation.retention`); nobody's memory is touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import asdict, fields
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from agentmem.evals.intervals import LEVEL, interval

if TYPE_CHECKING:
    from agentmem.consolidation.recipe import Recipe
    from agentmem.consolidation.retention import Run, Task

Report: TypeAlias = Callable[[int, int], None]
_BARS = "▁▂▃▄▅▆▇█"
_LOOK = 1.0
"""Seconds between two looks at how far the runs are."""


def compare(
    strategies: Sequence[str],
    *,
    cycles: int,
    facts: int,
    seeds: int,
    recipe: Recipe,
    jobs: int = 1,
    folder: Path | None = None,
    progress: Report = lambda _done, _total: None,
) -> dict[str, Any]:
    """For each strategy its measures with intervals over the seeds, the curves of the first cycle's facts, of what
    is recognised of all and of earlier facts within a cycle, the runs themselves, and the seconds of the processor.

    `jobs` runs are made side by side, each on one core. A `folder` keeps them: what was stopped goes on, what is there
    is not made again. Raises InputError for a strategy that there is none of, and for a folder with runs of another
    kind.
    """
    from agentmem.consolidation.retention import Task, kept
    from agentmem.consolidation.strategies import find

    for strategy in strategies:
        find(strategy)
    tasks = [Task(strategy, seed, cycles, facts, recipe) for seed in range(seeds) for strategy in strategies]
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        into = Path(place)
        into.mkdir(parents=True, exist_ok=True)
        missing = [task for task in tasks if len(kept(task, into).rows) < cycles]
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            pending = {pool.submit(_make, task, into) for task in missing}
            while pending:
                done, pending = wait(pending, timeout=_LOOK)
                for made in done:
                    made.result()
                progress(sum(len(kept(task, into).rows) for task in tasks), len(tasks) * cycles)
        runs = {task: kept(task, into) for task in tasks}
    told_of = {"cycles": cycles, "facts": facts, "seeds": seeds, "epochs": recipe.epochs, "level": LEVEL}
    beside = {s: _measured([run for task, run in runs.items() if task.strategy == s]) for s in strategies}
    return {**told_of, "strategies": beside}


def _make(task: Task, folder: Path) -> None:
    """A run, in a process of its own, on one core."""
    import torch

    from agentmem.consolidation.retention import run

    torch.set_num_threads(1)
    run(task, folder)


def _measured(made: Sequence[Run]) -> dict[str, Any]:
    """What is told of a strategy's runs, one a seed."""
    from agentmem.consolidation.retention import Measures, measures

    runs: list[dict[str, Any]] = [{**asdict(one), "measures": asdict(measures(one))} for one in made]
    names = [field.name for field in fields(Measures)]
    values = np.array([[run["measures"][name] for name in names] for run in runs])
    curves = np.array([[row[0] for row in run["rows"]] for run in runs])
    return {
        "measures": dict(zip(names, _bounds(values), strict=True)),
        "curve": _bounds(curves),
        "recognised": _bounds(np.array([run["recognised"] for run in runs])),
        "within": _within([shares for run in runs for shares in run["within"] if shares]),
        "cpu_seconds": round(sum(run["seconds"] for run in runs), 1),
        "runs": runs,
    }


def _within(curves: Sequence[Sequence[float]]) -> list[float]:
    """What earlier facts do while a cycle is trained, the mean of all cycles, from 0 to 1 of its steps in tenths."""
    tenths = np.linspace(0, 1, 11)
    shares = [np.interp(tenths, np.linspace(0, 1, len(curve)), curve) for curve in curves]
    return [float(share) for share in np.mean(shares, axis=0)] if shares else []


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
