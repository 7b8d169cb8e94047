"""What `recall --explain` adds: what the query was read as, and each item's signals with their bars."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from agentmem.commands.output import as_json, item_json, say
from agentmem.types import RecallItem, Signal

_BAR = 24
"""Columns of the longest bar: with names of up to 16 letters a line has at most 80."""
_INDENT = " " * 6


def show_reading(reading: Mapping[str, Sequence[str]]) -> None:
    """What the query was read as, a line for each sort of thing found in it."""
    width = max(map(len, reading), default=0)
    for sort, found in reading.items():
        if found:
            say(f"{sort:{width}}  {' · '.join(found)}", dim=True)


def show_signals(item: RecallItem, items: Sequence[RecallItem]) -> None:
    """A line for each signal of an item, the weightiest first; bars are on one scale for all the items."""
    largest = max((abs(signal.contribution) for other in items for signal in other.signals), default=0.0)
    width = max((len(signal.name) for signal in item.signals), default=0)
    for signal in sorted(item.signals, key=lambda s: -s.contribution):
        bar = _bar(signal.contribution / (largest or 1.0))
        figures = f"{signal.value:8.3f} x {signal.weight:6.2f} = {signal.contribution:7.3f}"
        say(f"{_INDENT}{signal.name:{width}} {figures}  {bar}".rstrip())
    say(_INDENT + " · ".join(f"{name} {value:.2f}" for name, value in item.measures.items()), dim=True)


def _bar(share: float) -> str:
    """A bar for what a signal adds, one of another pattern for what it takes away."""
    full, taken = ("█", "░") if _prints("█░") else ("#", "-")
    return (full if share > 0 else taken) * round(abs(share) * _BAR)


def _prints(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def explained_json(item: RecallItem) -> dict[str, Any]:
    """An item with its signals and measures."""
    signals = [_signal_json(signal) for signal in item.signals]
    return {**item_json(item), "signals": signals, "measures": as_json(item.measures)}


def _signal_json(signal: Signal) -> dict[str, Any]:
    return {**as_json(signal), "contribution": signal.contribution}
