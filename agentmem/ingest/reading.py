"""From bytes to JSON values that know where they stand, so that every complaint names its place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from agentmem.errors import FormatError

_BOM = b"\xef\xbb\xbf"
_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value and its place: the file, and the path or line in it."""

    value: Any
    file: str
    where: str = ""

    def fail(self, expected: str) -> FormatError:
        """The error that here something else was expected; it shows short plain values only, never what was said."""
        at = f" at {self.where}" if self.where else ""
        return FormatError(f"{self.file}:{at} expected {expected}, got {self._got()}")

    def _got(self) -> str:
        if self.value is None:
            return "null"
        shown = json.dumps(self.value) if isinstance(self.value, (str, int, float)) else ""
        name = _NAMES.get(type(self.value), "something else")
        return shown if 0 < len(shown) <= 32 else name

    def object(self) -> Mapping[str, Any]:
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        return self.value

    def entries(self) -> Mapping[str, Any]:
        """The object's entries, none where it is no object: for recognising a format."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self) -> list[Node]:
        if not isinstance(self.value, list):
            raise self.fail("a list")
        return [Node(value, self.file, f"{self.where}[{i}]") for i, value in enumerate(self.value)]

    def string(self) -> str:
        if not isinstance(self.value, str):
            raise self.fail("a string")
        return self.value

    def name(self) -> str:
        """A non-empty string, or a whole number as one: an id."""
        if isinstance(self.value, bool) or not isinstance(self.value, (str, int)) or not str(self.value).strip():
            raise self.fail("an id (a string or a whole number)")
        return str(self.value)

    def get(self, key: str) -> Node | None:
        """The entry, None where it is missing or null."""
        value = self.object().get(key)
        return None if value is None else self._entry(key, value)

    def need(self, key: str) -> Node:
        found = self.get(key)
        if found is None:
            raise Node(self.value, self.file, self.where).fail(f'an object with "{key}"')
        return found

    def _entry(self, key: str, value: Any) -> Node:
        separator = ": " if self.where.startswith("line ") and ": " not in self.where else "."
        return Node(value, self.file, f"{self.where}{separator}{key}" if self.where else key)


def whole(path: Path) -> Node:
    """The JSON value that the file is."""
    data = _bytes(path)
    return Node(_parse(_text(data, path, 0, 1), str(path), 1), str(path))


def text_of_file(path: Path) -> str:
    return _text(_bytes(path), path, 0, 1)


def lines(path: Path) -> Iterator[Node]:
    """The JSON value on each line, blank lines passed over; at least one. Read as it goes: the file may be large."""
    offset, found = 0, False
    with _open(path) as file:
        for number, raw in enumerate(file, 1):
            data = raw.removeprefix(_BOM) if number == 1 else raw
            start, offset = offset + len(raw) - len(data), offset + len(raw)
            if data.strip():
                found = True
                text = _text(data.rstrip(), path, start, number)
                yield Node(_parse(text, str(path), number), str(path), f"line {number}")
    if not found:
        raise FormatError(f"{path}: the file is empty: expected a conversation")


def is_lines(path: Path) -> bool:
    """Whether the first line is JSON by itself and others follow: JSON Lines, not one JSON value."""
    with _open(path) as file:
        filled = (line for raw in file if (line := raw.removeprefix(_BOM).strip()))
        first, second = next(filled, b""), next(filled, None)
    if second is None or not first.startswith(b"{"):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        # A second line that stands for itself: the first one is what is wrong with these JSON Lines.
        return first.endswith(b"}") and second.startswith(b"{")
    return True


def _open(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        _unreadable(path, error)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes().removeprefix(_BOM)
    except OSError as error:
        _unreadable(path, error)
    if not data.strip():
        raise FormatError(f"{path}: the file is empty: expected a conversation")
    return data


def _unreadable(path: Path, error: OSError) -> NoReturn:
    raise FormatError(f"{path}: cannot be read: {error.strerror}") from error


def _text(data: bytes, path: Path, start: int, first_line: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line, at = first_line + data.count(b"\n", 0, error.start), start + error.start
        raise FormatError(f"{path}, line {line}: byte {at} is not UTF-8: save the file in that encoding") from error


def _parse(text: str, file: str, first_line: int) -> Any:
    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise FormatError(f"{file}: line {line}, column {error.colno}: expected JSON: {error.msg}") from error
    except ValueError as error:
        raise FormatError(f"{file}: from line {first_line}: expected JSON: {error}") from error
    except RecursionError as error:
        raise FormatError(f"{file}: from line {first_line}: expected JSON less deeply nested") from error
