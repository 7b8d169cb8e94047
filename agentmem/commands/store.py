"""The store itself: `stats`, `doctor`, `export` and `import`, `backup` and `restore`, `reindex`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from agentmem.commands.common import Call, common, consent, json_option, unembedded, yes_option
from agentmem.commands.output import as_json, print_json, say, table
from agentmem.commands.progress import progress
from agentmem.display import without_password
from agentmem.errors import InputError
from agentmem.namespaces import format_namespace


@click.command()
@json_option
@common
def stats(call: Call) -> None:
    """Count what is remembered."""
    with call.memory() as memory:
        found = memory.stats(namespace=call.namespace)
        url = memory.backend.url
    if call.as_json:
        print_json({"store": url, "namespace": list(call.namespace), **as_json(found)})
        return
    shown = {"store": url, "namespace": format_namespace(call.namespace), **as_json(found)}
    shown["bytes"] = human_bytes(found.bytes) if sys.stdout.isatty() else found.bytes
    shown["embedder"] = found.embedder or "none yet"
    shown["thinking"] = told(found.thinking) or "none yet"
    table(("", ""), shown.items())


def told(counts: Mapping[str, int]) -> str:
    """Counts in words, those that are none left out."""
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counts.items()) if count)


def human_bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


@click.command()
@click.option("--model", metavar="NAME", help="The model to look for.")
@click.option("--base-url", metavar="URL", help="The server to look for it at.")
@json_option
@common
def doctor(call: Call, model: str | None, base_url: str | None) -> None:
    """Look for faults, and say how to mend them.

    Looked at are the settings, the store, its queue, the disk, the embedder, the model server and plug-ins.
    Exits with 1 where there is a fault.
    """
    from agentmem.doctor import examine

    findings = examine(call.with_settings(model=model, base_url=base_url).overrides)
    faults = [finding for finding in findings if finding.state == "fault"]
    if call.as_json:
        print_json({"ok": not faults, "findings": findings})
    else:
        rows = ((f.state, f.name, f.detail + (f"\n→ {f.remedy}" if f.remedy else "")) for f in findings)
        table(("", "", ""), rows)
    if faults:
        raise click.exceptions.Exit(1)


@click.command("export")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@common
def export_(call: Call, path: Path) -> None:
    """Write the namespace to PATH as JSON Lines.

    Everything is in it, vectors included. The file is yours to remove: `forget` names it, and cannot reach it.
    """
    from agentmem.transfer import export_records

    with call.memory() as memory:
        counts = export_records(memory.backend, path, namespace=call.namespace)
    if call.as_json:
        print_json({"path": path, **counts})
    else:
        say(f"written to {path}: {_counts(counts)}")


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@common
def import_(call: Call, path: Path) -> None:
    """Read what `export` wrote.

    It goes into the namespace. The file is checked first; what is there already stays as it is.
    """
    from agentmem.transfer import import_records

    with call.memory(create=True) as memory:
        counts = import_records(memory.backend, path, namespace=call.namespace)
    if call.as_json:
        print_json({"path": path, **counts})
    else:
        say(f"read from {path}: {_counts(counts)}")


def _counts(counts: dict[str, int]) -> str:
    told = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count]
    return ", ".join(told) or "nothing new"


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@common
def backup(call: Call, path: Path) -> None:
    """Write a verified copy of the store to PATH.

    Others may go on using the store meanwhile.
    """
    if path.exists():
        raise InputError(f"{path} is there already: give another path, or remove it")
    with call.memory() as memory:
        memory.backup(path)
    if call.as_json:
        print_json({"path": path, "bytes": path.stat().st_size})
    else:
        say(f"backed up to {path}, {human_bytes(path.stat().st_size)}, verified")


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@yes_option
@json_option
@common
def restore(call: Call, path: Path, yes: bool) -> None:
    """Put a backup in the place of the store.

    The former store is kept beside it.
    """
    target = _store_file(call.settings.store)
    if target.exists() and not consent(call, f"Replace {target}?", yes=yes):
        say("nothing was changed", err=True)
        raise click.exceptions.Exit(1)
    former = _restore(call, path, target)
    if call.as_json:
        print_json({"path": path, "store": target, "former": former})
    else:
        kept = f"; the former store is kept as {former}" if former else ""
        say(f"restored {target} from {path}{kept}")


def _store_file(url: str) -> Path:
    from agentmem.plugins import scheme_of

    if scheme_of(url) != "sqlite":
        raise InputError(f"{without_password(url)} is no file to restore: use its own server's means")
    return Path(url.removeprefix("sqlite:///"))


def _restore(call: Call, backup: Path, target: Path) -> Path | None:
    """Restore, and note the copies that a later forget cannot reach: the backup, and the former store."""
    from agentmem import transfer

    former = transfer.restore(backup, target)
    with call.memory() as memory:
        for copy, kind in ((backup, "backup"), (former, "store before a restore")):
            if copy is not None:
                transfer.remember_copy(memory.backend, copy, kind)
    return former


@click.command()
@json_option
@common
def reindex(call: Call) -> None:
    """Embed everything anew.

    After a change of the embedder, or to finish what waits. Stopped half-way, it goes on next time.
    """
    with call.memory(embed=True) as memory:
        with progress("embedding") as report:
            memory.reindex(progress=report)
        found, waiting = memory.stats(namespace=call.namespace), unembedded(memory)
        parked = unembedded(memory, "parked")
    if call.as_json:
        print_json({"embedder": found.embedder, "waiting": waiting, "parked": parked})
    else:
        left = f"; {parked} could not be, see `agentmem doctor`" if parked else ""
        say(f"embedded with {found.embedder}{left}")


COMMANDS = (stats, doctor, export_, import_, backup, restore, reindex)
