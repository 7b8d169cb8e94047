"""Whose it is, in files that hold what several people's agents remember: one person's is read at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from agentmem.errors import FormatError

EVERYBODY = "*"
_SHOWN = 5
T = TypeVar("T")


def of_one(
    items: Iterable[T], owner: Callable[[T], str], only: Sequence[str], path: Path, *, separator: str | None = None
) -> Iterator[T]:
    """The items of the owners named in `only`, or below one by `separator`; of all where there is but one owner.

    Raises FormatError where there are several and none is named, and where a name is nobody's: what belongs to one
    person must not come into another's memory unnoticed.
    """
    held = list(items)
    owners = sorted({owner(item) for item in held})
    if not only and len(owners) > 1:
        raise FormatError(f"{path}: holds what belongs to {_named(owners)}: choose with --only NAME ({EVERYBODY}: all)")
    nobody = [name for name in only if not any(_is(of, name, separator) for of in owners)]
    if nobody:
        raise FormatError(f"{path}: holds nothing of {nobody[0]!r}, only of {_named(owners)}")
    return (item for item in held if not only or any(_is(owner(item), name, separator) for name in only))


def _is(owner: str, name: str, separator: str | None) -> bool:
    return name in (EVERYBODY, owner) or (separator is not None and owner.startswith(f"{name}{separator}"))


def _named(owners: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in owners[:_SHOWN])
    return shown + (f" and {len(owners) - _SHOWN} more" if len(owners) > _SHOWN else "")
