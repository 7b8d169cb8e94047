"""What backends share about records: which fields are content, their JSON form, and what `where` means."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Literal, TypeAlias

from agentmem.errors import InputError
from agentmem.interfaces import Where
from agentmem.types import Adapter, Chunk, Job, Kind, Namespace, Operation, Record, Suppression, Thought, Turn

KINDS: dict[Kind, type[Any]] = {
    "turn": Turn,
    "chunk": Chunk,
    "thought": Thought,
    "job": Job,
    "operation": Operation,
    "suppression": Suppression,
    "adapter": Adapter,
}
KIND_OF: dict[type[Any], Kind] = {cls: kind for kind, cls in KINDS.items()}
FIELDS: dict[Kind, tuple[str, ...]] = {kind: tuple(f.name for f in fields(cls)) for kind, cls in KINDS.items()}
CONTENT: dict[Kind, tuple[str, ...]] = {
    "turn": ("speaker", "parts", "zone", "source", "external_id", "metadata"),
    "chunk": ("summary",),
    "thought": ("text", "head", "relation", "tail", "metadata"),
    "job": ("reason",),
    "operation": ("before",),
    "suppression": (),
    "adapter": ("metadata",),
}
"""Fields that can hold what somebody said, or point to it: erased byte by byte when their record is removed."""

Form: TypeAlias = Literal["text", "number", "truth", "time"]
_FORMS: dict[str, Form] = {"int": "number", "bool": "truth", "datetime": "time"}
FORMS: dict[Kind, dict[str, Form]] = {
    kind: {f.name: _FORMS.get(str(f.type).removesuffix(" | None"), "text") for f in fields(cls)}
    for kind, cls in KINDS.items()
}
"""What the values of a field are, as `Reader.columns` tells them apart."""
NULLABLE: dict[Kind, frozenset[str]] = {
    kind: frozenset(f.name for f in fields(cls) if "None" in str(f.type)) for kind, cls in KINDS.items()
}

UNCHANGING: frozenset[Kind] = frozenset({"turn", "thought"})
"""Kinds whose content never changes once added."""

LOGGED: frozenset[Kind] = frozenset({"turn", "chunk", "thought"})
"""Kinds whose writes enter the change log, and which may have a vector."""


def dump_content(kind: Kind, record: Record) -> bytes | None:
    """A record's content as JSON without the fields that are unset, None where none is set.

    Any text comes back as it was, lone surrogates and NUL too. Raises InputError for what JSON cannot hold.
    """
    values = {name: value for name in CONTENT[kind] if (value := getattr(record, name)) is not None and value != {}}
    if kind == "operation":
        values = {"before": record.before}  # type: ignore[union-attr]
    if not values:
        return None
    try:
        return _JSON.encode(values).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{kind} {record.id}: content must be plain JSON ({error}); use text and numbers") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# Nothing is escaped, because two halves of a surrogate pair would be read back as one character. Made once: to make an
# encoder takes as long as to use it.
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain)


def load_content(data: bytes | None) -> dict[str, Any]:
    """The fields that `dump_content` wrote."""
    content: dict[str, Any] = json.loads(data) if data else {}
    if "parts" in content:
        content["parts"] = tuple(content["parts"])
    return content


def require_field(kind: Kind, name: str) -> None:
    """Raises InputError for a condition or an order on a field that the kind does not have."""
    if name not in FIELDS[kind] and not (kind == "thought" and name == "text_digest"):
        raise InputError(f"a {kind} has no field {name!r}; it has {', '.join(FIELDS[kind])}")


def require_plain(kind: Kind, names: Iterable[str]) -> None:
    """Raises InputError for a field that the kind does not have, or that is content."""
    for name in names:
        if name not in FIELDS[kind] or name in CONTENT[kind] or name == "namespace":
            plain = ", ".join(n for n in FIELDS[kind] if n not in CONTENT[kind] and n != "namespace")
            raise InputError(f"a {kind} has no field {name!r} outside its content; it has {plain}")


def require_scope(scope: Namespace | None, namespace: Namespace | None) -> None:
    """Raises InputError where the writer of one namespace (`scope`) names another, or what is the whole store's."""
    if scope is not None and namespace != scope:
        named = "what is the whole store's" if namespace is None else f"namespace {namespace!r}"
        raise InputError(f"this transaction is of namespace {scope!r} and cannot touch {named}; begin another for that")


def columns_of(kind: Kind, names: Sequence[str], records: Iterable[Record]) -> dict[str, Any]:
    """What `Reader.columns` returns, of records."""
    rows = [[_plain_value(getattr(record, name)) for name in names] for record in records]
    return {name: in_form(FORMS[kind][name], [row[i] for row in rows]) for i, name in enumerate(names)}


def _plain_value(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def in_form(form: Form, values: Any) -> Any:
    """Values as a column: text as a list, all else as an array, in which -1 or NaN stands for what is unset."""
    if form == "text":
        return values
    import numpy as np

    unset, dtype = (np.nan, np.float64) if form == "time" else (-1, np.int64)
    if type(values) is list:
        values = np.array([unset if value is None else value for value in values], dtype)
    return values.astype(np.bool_) if form == "truth" else values


def matches(record: Record, where: Where) -> bool:
    """Whether a record meets every condition."""
    return all(meets(getattr(record, name), condition) for name, condition in where.items())


def meets(value: Any, condition: Any) -> bool:
    """Whether a field's value meets one condition, as interfaces.Where defines it."""
    if isinstance(condition, range):
        return value is not None and condition.start <= value < condition.stop
    if isinstance(condition, slice):
        above = value is not None and (condition.start is None or condition.start <= value)
        return above and (condition.stop is None or value < condition.stop)
    if isinstance(condition, tuple | list | set | frozenset):
        return value in condition
    return bool(value == condition)


def sort_key(value: Any) -> tuple[bool, Any]:
    """Orders None before everything, as SQL does."""
    return (value is not None, value)
