"""What summaries of chunks, and thoughts, add to recall: LoCoMo's own notes, which a model wrote, stand in for ours.

    python -m benchmarks.summaries ../shared/data/locomo [--vectors /tmp/vectors.npz]

LoCoMo comes with observations, each with the turn it was drawn from, and with a summary of each session. Three kinds of
notes are tried on the turns alone, the other weights as shipped: a chunk's summary made of the observations of its
turns; the session's summary given to all of its chunks; each observation as a thought that leads to its turn. The
weight is chosen on the other conversations each time.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.backends.memory import MemoryBackend
from agentmem.cache import NamespaceCache
from agentmem.clock import utc_now
from agentmem.columns import TURN
from agentmem.diversity import CROWDING
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.evals.metrics import CUTS
from agentmem.filters import Conditions
from agentmem.fusion import Query, Weights, everything, fuse
from agentmem.leads import follow
from agentmem.memory import Memory
from agentmem.types import Turn
from benchmarks.fit_recall import NAMESPACE, KeptEmbedder, evidence_of, ranked, read_conversation

TRIED = (0.0, 0.5, 1.1, 2.0, 2.8, 4.0, 5.5, 7.5, 10.0)
"""Weights."""


@dataclass(frozen=True)
class Noted:
    """A question: each turn's score without notes, what the notes' signal measures of it, its session; the evidence."""

    score: NDArray[np.float32]
    signal: NDArray[np.float32]
    sessions: NDArray[np.int32]
    evidence: NDArray[np.intp]


Write = Callable[[Memory, Sequence[Turn], Mapping[str, Any]], None]


def observations(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was observed, and the id of the turn it was observed in."""
    for session in content["observation"].values():
        for text, ids in (note for notes in session.values() for note in notes):
            for id_ in re.findall(r"D\d+:\d+", str(ids)):
                yield text, id_


def by_chunk(memory: Memory, turns: Sequence[Turn], content: Mapping[str, Any]) -> None:
    said = {(turn.session, turn.seq): turn.metadata["dia_id"] for turn in turns}
    notes: dict[str, list[str]] = {}
    for text, id_ in observations(content):
        notes.setdefault(id_, []).append(text)
    for chunk in memory.chunks(namespace=NAMESPACE):
        last = chunk.first_seq + 99 if chunk.last_seq is None else chunk.last_seq
        ids = (said.get((chunk.session, seq)) for seq in range(chunk.first_seq, last + 1))
        text = " ".join(note for id_ in ids for note in notes.get(id_ or "", ()))
        if text and chunk.last_seq is not None:
            memory.summarize(chunk.id, text, namespace=NAMESPACE)


def by_session(memory: Memory, turns: Sequence[Turn], content: Mapping[str, Any]) -> None:
    number = {turn.session: re.match(r"D(\d+):", turn.metadata["dia_id"])[1] for turn in turns}  # type: ignore[index]  # every id has one
    for chunk in memory.chunks(namespace=NAMESPACE):
        text = content["session_summary"].get(f"session_{number.get(chunk.session)}_summary")
        if text and chunk.last_seq is not None:
            memory.summarize(chunk.id, text, namespace=NAMESPACE)


def as_thoughts(memory: Memory, turns: Sequence[Turn], content: Mapping[str, Any]) -> None:
    ids = {turn.metadata["dia_id"]: turn.id for turn in turns}
    for text, id_ in observations(content):
        if id_ in ids:
            memory.insert(text, sources=[ids[id_]], namespace=NAMESPACE)


NOTES: Mapping[str, tuple[str, Write]] = {
    "a chunk's observations as its summary": ("summary", by_chunk),
    "the session's summary for all its chunks": ("summary", by_session),
    "observations as thoughts": ("thought", as_thoughts),
}


def conversations(folder: Path, signal: str, write: Write, embedder: KeptEmbedder) -> Iterator[list[Noted]]:
    dataset = find_dataset("locomo")
    for case in read_cases(dataset, folder):
        backend = MemoryBackend()
        with Memory(backend, embedder=embedder) as memory:
            turns = memory.observe_many(read_conversation(case.content), namespace=NAMESPACE).added
            for session in {turn.session for turn in turns}:  # the last chunk too is summed up
                memory.observe("user", "bye", session=f"{session} later", namespace=NAMESPACE)
            write(memory, turns, case.content)
            memory.flush()
            cache = NamespaceCache(NAMESPACE)
            with backend.read() as reader:
                cache.refresh(reader)
                vectors = embedder.encode([question.text for question in case.questions])
                yield [
                    _asked(cache, reader, Query(question.text, vector), signal, evidence)
                    for question, vector in zip(case.questions, vectors, strict=True)
                    if len(evidence := evidence_of(cache, turns, dataset, question.evidence))
                ]


def _asked(cache: NamespaceCache, reader: Any, query: Query, signal: str, evidence: NDArray[np.intp]) -> Noted:
    scene = everything(cache, query)
    led = follow(cache, reader, query, scene.found, Conditions(), now=utc_now(), docs=scene.docs, known=scene.cosine)
    fused = fuse(replace(scene, leads=led), replace(Weights(), **{signal: 0.0}))
    score = np.where(cache.columns["kind"] == TURN, fused.score, -np.inf).astype(np.float32)
    return Noted(score, fused.values[signal], cache.columns["session"].copy(), evidence)


def shares(asked: Noted, weight: float) -> list[float]:
    order = ranked(asked.score + np.float32(weight) * asked.signal, asked.sessions, CROWDING)
    return [len(np.intersect1d(order[:cut], asked.evidence)) / len(asked.evidence) for cut in CUTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=Path)
    chosen = parser.parse_args()
    embedder = KeptEmbedder(chosen.vectors)
    for name, (signal, write) in NOTES.items():
        parts = list(conversations(chosen.folder, signal, write, embedder))
        embedder.keep()
        found = np.array([[np.mean([shares(a, w) for a in part], axis=0) for w in TRIED] for part in parts])
        counts = np.array([len(part) for part in parts])
        print(f"\n{name}: recall at {CUTS} by weight")
        for n, weight in enumerate(TRIED):
            print(
                f"{weight:4.1f}", " ".join(f"{value:.3f}" for value in np.average(found[:, n], axis=0, weights=counts))
            )
        print("cross-validated", " ".join(f"{value:.3f}" for value in cross_validated(found, counts)), flush=True)


def cross_validated(found: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Recall at the weight that is best at 10 on the other conversations. `found` has shape (parts, TRIED, CUTS)."""
    held = []
    for n in range(len(found)):
        rest = [m for m in range(len(found)) if m != n]
        best = int(np.argmax(np.average(found[rest, :, CUTS.index(10)], axis=0, weights=counts[rest])))
        held.append(found[n, best])
    mean: NDArray[np.float64] = np.average(held, axis=0, weights=counts)
    return mean


if __name__ == "__main__":
    main()
