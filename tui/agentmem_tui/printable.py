"""Making remembered text safe to show: whatever it holds, the terminal gets characters, never commands."""

from __future__ import annotations

import re
from datetime import datetime

_LINE_ENDS = re.compile(r"\r\n?|[\u2028\u2029]")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST = 20_000
_LOOKED_AT = 4
"""How many times a line's width is looked at to fill it: white space may fold away."""
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_DATED_ITEM = re.compile(r"- \d{4}-\d\d-\d\d, ")
_PICTURES = 0x2400
_DELETE = 0x7F


def printable(text: str) -> str:
    """The text with control characters as their pictures (ESC becomes ␛), so that no escape sequence survives.

    Line ends become \\n; C1 controls, bidirectional overrides and lone surrogates become the replacement character.
    """
    return _UNSAFE.sub(_picture, _LINE_ENDS.sub("\n", text))


def readable(text: str) -> str:
    """The text as it is shown at length: a very long one is cut, for laying it out would hold up the interface."""
    if len(text) <= _LONGEST:
        return printable(text)
    return f"{printable(text[:_LONGEST])}…\n[{len(text) - _LONGEST:,} more characters are kept, and not shown]"


def one_line(text: str, width: int) -> str:
    """The text folded into one line of at most `width` characters."""
    folded = " ".join(printable(text[: _LOOKED_AT * width]).split())
    return folded if len(folded) <= width else folded[: max(0, width - 1)].rstrip() + "…"


def literal(text: str) -> str:
    """Markdown that shows the text word for word; lines of the stand-in's form "- 2026-05-01, …" stay a list."""
    return "  \n".join(_literal_line(line) for line in printable(text).split("\n"))


def _literal_line(line: str) -> str:
    mark = _DATED_ITEM.match(line)
    bullet = "- " if mark else ""
    return bullet + _PUNCTUATION.sub(r"\\\g<0>", line.removeprefix(bullet).lstrip())


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < ord(" "):
        return chr(_PICTURES + code)
    return "␡" if code == _DELETE else "\N{REPLACEMENT CHARACTER}"


def day(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d}"


def minute(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
