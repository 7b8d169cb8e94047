"""What writing takes beside the disk, and what the bytes of a store hold.

    python -m benchmarks.writes [--turns 3000] [--place /dev/shm]

Milliseconds of the processor's time, not of the clock: those hold still while others compute. On a disk every add waits
for one sync, every add with its vector for two, every forget for five. Vectors are made beforehand. To compare two
commits, run it in a checkout of each, in turns.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agentmem.config import Settings
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.types import NewTurn
from benchmarks.bench import new_turns, random_vectors, texts

NAMESPACE = ("writes",)
SINGLE = 200
BATCH = 500


class Ready:
    """An embedder that takes no time."""

    identity = EmbedderIdentity("ready", 384, "ready")

    def __init__(self) -> None:
        self._vectors = random_vectors(BATCH)

    def encode(self, wanted: Sequence[str]) -> Matrix:
        return self._vectors[: len(wanted)]


def named(utterances: Iterable[str]) -> list[NewTurn]:
    return [replace(t, source="made up", external_id=f"{n}") for n, t in enumerate(new_turns(utterances))]


def milliseconds(work: Callable[..., object], *given: Any) -> float:
    started = time.process_time()
    work(*given)
    return 1000 * (time.process_time() - started)


def each(work: Callable[[Any], object], things: Iterable[Any]) -> float:
    return statistics.median(milliseconds(work, thing) for thing in things)


def opened(path: Path, embedder: Ready | None) -> Memory:
    return Memory(path, embedder=embedder, settings=Settings(store=str(path)))


def measure(folder: Path, count: int) -> Iterator[tuple[str, float]]:
    turns = named(texts(count + SINGLE))
    batches = [turns[at : at + BATCH] for at in range(0, count, BATCH)]
    with opened(folder / "without.db", None) as memory:
        memory.observe_many(turns[:count], namespace=NAMESPACE)
        yield "a turn alone", each(partial(observe, memory), turns[count:])
    with opened(folder / "with.db", Ready()) as memory:
        memory.flush()
        add = partial(memory.observe_many, namespace=NAMESPACE)
        took = [(milliseconds(add, batch), milliseconds(memory.flush)) for batch in batches]
        yield f"a turn of {BATCH}", sum(adding for adding, _ in took) / count
        yield f"its vector, of {BATCH}", sum(embedding for _, embedding in took) / count
        yield "a turn alone, with its vector", each(partial(observe, memory, flush=True), turns[count:])
        memory.recall("anything", namespace=NAMESPACE)
        ids = [[turn.id] for turn in memory.turns(namespace=NAMESPACE)][:: count // SINGLE]
        yield "a forget", each(partial(memory.forget, namespace=NAMESPACE), ids)


def observe(memory: Memory, turn: NewTurn, *, flush: bool = False) -> None:
    said = partial(memory.observe, source=turn.source, external_id=turn.external_id)
    said(turn.role, turn.parts, namespace=NAMESPACE, session=turn.session)
    if flush:
        memory.flush()


def tables(path: Path, count: int) -> list[tuple[str, float, float]]:
    """Bytes a turn of the largest tables and indexes, and what of it nothing fills; none where SQLite has no dbstat."""
    sizes = "SELECT name, sum(pgsize), sum(unused) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 8"
    try:
        rows = sqlite3.connect(path).execute(sizes).fetchall()
    except sqlite3.OperationalError:
        return []
    return [(name, size / count, unused / count) for name, size, unused in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=3000)
    parser.add_argument("--place", type=Path, help="folder for the store (default: the system's for temporary files)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.place) as folder:
        for name, took in measure(Path(folder), chosen.turns):
            print(f"{name:32}{took:8.3f} ms")
        for table, size, unused in tables(Path(folder) / "with.db", chosen.turns):
            print(f"{table:32}{size:8.0f} bytes a turn, {unused:.0f} of them unused")


if __name__ == "__main__":
    main()
