"""Writes what the documentation takes from the program: the command line's reference and the outputs on the pages.

`make docs` runs it; tests/contracts/test_docs.py says when it is due.
"""

from __future__ import annotations

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
    given = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, parent, name.rsplit(" ", 1)[-1], **given)
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


def main() -> None:
    for path, text in generated():
        if not path.exists() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
