"""A connection to a SQLite file, and the one form in which content is erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from agentmem.backends.sqlite_files import translated

ZERO = "data = zeroblob(length(data))"
"""Overwrites a blob where it lies: `migrations` says why nothing else erases it."""


class Connection:
    """One thread's connection. Every statement goes through here, where SQLite's errors become agentmem's."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self.path = path
        try:
            self.raw = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise translated(error, path) from error
        try:
            for pragma in ("synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY"):
                self.run(f"PRAGMA {pragma}")
        except BaseException:
            self.raw.close()
            raise

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def by_number(self) -> str:
        return "NOT INDEXED"  # the indexes by namespace know no order of rows; the table does

    @property
    def lost(self) -> bool:
        return not self.raw.in_transaction

    def run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self.raw.execute(sql, values)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> int:
        try:
            return self.raw.executemany(sql, rows).rowcount
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self.raw.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def one(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first value of the first row, None where there is no row."""
        rows = self.rows(sql, values)
        return rows[0][0] if rows else None

    def roll_back(self) -> None:
        if self.raw.in_transaction:
            self.run("ROLLBACK")
