"""SQLite files of other programs, read as JSON values that know where they stand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from agentmem.errors import FormatError
from agentmem.ingest.reading import Node

_MAGIC = b"SQLite format 3\0"


def is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def tables(path: Path) -> set[str]:
    """The names of the file's tables."""
    return {row.need("name").string() for row in rows(path, "sqlite_master", "SELECT name FROM sqlite_master")}


def rows(path: Path, table: str, sql: str) -> Iterator[Node]:
    """What a query finds, row by row, as objects. The file is only read. Raises FormatError."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            for number, row in enumerate(db.execute(sql), 1):
                yield Node(dict(row), str(path), f"row {number} of {table}")
    except sqlite3.Error as error:
        raise FormatError(
            f"{path}: its table {table} cannot be read ({error}): expected mem0's or LangGraph's"
        ) from error
