"""Runs a dataset's questions through the real path: file, ingest, SQLite, embedder, `Memory.recall`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentmem.config import Settings
from agentmem.errors import InputError
from agentmem.evals.answers import ANSWER_PROMPT, JUDGE_PROMPT, Answerer, references
from agentmem.evals.baselines import BASELINES, Baselines
from agentmem.evals.datasets import Case, Dataset, find_dataset, read_cases
from agentmem.evals.labels import Corrected, under_corrections
from agentmem.evals.metrics import CUTS, DEPTH
from agentmem.evals.report import OURS, Asked, Found, percentiles, section
from agentmem.fusion import DEFAULT, Weights
from agentmem.interfaces import Embedder
from agentmem.models.chat import label_of
from agentmem.text import count_tokens
from agentmem.types import NewTurn, RecallItem

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agentmem.memory import Memory

__all__ = ["CUTS", "run_eval"]

Progress = Callable[[int, int], None]
_NAMESPACE = ("eval",)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be done with every conversation."""

    dataset: Dataset
    settings: Settings
    embedder: Embedder | None
    weights: Weights
    baselines: Sequence[str]
    model: BaseChatModel | None


@dataclass
class _Steps:
    """Counts what is done towards `total`, and reports it."""

    report: Progress
    total: int
    done: int = 0

    def add(self, steps: int = 1) -> None:
        self.done += steps
        self.report(self.done, self.total)

    def ahead(self, steps: int, _of: int) -> None:
        """Of a part that counts for itself and is added when it is done."""
        self.report(self.done + steps, self.total)


@dataclass(frozen=True, slots=True)
class _Task:
    """One conversation: its turns, its questions under any labels, and their reference answers."""

    turns: Sequence[NewTurn]
    questions: Sequence[str]
    answers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.turns) + len(self.questions) + len(self.answers)


