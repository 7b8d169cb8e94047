"""What agentmem promises in figures, measured on this machine: `make bench`, or `python benchmarks/bench.py --help`.

Figures are medians. What depends on the machine stands beside a measure of the machine from the same run: the disk's
own fdatasync, the bare embedder. Texts are made up from a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentmem.memory import Memory
from agentmem.types import NewTurn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMESPACE = ("bench",)
_SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zan", "der", "mel", "pin", "tor", "gal", "fen")


@dataclass(frozen=True)
class Figure:
    """One promise: what was measured against what it must be (`at_least` or at most `limit`)."""

    name: str
    value: float
    unit: str
    limit: float
    at_least: bool = False
    note: str = ""

    @property
    def held(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def texts(count: int, seed: int = 7) -> list[str]:
    """Utterances of 5 to 40 words, their words distributed as in speech (Zipf)."""
    chance = random.Random(seed)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(8000)]
    weights = [1 / (rank + 2) for rank in range(len(words))]
    return [" ".join(chance.choices(words, weights, k=chance.randint(5, 40))) for _ in range(count)]


def new_turns(utterances: Iterable[str]) -> Iterator[NewTurn]:
    for number, text in enumerate(utterances):
        role = "assistant" if number % 2 else "user"
        yield NewTurn(role=role, parts=({"type": "text", "text": text},), session=f"s{number // 30}")  # type: ignore[arg-type]


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def random_vectors(count: int) -> NDArray[np.float32]:
    import numpy as np

    vectors = np.random.default_rng(7).standard_normal((count, 384)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def filled(path: Path, count: int) -> list[str]:
    """A store of `count` turns with random vectors, none of it waiting to be embedded; returns the turns' ids."""
    with Memory(path, embedder=None) as memory:
        ids = [turn.id for turn in memory.observe_many(new_turns(texts(count)), namespace=NAMESPACE).added]
        vectors = random_vectors(count)
        for first in range(0, count, 5000):
            with memory.backend.write() as writer:
                part = slice(first, first + 5000)
                writer.set_vectors("turn", ids[part], vectors[part], namespace=NAMESPACE)
        with memory.backend.write() as writer:
            waiting = [job.id for job in writer.select("job", namespace=NAMESPACE)]
            writer.remove("job", waiting, namespace=NAMESPACE)
    return ids


def _command(*arguments: str) -> float:
    command = [sys.executable, "-m", "agentmem", *arguments]
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def measure_start(folder: Path) -> Iterator[Figure]:
    """Whole commands, from the shell's call to their end."""
    with Memory(folder / "start.db") as memory:
        memory.observe_many(new_turns(texts(64, seed=8)), namespace=NAMESPACE)
        memory.flush()  # so that the store names its embedder, as every store in use does
    filled(folder / "start.db", 5936)
    store = ("--store", str(folder / "start.db"), "--namespace", "bench")
    runs = {"help": ("--help",), "stats": ("stats", *store), "recall": ("recall", *store, "bake limo nura")}
    took = {name: [_command(*arguments) for _ in range(5)] for name, arguments in runs.items()}
    median = {name: statistics.median(times) for name, times in took.items()}
    yield Figure("agentmem --help", median["help"], "s", 0.3)
    yield Figure("agentmem stats, 6,000 turns", median["stats"], "s", 0.5)
    yield Figure("cold agentmem recall, 6,000 turns", median["recall"], "s", 1.2, note="embeds its query")


def measure_ingest(folder: Path, count: int = 600) -> Iterator[Figure]:
    """Ingest (ledger, queue, vectors) against the embedder alone on the same texts, taking turns."""
    from agentmem.embed import load_embedder

    embedder = load_embedder()
    embedder.encode(["warm"] * 1000)  # so many that it has loaded what it uses for many
    utterances, bare, ingest = texts(count), [], []

    def ingested(path: Path) -> None:
        with Memory(path, embedder=embedder) as memory:
            memory.observe_many(new_turns(utterances), namespace=NAMESPACE)
            memory.flush()

    for attempt in range(3):
        bare.append(seconds(lambda: embedder.encode(utterances)))
        ingest.append(seconds(lambda path=folder / f"ingest{attempt}.db": ingested(path)))  # type: ignore[misc]
    ratio = statistics.median(b / i for b, i in zip(bare, ingest, strict=True))
    note = f"{count / statistics.median(ingest):.0f} against {count / statistics.median(bare):.0f} turns a second"
    yield Figure("ingest against the bare embedder", ratio, "x", 0.9, at_least=True, note=note)


