"""How the cost of recall grows with what is remembered, on a corpus of its own making.

    python benchmarks/scale.py [--sizes 1000,6000,100000] [--thoughts] [--index auto] [--json out.json]
        [--plot docs/images/scale.svg]

A namespace of every size is made up from a fixed seed: sessions of turns on a topic, or short thoughts, their words
distributed as in speech, their vectors near those of their session and topic. Recall runs in full but for the query's
embedding: caches, both stages, fusion, choice, explanation. Records are made up as they are read, so that the resident
memory is that of the caches. Medians and the 99th percentile; memory is what this process has grown by, and
in all, the corpus's texts included.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from agentmem.fusion import Query
from agentmem.indexes.vectors import read_index
from agentmem.interfaces import Abilities
from agentmem.recall import RecallEngine
from agentmem.types import Change, Edge, Thought, Turn

NAMESPACE = ("scale",)
SIZES = (1_000, 6_000, 30_000, 100_000, 300_000, 1_000_000)
DIMENSION = 384
START = datetime(2024, 1, 1, tzinfo=UTC)
_SESSION, _BLOCK, _TOPIC_WORDS, _SPARE = 30, 4096, 60, 100
_SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zan", "der", "mel", "pin", "tor", "gal", "fen")


class Corpus:
    """A backend and its reader in one, of records made up by their number."""

    abilities = Abilities(durable=False, secure_erase=False, shared=False, backup=False)

    def __init__(self, size: int, thoughts: bool) -> None:
        self.size, self.thoughts = size, thoughts
        self.topics = max(20, size // 600)
        self.changed: list[Change] = []
        rng = np.random.default_rng(7)
        self.vocabulary = [
            "".join(rng.choice(_SYLLABLES, rng.integers(2, 6))) + str(n % 7 or "") for n in range(30_000)
        ]
        weights = 1 / (np.arange(len(self.vocabulary)) + 8.0)
        self._reach = np.cumsum(weights / weights.sum())
        self._topic_words = rng.integers(200, len(self.vocabulary), (self.topics, _TOPIC_WORDS))
        self._topic_vectors = rng.standard_normal((self.topics, DIMENSION)).astype(np.float32)
        self._common = rng.standard_normal(DIMENSION).astype(np.float32)
        blocks = [self._block(number) for number in range((size + _SPARE) // _BLOCK + 1)]
        self._texts = b"".join(text.encode() for block in blocks for text in block)
        self._ends = np.cumsum([0, *(len(text) for block in blocks for text in block)])

    def _block(self, number: int) -> list[str]:
        """The texts of _BLOCK records: a third of a text's words are its topic's."""
        rng = np.random.default_rng((7, number))
        mean = 2.2 if self.thoughts else 2.6
        lengths = np.clip(rng.lognormal(mean, 0.6, _BLOCK).astype(int), 3, 120)
        words = np.searchsorted(self._reach, rng.random(lengths.sum()))
        topic = np.repeat(self._topic_of(np.arange(_BLOCK) + number * _BLOCK), lengths)
        own = self._topic_words[topic, (rng.random(len(words)) ** 2 * _TOPIC_WORDS).astype(int)]
        words = np.where(rng.random(len(words)) < 1 / 3, own, words)
        parts = np.split(words, np.cumsum(lengths)[:-1])
        return [" ".join([self.vocabulary[word] for word in part]) for part in parts]

    def _topic_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return (numbers // _SESSION * 2654435761 % 2**32) % self.topics

    def text(self, number: int) -> str:
        return self._texts[self._ends[number] : self._ends[number + 1]].decode()

    def vectors_of(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines as MiniLM's: about 0.1 between any two, 0.35 within a topic, 0.5 within a session."""
        rng = np.random.default_rng((11, int(numbers[0]), len(numbers)))
        out = rng.standard_normal((len(numbers), DIMENSION), dtype=np.float32)
        out += 0.45 * self._common + 0.7 * self._topic_vectors[self._topic_of(numbers)]
        sessions, which = np.unique(numbers // _SESSION, return_inverse=True)
        out += (
            0.6
            * np.stack([np.random.default_rng((13, int(s))).standard_normal(DIMENSION, np.float32) for s in sessions])[
                which
            ]
        )
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out

    def record(self, number: int) -> Turn | Thought:
        at = START + timedelta(seconds=30 * number)
        if self.thoughts:
            return Thought(id=_id(number), namespace=NAMESPACE, text=self.text(number), recorded_at=at, valid_from=at)
        return Turn(
            id=_id(number),
            namespace=NAMESPACE,
            role="assistant" if number % 2 else "user",
            parts=({"type": "text", "text": self.text(number)},),
            session=f"session {number // _SESSION}",
            seq=number % _SESSION,
            occurred_at=at,
            recorded_at=at,
        )

    # -- what recall reads of a store ---------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Corpus]:
        yield self

    def _kind(self) -> str:
        return "thought" if self.thoughts else "turn"

    def select(self, kind: str, **_: Any) -> Iterator[Any]:
        return (self.record(n) for n in range(self.size)) if kind == self._kind() else iter(())

    def get(self, kind: str, ids: Sequence[str], **_: Any) -> list[Any]:
        gone = {change.id for change in self.changed if change.op == "remove"}
        return [self.record(int(i[:8], 16)) for i in ids if i not in gone] if kind == self._kind() else []

    def vectors(self, kind: str, ids: Sequence[str] | None = None, **_: Any) -> tuple[list[str], NDArray[np.float32]]:
        if kind != self._kind() or ids == []:
            return [], np.zeros((0, 0), np.float32)
        numbers = np.arange(self.size) if ids is None else np.array([int(i[:8], 16) for i in ids])
        out = np.empty((len(numbers), DIMENSION), np.float32)
        for first in range(0, len(numbers), _BLOCK):
            out[first : first + _BLOCK] = self.vectors_of(numbers[first : first + _BLOCK])
        return [_id(int(n)) for n in numbers] if ids is None else list(ids), out

    def columns(self, kind: str, names: Sequence[str], **_: Any) -> dict[str, list[Any]]:  # noqa: ARG002 (no chunks)
        return {name: [] for name in names}

    def snapshots(self, basis: str, **_: Any) -> Iterator[Any]:  # noqa: ARG002 (a fresh build is measured)
        return iter(())

    def meta(self, key: str) -> str | None:  # noqa: ARG002
        return None

    def digest(self, text: str) -> str:
        return text

    def edges(self, **_: Any) -> list[Edge]:
        return []

    def last_change(self, **_: Any) -> int:
        return 1 + len(self.changed)

    def changes(self, after: int, **_: Any) -> list[Change]:
        return self.changed[after - 1 :]

    def change(self, op: Any, number: int) -> None:
        self.changed.append(Change(self.last_change() + 1, NAMESPACE, op, self._kind(), _id(number)))  # type: ignore[arg-type]

    def query(self, rng: np.random.Generator) -> Query:
        """Some words of a record, and a vector near its own."""
        number = int(rng.integers(self.size))
        words = self.text(number).split()
        asked = rng.permutation(words)[: int(rng.integers(3, 8))]
        block = np.arange(number // _BLOCK * _BLOCK, min(self.size, (number // _BLOCK + 1) * _BLOCK))
        vector = self.vectors_of(block)[number % _BLOCK] + rng.standard_normal(DIMENSION).astype(np.float32) * 0.04
        return Query(" ".join(asked), vector / np.float32(np.linalg.norm(vector)))


def _id(number: int) -> str:
    return f"{number:08x}-4b1d-7000-8000-{number * 7919 % 2**48:012x}"


@dataclass(frozen=True)
class Row:
    """Milliseconds unless named otherwise."""

    size: int
    fused: float
    fused_p99: float
    dense: float
    words: float
    add: float
    forget: float
    build_s: float
    graph_s: float
    memory_mb: float
    vectors_mb: float
    resident_mb: float


def measure(
    size: int, thoughts: bool, index: str, count: int, clock: Callable[[], float], step: Callable[[str], None]
) -> Row:
    seconds = partial(_seconds, clock)
    corpus = Corpus(size, thoughts)
    before = _resident()
    engine = RecallEngine(corpus, new_index=read_index(index))  # type: ignore[arg-type]
    queries = [corpus.query(np.random.default_rng((17, n))) for n in range(count)]
    step("building the cache")
    build = seconds(lambda: _ask(engine, queries[0]))
    step("building the graph")
    graph = seconds(engine.builder.build)
    cache = engine._cache(NAMESPACE)
    step("recalling")
    fused = [seconds(lambda q=q: _ask(engine, q)) * 1000 for q in queries]  # type: ignore[misc]
    dense = [seconds(lambda q=q: cache.vectors.search(q.vector, 10)) * 1000 for q in queries]  # type: ignore[misc]
    words = [seconds(lambda q=q: _ask(engine, Query(q.text, None))) * 1000 for q in queries]  # type: ignore[misc]
    step("adding and forgetting")
    adds, forgets = [], []
    for n, query in enumerate(queries[:40]):
        corpus.size += 1
        corpus.change("add", corpus.size - 1)
        adds.append(seconds(lambda q=query: _ask(engine, q)) * 1000)  # type: ignore[misc]
        corpus.change("remove", n * size // 50)
        forgets.append(seconds(lambda q=query: _ask(engine, q)) * 1000)  # type: ignore[misc]
    engine.builder.close()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    memory = _resident() - before
    return Row(
        size=size,
        fused=_p50(fused),
        fused_p99=float(np.percentile(fused, 99)),
        dense=_p50(dense),
        words=_p50(words),
        add=_p50(adds),
        forget=_p50(forgets),
        build_s=build,
        graph_s=graph,
        memory_mb=memory,
        vectors_mb=len(cache.vectors) * DIMENSION * 4 / 2**20,
        resident_mb=_resident(),
    )


def _ask(engine: RecallEngine, query: Query) -> None:
    assert engine.recall(query.text, query.vector, namespace=NAMESPACE, k=10) or query.vector is None


def _seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    started = clock()
    work()
    return clock() - started


def _p50(values: Sequence[float]) -> float:
    return float(np.median(values))


def _resident() -> float:
    """Resident memory of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


_NAMES = {
    "fused": "fused recall",
    "add": "add one, then recall",
    "words": "full text alone",
    "dense": "dense stage alone",
}


def plot(rows: Sequence[Row], file: Path) -> None:
    """Milliseconds against documents, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, label in _NAMES.items():
        axes.plot([row.size for row in rows], [getattr(row, name) for row in rows], marker="o", ms=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="documents in the namespace", ylabel="milliseconds, p50")
    axes.set_title("Recall of 10, without the query's embedding", loc="left")
    axes.grid(visible=True, color="#ddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="documents, with commas")
    parser.add_argument("--thoughts", action="store_true", help="short thoughts instead of turns in sessions")
    parser.add_argument("--index", default="auto", help="as the setting: auto, flat (no graph), 'auto compressed', …")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--cpu", action="store_true", help="count the CPU's time: for a machine that others use too")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--plot", type=Path, help="draw the figures there (.svg, .png); needs matplotlib")
    chosen = parser.parse_args()
    if chosen.plot and not find_spec("matplotlib"):
        parser.error("--plot needs matplotlib: run `pip install 'agentmem[plot]'`")
    sizes, rows = [int(size) for size in chosen.sizes.split(",")], []
    console = Console()
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("", total=5 * len(sizes))

        def step(size: int, what: str) -> None:
            bar.update(task, advance=1, description=f"{size:,}: {what}")

        clock = time.thread_time if chosen.cpu else time.perf_counter
        for size in sizes:
            told = partial(step, size)
            rows.append(measure(size, chosen.thoughts, chosen.index, chosen.queries, clock, told))
            bar.advance(task)
            console.print("  ".join(f"{name} {value:,.2f}" for name, value in asdict(rows[-1]).items()))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    if chosen.plot:
        plot(rows, chosen.plot)


if __name__ == "__main__":
    main()
