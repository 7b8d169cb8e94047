"""About agentmem itself: `plugins`, `settings`, and `eval`, which measures recall."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, common, json_option
from agentmem.commands.output import as_json, print_json, say, table
from agentmem.commands.progress import progress
from agentmem.namespaces import format_namespace

if TYPE_CHECKING:
    from agentmem.interfaces import Abilities
    from agentmem.plugins import PluginInfo

DATASETS = ("locomo", "beam", "longmemeval")


@click.command()
@json_option
@common
def plugins(call: Call) -> None:
    """The plug-ins, and why one failed to load."""
    from agentmem.plugins import installed_plugins

    found = installed_plugins()
    if call.as_json:
        print_json({"plugins": found})
    else:
        table(("plug-in", "version", "kind", "brings"), (_plugin_row(info) for info in found))


def _plugin_row(info: PluginInfo) -> tuple[str, ...]:
    if info.error:
        return info.name, info.version, info.group, f"failed to load: {info.error}"
    brings = "; ".join(f"{scheme}: {_able(abilities)}" for scheme, abilities in info.backends.items())
    return info.name, info.version, info.group, brings or "user interface"


def _able(abilities: Abilities) -> str:
    has = [f.name.replace("_", " ") for f in fields(abilities) if getattr(abilities, f.name)]
    return ", ".join(has) or "nothing beyond the mandatory"


@click.group(invoke_without_command=True)
@json_option
@common
@click.pass_context
def settings(ctx: click.Context, _call: Call) -> None:
    """The settings, and where they come from."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(show_settings)


@settings.command("show")
@json_option
@common
def show_settings(call: Call) -> None:
    """Show every setting, its value, and where it was set."""
    from agentmem.config import NAMES, config_path, setting_sources

    sources = setting_sources(**call.overrides)
    values = {name: _shown(getattr(call.settings, name)) for name in NAMES}
    if call.as_json:
        shown = {name: {"value": as_json(values[name]), "source": sources[name]} for name in NAMES}
        print_json({"file": config_path(), "settings": shown})
        return
    values["namespace"] = format_namespace(call.namespace)
    rows = ((name, sources[name], "" if values[name] is None else values[name]) for name in NAMES)
    table(("setting", "from", "value"), rows)
    say(f"settings file: {config_path()}", dim=True, err=True)


def _shown(value: Any) -> Any:
    """A secret as asterisks."""
    return str(value) if hasattr(value, "get_secret_value") else value


@click.command("eval")
@click.argument("dataset", type=click.Choice(DATASETS))
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@json_option
@common
def evaluate(call: Call, dataset: str, path: Path) -> None:
    """Measure recall on labelled questions.

    The figures are the mean share of evidence turns among the first 5, 10 and 20 turns recalled.
    PATH is a file of DATASET or a folder of them. Your own memories are not touched.
    """
    from agentmem.evals import run_eval

    with progress(f"{dataset}") as report:
        result = run_eval(dataset, path, settings=call.settings, progress=report)
    if call.as_json:
        print_json(result)
    else:
        table(("", ""), _eval_rows(as_json(result)))


def _eval_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("dataset", result["dataset"]), ("questions", str(result["questions"]))]
    rows += [(f"recall at {k}", f"{share:.3f}") for k, share in result["recall"].items()]
    for category, shares in result["per_category"].items():
        rows.append((f"  {category}", _numbers(shares)))
    return [*rows, ("ms per query", _numbers(result["ms_per_query"]))]


def _numbers(values: Any) -> str:
    if isinstance(values, dict):
        return "  ".join(f"{name}: {_numbers(value)}" for name, value in values.items())
    return f"{values:.3f}" if isinstance(values, float) else str(values)


COMMANDS = (plugins, settings, evaluate)
