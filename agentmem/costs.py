"""What thinking cost and came to, counted in the store: calls, tokens, exchanges, what was stored and refused."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agentmem.interfaces import Reader, Writer

_KEY = "thinking"


def costs(reader: Reader) -> dict[str, int]:
    """The counts of the whole store, by name."""
    found: dict[str, int] = json.loads(reader.meta(_KEY) or "{}")
    return found


def add_costs(writer: Writer, more: Mapping[str, int]) -> None:
    counted = costs(writer)
    for name, count in more.items():
        counted[name] = counted.get(name, 0) + count
    writer.set_meta(_KEY, json.dumps(counted, sort_keys=True))
