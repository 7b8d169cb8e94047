"""How results are shown: JSON for programs, tables for people, lines with tabs for pipes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentmem.display import clean, one_line

if TYPE_CHECKING:
    from agentmem.types import RecallItem

ITEM_FIELDS = ("id", "kind", "text", "score", "time", "source", "why")


def print_json(value: Any) -> None:
    """One line of JSON. Where stdout is not UTF-8, in ASCII, so that nothing is lost."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(json.dumps(as_json(value), ensure_ascii=not unicode))


def as_json(value: Any) -> Any:
    """Records and their values as JSON types; times in ISO form with their zone."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def item_json(item: RecallItem) -> dict[str, Any]:
    return {name: as_json(getattr(item, name)) for name in ITEM_FIELDS}


def say(text: str, *, dim: bool = False, bold: bool = False, err: bool = False) -> None:
    """Text of ours or remembered text, for people."""
    click.echo(click.style(clean(text), dim=dim or None, bold=bold or None), err=err, color=colour())


def colour() -> bool | None:
    """False where the user wants none (no-color.org); None leaves it to whether the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table at a terminal; otherwise lines of tab-separated cells without a heading. The last column may wrap."""
    cells = [[one_line(str(cell)) if "\n" not in str(cell) else clean(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            click.echo("\t".join(one_line(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns[:-1]:
        shown.add_column(column, no_wrap=True)
    shown.add_column(columns[-1], overflow="fold", min_width=24)
    for row in cells:
        shown.add_row(*(Text(cell) for cell in row))
    Console().print(shown)
