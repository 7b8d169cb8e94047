"""About agentmem itself: `plugins` and `settings`."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, common, json_option
from agentmem.commands.output import as_json, print_json, say, table
from agentmem.display import without_password
from agentmem.namespaces import format_namespace

if TYPE_CHECKING:
    from agentmem.interfaces import Abilities
    from agentmem.plugins import PluginInfo


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
    brings = [f"{scheme}: {_able(abilities)}" for scheme, abilities in info.backends.items()]
    brings += [f"{scheme}: vector index" for scheme in info.indexes]
    return info.name, info.version, info.group, "; ".join(brings) or "user interface"


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
    """A secret as asterisks, and a password in a URL too."""
    if isinstance(value, str):
        return without_password(value)
    return str(value) if hasattr(value, "get_secret_value") else value


COMMANDS = (plugins, settings)
