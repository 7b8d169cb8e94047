"""How a record lies in the columns of a database that speaks SQL: derived from the dataclasses, once.

Content is one JSON blob (`records.dump_content`), times are microseconds since 1970; all else is as the record has it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeAlias, TypeVar

from agentmem.backends.records import CONTENT, FIELDS, FORMS, KINDS, require_field
from agentmem.interfaces import Where
from agentmem.types import Kind, Namespace, Record

TABLES: dict[Kind, str] = {kind: f"{kind}s" for kind in KINDS}
COLUMNS: dict[Kind, tuple[str, ...]] = {
    kind: tuple(name for name in FIELDS[kind] if name not in CONTENT[kind] and name != "namespace") for kind in KINDS
}
DIGEST: dict[Kind, str] = {"turn": "identity", "thought": "text_digest"}
"""The column that holds a keyed digest of content, where a kind has one."""
plain_values: dict[Kind, Callable[[Record], tuple[Any, ...]]] = {kind: attrgetter(*COLUMNS[kind]) for kind in KINDS}
"""The values of a record's columns, as the record has them."""
T = TypeVar("T")
DecodeTexts: TypeAlias = Callable[[list[Any]], list[Any]]
Term: TypeAlias = Callable[[str, Any], tuple[str, list[Any]]]

MOST = 30_000
"""Values in one statement: SQLite takes 32,766."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_time(value: datetime) -> int:
    return (value - _EPOCH) // _MICROSECOND


def to_time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def to_records(
    kind: Kind, rows: Sequence[Sequence[Any]], namespaces: Iterable[Namespace], decode: DecodeTexts
) -> list[Any]:
    """Records from rows of (the kind's columns, body); `decode` makes of texts as the database has them what they
    were."""
    names, cls = ("namespace", *COLUMNS[kind]), KINDS[kind]
    # One call of the JSON parser for all: three times as fast as one for each.
    found: list[dict[str, Any]] = json.loads(b"[%s]" % b",".join([row[-1] or b"{}" for row in rows]))
    columns = [_decoded(kind, name, [row[i] for row in rows], decode) for i, name in enumerate(COLUMNS[kind])]
    for values, fields in zip(found, zip(namespaces, *columns, strict=False), strict=True):
        values.update(zip(names, fields, strict=True))
        if "parts" in values:
            values["parts"] = tuple(values["parts"])
    return [cls(**values) for values in found]


def _decoded(kind: Kind, name: str, values: list[Any], decode: DecodeTexts) -> list[Any]:
    form = FORMS[kind][name]
    if form == "time":
        return [None if value is None else to_time(value) for value in values]
    if form == "truth":
        return [bool(value) for value in values]
    return decode(values) if form == "text" else values


def conditions(
    kind: Kind, where: Where, identify: Callable[[str | None, str], str], term: Term
) -> tuple[list[str], list[Any], dict[str, Any]]:
    """SQL terms, their values, and the conditions that are left because they are on content.

    `term` writes one condition on a column, `identify` makes the digest by which a turn's (source, external_id) is
    found.
    """
    terms: list[str] = []
    values: list[Any] = []
    rest: dict[str, Any] = {}
    for name, condition in _with_identity(kind, where, identify).items():
        if name in COLUMNS[kind] or name == DIGEST.get(kind):
            written, bound = term(f"t.{name}", condition)
            terms.append(written)
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


def in_groups(values: Iterable[T]) -> Iterator[list[T]]:
    """The values without repetition, in lists that fit into one statement."""
    unique = list(dict.fromkeys(values))
    return (unique[i : i + MOST] for i in range(0, len(unique), MOST))
