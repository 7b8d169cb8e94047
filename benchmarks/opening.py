"""How long opening a large store takes: its cache built from the records, and opened from snapshots.

    python benchmarks/opening.py [--documents 100000] [--dimension 384]

Seconds of CPU are printed beside those of the clock, which say little on a machine that is busy with other work.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

import numpy as np

from agentmem.backends import open_backend
from agentmem.cache import NamespaceCache
from agentmem.ids import new_id
from agentmem.interfaces import Backend
from agentmem.keeping import keep
from agentmem.types import Namespace, Turn

NS: Namespace = ("benchmark",)
WORDS = 60_000
TERMS = 20
BATCH = 10_000
START = datetime(2026, 1, 1, tzinfo=UTC)
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=0, help="of random vectors; 0 for none, and so no graphs")
    parser.add_argument("--store", type=Path, help="keep the store here; one that is there already is used")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.store or Path(folder) / "store.db"
        if not path.exists():
            fill(path, options.documents, options.dimension)
        print(json.dumps(measure(path), indent=1))


def fill(path: Path, documents: int, dimension: int) -> None:
    chance, numbers = random.Random(1), np.random.default_rng(1)
    vocabulary = [f"w{n}x" for n in range(WORDS)]
    weights = list(accumulate(1 / (n + 3) for n in range(WORDS)))
    backend = open_backend(path)
    for start in range(0, documents, BATCH):
        count = min(BATCH, documents - start)
        texts = (" ".join(chance.choices(vocabulary, cum_weights=weights, k=TERMS)) for _ in range(count))
        turns = [turn(start + n, text) for n, text in enumerate(texts)]
        with backend.write() as writer:
            writer.add(turns)
            if dimension:
                vectors = numbers.normal(size=(count, dimension)).astype(np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                writer.set_vectors("turn", [t.id for t in turns], vectors, namespace=NS)
    backend.close()


def turn(number: int, text: str) -> Turn:
    at = START + timedelta(seconds=number)
    place = {"session": f"s{number // 50}", "seq": number % 50, "speaker": "Ada"}
    parts = ({"type": "text", "text": text},)
    return Turn(id=new_id(), namespace=NS, role="user", parts=parts, occurred_at=at, recorded_at=at, **place)  # type: ignore[arg-type]


def measure(path: Path) -> Figures:
    backend = open_backend(path)
    with backend.write() as writer:
        for basis in ("text", "vectors"):
            numbers = [kept.number for kept in writer.snapshots(basis, namespace=NS)]
            writer.drop_snapshots(numbers, namespace=NS)
    backend.reclaim()
    figures: Figures = {"MB without snapshots": backend.size() / 1e6}
    with timed(figures, "from records"):
        cache = opened(backend)
    with timed(figures, "graphs"):
        while work := cache.vectors.pending():
            work.run()
            cache.vectors.adopt(work)
    with timed(figures, "writing snapshots"):
        figures["snapshots"] = keep(backend, cache)
    figures["MB with snapshots"] = backend.size() / 1e6
    with timed(figures, "from snapshots"):
        again = opened(backend)
    figures["documents"] = len(again)
    figures["graphs to be built again"] = float(again.vectors.pending() is not None)
    backend.close()
    return figures


def opened(backend: Backend) -> NamespaceCache:
    cache = NamespaceCache(NS)
    with backend.read() as reader:
        cache.refresh(reader)
    cache.layout()
    return cache


@contextmanager
def timed(figures: Figures, name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    figures[f"{name}, s"] = round(time.perf_counter() - wall, 2)
    figures[f"{name}, s of CPU"] = round(time.process_time() - cpu, 2)


if __name__ == "__main__":
    main()
