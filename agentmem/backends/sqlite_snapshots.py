"""Snapshots in a SQLite store: what the library derived from records, erased with them byte for byte.

A snapshot lies in parts of one size in `snapshot_data`, a table that like `bodies` only grows at its end: parts are
zeroed where they lie, and a part that is free is overwritten by the next snapshot, so that forgetting and making anew
does not let the file grow. `sql_snapshots` says which records one covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agentmem.backends.sqlite_connection import ZERO, Connection
from agentmem.interfaces import Basis, Snapshot

PART_BYTES = 65_536


def read(db: Connection, ns: int, basis: Basis) -> Iterator[Snapshot]:
    """The snapshots of a namespace, oldest first, one at a time in RAM."""
    held = db.rows("SELECT id, size FROM snapshots WHERE ns = ? AND basis = ? ORDER BY id", [ns, basis])
    return (Snapshot(number, _joined(db, number)[:size]) for number, size in held)


def _joined(db: Connection, number: int) -> bytes:
    parts = "SELECT data FROM snapshot_parts JOIN snapshot_data ON id = part WHERE snapshot = ? ORDER BY place"
    return b"".join(data for (data,) in db.rows(parts, [number]))


def store(db: Connection, ns: int, basis: Basis, data: bytes) -> int:
    """Keep a snapshot; return its number."""
    number = db.run("INSERT INTO snapshots (ns, basis, size) VALUES (?, ?, ?)", [ns, basis, len(data)]).lastrowid or 0
    places = [(number, place, part) for place, part in enumerate(_write(db, data))]
    db.many("INSERT INTO snapshot_parts (snapshot, place, part) VALUES (?, ?, ?)", places)
    return number


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
