"""What a look for faults brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Sound ("ok"), worth noting, or a fault; where something can be done about it, `remedy` says what."""

    name: str
    state: Literal["ok", "note", "fault"]
    detail: str
    remedy: str | None = None
