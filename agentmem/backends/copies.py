"""The copies of a store that were made, noted in it, so that the receipt of a later forget can name them."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from agentmem.interfaces import Reader, Writer

_KEY = "copies"


def note_copy(writer: Writer, path: Path, kind: str, now: datetime) -> None:
    """Note an export or backup, which a later forget cannot reach."""
    noted = _noted(writer)
    noted[str(path.absolute())] = f"{kind} of {now:%Y-%m-%d %H:%M}"
    writer.set_meta(_KEY, json.dumps(noted))


def copies(reader: Reader) -> list[str]:
    """The copies of this store that still exist, each with its kind and date."""
    return [f"{path} ({what})" for path, what in _noted(reader).items() if os.path.exists(path)]


def _noted(reader: Reader) -> dict[str, str]:
    noted: dict[str, str] = json.loads(reader.meta(_KEY) or "{}")
    return noted
