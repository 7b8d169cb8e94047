"""The vector indexes in figures: recall against an exact search, time, memory, and raw FAISS beside them.

    python benchmarks/indexes.py [--vectors real.npz] [--large] [--json]

The corpus is made from a few thousand base vectors: those under the key `vectors` of an .npz file, else made up. Each
vector lies between a base vector and one of its 30 nearest, plus noise with the base's covariance. Questions are made
the same way, `near` with the same noise and `far` with more of it; what that means in cosines is printed. Times are
CPU seconds of the one thread that does the work, which other processes change little; of searches the median.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from agentmem.blas import single_threaded
from agentmem.indexes.flat import FlatIndex
from agentmem.indexes.graphs import BUILD_BREADTH, LINKS, SEARCH_BREADTH, GraphDump, read_dump
from agentmem.indexes.hnsw import HnswIndex
from agentmem.indexes.lsh import LshIndex

Matrix = NDArray[np.float32]
Rows = list[dict[str, Any]]

DIMENSION = 384
faiss: Any = import_module("faiss")
"""Its stubs lack half of it."""
NOISE = {"near": 0.5, "far": 0.9}
K = 10
_SLICE = 20_000
_console = Console(stderr=True)


def unit(vectors: NDArray[Any]) -> Matrix:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class Corpus:
    """Vectors that lie to each other as those of texts do."""

    def __init__(self, base: Matrix, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._base = base
        order = [np.argsort(-(base[at : at + 1000] @ base.T), axis=1)[:, 1:31] for at in range(0, len(base), 1000)]
        self._near = np.concatenate(order)
        spread = np.cov(base.T) + 1e-6 * np.eye(base.shape[1])
        self._spread = np.linalg.cholesky(spread).astype(np.float32).T

    def draw(self, count: int, noise: float) -> Matrix:
        out = np.empty((count, self._base.shape[1]), dtype=np.float32)
        for start in range(0, count, _SLICE):
            size = min(_SLICE, count - start)
            one = self._random.integers(len(self._base), size=size)
            other = self._near[one, self._random.integers(30, size=size)]
            part = self._random.random((size, 1), dtype=np.float32)
            shake = self._random.standard_normal((size, self._base.shape[1]), dtype=np.float32) @ self._spread
            out[start : start + size] = unit((1 - part) * self._base[one] + part * self._base[other] + noise * shake)
        return out


def made_up(count: int, seed: int) -> Matrix:
    """Base vectors without an embedder: topics within fields, few directions carrying most of the variance."""
    random = np.random.default_rng(seed)
    weights = (1 + np.arange(DIMENSION)) ** -0.35
    fields, topics, own = (random.standard_normal((n, DIMENSION)) * weights for n in (40, 600, count))
    return unit(0.7 * fields[random.integers(40, size=count)] + topics[random.integers(600, size=count)] + 0.9 * own)


@dataclass(frozen=True)
class Questions:
    """Vectors to search for, and the numbers of their true nearest."""

    vectors: Matrix
    nearest: NDArray[np.intp]

    @classmethod
    def of(cls, vectors: Matrix, corpus: Matrix, k: int = K) -> Questions:
        return cls(vectors, np.concatenate([_nearest(part, corpus, k) for part in np.array_split(vectors, 10)]))

    def recall(self, found: list[NDArray[Any]]) -> float:
        shared = (len(np.intersect1d(*pair)) for pair in zip(found, self.nearest, strict=True))
        return sum(shared) / self.nearest.size


def _nearest(vectors: Matrix, corpus: Matrix, k: int) -> NDArray[np.intp]:
    cosines = vectors @ corpus.T
    best = np.argpartition(-cosines, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def timed(action: Callable[[Any], Any], inputs: Iterable[Any]) -> tuple[list[Any], float]:
    """What an action makes of each input, and its median time in ms."""
    answers, times = [], []
    for one in inputs:
        start = time.thread_time()
        answers.append(action(one))
        times.append(1000 * (time.thread_time() - start))
    return answers, statistics.median(times)


def searcher(index: FlatIndex, k: int = K, let: NDArray[np.bool_] | None = None) -> Callable[[Matrix], Any]:
    """The numbers of the k nearest of a vector."""
    return lambda one: index.search(one, k, let)[0]


def _asked_raw(raw: Any, one: Matrix) -> Any:
    return raw.search(one[None], K)


def once(action: Callable[[], Any]) -> tuple[Any, float]:
    start = time.thread_time()
    answer = action()
    return answer, 1000 * (time.thread_time() - start)


def resident() -> float:
    """Of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def filled(index: FlatIndex, vectors: Matrix) -> FlatIndex:
    for start in range(0, len(vectors), _SLICE):
        stop = min(start + _SLICE, len(vectors))
        index.set(np.arange(start, stop), vectors[start:stop])
    return index


