"""Markdown notes: each section is a turn of the user's, the file a session.

A section begins at a heading and holds what stands above the next; the headings above it are in the metadata
(`headings`). A file that is named for a day (2024-05-31.md), and a heading that begins with one, dates what follows.
The lines between two `---` at the top (front matter) are passed over. A section's external id comes from its headings
and its own text, so that a note that grew adds only what is new.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agentmem.ingest.reading import Node, text_of_file
from agentmem.ingest.times import Time, read_time
from agentmem.types import NewTurn

SUFFIXES = frozenset({".md", ".markdown"})
_HEADING = re.compile(r"(?P<level>#{1,6})\s+(?P<title>.*?)\s*#*\s*")
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass
class _Section:
    headings: tuple[str, ...]
    day: Time | None
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The section with its own heading."""
        own = [f"{self.headings[-1]}:"] if self.headings else []
        body = "\n".join(self.lines).strip()
        return "\n".join([*own, body]) if body else ""


def turns(path: Path) -> Iterator[NewTurn]:
    seen: dict[str, int] = {}
    for section in _sections(path):
        if not section.text:
            continue
        mark = hashlib.sha256(repr((section.headings, section.text)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        seen[mark] = seen.get(mark, 0) + 1
        yield NewTurn(
            role="user",
            parts=({"type": "text", "text": section.text},),
            session=path.stem,
            occurred_at=section.day.at if section.day else None,
            zone=section.day.zone if section.day else "UTC",
            precision=section.day.precision if section.day else "second",
            source=f"markdown:{path.name}",
            external_id=f"{mark}:{seen[mark]}",
            metadata={"headings": list(section.headings)} if section.headings else {},
        )


def _sections(path: Path) -> Iterator[_Section]:
    of_file = _day(path.stem, path)
    section, fenced = _Section((), of_file), False
    for line in _without_front_matter(text_of_file(path).splitlines()):
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading is None:
            section.lines.append(line)
            continue
        yield section
        above = section.headings[: len(heading["level"]) - 1]
        named = (*above, heading["title"])
        days = [day for title in reversed(named) if (day := _day(title, path))]
        section = _Section(named, days[0] if days else of_file)
    yield section


def _without_front_matter(lines: list[str]) -> list[str]:
    if lines[:1] == ["---"] and "---" in lines[1:]:
        return lines[lines.index("---", 1) + 1 :]
    return lines


def _day(name: str, path: Path) -> Time | None:
    found = _DAY.match(name)
    return read_time(Node(found[0], str(path), name)) if found else None
