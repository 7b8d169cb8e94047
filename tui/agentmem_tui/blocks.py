"""An answer's Markdown, cut into blocks that are laid out once: prose up to a blank line, and fences of code.

While an answer streams in only its last block changes. A fence counts as code from its first line on and is shown as
it stands until it closes: highlighting it again with each piece would take longer than the model does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(r"(?P<indent> {0,3})(?P<mark>`{3,}|~{3,})(?P<info>[^`\n]*)$")
_GOES_ON = re.compile(r"\s|[-*+>|]|\d+[.)]")
"""How a line begins that may belong to what stands before a blank line: an item, a quote, a row, an indented line."""
_LONG = 800
"""Characters from which prose is cut at the next blank line."""


@dataclass(frozen=True, slots=True)
class Block:
    """Prose (Markdown without fences), or the code of one fence; `closed` where no more can come to it."""

    text: str
    code: bool = False
    language: str = ""
    closed: bool = True


def cut(text: str) -> list[Block]:
    """The blocks of a Markdown text, the last one open if more may come to it."""
    return [block for block in _blocks(text) if block.code or block.text.strip()]


def _blocks(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    prose: list[str] = []
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            if _may_cut(prose, lines[at]):
                yield Block("\n".join(prose))
                prose = []
            prose.append(lines[at])
            at += 1
            continue
        yield Block("\n".join(prose))
        prose = []
        end = _end(lines, at, fence["mark"])
        closed = end < len(lines)
        yield Block("\n".join(lines[at + 1 : end]), True, fence["info"].strip(), closed)
        at = end + 1
    yield Block("\n".join(prose), closed=False)


def _end(lines: list[str], opened: int, mark: str) -> int:
    """The line that closes a fence, or the number of lines where none does yet."""
    closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}\s*$")
    return next((n for n in range(opened + 1, len(lines)) if closing.match(lines[n])), len(lines))


def _may_cut(prose: list[str], line: str) -> bool:
    """Whether a new block can begin with this line: after a blank one, not in a list, a quote or a table."""
    if not prose or prose[-1].strip() or not line or _GOES_ON.match(line):
        return False
    return sum(map(len, prose)) > _LONG
