"""Measuring recall: `eval`; what consolidation keeps is measured by `commands.retaining`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, common, json_option
from agentmem.commands.output import print_json, say, table
from agentmem.commands.progress import progress
from agentmem.commands.retaining import retention
from agentmem.display import one_line
from agentmem.errors import ModelError, SettingsError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agentmem.config import Settings
    from agentmem.fusion import Weights

DATASETS = ("locomo", "beam", "longmemeval")
BASELINES = ("dense", "bm25", "hybrid")
_FIGURES = {"recall": "recall", "all_evidence": "all", "ndcg": "nDCG", "tokens": "tokens"}
_CUTS = ("5", "10", "20")
_SHOWN = (("recall", _CUTS), ("all_evidence", _CUTS), ("ndcg", ("10",)), ("tokens", _CUTS))
_QUALITIES = {"f1": "F1", "exact": "exact", "right": "judged right"}
_File = click.Path(path_type=Path, exists=True, dir_okay=False)
Row = tuple[str, list[str]]


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--baseline", "baselines", type=click.Choice(BASELINES), multiple=True, help="Compare with it; may be repeated."
)
@click.option("--config", type=_File, help="A TOML of settings, and a table [weights], to try on recall.")
@click.option("--labels", type=_File, help="Corrected labels of locomo.  [default: audit_errors.json beside PATH]")
@click.option("--plot", "picture", type=click.Path(path_type=Path, dir_okay=False), help="Draw recall against tokens.")
@click.option("--answers", is_flag=True, help="Have a model answer too, and judge its answers.")
@click.option("--model", metavar="NAME", help="The model to answer with.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible server, e.g. http://localhost:8000/v1.")
@json_option
@common
def _labelled(
    call: Call,
    dataset: str,
    path: Path,
    baselines: tuple[str, ...],
    config: Path | None,
    labels: Path | None,
    picture: Path | None,
    answers: bool,
    model: str | None,
    base_url: str | None,
) -> None:
    """Measure recall on labelled questions.

    The share of the evidence among the first 5, 10 and 20 turns recalled (recall), the share of questions all of whose
    evidence is there (all), how early it comes (nDCG, MRR), at what length and in what time; with 95 % intervals.
    Baselines are the cosine alone (dense), BM25 alone (bm25), and their sum (hybrid).

    PATH is a file of the data set or a folder of them. Your own memories are not touched.
    """
    from agentmem.evals import run_eval
    from agentmem.evals.plot import check_plot, plot

    settings, weights = _settings(call.with_settings(model=model, base_url=base_url), config)
    if picture is not None:
        check_plot(picture)
    asked = _model(settings) if answers else None
    with progress(dataset) as report:
        result = run_eval(
            dataset,
            path,
            settings=settings,
            weights=weights,
            baselines=tuple(dict.fromkeys(baselines)),
            labels=labels,
            model=asked,
            progress=report,
        )
    if picture is not None:
        plot(result, picture)
        say(f"drawn in {picture}", dim=True, err=True)
    if call.as_json:
        print_json(result)
    else:
        _show(result)


@click.group("eval")
def evaluate() -> None:
    """Measure recall on labelled questions, and what consolidation keeps."""


def _command(dataset: str) -> click.Command:
    """`eval DATASET`: the same for each of them."""
    assert _labelled.callback is not None
    run = partial(_labelled.callback, dataset=dataset)
    return click.Command(dataset, callback=run, params=_labelled.params, help=_labelled.help)


for _dataset in DATASETS:
    evaluate.add_command(_command(_dataset))
evaluate.add_command(retention)


def _settings(call: Call, config: Path | None) -> tuple[Settings, Weights]:
    """The settings and weights to measure with: the file's, over those of the call."""
    from agentmem.evals.config import read_config
    from agentmem.fusion import DEFAULT

    if config is None:
        return call.settings, DEFAULT
    values, weights = read_config(config)
    try:
        return call.with_settings(**values).settings, weights
    except SettingsError as error:
        raise SettingsError(f"with {config}: {error}") from error


def _model(settings: Settings) -> BaseChatModel:
    from agentmem.models.select import choose_model

    chosen = choose_model(settings)
    if chosen.model is None:
        raise ModelError("--answers needs a model, and there is none: name its server with --base-url")
    if chosen.notice:
        say(chosen.notice, dim=True, err=True)
    return chosen.model


def _show(result: Mapping[str, Any]) -> None:
    sections = {"published": result}
    if result["corrected"] is not None:
        sections["corrected"] = result["corrected"]
    if not sys.stdout.isatty():
        table(("",) * 6, ((labels, *row) for labels, section in sections.items() for row in _lines(section)))
        return
    shown = result["intervals"]
    said = f"{result['dataset']}: {result['questions']} questions on {result['conversations']} conversations"
    say(f"{said}; [95 % intervals] over {shown['resampled']}", dim=True)
    _show_section(result)
    if result["corrected"] is not None:
        _show_corrected(result["corrected"])
    if result["answering"] is not None:
        _show_prompts(result["answering"])


