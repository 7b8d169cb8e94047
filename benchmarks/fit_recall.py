"""Fits the weights of recall's fusion and shows what each signal is worth, by cross-validation over conversations.

    python benchmarks/fit_recall.py ../shared/data [--ablate] [--without speaker,asker] [--vectors /tmp/vectors.npz]

Every conversation of LoCoMo and BEAM under the folder is left out once (five folds); the rest gives the weights, the
two datasets counting alike. The loss is that of a soft choice among all turns: minus the log of the probability that
the fused score gives the evidence turns. `--vectors` keeps embeddings between runs.

`--ablate` prints the table of docs/recall.md: each weight left out in turn, and those of TOGETHER, the others fitted
again; then the order's own step, the crowding of sessions. Repetitions are left to benchmarks/near_duplicates.py: they
move nothing here.
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
from agentmem.diversity import CROWDING
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.evals.intervals import interval
from agentmem.evals.metrics import CUTS, DEPTH
from agentmem.fusion import Query, Weights, everything, fuse
from agentmem.ingest import read_turns
from agentmem.memory import Memory
from agentmem.types import Turn

NAMES = tuple(field.name for field in fields(Weights) if field.name not in ("thought", "summary"))
"""Weights to fit: of thoughts and summaries LoCoMo alone has some (benchmarks/summaries.py)."""
NAMESPACE = ("fit",)
FOLDS = 5
RIDGE = 1e-3
SPREAD_OVER = 100
"""The best turns among which sessions make room for each other: as many as a recall of DEPTH looks at."""
TOGETHER = {
    "the turn's own words": ("words", "coverage"),
    "the neighbours": ("before", "after"),
    "the chunk's keys": ("chunk_meaning", "chunk_words", "speaker_chunk"),
    "chunks and sessions": ("chunk_meaning", "chunk_words", "speaker_chunk", "session"),
    "named speakers": ("speaker", "speaker_chunk"),
    "the priors": ("told", "substance"),
    "the two least": ("coverage", "chunk_words"),
    "those uncertain alone": ("coverage", "chunk_meaning", "chunk_words", "session", "substance"),
    "all words": ("words", "coverage", "before", "chunk_words", "session", "speaker_chunk"),
    "all cosines": ("meaning", "after", "chunk_meaning"),
}
"""Weights that serve one idea, and those that alone lose nothing beyond chance."""
Shares = NDArray[np.float64]
"""Of the evidence, shape (questions, CUTS)."""
LOST_AT = (5, 10)


@dataclass(frozen=True)
class Asked:
    """A question: each turn's features, shape (turns, weights), and session, and which turns are its evidence."""

    features: NDArray[np.float32]
    sessions: NDArray[np.int32]
    evidence: NDArray[np.intp]


Datasets = Sequence[Sequence[list[Asked]]]
"""The questions of each conversation of each dataset."""


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
            turns = memory.observe_many(read_conversation(case.content), namespace=NAMESPACE).added
            memory.flush()
            cache = NamespaceCache(NAMESPACE)
            with backend.read() as reader:
                cache.refresh(reader)
            vectors = embedder.encode([question.text for question in case.questions])
            sessions = cache.columns["session"][: len(cache)].copy()
            yield [
                Asked(
                    _features(cache, Query(question.text, vector)),
                    sessions,
                    evidence_of(cache, turns, dataset, question.evidence),
                )
                for question, vector in zip(case.questions, vectors, strict=True)
            ]


def read_conversation(content: Any) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.json"
        file.write_text(json.dumps(content), encoding="utf-8")
        return list(read_turns(file))


def _features(cache: NamespaceCache, query: Query) -> NDArray[np.float32]:
    """What each weight is multiplied with."""
    values = fuse(everything(cache, query)).values
    return np.stack([values[name] for name in NAMES], axis=1)


def evidence_of(cache: NamespaceCache, turns: Sequence[Turn], dataset: Any, wanted: frozenset[str]) -> NDArray[np.intp]:
    return np.array([cache.ids.number(turn.id) for turn in turns if dataset.key_of(turn) in wanted], dtype=np.intp)


def fit(groups: Sequence[Sequence[Asked]], used: Sequence[int]) -> NDArray[np.float32]:
    """The weights for several datasets, each counting alike; those not used stay 0."""
    import torch

    features, there, wanted = (torch.from_numpy(part) for part in _stacked(groups, used))
    weights = torch.ones(len(used), requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> Any:
        search.zero_grad()
        chosen = torch.log_softmax((features @ weights).masked_fill(~there, -torch.inf), 1).masked_fill(~there, 0)
        total = RIDGE * ((weights / 10) ** 2).sum() - (wanted * chosen).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)  # type: ignore[no-untyped-call]
    out = np.zeros(len(NAMES), dtype=np.float32)
    out[list(used)] = weights.detach().numpy()
    return out


