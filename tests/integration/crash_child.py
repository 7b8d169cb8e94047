"""Children of the crash tests. `work` adds and forgets until it is killed, and says on stdout what it is about to do
and, once the call has returned, that it is done. `at-every-step` does one operation on a copy of a store in one forked
child after another, each killed one write, sync or truncation later than the one before.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentmem.config import Settings
from agentmem.errors import ConflictError, NotFoundError
from agentmem.memory import Memory
from tests.integration.support import NS, HashEmbedder, said, say, word

MOST_STEPS = 400


class Worker:
    """One process's random work on a store: `weights` says how often to do what."""

    def __init__(self, memory: Memory, seed: int, weights: dict[str, int]) -> None:
        self.memory = memory
        self.random = random.Random(seed)
        self.number = seed * 1_000_000
        self.weights = weights

    def run(self) -> None:
        while True:
            self.step()

    def step(self) -> None:
        (name,) = self.random.choices(list(self.weights), list(self.weights.values()))
        getattr(self, name)()

    def text(self) -> str:
        self.number += 1
        return f"the word was {word(self.number)} then"

    def live(self) -> list[str]:
        return [t.id for t in self.memory.thoughts(namespace=NS)]

    def turn(self) -> None:
        text, session = self.text(), f"s{self.random.randrange(3)}"
        say(intend="add", texts=[text])
        say(done=[self.memory.observe("user", text, namespace=NS, session=session).id])

    def turns(self) -> None:
        texts = [self.text() for _ in range(self.random.randrange(2, 30))]
        say(intend="add", texts=texts)
        added = self.memory.observe_many([said(t, session="many") for t in texts], namespace=NS).added
        say(done=[turn.id for turn in added])

    def thought(self) -> None:
        text, turns = self.text(), self.memory.turns(namespace=NS, limit=20, descending=True)
        sources = [t.id for t in self.random.sample(turns, min(len(turns), self.random.randrange(3)))]
        say(intend="insert", text=text)
        say(done=[self.memory.insert(text, namespace=NS, sources=sources).thought.id])

    def merge(self) -> None:
        live = self.live()
        if len(live) < 4:
            return self.thought()
        parents, text = self.random.sample(live, self.random.randrange(2, 4)), self.text()
        say(intend="merge", parents=parents, text=text)
        merged, operation = self.memory.merge(parents, text, namespace=NS)
        say(done=[merged.id])
        if self.random.random() < 0.5:
            say(intend="unmerge", merged=merged.id, parents=parents)
            self.memory.undo(operation.id, namespace=NS)
            say(done=[])
        return None

    def retract(self) -> None:
        live = self.live()
        if not live:
            return self.thought()
        chosen = self.random.choice(live)
        say(intend="retract", id=chosen)
        self.memory.retract(chosen, namespace=NS)
        say(done=[])
        return None

    def forget(self) -> None:
        turns = [t.id for t in self.memory.turns(namespace=NS)]
        thoughts = [t.id for t in self.memory.thoughts(namespace=NS, state=None)]
        if len(turns) + len(thoughts) < 12:
            self.turns()
            return self.thought()
        named = self.random.sample(turns + thoughts, self.random.randrange(1, 4))
        plan = self.memory.plan_forget(named, namespace=NS)
        say(intend="forget", turns=plan.turns + plan.echoes, thoughts=plan.thoughts + plan.repeats, back=plan.restored)
        self.memory.forget(plan, namespace=NS)
        say(done=[])
        return None

    def flush(self) -> None:
        self.memory.flush()


MIXES = {
    "all": {"turn": 6, "turns": 2, "thought": 5, "merge": 2, "retract": 1, "forget": 2, "flush": 1},
    "forget": {"forget": 1},
    "merge": {"merge": 1},
    "flush": {"turns": 1, "flush": 2},
}


def work(store: str, mix: str, seed: str) -> None:
    embedder = HashEmbedder()
    with Memory(store, embedder=embedder, settings=Settings(store=store)) as memory:
        worker = Worker(memory, int(seed), MIXES[mix])
        if mix != "all":
            for _ in range(4):
                worker.turns()
                worker.thought()
        say(ready=True)
        worker.run()


def storm(store: str, seed: str, seconds: str) -> None:
    """Random work beside another process's, which may take away what is about to be named: that alone may fail."""
    with Memory(store, embedder=HashEmbedder(), settings=Settings(store=store)) as memory:
        worker = Worker(memory, int(seed), MIXES["all"])
        say(ready=True)
        end, done, overtaken = time.monotonic() + float(seconds), 0, 0
        while time.monotonic() < end:
            try:
                worker.step()
                done += 1
            except (NotFoundError, ConflictError):
                overtaken += 1
    say(finished=done, overtaken=overtaken)


def forget_turn(memory: Memory) -> None:
    turn = memory.turns(namespace=NS)[0]
    memory.forget([turn.id], namespace=NS)


def forget_parent(memory: Memory) -> None:
    parent = memory.thoughts(namespace=NS, state="merged")[0]
    memory.forget([parent.id], namespace=NS)


def merge(memory: Memory) -> None:
    memory.merge([t.id for t in memory.thoughts(namespace=NS)][:3], "what was merged", namespace=NS)


def unmerge(memory: Memory) -> None:
    memory.undo(namespace=NS)


def observe_many(memory: Memory) -> None:
    memory.observe_many([said(f"one of many {n}", session="new") for n in range(20)], namespace=NS)


def erase(memory: Memory) -> None:
    memory.erase(namespace=NS)


STEPS: dict[str, Callable[[Memory], None]] = {
    f.__name__: f for f in (forget_turn, forget_parent, merge, unmerge, observe_many, erase)
}


def at_every_step(store: str, name: str, stride: str) -> None:
    """For n = 1, 1 + stride, …: copy the store and do the operation on the copy, killed at its n-th step, until it
    survives. Says {"copy": path, "killed": bool} after each."""
    shim: Any = ctypes.CDLL(None)
    for number in range(1, MOST_STEPS, int(stride)):
        copy = Path(store).with_name(f"at-{number}") / "memory.db"
        copy.parent.mkdir()
        shutil.copy(store, copy)
        child = os.fork()
        if child == 0:
            with Memory(str(copy), embedder=None, settings=Settings(store=str(copy))) as memory:
                shim.shim_arm(number)
                STEPS[name](memory)
                shim.shim_arm(-1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        say(copy=str(copy), killed=killed, failed=not killed and status != 0)
        if not killed:
            return


if __name__ == "__main__":
    {"work": work, "storm": storm, "at-every-step": at_every_step}[sys.argv[1]](*sys.argv[2:])
