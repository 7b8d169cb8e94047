"""How a record's values are given to SQLite, and how conditions on its fields become its SQL."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from agentmem.backends.rows import MOST, from_time, plain_values
from agentmem.backends.sql_snapshots import among
from agentmem.types import Kind, Record


def to_column(value: Any) -> Any:
    """A field's value as SQLite takes it; text that is no UTF-8 (lone surrogates) becomes a BLOB."""
    if isinstance(value, str):
        return value if value.isascii() else _text(value)
    return from_time(value) if isinstance(value, datetime) else value


def _text(value: str) -> str | bytes:
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def from_text(value: Any) -> Any:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def from_texts(values: list[Any]) -> list[Any]:
    return [from_text(value) for value in values] if bytes in set(map(type, values)) else values


def to_row(kind: Kind, record: Record) -> list[Any]:
    return [*map(to_column, plain_values[kind](record))]


def term(column: str, condition: Any) -> tuple[str, list[Any]]:
    """One condition on a column: its SQL, and the values in it."""
    if isinstance(condition, range | slice):
        bounds = [(">=", condition.start), ("<", condition.stop)]
        ends = [(f"{column} {sign} ?", to_column(bound)) for sign, bound in bounds if bound is not None]
        return " AND ".join([f"{column} IS NOT NULL", *(term for term, _ in ends)]), [bound for _, bound in ends]
    if condition is None:
        return f"{column} IS NULL", []
    if not isinstance(condition, tuple | list | set | frozenset):
        return f"{column} IS ?", [to_column(condition)]
    plain = [to_column(value) for value in condition if value is not None]
    if len(plain) > MOST:
        # json_each takes any number in one parameter; text that is no UTF-8 is in no list this long.
        return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps([v for v in plain if type(v) is not bytes])]
    null = f" OR {column} IS NULL" if None in condition else ""
    return f"({among(column, plain)}{null})", plain
