"""Snapshots in a SQLite store: what the library derived from records, erased with them byte for byte.

A snapshot lies in parts of one size in `snapshot_data`, a table that like `bodies` only grows at its end: parts are
zeroed where they lie, and a part that is free is overwritten by the next snapshot, so that forgetting and making anew
does not let the file grow. Which records a snapshot was made from is kept as ranges of their row numbers: SQLite gives
a number again only when its row was the last one, and by then every snapshot that covered it is gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from agentmem.backends.rows import TABLES, in_groups
from agentmem.backends.sqlite_columns import among
from agentmem.backends.sqlite_connection import ZERO, Connection
from agentmem.interfaces import Basis, Snapshot
from agentmem.types import Kind

PART_BYTES = 65_536
Ranges = list[tuple[Kind, int, int]]


def read(db: Connection, ns: int, basis: Basis) -> Iterator[Snapshot]:
    """The snapshots of a namespace, oldest first, one at a time in RAM."""
    held = db.rows("SELECT id, size FROM snapshots WHERE ns = ? AND basis = ? ORDER BY id", [ns, basis])
    return (Snapshot(number, _joined(db, number)[:size]) for number, size in held)


def _joined(db: Connection, number: int) -> bytes:
    parts = "SELECT data FROM snapshot_parts JOIN snapshot_data ON id = part WHERE snapshot = ? ORDER BY place"
    return b"".join(data for (data,) in db.rows(parts, [number]))


def put(
    db: Connection, ns: int, basis: Basis, data: bytes, covers: Mapping[Kind, Sequence[Any]], instead: bool
) -> bool:
    """Keep a snapshot of records, whose ids come as columns; False where one of them is not there, or has one already
    and this is not to be kept `instead`."""
    ranges: Ranges = []
    for kind, ids in covers.items():
        found = _ranges(db, ns, kind, ids)
        if found is None:
            return False
        ranges += found
    others = {number for run in ranges for number in _meeting(db, ns, basis, run)}
    if not ranges or (others and not instead):
        return False
    erase(db, others)
    number = db.run("INSERT INTO snapshots (ns, basis, size) VALUES (?, ?, ?)", [ns, basis, len(data)]).lastrowid
    rows = [(number, kind, first, last) for kind, first, last in ranges]
    db.many("INSERT INTO snapshot_ranges (snapshot, kind, first, last) VALUES (?, ?, ?, ?)", rows)
    places = [(number, place, part) for place, part in enumerate(_write(db, data))]
    db.many("INSERT INTO snapshot_parts (snapshot, place, part) VALUES (?, ?, ?)", places)
    return True


def _ranges(db: Connection, ns: int, kind: Kind, ids: Sequence[Any]) -> Ranges | None:
    """The rows of records, as ranges that hold no other row of the namespace; None where a record is not there."""
    groups = list(in_groups(ids))
    found = f"SELECT n FROM {TABLES[kind]} WHERE ns = ? AND "
    rows = {n for group in groups for (n,) in db.rows(found + among("id", group), [ns, *group])}
    if len(rows) < sum(map(len, groups)):
        return None
    if not rows:
        return []
    # The plus sign keeps SQLite from its index of the namespace, which knows no order of rows.
    between = f"SELECT n FROM {TABLES[kind]} WHERE +ns = ? AND n BETWEEN ? AND ? ORDER BY n"
    near = [n for (n,) in db.rows(between, [ns, min(rows), max(rows)])]
    runs = [list(run) for wanted, run in groupby(near, rows.__contains__) if wanted]
    return [(kind, run[0], run[-1]) for run in runs]


def _meeting(db: Connection, ns: int, basis: Basis, run: tuple[Kind, int, int]) -> set[int]:
    """The snapshots that cover one of these rows."""
    held = "SELECT id FROM snapshots JOIN snapshot_ranges ON snapshot = id WHERE ns = ? AND basis = ?"
    kind, first, last = run
    found = db.rows(f"{held} AND kind = ? AND first <= ? AND last >= ?", [ns, basis, kind, last, first])
    return {number for (number,) in found}


def _write(db: Connection, data: bytes) -> Iterator[int]:
    """Put data into free parts, then into new ones; the last is filled up with zeros."""
    unused = "SELECT id FROM snapshot_data WHERE id NOT IN (SELECT part FROM snapshot_parts) ORDER BY id DESC"
    free = [part for (part,) in db.rows(unused)]
    for at in range(0, len(data), PART_BYTES):
        piece = data[at : at + PART_BYTES].ljust(PART_BYTES, b"\0")
        if free:
            db.run("UPDATE snapshot_data SET data = ? WHERE id = ?", [piece, free[-1]])
            yield free.pop()
        else:
            yield int(db.run("INSERT INTO snapshot_data (data) VALUES (?)", [piece]).lastrowid or 0)


def erase(db: Connection, numbers: Iterable[int]) -> None:
    """Overwrite snapshots where they lie. Numbers that are not there are passed over."""
    gone = [(number,) for number in numbers]
    db.many(f"UPDATE snapshot_data SET {ZERO} WHERE id IN (SELECT part FROM snapshot_parts WHERE snapshot = ?)", gone)
    for table, column in (("snapshot_parts", "snapshot"), ("snapshot_ranges", "snapshot"), ("snapshots", "id")):
        db.many(f"DELETE FROM {table} WHERE {column} = ?", gone)


def erase_of(db: Connection, ns: int, kind: Kind, rows: Iterable[int], basis: Basis | None = None) -> None:
    """Erase the snapshots that cover a row, with `basis` only those made from that."""
    held = numbers(db, ns, basis)
    if not held:
        return
    of = [(number, *bounds) for number in held for bounds in db.rows(_BOUNDS, [number, kind])]
    ascending = sorted(rows)
    erase(db, {number for number, first, last in of if _any_within(ascending, first, last)})


_BOUNDS = "SELECT first, last FROM snapshot_ranges WHERE snapshot = ? AND kind = ?"


def _any_within(ascending: Sequence[int], first: int, last: int) -> bool:
    at = bisect_left(ascending, first)
    return at < len(ascending) and ascending[at] <= last


def numbers(db: Connection, ns: int, basis: Basis | None = None) -> list[int]:
    """The snapshots of a namespace."""
    found = db.rows("SELECT id FROM snapshots WHERE ns = ? AND ? IN (basis, '')", [ns, basis or ""])
    return [number for (number,) in found]
