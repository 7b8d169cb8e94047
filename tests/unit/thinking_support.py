"""A model that thinks as it is told, and a clock that goes when it is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmem.testing.fake_model import FakeChatModel

NS = ("ada",)
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
STATED = re.compile(r'^[\d-]+ \| "(.*)" \| (\d+)$', re.MULTILINE)
LINE = re.compile(r'^(\d+) \| (?:[^|\n"]*\| )*"(.*)"$', re.MULTILINE)


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class Mind:
    """What the model draws from a turn, by the turn's text, and what it decides of a statement, by its text.

    `draws` are statements, or mappings that give head, relation, tail, or another turn too. `decides` are pairs of an
    action and the texts of the existing statements it concerns, with the merged text where there is one.
    """

    draws: Mapping[str, Any] = field(default_factory=dict)
    decides: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    faults: list[Any] = field(default_factory=list)
    """What it says instead, one after another, before it begins to think."""
    summary: str = "Talk."
    calls: list[tuple[str, str]] = field(default_factory=list)

    def model(self, *script: Any) -> FakeChatModel:
        return FakeChatModel(list(script) or ["Noted."], repeat=True, thinking=self)

    def __call__(self, name: str, text: str) -> Any:
        self.calls.append((name, text))
        if self.faults:
            fault = self.faults.pop(0)
            return fault(name, text) if isinstance(fault, Callable) else fault  # type: ignore[arg-type]
        if name == "summary":
            return json.dumps({"summary": self.summary})
        return json.dumps(self._thoughts(text) if name == "thoughts" else self._decisions(text))

    def draws_only(self, said: str) -> str:
        """The first answer for a turn that is asked about alone."""
        return json.dumps(self._thoughts(f"1 | user | {json.dumps(said)}"))

    def _thoughts(self, text: str) -> dict[str, Any]:
        drawn = []
        for number, said in LINE.findall(text):
            for one in self.draws.get(json.loads(f'"{said}"'), ()):
                given = {"text": one} if isinstance(one, str) else one
                drawn.append({"turn": int(number), "text": "", "head": "", "relation": "", "tail": "", **given})
        return {"thoughts": drawn}

    def _decisions(self, text: str) -> dict[str, Any]:
        decided = []
        for existing, new in re.findall(r"<existing>\n(.*?)\n</existing>\n<new>\n(.*?)\n</new>", text, re.DOTALL):
            ((said, number),) = STATED.findall(new)
            numbers = {known: int(n) for known, n in STATED.findall(existing)}
            action, others, *merged = self.decides.get(said, ("new", ()))
            there = [numbers[other] for other in others if other in numbers]
            action = action if there else "new"
            decided.append({"new": int(number), "action": action, "existing": there, "text": "".join(merged)})
        return {"decisions": decided}
