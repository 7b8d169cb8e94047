"""How often recall over candidates, as in large namespaces, gives what scoring everything gives.

    python -m benchmarks.agreement ../shared/data [--depths 64,128,256] [--vectors /tmp/vectors.npz]

All conversations of LoCoMo and BEAM under the folder stand in one namespace; their questions are asked with and without
vectors, scored whole and at candidates of several depths, with the exact index so that only the choice is compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentmem.backends.memory import MemoryBackend
from agentmem.cache import NamespaceCache
from agentmem.candidates import DEPTH, gather
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.fusion import DEFAULT, Query, arrange, everything, fuse
from agentmem.indexes.vectors import make_index
from agentmem.memory import Memory
from agentmem.text import embedding_text
from agentmem.types import NewTurn
from benchmarks.fit_recall import KeptEmbedder, read_conversation

NAMESPACE = ("agreement",)
FIRST = 10


def conversations(folder: Path) -> Iterator[tuple[list[NewTurn], list[str]]]:
    """Each conversation's turns, its sessions named apart from the others', and its questions."""
    for name in ("locomo", "beam"):
        for number, case in enumerate(read_cases(find_dataset(name), folder / name)):
            turns = [
                replace(t, session=f"{name} {number} {t.session}", external_id=None)
                for t in read_conversation(case.content)
            ]
            yield turns, [question.text for question in case.questions]


def filled(folder: Path, embedder: KeptEmbedder) -> tuple[NamespaceCache, list[str]]:
    backend, questions = MemoryBackend(), list[str]()
    with Memory(backend, embedder=None) as memory:
        for turns, asked in conversations(folder):
            added = memory.observe_many(turns, namespace=NAMESPACE).added
            vectors = embedder.encode([embedding_text(turn) or "" for turn in added])
            with backend.write() as writer:
                writer.set_vectors("turn", [turn.id for turn in added], vectors, namespace=NAMESPACE)
            questions += asked
        cache = NamespaceCache(NAMESPACE, partial(make_index, "flat"))
        with backend.read() as reader:
            cache.refresh(reader)
    return cache, questions


def best(cache: NamespaceCache, query: Query, depth: int | None) -> tuple[NDArray[np.int32], int]:
    """The first documents, and how many were scored; `depth` None scores all."""
    found = cache.postings.find(query.stems)
    if depth is None:
        fused = fuse(everything(cache, query, found))
    else:
        fused = fuse(arrange(cache, query, found, gather(cache, query, found, DEFAULT, depth)))
    return fused.docs[np.argsort(-fused.score, kind="stable")[:FIRST]], len(fused.docs)


def show(cache: NamespaceCache, queries: Sequence[Query], depths: Sequence[int]) -> None:
    whole = [best(cache, query, None)[0] for query in queries]
    for depth in depths:
        found = [best(cache, query, depth) for query in queries]
        shared = [len(np.intersect1d(a, b)) / FIRST for a, (b, _) in zip(whole, found, strict=True)]
        first = np.mean([a[0] == b[0] for a, (b, _) in zip(whole, found, strict=True)])
        scored = np.mean([count for _, count in found])
        print(f"  depth {depth:4}: {np.mean(shared):.4f} of the first {FIRST}, the first one {first:.4f}, "
              f"at worst {min(shared):.1f}; {scored:.0f} scored")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--depths", default=f"64,128,{DEPTH}", help="with commas")
    parser.add_argument("--vectors", type=Path)
    chosen = parser.parse_args()
    embedder = KeptEmbedder(chosen.vectors)
    cache, questions = filled(chosen.folder, embedder)
    vectors = embedder.encode(questions)
    depths = [int(depth) for depth in chosen.depths.split(",")]
    print(f"{len(questions)} questions over {len(cache)} turns")
    print("with vectors")
    show(cache, [Query(text, vector) for text, vector in zip(questions, vectors, strict=True)], depths)
    print("full text alone")
    show(cache, [Query(text, None) for text in questions], depths)


if __name__ == "__main__":
    main()
