"""Which records a snapshot was made from, in a database that speaks SQL: ranges of their row numbers.

A number is given to another row only when its row was the last one, or never, and by then every snapshot that covered
it is gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from agentmem.backends.rows import TABLES, in_groups
from agentmem.interfaces import Basis
from agentmem.types import Kind

Range: TypeAlias = tuple[Kind, int, int]
_BOUNDS = "SELECT first, last FROM snapshot_ranges WHERE snapshot = ? AND kind = ?"


def among(column: str, values: Sequence[Any]) -> str:
    return f"{column} IN ({','.join('?' * len(values))})"


def ranges_of(db: Any, ns: int, covers: Mapping[Kind, Sequence[Any]]) -> list[Range]:
    """The rows of records, whose ids come as columns have them; none where one of them is not there."""
    ranges: list[Range] = []
    for kind, ids in covers.items():
        found = _ranges(db, ns, kind, ids)
        if found is None:
            return []
        ranges += found
    return ranges


def _ranges(db: Any, ns: int, kind: Kind, ids: Sequence[Any]) -> list[Range] | None:
    """As ranges that hold no other row of the namespace; None where a record is not there."""
    groups = list(in_groups(ids))
    found = f"SELECT n FROM {TABLES[kind]} WHERE ns = ? AND "
    rows = {n for group in groups for (n,) in db.rows(found + among("id", group), [ns, *group])}
    if len(rows) < sum(map(len, groups)):
        return None
    if not rows:
        return []
    between = f"SELECT n FROM {TABLES[kind]} {db.by_number} WHERE ns = ? AND n BETWEEN ? AND ? ORDER BY n"
    near = [n for (n,) in db.rows(between, [ns, min(rows), max(rows)])]
    runs = [list(run) for wanted, run in groupby(near, rows.__contains__) if wanted]
    return [(kind, run[0], run[-1]) for run in runs]


def meeting(db: Any, ns: int, basis: Basis, ranges: Iterable[Range]) -> set[int]:
    """The snapshots that cover one of these rows."""
    held = "SELECT id FROM snapshots JOIN snapshot_ranges ON snapshot = id WHERE ns = ? AND basis = ?"
    sql = f"{held} AND kind = ? AND first <= ? AND last >= ?"
    return {n for kind, first, last in ranges for (n,) in db.rows(sql, [ns, basis, kind, last, first])}


def covering(db: Any, ns: int, kind: Kind, rows: Iterable[int], basis: Basis | None = None) -> set[int]:
    """The snapshots that cover a row, with `basis` only those made from that."""
    held = numbers(db, ns, basis)
    of = [(number, *bounds) for number in held for bounds in db.rows(_BOUNDS, [number, kind])]
    ascending = sorted(rows) if of else []
    return {number for number, first, last in of if _any_within(ascending, first, last)}


def _any_within(ascending: Sequence[int], first: int, last: int) -> bool:
    at = bisect_left(ascending, first)
    return at < len(ascending) and ascending[at] <= last


def numbers(db: Any, ns: int, basis: Basis | None = None) -> list[int]:
    """The snapshots of a namespace."""
    found = db.rows("SELECT id FROM snapshots WHERE ns = ? AND ? IN (basis, '')", [ns, basis or ""])
    return [number for (number,) in found]
