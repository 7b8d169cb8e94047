"""Vectors in RAM and vectors in an index outside, over each store: recall, time, memory, and opening.

    python -m benchmarks.outside --data FOLDER [--turns 6000,100000] [--stores sqlite,postgresql,memory]
        [--index URL] [--questions 200] [--vectors FILE]

LoCoMo's first five conversations (the development half) stand in one namespace, with as many made turns around them as
make up the number: two real ones cut and joined, their vectors added, with some noise. Questions about the five are
asked; `recall at 10` is the share of their labelled evidence. Each row is a process of its own: `open` is its first
recall, with all that it reads; `grown` is what it holds in RAM after that; `ms` are recalls after that, the embedding
of the question left out.

In place of a server stands a process of this script's that scans all it was given, over a pipe: what agentmem adds is
measured, not Qdrant. `--index` names a real one (by its plug-in), and its time counts.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from agentmem.candidates import WHOLE
from agentmem.config import Settings
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.indexing import Indexing
from agentmem.interfaces import Backend, Matrix, VectorIndex
from agentmem.memory import Memory
from agentmem.moving import move
from agentmem.outside import WHOLE as WHOLE_OUTSIDE
from agentmem.plugins import open_index
from agentmem.recall import RecallEngine
from agentmem.text import embedding_text
from agentmem.types import NewTurn
from benchmarks.backends import opened, stores, turns_of
from benchmarks.fit_recall import KeptEmbedder

NS = ("outside",)
CONVERSATIONS = 5
_BATCH = 500


class Scanned:
    """A VectorIndex in a process of its own, which compares with every vector of a space."""

    url = "scanned:"

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._lock = threading.Lock()
        self._process = get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()

    def _ask(self, *said: Any) -> Any:
        with self._lock:
            self._pipe.send(said)
            return self._pipe.recv()

    def put(self, ids: Sequence[str], vectors: Matrix, *, space: str) -> None:
        self._ask("put", space, list(ids), vectors)

    def remove(self, ids: Sequence[str], *, space: str) -> None:
        self._ask("remove", space, list(ids))

    def search(self, vector: Matrix, k: int, *, space: str) -> list[str]:
        found: list[str] = self._ask("search", space, vector, k)
        return found

    def ids(self, *, space: str) -> Iterator[str]:
        yield from self._ask("ids", space)

    def mark(self, *, space: str) -> str | None:
        mark: str | None = self._ask("mark", space)
        return mark

    def set_mark(self, mark: str, *, space: str) -> None:
        self._ask("set_mark", space, mark)

    def drop(self, *, space: str) -> None:
        self._ask("drop", space)

    def close(self) -> None:
        self._process.terminate()


def serve(pipe: Connection) -> None:
    """Answers of the other end. Rows are never moved, and a removed one is zero."""
    names: dict[str, dict[str, int]] = {}
    rows: dict[str, np.ndarray[Any, Any]] = {}
    marks: dict[str, str] = {}
    while True:
        what, space, *given = pipe.recv()
        held = names.setdefault(space, {})
        answer: Any = None
        if what == "put":
            ids, vectors = given
            for id_ in ids:
                held.setdefault(id_, len(held))
            if len(held) > len(rows.get(space, ())):
                longer = np.zeros((2 * len(held), vectors.shape[1]), np.float32)
                if space in rows:
                    longer[: len(rows[space])] = rows[space]
                rows[space] = longer
            rows[space][[held[id_] for id_ in ids]] = vectors
        elif what == "search":
            vector, k = given
            ordered = list(held)
            best = np.argsort(-(rows[space][: len(held)] @ vector), kind="stable")[:k]
            answer = [ordered[at] for at in best.tolist()]
        elif what == "set_mark":
            (marks[space],) = given
        else:
            answer = {"mark": marks.get(space), "ids": list(held)}.get(what)
        pipe.send(answer)


def fill(backend: Backend, data: Path, turns: int, embedder: KeptEmbedder) -> None:
    """The conversations, and made turns to the number wanted, with their vectors."""
    said: list[NewTurn] = []
    for number, case in enumerate(read_cases(find_dataset("locomo"), data)[:CONVERSATIONS]):
        said += [named(turn, number) for turn in turns_of(case)]
    with Memory(backend, embedder=None) as memory:
        added = memory.observe_many(said, namespace=NS).added
        real = embedder.encode([embedding_text(turn) or "" for turn in added])
        store_vectors(backend, [turn.id for turn in added], real)
        drawn, noise, texts = random.Random(1), np.random.default_rng(1), [turn.text for turn in added]
        for start in range(len(added), turns, _BATCH):
            pairs = [(drawn.randrange(len(texts)), drawn.randrange(len(texts))) for _ in range(start, start + _BATCH)]
            made = [NewTurn(role="user", parts=joined(texts[a], texts[b]), session=f"made {start}") for a, b in pairs]
            vectors = np.array([real[a] + real[b] for a, b in pairs])
            vectors += 0.03 * noise.standard_normal(vectors.shape)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            new = memory.observe_many(made, namespace=NS).added
            store_vectors(backend, [turn.id for turn in new], vectors.astype(np.float32))


def named(turn: NewTurn, number: int) -> NewTurn:
    """The conversations share the namespace: their sessions and ids are told apart."""
    return replace(turn, session=f"{number} {turn.session}", source=f"locomo {number}")


def joined(one: str, other: str) -> tuple[dict[str, str], ...]:
    first, second = one.split(), other.split()
    return ({"type": "text", "text": " ".join([*first[: len(first) // 2 + 1], *second[len(second) // 2 :]])},)


def store_vectors(backend: Backend, ids: list[str], vectors: Matrix) -> None:
    with backend.write() as writer:
        for at in range(0, len(ids), _BATCH):
            writer.set_vectors("turn", ids[at : at + _BATCH], vectors[at : at + _BATCH], namespace=NS)
        writer.remove("job", writer.columns("job", ["id"], namespace=NS)["id"], namespace=NS)


def ask(url: str, index: str, data: Path, questions: int, vectors: Path | None) -> None:
    """One row, as JSON."""
    backend = opened(url)
    row = answered(backend, index, data, questions, vectors, resident)
    print(json.dumps(row))
    backend.close()


def answered(
    backend: Backend, index: str, data: Path, questions: int, vectors: Path | None, resident: Callable[[], int]
) -> dict[str, float]:
    embedder, dataset = KeptEmbedder(vectors), find_dataset("locomo")
    cases = list(enumerate(read_cases(dataset, data)[:CONVERSATIONS]))
    asked = [(number, question) for number, case in cases for question in case.questions]
    asked = random.Random(2).sample(asked, min(questions, len(asked)))
    meant = embedder.encode([question.text for _, question in asked])
    indexing = None if index == "auto" else Indexing(backend, index_at(index))
    engine = RecallEngine(backend, whole=WHOLE_OUTSIDE if indexing else WHOLE, indexing=indexing)
    started = time.monotonic()
    if indexing is not None:
        indexing.catch_up_all()
    put = time.monotonic() - started
    before, started = resident(), time.monotonic()
    engine.recall(asked[0][1].text, meant[0], namespace=NS)
    opening = time.monotonic() - started
    engine.builder.build()
    shares, took = [], []
    for (number, question), vector in zip(asked, meant, strict=True):
        started = time.monotonic()
        items = engine.recall(question.text, vector, namespace=NS)
        took.append(1000 * (time.monotonic() - started))
        keys = {dataset.key_of(item) for item in items if item.source.get("source") == f"locomo {number}"}
        shares.append(len(keys & question.evidence) / len(question.evidence))
    grown = resident() - before
    engine.builder.close()
    if indexing is not None:
        indexing.close()
    cuts = statistics.quantiles(took, n=20)
    return {"recall": statistics.mean(shares), "median": cuts[9], "slow": cuts[18], "open": opening, "put": put,
            "grown": grown / 1e6}  # fmt: skip


def resident() -> int:
    """Bytes of RAM that this process holds."""
    return int(psutil.Process().memory_info().rss)


def index_at(url: str) -> VectorIndex:
    return Scanned() if url == "scanned" else open_index(url, Settings())


def table(chosen: argparse.Namespace) -> None:
    embedder = KeptEmbedder(chosen.vectors)
    print(
        f"| turns | store | vectors | recall at 10 | ms, median | 95 % | open, s | put, s | grown, MB |\n{'|---' * 9}|"
    )
    for turns in map(int, chosen.turns.split(",")):
        with stores(chosen.place, memory=True) as urls, tempfile.TemporaryDirectory(dir=chosen.place) as folder:
            first = opened(f"sqlite:///{folder}/filled.db")
            fill(first, chosen.data, turns, embedder)
            first = opened(f"sqlite:///{folder}/filled.db")
            embedder.keep()
            for name in chosen.stores.split(","):
                target = opened(urls[name])
                move(first, target)
                if name != "memory":
                    in_a_process(urls[name], "auto", chosen)  # keeps the snapshots that both open with
                for index in ("auto", chosen.index):
                    if name == "memory":  # cannot be asked by another process
                        row = answered(target, index, chosen.data, chosen.questions, chosen.vectors, resident)
                        row["grown"] = float("nan")
                    else:
                        row = in_a_process(urls[name], index, chosen)
                    said = " | ".join(f"{row[key]:.3g}" for key in ("median", "slow", "open", "put", "grown"))
                    print(f"| {turns} | {name} | {index} | {row['recall']:.3f} | {said} |", flush=True)
                target.close()


def in_a_process(url: str, index: str, chosen: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.outside", "--one", url, "--index", index, "--data", str(chosen.data)]
    command += ["--questions", str(chosen.questions), *(["--vectors", str(chosen.vectors)] if chosen.vectors else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--turns", default="6000,100000")
    parser.add_argument("--stores", default="sqlite,postgresql,memory")
    parser.add_argument("--index", default="scanned")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--place")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        ask(chosen.one, chosen.index, chosen.data, chosen.questions, chosen.vectors)
    else:
        table(chosen)


if __name__ == "__main__":
    main()
