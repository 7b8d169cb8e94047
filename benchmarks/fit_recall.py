"""Fits the weights of recall's fusion and shows what each signal is worth, by cross-validation over conversations.

    python benchmarks/fit_recall.py ../shared/data [--ablate] [--without speaker,asker] [--vectors /tmp/vectors.npz]

Every conversation of LoCoMo and BEAM under the folder is left out once (five folds); the rest gives the weights, the
two datasets counting alike. The loss is that of a soft choice among all turns: minus the log of the probability that
the fused score gives the evidence turns. `--vectors` keeps embeddings between runs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.backends.memory import MemoryBackend
from agentmem.cache import NamespaceCache
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.evals.run import CUTS
from agentmem.fusion import Query, Weights, everything, fuse
from agentmem.ingest import read_turns
from agentmem.memory import Memory
from agentmem.types import Turn

NAMES = tuple(field.name for field in fields(Weights))
NAMESPACE = ("fit",)
FOLDS = 5
RIDGE = 1e-3


@dataclass(frozen=True)
class Asked:
    """A question: each turn's features, shape (turns, weights), and which turns are its evidence."""

    features: NDArray[np.float32]
    evidence: NDArray[np.intp]


class KeptEmbedder:
    """The bundled embedder, its vectors kept in a file between runs."""

    def __init__(self, file: Path | None) -> None:
        from agentmem.embed import load_embedder

        self._embedder, self._file = load_embedder(), file
        self.identity = self._embedder.identity
        self._kept: dict[str, NDArray[np.float32]] = {}
        if file is not None and file.exists():
            held = np.load(file)
            self._kept = dict(zip(json.loads(str(held["texts"])), held["vectors"], strict=True))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        fresh = list(dict.fromkeys(text for text in texts if text not in self._kept))
        if fresh:
            self._kept |= dict(zip(fresh, self._embedder.encode(fresh), strict=True))
        return np.stack([self._kept[text] for text in texts])

    def keep(self) -> None:
        if self._file is not None:
            np.savez(self._file, texts=json.dumps(list(self._kept)), vectors=np.stack(list(self._kept.values())))


def conversations(folder: Path, name: str, embedder: KeptEmbedder) -> Iterator[list[Asked]]:
    dataset = find_dataset(name)
    for case in read_cases(dataset, folder / name):
        backend = MemoryBackend()
        with Memory(backend, embedder=embedder) as memory:
            turns = memory.observe_many(_read(case.content), namespace=NAMESPACE).added
            memory.flush()
            cache = NamespaceCache(NAMESPACE)
            with backend.read() as reader:
                cache.refresh(reader)
            vectors = embedder.encode([question.text for question in case.questions])
            yield [
                Asked(
                    _features(cache, Query(question.text, vector)), _evidence(cache, turns, dataset, question.evidence)
                )
                for question, vector in zip(case.questions, vectors, strict=True)
            ]


def _read(content: Any) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        return list(read_turns(file))


def _features(cache: NamespaceCache, query: Query) -> NDArray[np.float32]:
    """What each weight is multiplied with."""
    values = fuse(everything(cache, query)).values
    return np.stack([values[name] for name in NAMES], axis=1)


def _evidence(cache: NamespaceCache, turns: Sequence[Turn], dataset: Any, wanted: frozenset[str]) -> NDArray[np.intp]:
    return np.array([cache.ids.number(turn.id) for turn in turns if dataset.key_of(turn) in wanted], dtype=np.intp)


def fit(groups: Sequence[Sequence[Asked]], used: Sequence[int]) -> NDArray[np.float32]:
    """The weights for several datasets, each counting alike; those not used stay 0."""
    import torch

    data = [(torch.tensor(a.features[:, used]), a.evidence, 1 / len(asked)) for asked in groups for a in asked]
    weights = torch.ones(len(used), requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> Any:
        search.zero_grad()
        chosen = [share * torch.log_softmax(x @ weights, 0)[evidence].mean() for x, evidence, share in data]
        total = RIDGE * ((weights / 10) ** 2).sum() - torch.stack(chosen).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)  # type: ignore[no-untyped-call]
    out = np.zeros(len(NAMES), dtype=np.float32)
    out[list(used)] = weights.detach().numpy()
    return out


def shares(asked: Asked, weights: NDArray[np.float32]) -> list[float]:
    order = np.argsort(-(asked.features @ weights), kind="stable")
    return [len(np.intersect1d(order[:cut], asked.evidence)) / len(asked.evidence) for cut in CUTS]


def cross_validated(datasets: Sequence[Sequence[list[Asked]]], used: Sequence[int]) -> list[list[float]]:
    """Mean recall at CUTS of each dataset, its conversations scored by weights fitted without them."""
    found: list[list[list[float]]] = [[] for _ in datasets]
    for fold in range(FOLDS):
        kept = [[a for n, part in enumerate(parts) if n % FOLDS != fold for a in part] for parts in datasets]
        weights = fit(kept, used)
        for number, parts in enumerate(datasets):
            found[number] += [shares(a, weights) for n, part in enumerate(parts) if n % FOLDS == fold for a in part]
    return [np.mean(some, axis=0).round(4).tolist() for some in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", default="", help="weights to leave out, with commas")
    parser.add_argument("--ablate", action="store_true", help="leave out each weight in turn as well")
    parser.add_argument("--vectors", type=Path)
    chosen = parser.parse_args()
    embedder = KeptEmbedder(chosen.vectors)
    datasets = [list(conversations(chosen.folder, name, embedder)) for name in ("locomo", "beam")]
    embedder.keep()
    used = [n for n, name in enumerate(NAMES) if name not in chosen.without.split(",")]
    shipped = np.array([getattr(Weights(), name) for name in NAMES], dtype=np.float32)
    print("shipped weights", *(np.mean([shares(a, shipped) for part in d for a in part], 0).round(4) for d in datasets))
    print("cross-validated", *cross_validated(datasets, used))
    if chosen.ablate:
        for left in used:
            print(f"  without {NAMES[left]}", *cross_validated(datasets, [n for n in used if n != left]))
    fitted = fit([[a for part in parts for a in part] for parts in datasets], used)
    print("fitted on all", {name: round(float(value), 2) for name, value in zip(NAMES, fitted, strict=True)})


if __name__ == "__main__":
    main()
