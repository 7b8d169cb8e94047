"""How a record lies in columns, and how conditions on its fields become SQL: derived from the dataclasses, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from agentmem.backends.records import CONTENT, FIELDS, KINDS, require_field
from agentmem.interfaces import Where
from agentmem.types import Kind, Namespace, Record

T = TypeVar("T")
TABLES: dict[Kind, str] = {kind: f"{kind}s" for kind in KINDS}
COLUMNS: dict[Kind, tuple[str, ...]] = {
    kind: tuple(name for name in FIELDS[kind] if name not in CONTENT[kind] and name != "namespace") for kind in KINDS
}
_VALUES: dict[Kind, Callable[[Record], tuple[Any, ...]]] = {kind: attrgetter(*COLUMNS[kind]) for kind in KINDS}
DIGEST: dict[Kind, str] = {"turn": "identity", "thought": "text_digest"}
"""The column that holds a keyed digest of content, where a kind has one."""

_TIMES = frozenset(
    {
        "occurred_at",
        "recorded_at",
        "valid_from",
        "valid_to",
        "retracted_at",
        "run_after",
        "lease_until",
        "undone_at",
        "served_at",
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 30_000  # SQLite takes 32,766 values in one statement


def to_column(value: Any) -> Any:
    """A field's value as SQLite takes it; text that is no UTF-8 (lone surrogates) becomes a BLOB."""
    if isinstance(value, str):
        return value if value.isascii() else _text(value)
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    return value


def _text(value: str) -> str | bytes:
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
    return value


def to_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def from_text(value: Any) -> Any:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else value


def to_row(kind: Kind, record: Record) -> list[Any]:
    return [*map(to_column, _VALUES[kind](record))]


def to_records(kind: Kind, rows: Sequence[Sequence[Any]], namespaces: Iterable[Namespace]) -> list[Any]:
    """Records from rows of (the kind's columns, body)."""
    names, cls = ("namespace", *COLUMNS[kind]), KINDS[kind]
    # One call of the JSON parser for all: three times as fast as one for each.
    found: list[dict[str, Any]] = json.loads(b"[%s]" % b",".join([row[-1] or b"{}" for row in rows]))
    columns = [_decoded(name, [row[i] for row in rows]) for i, name in enumerate(COLUMNS[kind])]
    for values, fields in zip(found, zip(namespaces, *columns, strict=False), strict=True):
        values.update(zip(names, fields, strict=True))
        if "parts" in values:
            values["parts"] = tuple(values["parts"])
    return [cls(**values) for values in found]


def _decoded(name: str, values: list[Any]) -> list[Any]:
    if name in _TIMES:
        return [None if value is None else to_time(value) for value in values]
    if name == "trusted":
        return [bool(value) for value in values]
    return [from_text(value) for value in values] if bytes in set(map(type, values)) else values


def in_groups(values: Iterable[T]) -> Iterator[list[T]]:
    """The values without repetition, in lists that fit into one statement."""
    unique = list(dict.fromkeys(values))
    return (unique[i : i + _MOST] for i in range(0, len(unique), _MOST))


def among(column: str, values: Sequence[Any]) -> str:
    return f"{column} IN ({','.join('?' * len(values))})"


def conditions(
    kind: Kind, where: Where, identify: Callable[[str | None, str], str]
) -> tuple[list[str], list[Any], dict[str, Any]]:
    """SQL terms, their values, and the conditions that are left because they are on content.

    `identify` makes the digest by which a turn's (source, external_id) is found.
    """
    terms: list[str] = []
    values: list[Any] = []
    rest: dict[str, Any] = {}
    for name, condition in _with_identity(kind, where, identify).items():
        if name in COLUMNS[kind] or name == DIGEST.get(kind):
            term, bound = _term(f"t.{name}", condition)
            terms.append(term)
            values.extend(bound)
        else:
            require_field(kind, name)
            rest[name] = condition
    return terms, values, rest


def _with_identity(kind: Kind, where: Where, identify: Callable[[str | None, str], str]) -> dict[str, Any]:
    left = dict(where)
    if kind != "turn" or not {"source", "external_id"} <= where.keys():
        return left
    wanted = where["external_id"]
    wanted = [*wanted] if isinstance(wanted, tuple | list | set | frozenset) else [wanted]
    if isinstance(where["source"], str | None) and all(isinstance(external, str) for external in wanted):
        source, _ = left.pop("source"), left.pop("external_id")
        left["identity"] = [identify(source, external) for external in wanted]
    return left


def _term(column: str, condition: Any) -> tuple[str, list[Any]]:
    if isinstance(condition, range | slice):
        bounds = [(">=", condition.start), ("<", condition.stop)]
        ends = [(f"{column} {sign} ?", to_column(bound)) for sign, bound in bounds if bound is not None]
        return " AND ".join([f"{column} IS NOT NULL", *(term for term, _ in ends)]), [bound for _, bound in ends]
    if not isinstance(condition, tuple | list | set | frozenset):
        return f"{column} IS ?", [to_column(condition)]
    plain = [to_column(value) for value in condition if value is not None]
    if len(plain) > _MOST:
        # json_each takes any number in one parameter; text that is no UTF-8 is in no list this long.
        return f"{column} IN (SELECT value FROM json_each(?))", [json.dumps([v for v in plain if type(v) is not bytes])]
    null = f" OR {column} IS NULL" if None in condition else ""
    return f"({among(column, plain)}{null})", plain
