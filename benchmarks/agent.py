"""What an agent's turn costs besides the model and the embedding: `python benchmarks/agent.py`.

A turn is an `Agent.ask` with a store of 6,000 turns beneath it: the question made durable, recall by words and vectors,
the prompt, the answer as a stream, the answer made durable with its edges; not what is thought behind it. The model's
words are fixed and at once there, and so are the vectors; what that model takes by itself is measured in the same run
and taken off. Turns take turns with bare streams and with synced pages, so that a busy machine slows all three; the
ratios are what to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agentmem.agent import Agent
from agentmem.config import Settings
from agentmem.interfaces import EmbedderIdentity
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, SlowChatModel
from benchmarks.bench import NAMESPACE, filled, random_vectors, seconds, texts

if TYPE_CHECKING:
    from agentmem.interfaces import Matrix

ANSWERS = texts(500, seed=5)
QUESTION_WORDS = 8
LIMIT_MS = 10.0
"""What is promised: the median of a turn without model and embedding."""


class AtOnce:
    """An embedder that has every vector already."""

    identity = EmbedderIdentity("at once", 384, "0")

    def __init__(self) -> None:
        self._vectors = random_vectors(256)

    def encode(self, texts: Sequence[str]) -> Matrix:
        return self._vectors[[hash(text) % len(self._vectors) for text in texts]]


def questions(count: int, seed: int) -> list[str]:
    return [" ".join(text.split()[:QUESTION_WORDS]) for text in texts(count, seed)]


def turns(folder: Path, stored: int, count: int, tools: bool) -> dict[str, float]:
    """Milliseconds of single turns, one after another."""
    filled(folder / "agent.db", stored)
    model = FakeChatModel(ANSWERS, repeat=True)
    whole, worked, bare, syncs = [], [], [], []
    with (
        Memory(folder / "agent.db", embedder=AtOnce(), settings=Settings()) as memory,
        (folder / "page").open("wb", buffering=0) as page,
    ):
        agent = Agent(memory, model, namespace=NAMESPACE, memory_tools=tools, think=False)
        agent.wait = None
        agent.ask("warm up")

        def sync() -> None:
            page.write(b"\0" * 4096)
            os.fdatasync(page.fileno())

        for question in questions(count, seed=11):
            begun = time.thread_time()
            whole.append(seconds(lambda q=question: agent.ask(q)) * 1000)  # type: ignore[misc]
            worked.append((time.thread_time() - begun) * 1000)
            bare.append(seconds(lambda: list(model.stream(model.requests[-1]))) * 1000)
            syncs.append(seconds(sync) * 1000)
    framework = sorted(w - b for w, b in zip(whole, bare, strict=True))
    p50 = statistics.median(framework)
    return {
        "p50_ms": p50,
        "p99_ms": framework[int(0.99 * (count - 1))],
        "processor_p50_ms": statistics.median(worked) - statistics.median(bare),
        "whole_p50_ms": statistics.median(whole),
        "model_p50_ms": statistics.median(bare),
        "fdatasync_p50_ms": statistics.median(syncs),
        "against_fdatasync": p50 / statistics.median(syncs),
    }


def together(folder: Path, conversations: int, count: int) -> dict[str, float]:
    """Milliseconds of turns of many conversations at once, whose model pauses up to 5 ms before each word."""
    took: list[float] = []

    async def converse(memory: Memory, number: int) -> None:
        model = SlowChatModel(ANSWERS[number:], repeat=True, seed=number, longest=0.005)
        agent = Agent(memory, model, namespace=("bench", str(number)), think=False)
        for question in questions(count, seed=100 + number):
            started = time.perf_counter()
            await agent.aask(question)
            took.append((time.perf_counter() - started) * 1000)

    async def everyone(memory: Memory) -> None:
        await asyncio.gather(*(converse(memory, number) for number in range(conversations)))

    with Memory(folder / "together.db", embedder=AtOnce(), settings=Settings()) as memory:
        alone = seconds(lambda: asyncio.run(converse(memory, conversations)))
        took.clear()
        wall = seconds(lambda: asyncio.run(everyone(memory)))
    took.sort()
    return {
        "p50_ms": statistics.median(took),
        "p99_ms": took[int(0.99 * (len(took) - 1))],
        "turns_per_second": len(took) / wall,
        "against_one_after_another": conversations * alone / wall,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stored", type=int, default=6000, help="turns in the store  [default: 6000]")
    parser.add_argument("--turns", type=int, default=200, help="turns measured  [default: 200]")
    parser.add_argument("--conversations", type=int, default=64, help="conversations at once  [default: 64]")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as made:
        folder = Path(made)
        measured = {
            "turn": turns(folder, chosen.stored, chosen.turns, tools=False),
            "together": together(folder, chosen.conversations, 5),
        }
    if chosen.json:
        print(json.dumps(measured))
        return
    for name, figures in measured.items():
        print(name, *(f"{key} {value:.2f}" for key, value in figures.items()), sep="\n  ")
    held = measured["turn"]["p50_ms"] <= LIMIT_MS
    print(f"framework time per turn at most {LIMIT_MS:g} ms p50: {'held' if held else 'NOT HELD'}")


if __name__ == "__main__":
    main()
