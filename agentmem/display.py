"""Remembered things in short, for people: text that cannot steer a terminal, ids by their ends, times by the minute."""

from __future__ import annotations

import re
import sys
from datetime import datetime

_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def clean(text: str) -> str:
    """Text that cannot steer the terminal: remembered text may hold escape sequences."""
    return text.translate(_CONTROLS)


def one_line(text: str, width: int | None = None) -> str:
    line = " ".join(clean(text).split())
    return line if width is None or len(line) <= width else line[: max(width - 1, 0)] + "…"


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"([?&]password=)[^&]*", r"\1***", re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", url))


def short_id(id: str) -> str:
    """The end of an id, which tells ids apart better than its beginning, a time; whole where a program reads."""
    return id[-8:] if sys.stdout.isatty() else id


def day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


def minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
