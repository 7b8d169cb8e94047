"""Pictures: recall against tokens (what a method finds, for how much of the prompt), and forgetting curves."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentmem.errors import InputError
from agentmem.evals.metrics import CUTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = (".png", ".svg", ".pdf")
# Okabe & Ito 2008: told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D")
_INK, _FAINT = "#222222", "#E4E4E4"


def check_plot(file: Path) -> None:
    """Raises InputError where a plot could not be written to the file: to be asked before minutes of work."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError("a plot needs matplotlib, which is not installed: run `pip install 'agentmem[plot]'`")
    if file.suffix.lower() not in _FORMATS:
        raise InputError(f"{file}: a plot is written as {', '.join(_FORMATS)}: give it such a name")
    if not file.parent.is_dir():
        raise InputError(f"there is no folder {file.parent} to write the plot to")


def plot(result: Mapping[str, Any], file: Path) -> None:
    """Draw the curves of `run_eval`'s result, with their intervals, under the published and the corrected labels."""
    check_plot(file)
    from matplotlib.figure import Figure

    sections = [("", result)]
    if result["corrected"] is not None:
        sections = [("published labels", result), ("corrected labels", result["corrected"])]
    figure = Figure(figsize=(1.2 + 6.0 * len(sections), 4.8), dpi=160, layout="constrained")
    panels = figure.subplots(1, len(sections), sharey=True, squeeze=False)[0]
    for axes, (title, section) in zip(panels, sections, strict=True):
        _draw(axes, section)
        axes.set_title(title, fontsize=10, color=_INK, loc="left")
    panels[0].set_ylabel("share of the evidence found", color=_INK)
    panels[0].legend(frameon=False, loc="lower right", fontsize=9)
    figure.suptitle(_title(result), fontsize=11, color=_INK, x=0.01, ha="left")
    figure.savefig(file)


def _title(result: Mapping[str, Any]) -> str:
    counts = f"{result['questions']} questions on {result['conversations']} conversations"
    level = f"{result['intervals']['level']:.0%} intervals over {result['intervals']['resampled']}"
    return f"{result['dataset']}: evidence found against tokens spent\n{counts}; {level}"


def plot_retention(result: Mapping[str, Any], file: Path) -> None:
    """Draw, from `evals.retention.compare`, what is left of the first cycle's facts after each cycle, by strategy; and
    beside it what becomes of earlier facts while a cycle is trained (the stability gap), of those that go on."""
    check_plot(file)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), dpi=160, layout="constrained")
    kept, within = figure.subplots(1, 2, width_ratios=(3, 2))
    cycles = range(1, result["cycles"] + 1)
    for number, (name, told) in enumerate(result["strategies"].items()):
        colour, means = _COLOURS[number % len(_COLOURS)], [point["mean"] for point in told["curve"]]
        style = ("-", "--", ":")[number // len(_COLOURS) % 3]
        line = {"color": colour, "marker": _MARKERS[number % len(_MARKERS)], "lw": 1.8, "ms": 5.5, "ls": style}
        kept.plot(cycles, means, label=name, **line)
        if result["seeds"] > 1:
            low, high = ([point[bound] for point in told["curve"]] for bound in ("low", "high"))
            kept.fill_between(cycles, low, high, color=colour, alpha=0.13, linewidth=0)
        if told["within"]:
            within.plot([place / 10 for place in range(11)], told["within"], label=name, **line)
    kept.set_xlabel("cycle", color=_INK)
    kept.set_ylabel("known of the first cycle's facts", color=_INK)
    kept.set_xticks(cycles)
    kept.legend(frameon=False, loc="lower left", fontsize=9)
    within.set_xlabel("share of a cycle's steps", color=_INK)
    within.set_ylabel("known of earlier facts", color=_INK)
    for axes in (kept, within):
        _finish(axes)
    told = f"{result['facts']} new facts a cycle, {result['seeds']} seed{'s' * (result['seeds'] > 1)}"
    figure.suptitle(told, fontsize=11, color=_INK, x=0.01, ha="left")
    figure.savefig(file)


def _draw(axes: Axes, section: Mapping[str, Any]) -> None:
    for number, (name, method) in enumerate(section["methods"].items()):
        _curve(axes, method["curve"], name, number)
    _label_cuts(axes, next(iter(section["methods"].values()))["curve"])
    axes.set_xlabel("tokens of the turns recalled (mean)", color=_INK)
    axes.set_xlim(left=0)
    _finish(axes)


def _finish(axes: Axes) -> None:
    """Shares up to 1, over a faint grid."""
    axes.set_ylim(0, 1)
    axes.grid(color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)


def _curve(axes: Axes, curve: list[dict[str, Any]], name: str, number: int) -> None:
    """A line through every number of turns, a mark at each of CUTS, a band where there are intervals."""
    colour, tokens = _COLOURS[number], [point["tokens"] for point in curve]
    shares = [point["recall"] for point in curve]
    if shares[0]["low"] is not None:
        bounds = [share["low"] for share in shares], [share["high"] for share in shares]
        axes.fill_between(tokens, *bounds, color=colour, alpha=0.13, linewidth=0)
    means = [share["mean"] for share in shares]
    marks = [cut - 1 for cut in CUTS]
    axes.plot(tokens, means, color=colour, marker=_MARKERS[number], markevery=marks, label=name, lw=1.8, ms=5.5)


def _label_cuts(axes: Axes, curve: list[dict[str, Any]]) -> None:
    """Say at the first curve which mark is how many turns."""
    for cut in CUTS:
        point = curve[cut - 1]
        at = point["tokens"], point["recall"]["mean"]
        axes.annotate(f"{cut} turns", at, (0, 9), textcoords="offset points", ha="center", fontsize=8, color=_INK)
