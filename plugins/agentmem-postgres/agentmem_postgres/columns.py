"""How a record's values are given to PostgreSQL, and how conditions on its fields become its SQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agentmem.backends.rows import from_time, plain_values
from agentmem.types import Kind, Record
from agentmem_postgres.texts import encode


def to_column(value: Any) -> Any:
    """A field's value as PostgreSQL takes it."""
    if isinstance(value, str):
        return encode(value)
    return from_time(value) if isinstance(value, datetime) else value


def to_row(kind: Kind, record: Record) -> list[Any]:
    return [*map(to_column, plain_values[kind](record))]


def term(column: str, condition: Any) -> tuple[str, list[Any]]:
    """One condition on a column: its SQL, and the values in it."""
    if isinstance(condition, range | slice):
        bounds = [(">=", condition.start), ("<", condition.stop)]
        ends = [(f"{column} {sign} ?", to_column(bound)) for sign, bound in bounds if bound is not None]
        return " AND ".join([f"{column} IS NOT NULL", *(sql for sql, _ in ends)]), [bound for _, bound in ends]
    if isinstance(condition, tuple | list | set | frozenset):
        null = f" OR {column} IS NULL" if None in condition else ""
        return f"({column} = ANY(?){null})", [[to_column(value) for value in condition if value is not None]]
    return (f"{column} IS NULL", []) if condition is None else (f"{column} = ?", [to_column(condition)])