def _show_corrected(section: Mapping[str, Any]) -> None:
    click.echo()
    unmatched = f", {section['unmatched']} for no question here" if section["unmatched"] else ""
    corrected = f"with {section['applied']} labels corrected by {section['file']}{unmatched}"
    say(f"{corrected}: {section['questions']} questions", dim=True)
    _show_section(section)


def _show_prompts(answering: Mapping[str, str]) -> None:
    click.echo()
    say(f"answers and verdicts by {answering['model']}; it was told", dim=True)
    say(answering["prompt"])
    say("and, as a judge,", dim=True)
    say(answering["judge_prompt"])


def _show_section(section: Mapping[str, Any]) -> None:
    methods, differences = section["methods"], section["differences"]
    _grid("", list(methods), _figure_rows(list(methods.values()), "{:.3f}"))
    if differences:
        _grid("difference to", list(differences), _figure_rows(list(differences.values()), "{:+.3f}"))
    _grid("recall@10", list(methods), _category_rows(list(methods.values())))
    if section["answers"] is not None:
        contexts = section["answers"]["contexts"]
        _grid("answers", [name.replace("_", " ") for name in contexts], _answer_rows(list(contexts.values())))
        _show_errors(contexts)


def _figure_rows(methods: Sequence[Mapping[str, Any]], form: str) -> Iterator[Row]:
    for figure, cuts in _SHOWN:
        for cut in cuts:
            number = form.replace("3", "0") if figure == "tokens" else form
            yield f"{_FIGURES[figure]}@{cut}", [_cell(method[figure][cut], number) for method in methods]
    yield "MRR", [_cell(method["mrr"], form) for method in methods]
    if "ms_per_query" in methods[0]:
        times = (method["ms_per_query"] for method in methods)
        yield "ms p50, p99", [f"{time['p50']:.1f}  {time['p99']:.1f}" for time in times]


def _category_rows(methods: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """Means alone: with their bounds, names such as "contradiction_resolution" would find no room."""
    for name, first in methods[0]["per_category"].items():
        cells = [f"{method['per_category'][name]['recall']['10']['mean']:.3f}" for method in methods]
        yield f"{one_line(name)} ({first['questions']})", cells


def _answer_rows(contexts: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    for quality, name in _QUALITIES.items():
        yield name, [_cell(context[quality], "{:.3f}") for context in contexts]
    for count in ("asked", "answered", "unjudged"):
        yield count, [str(context[count]) for context in contexts]
    yield "tokens told", [f"{context['tokens']:.0f}" for context in contexts]


def _show_errors(contexts: Mapping[str, Mapping[str, Any]]) -> None:
    for name, context in contexts.items():
        for kind, failed in (("errors", "answers failed"), ("judge_errors", "verdicts failed")):
            for reason, times in context[kind].items():
                say(f"{name.replace('_', ' ')}: {times} {failed}: {one_line(reason)}")


def _cell(found: Mapping[str, float | None], form: str) -> str:
    """A mean and its bounds, those without a leading zero."""
    if found["mean"] is None:
        return "-"
    mean = form.format(found["mean"])
    if found["low"] is None:
        return mean
    short = form.replace("3", "2")
    low, high = (short.format(found[bound]).replace("0.", ".", 1) for bound in ("low", "high"))
    return f"{mean} [{low} {high}]"


def _grid(title: str, columns: Sequence[str], rows: Iterator[Row]) -> None:
    """Numbers under their headings, right-aligned; where the terminal is narrow, names are broken, numbers are not."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column(title)
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, cells in rows:
        shown.add_row(Text(name), *map(Text, cells))
    click.echo()
    Console().print(shown)


def _lines(section: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Every figure on a line: of what, which, mean, low, high."""
    differences = {f"difference to {name}": difference for name, difference in section["differences"].items()}
    for name, method in {**section["methods"], **differences}.items():
        for figure, cuts in _SHOWN:
            yield from (_line(name, f"{_FIGURES[figure]}@{cut}", method[figure][cut]) for cut in cuts)
        yield _line(name, "MRR", method["mrr"])
        for share, ms in method.get("ms_per_query", {}).items():
            yield name, f"ms {share}", str(ms), "", ""
    for name, context in (section["answers"] or {"contexts": {}})["contexts"].items():
        yield from (_line(f"answers: {name}", label, context[quality]) for quality, label in _QUALITIES.items())
        for count in ("asked", "answered", "unjudged"):
            yield f"answers: {name}", count, str(context[count]), "", ""
        for reason, times in [*context["errors"].items(), *context["judge_errors"].items()]:
            yield f"answers: {name}", one_line(reason), str(times), "", ""


def _line(name: str, figure: str, found: Mapping[str, float | None]) -> tuple[str, str, str, str, str]:
    mean, low, high = ("" if value is None else str(value) for value in found.values())
    return name, figure, mean, low, high


COMMANDS = (evaluate,)
