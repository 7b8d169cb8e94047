"""Writes what the documentation takes from the program: the command line's reference and the outputs on the pages.

`python docs/generate.py` writes; with `--check` it only says what it would change, and fails where that is anything.
"""

from __future__ import annotations

import difflib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from docs.blocks import PAGES, ROOT, refreshed

_HEAD = """\
# The command line

Written by `make docs` from the commands' own `--help`.
"""


def cli_reference() -> str:
    """`docs/reference/cli.md`: the help of every command, in 100 columns."""
    from agentmem.cli import cli

    sections = [f"## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(cli, "agentmem", None)]
    return "\n".join([_HEAD, *sections])


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name.rsplit(" ", 1)[-1], parent=parent)
    context.terminal_width = context.max_content_width = 100
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            found = command.get_command(context, sub)
            if found is not None:
                yield from _helps(found, f"{name} {sub}", context)


def generated() -> Iterator[tuple[Path, str]]:
    yield ROOT / "docs/reference/cli.md", cli_reference()
    for name in PAGES:
        path = ROOT / name
        with tempfile.TemporaryDirectory() as folder:
            yield path, refreshed(path.read_text("utf-8"), Path(folder))


def main() -> int:
    check, stale = "--check" in sys.argv[1:], 0
    for path, text in generated():
        current = path.read_text("utf-8") if path.exists() else ""
        name = str(path.relative_to(ROOT))
        if text == current:
            continue
        stale += 1
        if check:
            sys.stdout.writelines(difflib.unified_diff(current.splitlines(True), text.splitlines(True), name, "now"))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    if check and stale:
        print("the documentation is out of date: run `make docs`", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