def run_eval(
    dataset: str,
    path: Path | str,
    *,
    settings: Settings | None = None,
    embedder: Embedder | str | None = "",
    weights: Weights = DEFAULT,
    baselines: Sequence[str] = (),
    labels: Path | None = None,
    model: BaseChatModel | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Recall of evidence turns on a file or folder of "locomo", "beam" or "longmemeval", as JSON types.

    Each conversation gets a store of its own in a temporary folder. Of each of `methods`, agentmem and the `baselines`
    asked for ("dense", "bm25", "hybrid"), there are means over questions (`agentmem.evals.metrics` says of what) with
    95 % intervals (`agentmem.evals.intervals`): `recall`, `all_evidence`, `ndcg` and `tokens` of the first 5, 10 and 20
    turns, `mrr`, recall by category, and a `curve` of recall against tokens at every number of turns. `differences` has
    agentmem's less each baseline's, question by question. `ms_per_query` is without the query's embedding, which
    `ms_embedding` holds; the first query of each conversation, which builds its cache, is not counted.

    `labels` is a file of corrections to LoCoMo's labels (by default the one beside the conversations): what they make
    of the same rankings is in `corrected`. With a `model`, `answers` has the quality of its answers
    (`agentmem.evals.answers`). `embedder` is as for Memory (None: full text alone). Turns, questions and answers done,
    and of how many, go to `progress`. Raises InputError where there is no question under `path`.
    """
    found, settings = find_dataset(dataset), settings or Settings()
    cases = read_cases(found, Path(path))
    corrected = under_corrections(cases, dataset, Path(path), labels)
    _check(baselines, embedder)
    plan = _Plan(found, settings, _loaded(embedder, settings), weights, baselines, model)
    asked = list(_ask_all(plan, _by_label(cases, corrected), progress or _ignore))
    return {**_head(dataset, plan, asked), **section(cases, asked), "corrected": _corrected(corrected, asked)}


def _ignore(_done: int, _total: int) -> None:
    return


def _check(baselines: Sequence[str], embedder: Embedder | str | None) -> None:
    for name in baselines:
        if name not in BASELINES:
            raise InputError(f"no baseline {name!r}: one of {', '.join(BASELINES)}")
        if embedder is None and name != "bm25":
            raise InputError(f"the baseline {name} needs an embedder: give one, or compare with bm25 alone")


def _loaded(embedder: Embedder | str | None, settings: Settings) -> Embedder | None:
    """One embedder for all conversations, loaded before anything is timed."""
    if embedder is None or not isinstance(embedder, str):
        return embedder
    from agentmem.embed import load_embedder

    return load_embedder(embedder or settings.embedder, device=settings.embedder_device)


def _head(dataset: str, plan: _Plan, asked: Sequence[Mapping[str, Asked]]) -> dict[str, Any]:
    prompts = {"prompt": ANSWER_PROMPT, "judge_prompt": JUDGE_PROMPT}
    return {
        "dataset": dataset,
        "embedder": plan.embedder and plan.embedder.identity.name,
        "chunk_turns": plan.settings.chunk_turns,
        "weights": asdict(plan.weights),
        "answering": plan.model and {"model": label_of(plan.model), **prompts},
        "ms_embedding": percentiles([one.embedding_ms for some in asked for one in some.values()]),
    }


def _corrected(corrected: Corrected | None, asked: Sequence[Mapping[str, Asked]]) -> dict[str, Any] | None:
    if corrected is None:
        return None
    counts = {"file": str(corrected.file), "applied": corrected.applied, "unmatched": corrected.unmatched}
    return {**counts, **section(corrected.cases, asked)}


def _by_label(cases: Sequence[Case], corrected: Corrected | None) -> list[list[Case]]:
    """Each conversation under all its labels."""
    return [list(case) for case in zip(cases, *([corrected.cases] if corrected else []), strict=True)]


def _ask_all(plan: _Plan, labelled: Sequence[Sequence[Case]], report: Progress) -> Iterator[dict[str, Asked]]:
    """What was found for the questions of each conversation, by their text: each is asked once, whatever its labels."""
    with tempfile.TemporaryDirectory(prefix="agentmem-eval-") as folder:
        tasks = [_task(cases, Path(folder), plan.model is not None) for cases in labelled]
        steps = _Steps(report, sum(map(len, tasks)))
        for number, task in enumerate(tasks):
            yield _ask_case(plan, task, Path(folder) / f"{number}.db", steps)


def _task(cases: Sequence[Case], folder: Path, answering: bool) -> _Task:
    from agentmem.ingest import read_turns

    file = folder / "conversation.json"
    file.write_text(json.dumps(cases[0].content), encoding="utf-8")
    questions = [question for case in cases for question in case.questions]
    texts = list(dict.fromkeys(question.text for question in questions))
    return _Task(list(read_turns(file)), texts, references(questions) if answering else {})


def _ask_case(plan: _Plan, task: _Task, store: Path, steps: _Steps) -> dict[str, Asked]:
    from agentmem.memory import Memory

    with Memory(store, embedder=plan.embedder, settings=plan.settings, weights=plan.weights) as memory:
        memory.observe_many(task.turns, namespace=_NAMESPACE)
        if memory.embedder_state != "off":
            memory.flush(progress=steps.ahead)
        steps.add(len(task.turns))
        ask = _asker(plan, memory, task.questions)
        ask(task.questions[0])
        answerer = Answerer(plan.model, memory, _NAMESPACE) if plan.model is not None else None
        found = {}
        for question in task.questions:
            found[question] = ask(question)
            steps.add()
            if answerer is not None and question in task.answers:
                found[question].answers.update(answerer.answer(question, task.answers[question]))
                steps.add()
        return found


def _asker(plan: _Plan, memory: Memory, questions: Sequence[str]) -> Callable[[str], Asked]:
    if not plan.baselines:
        return partial(_ask, plan, memory, None, {})
    vectors = zip(questions, plan.embedder.encode(questions), strict=True) if plan.embedder is not None else ()
    return partial(_ask, plan, memory, Baselines(memory.backend, _NAMESPACE), dict(vectors))


def _ask(plan: _Plan, memory: Memory, plain: Baselines | None, vectors: Mapping[str, Any], question: str) -> Asked:
    recalled, embedding_ms = _recalled(plan, memory, question)
    found = {OURS: recalled}
    if plain is not None:
        for name in plan.baselines:
            found[name] = _searched(plan, partial(plain.search, name, question, vectors.get(question), DEPTH))
    return Asked(found, embedding_ms)


def _recalled(plan: _Plan, memory: Memory, question: str) -> tuple[Found, float]:
    """What `Memory.recall` found, and the milliseconds of the query's embedding."""
    started = time.perf_counter()
    recalled = memory.recall(question, namespace=_NAMESPACE, k=DEPTH, kinds=("turn",))
    elapsed = (time.perf_counter() - started) * 1000
    return _found(plan, recalled.items, recalled.milliseconds), elapsed - recalled.milliseconds


def _searched(plan: _Plan, search: Callable[[], Sequence[NewTurn]]) -> Found:
    started = time.perf_counter()
    turns = search()
    return _found(plan, turns, (time.perf_counter() - started) * 1000)


def _found(plan: _Plan, turns: Sequence[NewTurn | RecallItem], ms: float) -> Found:
    return Found([plan.dataset.key_of(turn) for turn in turns], [count_tokens(turn.text) for turn in turns], ms)