def _stacked(
    groups: Sequence[Sequence[Asked]], used: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """Features of all questions, shape (questions, turns of the longest, used); which turns there are; and how much
    each counts as evidence, 1 in all for a dataset."""
    asked = [(one, 1 / len(group) / len(one.evidence)) for group in groups for one in group]
    shape = (len(asked), max(len(one.features) for one, _ in asked))
    features = np.zeros((*shape, len(used)), np.float32)
    there, wanted = np.zeros(shape, np.bool_), np.zeros(shape, np.float32)
    for row, (one, share) in enumerate(asked):
        features[row, : len(one.features)] = one.features[:, used]
        there[row, : len(one.features)] = True
        wanted[row, one.evidence] = share
    return features, there, wanted


def shares(asked: Asked, weights: NDArray[np.float32], crowding: float = CROWDING) -> list[float]:
    order = ranked(asked.features @ weights, asked.sessions, crowding)
    return [len(np.intersect1d(order[:cut], asked.evidence)) / len(asked.evidence) for cut in CUTS]


def ranked(scores: NDArray[np.float32], by_session: NDArray[np.int32], crowding: float) -> list[int]:
    """The first DEPTH turns, each costing those of its session that come after it (agentmem/diversity.py)."""
    best = np.argsort(-scores, kind="stable")[:SPREAD_OVER]
    left, sessions = scores[best].astype(np.float64), by_session[best]
    order = []
    for _ in range(min(DEPTH, len(best))):
        first = int(np.argmax(left))
        order.append(int(best[first]))
        left[first] = -np.inf
        left[sessions == sessions[first]] -= crowding
    return order


def cross_validated(datasets: Datasets, used: Sequence[int]) -> list[list[NDArray[np.float32]]]:
    """For each conversation of each dataset the weights fitted without it, and without others of its fold."""
    folds = []
    for fold in range(FOLDS):
        kept = [[a for n, part in enumerate(parts) if n % FOLDS != fold for a in part] for parts in datasets]
        folds.append(fit(kept, used))
    return [[folds[n % FOLDS] for n in range(len(parts))] for parts in datasets]


def found_by(
    datasets: Datasets, weights: Sequence[Sequence[NDArray[np.float32]]], crowding: float = CROWDING
) -> list[Shares]:
    """Recall at CUTS of each question of each dataset, by the weights for its conversation."""
    return [
        np.array([shares(a, w, crowding) for part, w in zip(parts, some, strict=True) for a in part])
        for parts, some in zip(datasets, weights, strict=True)
    ]


def means(found: Sequence[Shares]) -> str:
    return " | ".join(" ".join(f"{share:.3f}" for share in some.mean(axis=0)) for some in found)


def ablate(datasets: Datasets, used: Sequence[int]) -> None:
    """Print the table: what is found without each weight, and what the full set gains over that at 10."""
    weights = cross_validated(datasets, used)
    full = found_by(datasets, weights)
    head = ["without", *(f"{name} | lost at 5 | lost at 10" for name in ("LoCoMo", "BEAM"))]
    print(f"| {' | '.join(head)} |\n|{'---|' * 7}")
    print(_row(datasets, "nothing", full, full))
    print(_row(datasets, "the crowding of sessions", found_by(datasets, weights, 0.0), full), flush=True)
    singly = {f"`{NAMES[n]}`": (NAMES[n],) for n in used}
    together = {f"{name}: {', '.join(f'`{one}`' for one in left)}": left for name, left in TOGETHER.items()}
    for name, left in {**singly, **together}.items():
        rest = cross_validated(datasets, [n for n in used if NAMES[n] not in left])
        print(_row(datasets, name, found_by(datasets, rest), full), flush=True)


def _row(datasets: Datasets, name: str, found: Sequence[Shares], full: Sequence[Shares]) -> str:
    cells = [name]
    for parts, some, whole in zip(datasets, found, full, strict=True):
        cells.append(" ".join(f"{share:.3f}" for share in some.mean(axis=0)))
        cells += [_lost(parts, (whole - some)[:, [CUTS.index(cut)]]) if some is not whole else "" for cut in LOST_AT]
    return f"| {' | '.join(cells)} |"


def _lost(parts: Sequence[list[Asked]], lost: Shares) -> str:
    """A mean over questions and its interval over conversations, in hundredths; bold where 0 is outside."""
    bounds = interval(100 * lost, [n for n, part in enumerate(parts) for _ in part])
    mean, low, high = (round(float(bound[0]), 1) + 0.0 for bound in (bounds.mean, bounds.low, bounds.high))
    shown = f"{mean:+.1f}" if low <= 0 <= high else f"**{mean:+.1f}**"
    return f"{shown} ({low:+.1f} to {high:+.1f})"


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
    print("recall at 5, 10, 20: LoCoMo | BEAM")
    print("shipped weights", means(found_by(datasets, [[shipped] * len(parts) for parts in datasets])))
    print("cross-validated", means(found_by(datasets, cross_validated(datasets, used))), flush=True)
    fitted = fit([[a for part in parts for a in part] for parts in datasets], used)
    print("fitted on all", {name: round(float(value), 2) for name, value in zip(NAMES, fitted, strict=True)})
    if chosen.ablate:
        ablate(datasets, used)


if __name__ == "__main__":
    main()
