"""Runs a dataset's questions through the real path: file, ingest, SQLite, embedder, `Memory.recall`."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentmem.config import Settings
from agentmem.evals.datasets import Case, Dataset, Question, find_dataset, read_cases
from agentmem.interfaces import Embedder
from agentmem.types import NewTurn

if TYPE_CHECKING:
    from agentmem.memory import Memory

CUTS = (5, 10, 20)
_NAMESPACE = ("eval",)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question's figures: shares of its evidence among the first turns, by CUTS, and milliseconds."""

    category: str
    shares: tuple[float, ...]
    recall_ms: float
    embedding_ms: float


def run_eval(
    dataset: str,
    path: Path | str,
    *,
    settings: Settings | None = None,
    embedder: Embedder | str | None = "",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Recall of evidence turns on a file or folder of "locomo", "beam" or "longmemeval".

    Each conversation gets a store of its own in a temporary folder. `recall` is the mean over questions of the share of
    a question's evidence turns among the first 5, 10 and 20 turns recalled, and `per_category` the same by category.
    `ms_per_query` is the recall without the query's embedding, which `ms_embedding` holds; the first recall of each
    conversation, which builds its cache, is not counted. `embedder` is as for Memory (None: full text alone); turns
    and questions done, and of how many, go to `progress`. Raises InputError where there is no question under `path`.
    """
    found = find_dataset(dataset)
    cases = read_cases(found, Path(path))
    asked = list(_ask_all(found, cases, settings or Settings(), embedder, progress or _ignore))
    return {"dataset": dataset, **_summary(asked)}


def _ignore(_done: int, _total: int) -> None:
    return


def _ask_all(
    dataset: Dataset,
    cases: Sequence[Case],
    settings: Settings,
    embedder: Embedder | str | None,
    progress: Callable[[int, int], None],
) -> Iterator[_Asked]:
    from agentmem.memory import Memory

    known = _loaded(embedder, settings)
    with tempfile.TemporaryDirectory(prefix="agentmem-eval-") as folder:
        turns = [_turns(case, Path(folder)) for case in cases]
        total = sum(map(len, turns)) + sum(len(case.questions) for case in cases)
        done = 0
        for number, (case, said) in enumerate(zip(cases, turns, strict=True)):
            with Memory(Path(folder) / f"{number}.db", embedder=known, settings=settings) as memory:
                _fill(memory, said, _from(progress, done, total))
                memory.recall(case.questions[0].text, namespace=_NAMESPACE)
                done += len(said)
                for question in case.questions:
                    yield _ask(memory, dataset, question)
                    progress(done := done + 1, total)


def _fill(memory: Memory, turns: Sequence[NewTurn], progress: Callable[[int, int], None]) -> None:
    memory.observe_many(turns, namespace=_NAMESPACE)
    if memory.embedder_state != "off":
        memory.flush(progress=progress)


def _from(progress: Callable[[int, int], None], done: int, total: int) -> Callable[[int, int], None]:
    return lambda now, _of: progress(done + now, total)


def _loaded(embedder: Embedder | str | None, settings: Settings) -> Embedder | None:
    """One embedder for all conversations, loaded before anything is timed."""
    if embedder is None or not isinstance(embedder, str):
        return embedder
    from agentmem.embed import load_embedder

    return load_embedder(embedder or settings.embedder, device=settings.embedder_device)


def _turns(case: Case, folder: Path) -> list[NewTurn]:
    from agentmem.ingest import read_turns

    file = folder / "conversation.json"
    file.write_text(json.dumps(case.content), encoding="utf-8")
    return list(read_turns(file))


def _ask(memory: Memory, dataset: Dataset, question: Question) -> _Asked:
    started = time.perf_counter()
    recalled = memory.recall(question.text, namespace=_NAMESPACE, k=max(CUTS), kinds=("turn",))
    elapsed = (time.perf_counter() - started) * 1000
    keys = [dataset.key_of(item) for item in recalled.items]
    shares = tuple(len(question.evidence & set(keys[:cut])) / len(question.evidence) for cut in CUTS)
    return _Asked(question.category, shares, recalled.milliseconds, elapsed - recalled.milliseconds)


def _summary(asked: Sequence[_Asked]) -> dict[str, Any]:
    by_category: dict[str, list[_Asked]] = defaultdict(list)
    for one in asked:
        by_category[one.category].append(one)
    categories = sorted(by_category.items())
    return {
        "questions": len(asked),
        "recall": _recall(asked),
        "per_category": {name: {"questions": len(some), "recall": _recall(some)} for name, some in categories},
        "ms_per_query": _percentiles([one.recall_ms for one in asked]),
        "ms_embedding": _percentiles([one.embedding_ms for one in asked]),
    }


def _recall(asked: Sequence[_Asked]) -> dict[str, float]:
    means = np.mean([one.shares for one in asked], axis=0)
    return {str(cut): round(float(mean), 4) for cut, mean in zip(CUTS, means, strict=True)}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)}
