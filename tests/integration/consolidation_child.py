"""Consolidates in a store (argument 1), and kills itself with SIGKILL when it comes to a stage (argument 2)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from agentmem.config import Settings
from agentmem.consolidation import cycle
from agentmem.memory import Memory
from tests.integration.test_consolidation import PLAN
from tests.unit.consolidation_support import NS, quick

BEFORE = {"publish": "_recorded", "record": "_kept", "switch": "_serve"}
"""Functions of the cycle at whose beginning the later stages stand."""


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def report(stage: str, done: int, _of: int, _note: str) -> None:
    if stage == sys.argv[2] and (stage != "train" or done > 1):
        die()


if __name__ == "__main__":
    settings = Settings(store=sys.argv[1])
    if sys.argv[2] in BEFORE:
        for name, instead in ((BEFORE[sys.argv[2]], die), ("_work", quick)):
            setattr(cycle, name, instead)
    with Memory(settings.store, embedder=None, settings=settings) as memory:
        cycle.consolidate(memory.backend, settings, PLAN, namespace=NS, report=report)
