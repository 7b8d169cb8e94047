"""The comparison as a table, and in words where agentmem is not ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.peers.measure import Row


@dataclass(frozen=True, slots=True)
class Column:
    """A figure, how it is written, whether more of it is better, and why agentmem may come second."""

    key: str
    title: str
    show: Callable[[Any], str]
    more: bool
    why: str


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _one(value: float) -> str:
    return f"{value:.1f}"


def _two(value: float) -> str:
    return f"{value:.2f}"


_COMMITS = (
    "an add that can be found by its vector is two synced commits, the turn and then its vector: the turn is safe "
    "before anything is embedded; `agentmem, behind` is one, and its vector follows by itself"
)
_CAPTION = "left: share of deleted texts still readable in the files; kills: survived; disk: one sync, meanwhile"
COLUMNS = (
    Column("adds", "add/s", _whole, True, _COMMITS),
    Column(
        "batch",
        "batch/s",
        _whole,
        True,
        "each turn gets its place in a chunk, a line in the change log, a check for having been ingested before and a "
        "job for its vector, in Python, and its vector comes in a second transaction",
    ),
    Column(
        "p50",
        "p50 ms",
        _two,
        False,
        "recall fuses many signals (words, neighbours, chunks, sessions, speakers) and says why, where a vector store "
        "scans or walks a graph once; `agentmem, dense` does that too, and evidence@10 says what the rest buys",
    ),
    Column("p99", "p99 ms", _two, False, "as for p50"),
    Column(
        "exact",
        "cosine@10",
        _two,
        True,
        "recall does not rank by the cosine alone; its dense stage, `agentmem, dense`, is an exact scan",
    ),
    Column("evidence", "evidence@10", _two, True, ""),
    Column(
        "deletes",
        "delete/s",
        _whole,
        True,
        "a forget follows what was derived, overwrites the bytes and empties the log before it returns; the others "
        "unlink a row and leave its text readable",
    ),
    Column("readable", "left", _two, False, ""),
    Column(
        "first",
        "first s",
        _two,
        False,
        "imports (numpy and agentmem), and every turn read and stemmed, since words and vectors are held in RAM",
    ),
    Column(
        "megabytes",
        "MB",
        _one,
        False,
        "a vector is 1.5 kB of a turn's 3; the rest is its JSON, its keyed digests, three indexes, its lines in the "
        "change log, and pages that two vectors do not fill",
    ),
    Column("survived", "kills", str, True, ""),
)


def table(rows: Sequence[Row], title: str) -> Table:
    """A line for each figure, a column for each store: stores that could not run have empty ones, and a note."""
    made = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=_CAPTION)
    made.add_column("")
    for row in rows:
        made.add_column(row.name, justify="right")
    made.add_row("durable", *("" if row.error else _durable(row) for row in rows))
    for column in COLUMNS:
        made.add_row(column.title, *(_cell(column, row) for row in rows))
    made.add_row("disk ms", *("" if row.error else _two(row.figures["disk"]) for row in rows))
    return made


def _durable(row: Row) -> str:
    return {True: "yes", False: "no", None: "?"}[row.figures["durable"]]


def _cell(column: Column, row: Row) -> str:
    if row.error:
        return ""
    value = row.figures[column.key]
    if column.key == "survived":
        return f"{value}/{len(row.figures['lost'])}"
    return "" if value is None else column.show(value)


def notes(rows: Sequence[Row], own: Sequence[str]) -> Iterator[str]:
    """Versions, what is not durable and what was lost; and each column in which a peer is ahead, with the reason.

    `own` names agentmem's own rows, the first of which is compared. Peers whose adds are not durable don't count in
    the column of adds, but for being named.
    """
    for row in rows:
        if row.error:
            yield f"{row.name}: could not run: {row.error}"
    sound = [row for row in rows if not row.error]
    yield "versions: " + "; ".join(row.version for row in sound if row.name not in own[1:])
    for row in sound:
        yield from _faults(row)
    ours = next((row for row in sound if row.name == own[0]), None)
    peers = [row for row in sound if row.name not in own]
    for column in COLUMNS if ours is not None else ():
        assert ours is not None
        yield from _behind(column, ours, peers)


def _faults(row: Row) -> Iterator[str]:
    figures = row.figures
    if figures["durable"] is False:
        files = ", ".join(figures["unsynced"][:4]) or "nothing"
        yield f"{row.name}: an add is not durable; it returns having written {files} without a sync"
    if any(figures["lost"]):
        shown = ", ".join("unreadable" if lost < 0 else str(lost) for lost in figures["lost"] if lost)
        rounds_lost = f"{len(figures['lost']) - figures['survived']} of {len(figures['lost'])}"
        yield f"{row.name}: after SIGKILL, items lost in {rounds_lost}: {shown}"
    if figures["wrong"]:
        yield f"{row.name}: {figures['wrong']} items are there that should not be, or the other way round"


def _behind(column: Column, ours: Row, peers: Sequence[Row]) -> Iterator[str]:
    value = ours.figures[column.key]
    ahead = [row for row in peers if _is_better(row.figures[column.key], value, column.more)]
    if not ahead:
        return
    named = ", ".join(f"{row.name} {_mark(column, row)}{column.show(row.figures[column.key])}" for row in ahead)
    yield f"{column.title}: {column.show(value)}, behind {named}" + (f": {column.why}" if column.why else "")


def _mark(column: Column, row: Row) -> str:
    return "(not durable) " if column.key in ("adds", "batch") and row.figures["durable"] is False else ""


def _is_better(theirs: float | None, ours: float | None, more: bool) -> bool:
    if theirs is None or ours is None:
        return False
    return theirs > ours if more else theirs < ours