def measure_add(folder: Path, count: int = 300) -> Iterator[Figure]:
    """Single durable adds, each beside one appended and synced page on the same disk."""
    adds, syncs = [], []
    with Memory(folder / "add.db", embedder=None) as memory, (folder / "page").open("wb", buffering=0) as page:

        def sync() -> None:
            page.write(b"\0" * 4096)
            os.fdatasync(page.fileno())

        for text in texts(count):
            syncs.append(seconds(sync))
            adds.append(seconds(lambda text=text: memory.observe("user", text, namespace=NAMESPACE)))  # type: ignore[misc]
    add, disk = statistics.median(adds) * 1000, statistics.median(syncs) * 1000
    yield Figure("durable add", add, "ms", 1.5)
    yield Figure("durable add against fdatasync", add / disk, "x", 3.0, note=f"fdatasync takes {disk:.2f} ms")


def measure_forget(folder: Path, count: int = 100_000, batch: int = 2000) -> Iterator[Figure]:
    """Forgetting with its proof: plan, cascade, erasure of the bytes, receipt."""
    ids = filled(folder / "forget.db", count)
    random.Random(7).shuffle(ids)
    with Memory(folder / "forget.db", embedder=None) as memory:

        def forget(some: list[str]) -> None:
            assert memory.forget(some, namespace=NAMESPACE).erased == "done"

        first = seconds(lambda: forget(ids[:1]))
        single = [seconds(lambda some=ids[n : n + 1]: forget(some)) for n in range(1, 22)]  # type: ignore[misc]
        batched = seconds(lambda: forget(ids[100 : 100 + batch]))
    note = f"the first one, which reads the texts, {first:.1f} s"
    yield Figure(f"proven forget, {count:,} turns", statistics.median(single) * 1000, "ms", 50, note=note)
    yield Figure("batched deletes", batch / batched, "a second", 1000, at_least=True)


def measure_recall(folder: Path, count: int = 6000) -> Iterator[Figure]:
    """Recall without the query's embedding: from its words and a vector that is there already."""
    filled(folder / "recall.db", count)
    vectors = random_vectors(100)
    with Memory(folder / "recall.db", embedder=None) as memory:
        from agentmem.recall import RecallEngine

        engine = RecallEngine(memory.backend)
        queries = [" ".join(text.split()[:8]) for text in texts(100, seed=11)]
        engine.recall(queries[0], vectors[0], namespace=NAMESPACE)
        took = [
            seconds(lambda q=query, v=vector: engine.recall(q, v, namespace=NAMESPACE, k=10))  # type: ignore[misc]
            for query, vector in zip(queries, vectors, strict=True)
        ]
    worst = sorted(took)[98] * 1000
    yield Figure(f"recall, {count:,} turns", statistics.median(took) * 1000, "ms", 3.0, note=f"p99 {worst:.1f} ms")


PARTS: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "start": measure_start,
    "ingest": measure_ingest,
    "add": measure_add,
    "forget": measure_forget,
    "recall": measure_recall,
}


def show(figure: Figure) -> None:
    promise = f"{'at least' if figure.at_least else 'at most'} {figure.limit:g}"
    state = "held" if figure.held else "NOT HELD"
    value = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"
    print(f"{figure.name:38} {value:>8} {figure.unit:9} {promise:15} {state:9} {figure.note}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    figures = []
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        for name in chosen.parts or PARTS:
            for figure in PARTS[name](Path(folder)):
                figures.append(figure)
                if not chosen.json:
                    show(figure)
    if chosen.json:
        print(json.dumps({"figures": [{**asdict(figure), "held": figure.held} for figure in figures]}))


if __name__ == "__main__":
    main()
