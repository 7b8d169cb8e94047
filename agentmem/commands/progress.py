"""Progress bars on stderr, where that is a terminal; stdout stays for results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from agentmem.display import clean

if TYPE_CHECKING:
    from rich.progress import TaskID

Report: TypeAlias = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    return


@contextmanager
def progress(title: str, *, hidden: bool = False) -> Iterator[Report]:
    """A function to call with how much is done, and of how much."""
    if hidden or not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


@contextmanager
def staged(*, hidden: bool = False) -> Iterator[Callable[[str, int, int, str], None]]:
    """A function to call with a stage, how much of it is done, of how much, and a word on it."""
    if hidden or not sys.stderr.isatty():
        yield lambda _stage, _done, _total, _note: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    words, note = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
    with Progress(
        words, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note, console=Console(stderr=True)
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int, said: str) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total, note=said)
            bar.update(tasks[stage], completed=done, total=total, note=said)

        yield report


@contextmanager
def waiting(title: str) -> Iterator[Callable[[float, str], None]]:
    """A spinner; a function to call with the seconds so far and what happened last."""
    if not sys.stderr.isatty():
        yield lambda _seconds, _last: None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(title)) as status:

        def report(seconds: float, last: str) -> None:
            line = Text(f"{title}, {seconds:.0f} s  ", no_wrap=True, overflow="ellipsis")
            status.update(line.append(clean(last), style="dim"))

        yield report