def built(index: HnswIndex, rows: int, what: str) -> dict[str, float]:
    """Build all that waits; seconds in all, and the longest that a caller's lock was held, in ms."""
    held, start = 0.0, time.thread_time()
    for _ in track(range(-(-rows // 8192) + 4), description=f"building {what}", console=_console, transient=True):
        work, asking = once(index.pending)
        if work is None:
            break
        work.run()
        _, adopting = once(partial(index.adopt, work))
        held = max(held, asking + adopting)
    while work := index.pending():
        work.run()
        index.adopt(work)
    return {"build s": time.thread_time() - start, "longest under the lock, ms": held}


def neighbours(corpus: Matrix, questions: dict[str, Questions]) -> Rows:
    """What the corpus is like: median cosine of the 1st and 10th nearest, and of any."""
    asked = {"vectors of the corpus": corpus[:200], **{name: some.vectors[:200] for name, some in questions.items()}}
    rows = []
    for name, vectors in asked.items():
        cosines = np.sort(vectors @ corpus.T, axis=1)[:, ::-1]
        first = 1 if name.startswith("vectors") else 0
        rows.append(
            {
                "of": name,
                "1st": float(np.median(cosines[:, first])),
                "10th": float(np.median(cosines[:, first + 9])),
                "100th": float(np.median(cosines[:, first + 99])),
                "any": float(np.median(cosines)),
            }
        )
    return rows


def scanning(corpus: Matrix, asked: Matrix) -> Rows:
    """Where exact search ends and a graph begins to pay."""
    rows = []
    for size in (1_000, 4_000, 8_000, 16_000, 32_000, 64_000):
        flat, graph, raw = FlatIndex(), HnswIndex(), faiss.IndexFlatIP(corpus.shape[1])
        filled(flat, corpus[:size])
        filled(graph, corpus[:size])
        built(graph, size, f"{size:,}")
        raw.add(corpus[:size])
        rows.append(
            {
                "vectors": size,
                "flat, ms": timed(searcher(flat), asked[:100])[1],
                "hnsw, ms": timed(searcher(graph), asked[:100])[1],
                "FAISS IndexFlatIP, ms": timed(partial(_asked_raw, raw), asked[:100])[1],
            }
        )
    return rows


def graph_figures(corpus: Matrix, questions: dict[str, Questions], *, compressed: bool) -> tuple[HnswIndex, Rows]:
    before = resident()
    index = HnswIndex(compressed=compressed)
    filled(index, corpus)
    what = "compressed" if compressed else "float32"
    row: dict[str, Any] = {"what": f"hnsw, {what}", **built(index, len(corpus), what)}
    row["bytes a vector"] = 1e6 * (resident() - before) / len(corpus)
    for name, some in questions.items():
        found, row[f"{name}, ms"] = timed(searcher(index), some.vectors)
        row[f"{name}, recall"] = some.recall(found)
    return index, [row]


def same_graphs(index: HnswIndex, questions: dict[str, Questions]) -> Rows:
    """FAISS alone on the very graphs of an index: what ours adds is the merging, the tail and the filter."""
    breadth = faiss.SearchParametersHNSW(efSearch=SEARCH_BREADTH)
    raw = [sealed.graph._index for sealed in index.sealed()]
    row: dict[str, Any] = {"what": f"raw FAISS, the same {len(raw)} graph(s), not merged"}
    for name, some in questions.items():
        _, row[f"{name}, ms"] = timed(
            lambda one: [graph.search(one[None], K, params=breadth) for graph in raw], some.vectors
        )
    return [row]


def one_graph(corpus: Matrix, questions: dict[str, Questions]) -> Rows:
    """FAISS with the same parameters, everything in one graph."""
    before = resident()
    raw = faiss.IndexHNSWFlat(corpus.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    raw.hnsw.efConstruction = BUILD_BREADTH
    slices = range(0, len(corpus), 4096)
    _, took = once(
        lambda: [
            raw.add(corpus[at : at + 4096])
            for at in track(slices, description="building raw FAISS", console=_console, transient=True)
        ]
    )
    breadth = faiss.SearchParametersHNSW(efSearch=SEARCH_BREADTH)
    row: dict[str, Any] = {"what": "raw FAISS IndexHNSWFlat, one graph", "build s": took / 1000}
    row["bytes a vector"] = 1e6 * (resident() - before) / len(corpus)
    for name, some in questions.items():
        found, row[f"{name}, ms"] = timed(lambda one: raw.search(one[None], K, params=breadth)[1][0], some.vectors)
        row[f"{name}, recall"] = some.recall(found)
    return [row]


def filters(index: HnswIndex, corpus: Matrix, asked: Matrix) -> Rows:
    """Masks that let through a random share, and the half that lies farthest from the question."""
    rows = []
    chance = np.random.default_rng(5).random(len(corpus))
    for share in (0.5, 0.1, 0.03, 0.01, 0.001):
        let = chance < share
        inside = np.flatnonzero(let)
        truth = inside[_nearest(asked, corpus[inside], K)]
        found, took = timed(searcher(index, let=let), asked)
        rows.append({"let through": share, "recall": Questions(asked, truth).recall(found), "ms": took})
    rows.append(_farthest_half(index, corpus, asked[:20]))
    return rows


def _farthest_half(index: HnswIndex, corpus: Matrix, asked: Matrix) -> dict[str, Any]:
    cosines = asked @ corpus.T
    far = cosines < np.median(cosines, axis=1, keepdims=True)
    truth = np.argsort(np.where(far, -cosines, 2), axis=1)[:, :K]
    masks = iter(far)
    found, took = timed(lambda one: index.search(one, K, next(masks))[0], asked)
    return {"let through": "the farther half", "recall": Questions(asked, truth).recall(found), "ms": took}


def depths(index: HnswIndex, corpus: Matrix, asked: Matrix) -> Rows:
    """More answers than ten, as fusing asks for."""
    rows = []
    for k in (10, 100, 300, 1000):
        questions = Questions.of(asked, corpus, k)
        found, took = timed(searcher(index, k), asked)
        rows.append({"k": k, "recall": questions.recall(found), "ms": took})
    return rows


def changing(index: HnswIndex, corpus: Matrix, asked: Matrix) -> Rows:
    """What a change costs while the caller's lock is held, and what saving and loading a graph does."""
    random = np.random.default_rng(6)
    size = len(corpus)
    docs = random.choice(size, 2000, replace=False)
    gathered = random.choice(size, 3000, replace=False)
    saved, saving = once(lambda: [sealed.dump() for sealed in index.sealed()])
    dumps, reading = once(lambda: [read_dump(blob) for blob in saved])
    again = HnswIndex()
    _, setting = once(lambda: filled(again, corpus))
    _, loading = once(lambda: _load(again, dumps))
    return [
        {"what": "set, in slices of 20,000, µs a vector", "value": 1000 * setting / size},
        {"what": "save the graphs, ms", "value": saving},
        {"what": "saved, bytes a vector", "value": sum(map(len, saved)) / size},
        {"what": "read and check what was saved, ms", "value": reading},
        {"what": "load it over the vectors, ms", "value": loading},
        {"what": "exact cosines of 3,000 (scores_at), ms", "value": _gathering(index, gathered, asked)},
        {
            "what": "exact cosines of all (scores), ms",
            "value": _scanning(index, size, asked),
        },
        {"what": "clear, µs", "value": 1000 * timed(lambda doc: index.clear(int(doc)), docs)[1]},
        {"what": "set one, µs", "value": 1000 * timed(lambda doc: index.set(doc[None], asked[:1]), docs)[1]},
    ]


def _load(index: HnswIndex, dumps: list[GraphDump]) -> None:
    for dump in dumps:
        index.load(dump)


def _scanning(index: HnswIndex, size: int, asked: Matrix) -> float:
    return timed(lambda one: index.scores(one, size), asked[:5])[1]


def _gathering(index: HnswIndex, docs: NDArray[np.intp], asked: Matrix) -> float:
    return timed(lambda one: index.scores_at(one, docs), asked[:50])[1]


def holes(index: HnswIndex, corpus: Matrix, asked: Matrix) -> Rows:
    """Recall while documents are being forgotten, up to the share at which a graph is built anew, and after that."""
    rows = []
    for share in (0.1, 0.19, 0.25):
        gone = np.random.default_rng(8).random(len(corpus)) < share
        for doc in np.flatnonzero(gone):
            index.clear(int(doc))
        took = built(index, len(corpus), f"without {share:.0%}") if share > 0.2 else {"build s": 0.0}
        kept = np.flatnonzero(~gone)
        truth = kept[_nearest(asked, corpus[kept], K)]
        found, ms = timed(searcher(index), asked)
        recall = Questions(asked, truth).recall(found)
        rows.append({"forgotten": share, "recall": recall, "ms": ms, "rebuilt in s": took["build s"]})
    return rows


def hashing(corpus: Matrix, questions: Questions, buckets: int) -> Rows:
    rows = []
    for tables, probes in _shapes():
        index = LshIndex(tables=tables, probes=probes, buckets=buckets)
        filled(index, corpus)
        found, took = timed(searcher(index), questions.vectors)
        seen = statistics.mean(len(index.candidates(one)) for one in questions.vectors) / len(corpus)
        rows.append(
            {"tables": tables, "probes": probes, "recall": questions.recall(found), "scanned": seen, "ms": took}
        )
    return rows


def _shapes() -> Iterator[tuple[int, int]]:
    shapes = [(tables, probes) for tables in (1, 4, 8) for probes in (1, 2, 4, 8, 16)]
    yield from track(shapes, description="hashing", console=_console, transient=True)


def show(title: str, rows: Rows) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(_cell(row.get(name, "")) for name in columns))
    Console(width=150).print(table)


def _cell(value: Any) -> str:
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def measure(corpus: Corpus, size: int, *, whole: bool) -> Iterator[tuple[str, Rows]]:
    """Each table as it is done; `whole`: those that do not depend on the size too."""
    vectors = corpus.draw(size, NOISE["near"])
    drawn = {name: corpus.draw(300, noise) for name, noise in NOISE.items()}
    with single_threaded():
        questions = {name: Questions.of(asked, vectors) for name, asked in drawn.items()}
        asked = drawn["far"]
        yield f"{size:,} vectors: median cosines of neighbours", neighbours(vectors, questions)
        if whole:
            yield "exact or graph: time of a search", scanning(vectors, asked)
        index, rows = graph_figures(vectors, questions, compressed=False)
        rows += same_graphs(index, questions) + graph_figures(vectors, questions, compressed=True)[1]
        yield f"{size:,} vectors: graphs", rows + one_graph(vectors, questions)
        yield f"{size:,} vectors: filters (far questions)", filters(index, vectors, asked[:100])
        yield f"{size:,} vectors: how many answers (far questions)", depths(index, vectors, asked[:100])
        yield f"{size:,} vectors: changes, saving, exact cosines", changing(index, vectors, asked)
        if whole:
            index = HnswIndex()
            filled(index, vectors)
            built(index, size, "again")
            yield f"{size:,} vectors: forgetting (far questions)", holes(index, vectors, asked[:100])
            for buckets in (64, 256):
                title = f"{size:,} vectors: lsh with {buckets} buckets (near questions)"
                yield title, hashing(vectors, questions["near"], buckets)


def main() -> None:
    faiss.omp_set_num_threads(1)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--vectors", type=Path, help=".npz whose `vectors` are unit vectors of texts")
    parser.add_argument("--size", type=int, default=100_000, help="vectors of the corpus")
    parser.add_argument("--large", action="store_true", help="at 1,000,000 too (8 GB, half an hour)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    base = unit(np.load(options.vectors)["vectors"]) if options.vectors else made_up(6000, options.seed)
    corpus = Corpus(base, options.seed)
    tables: dict[str, Rows] = {}
    sizes = [options.size, *([1_000_000] if options.large else [])]
    for size in sizes:
        for title, rows in measure(corpus, size, whole=size == options.size):
            tables[title] = rows
            if not options.json:
                show(title, rows)
    load = os.getloadavg()
    if options.json:
        parameters = {"links": LINKS, "build": BUILD_BREADTH, "search": SEARCH_BREADTH}
        print(json.dumps({"load": load, "parameters": parameters, "tables": tables}, indent=2))
    else:
        print(f"M={LINKS}, efConstruction={BUILD_BREADTH}, efSearch={SEARCH_BREADTH}; load of the machine {load}")


if __name__ == "__main__":
    main()
