"""Measuring what consolidation keeps: `eval retention`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from agentmem.commands.common import Call, common, json_option
from agentmem.commands.output import print_json, say, table
from agentmem.commands.progress import progress

_SHOWN = {"op": "OP", "bwt": "BWT", "oldest": "oldest", "dip": "dip", "least": "min-ACC", "worst": "WC-ACC",
          "windowed": "lost in 3", "general": "by heart"}  # fmt: skip


@click.command()
@click.option(
    "--strategy", "strategies", metavar="NAME", multiple=True, default=("from-base", "replay", "sequential"),
    show_default=True, help="May be repeated; all: every one there is.",
)  # fmt: skip
@click.option(
    "--cycles", type=click.IntRange(min=1), default=4, show_default=True, help="How often something is learned."
)
@click.option("--facts", type=click.IntRange(min=1), default=20, show_default=True, help="New ones a cycle.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Runs of each strategy.")
@click.option("--epochs", type=float, default=8.0, show_default=True, help="How often each example is seen.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs side by side, one a core.")
@click.option(
    "--into", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="Keep the runs in this folder: what was stopped goes on, what is there is not made again.",
)  # fmt: skip
@click.option("--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw the forgetting curves.")
@json_option
@common
def retention(
    call: Call,
    strategies: tuple[str, ...],
    cycles: int,
    facts: int,
    seeds: int,
    epochs: float,
    jobs: int,
    folder: Path | None,
    picture: Path | None,
) -> None:
    """Measure what is still known after cycles of consolidation.

    Each cycle teaches new facts to the tiny model that comes with agentmem, then asks for those of all cycles so far,
    in a wording that was never trained. OP is the mean at the end, BWT the mean change since a fact was learned,
    "oldest" what is left of the first cycle's, "dip" the deepest fall of what was known while a cycle was trained;
    min-ACC and WC-ACC are the worst cases on the way, "lost in 3" the largest loss within three cycles, "by heart" the
    change of what the model knew before, "recognised" how often a fact is likelier than a foil at the end. The bars are
    the first cycle's facts, cycle by cycle. Your own memories are not touched. What this needs is in the extra `lora`.
    """
    from dataclasses import replace

    from agentmem.consolidation.cycle import require_extra
    from agentmem.consolidation.recipe import CLOSED_WORLD
    from agentmem.consolidation.strategies import NAMES
    from agentmem.evals.plot import check_plot, plot_retention
    from agentmem.evals.retention import compare

    require_extra()
    if picture is not None:
        check_plot(picture)
    recipe = replace(CLOSED_WORLD, epochs=epochs)
    wanted = NAMES if "all" in strategies else tuple(dict.fromkeys(strategies))
    with progress("retention") as report:
        found = compare(
            wanted, cycles=cycles, facts=facts, seeds=seeds, recipe=recipe, jobs=jobs, folder=folder, progress=report
        )
    if picture is not None:
        plot_retention(found, picture)
        say(f"drawn in {picture}", dim=True, err=True)
    if call.as_json:
        print_json(found)
    else:
        table(("strategy", *_SHOWN.values(), "recognised", "cpu s", "first cycle's facts"), _rows(found))


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    from agentmem.evals.retention import bars

    for name, told in found["strategies"].items():
        cells = (_cell(told["measures"][measure]) for measure in _SHOWN)
        yield name, *cells, _cell(told["recognised"][-1]), f"{told['cpu_seconds']:.0f}", bars(told["curve"])


def _cell(found: Mapping[str, float | None]) -> str:
    """A mean, and its bounds where there are any."""
    if found["low"] is None:
        return f"{found['mean']:.2f}"
    return f"{found['mean']:.2f} [{found['low']:.2f} {found['high']:.2f}]"
