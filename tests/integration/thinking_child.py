"""A child of test_thinking.py: thinks about a store, and is killed at the moment that it is told."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.thinking import thinker
from tests.integration.support import say
from tests.integration.test_thinking import CATS
from tests.unit.thinking_support import Mind


def die(moment: str) -> None:
    say(at=moment)
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(Mind):
    def __call__(self, name: str, text: str) -> Any:
        if name == moment:
            die(name)
        return super().__call__(name, text)


store, moment = sys.argv[1:]
if moment == "applied":  # in the middle of the transaction: everything is written, and nothing committed
    vars(thinker)["add_costs"] = lambda *_: die(moment)
with Memory(store, embedder=None, settings=Settings(store=store)) as memory:
    memory.thinker(Dying(CATS).model()).flush()
