"""From what was found to the figures: means over questions with their intervals, as JSON types."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentmem.evals.answers import CONTEXTS, Answered, exact, f1
from agentmem.evals.datasets import Case, Question
from agentmem.evals.intervals import DRAWS, LEVEL, SEED, interval, resampled
from agentmem.evals.metrics import CUTS, DEPTH, Values, measure

OURS = "agentmem"
AT_CUTS = ("recall", "all_evidence", "ndcg", "tokens")
"""The figures that are given for the first k turns."""
QUALITIES = ("f1", "exact", "right")
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Found:
    """One method's ranking for one question: the turns' keys and tokens, best first, and milliseconds."""

    keys: Sequence[str]
    tokens: Sequence[int]
    ms: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What each method found for one question, and the answers from each context."""

    found: Mapping[str, Found]
    embedding_ms: float
    answers: dict[str, Answered] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Row:
    """A question under one set of labels, the number of its conversation, and what was found."""

    question: Question
    conversation: int
    asked: Asked


def section(cases: Sequence[Case], asked: Sequence[Mapping[str, Asked]]) -> dict[str, Any]:
    """The figures under one set of labels; `asked` has what was found in each of the cases, by question."""
    rows = [
        _Row(question, number, found[question.text])
        for number, (case, found) in enumerate(zip(cases, asked, strict=True))
        for question in case.questions
    ]
    groups = [row.conversation for row in rows]
    names = list(rows[0].asked.found)
    marks = {name: _marks(rows, name) for name in names}
    return {
        "questions": len(rows),
        "conversations": len(set(groups)),
        "intervals": {"level": LEVEL, "resampled": resampled(groups), "draws": DRAWS, "seed": SEED},
        "methods": {name: _method(rows, name, marks[name], groups) for name in names},
        "differences": {
            name: _figures({figure: marks[OURS][figure] - marks[name][figure] for figure in marks[name]}, groups)
            for name in names[1:]
        },
        "answers": _answers(rows),
    }


def percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 99)}


def _marks(rows: Sequence[_Row], name: str) -> dict[str, Values]:
    """A method's figures for every question, each of shape (questions, DEPTH), `mrr` (questions, 1)."""
    found = [(row.asked.found[name], row.question.evidence) for row in rows]
    measured = [measure(one.keys, one.tokens, evidence) for one, evidence in found]
    return {figure: np.stack([one[figure] for one in measured]) for figure in measured[0]}


def _method(rows: Sequence[_Row], name: str, marks: Mapping[str, Values], groups: Sequence[int]) -> dict[str, Any]:
    return {
        **_figures(marks, groups),
        "ms_per_query": percentiles([row.asked.found[name].ms for row in rows]),
        "per_category": _per_category(rows, marks["recall"]),
        "curve": _curve(marks, groups),
    }


def _figures(marks: Mapping[str, Values], groups: Sequence[int]) -> dict[str, Any]:
    figures: dict[str, Any] = {name: _at_cuts(marks[name], groups) for name in AT_CUTS}
    return {**figures, "mrr": _bounds(marks["mrr"], groups)[0]}


def _at_cuts(values: Values, groups: Sequence[int]) -> dict[str, Any]:
    bounds = _bounds(values[:, [cut - 1 for cut in CUTS]], groups)
    return {str(cut): found for cut, found in zip(CUTS, bounds, strict=True)}


def _bounds(values: Values, groups: Sequence[int]) -> list[dict[str, float | None]]:
    """The means of the columns with their bounds, which are null where there are none."""
    found = interval(values, groups)
    columns = zip(found.mean, found.low, found.high, strict=True)
    return [dict(zip(("mean", "low", "high"), map(_rounded, column), strict=True)) for column in columns]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), _DIGITS)


def _per_category(rows: Sequence[_Row], recall: Values) -> dict[str, Any]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row.question.category].append(place)
    return {
        category: {
            "questions": len(some),
            "recall": _at_cuts(recall[some], [rows[place].conversation for place in some]),
        }
        for category, some in sorted(places.items())
    }


def _curve(marks: Mapping[str, Values], groups: Sequence[int]) -> list[dict[str, Any]]:
    """Recall against tokens, from the first turn to the first DEPTH."""
    tokens = marks["tokens"].mean(axis=0)
    recall = _bounds(marks["recall"], groups)
    return [{"k": k + 1, "tokens": _rounded(tokens[k]), "recall": recall[k]} for k in range(DEPTH)]


def _answers(rows: Sequence[_Row]) -> dict[str, Any] | None:
    """Quality by context, over the questions answered; agentmem's difference over those that both contexts answered."""
    rows = [row for row in rows if row.question.answer is not None and row.asked.answers]
    if not rows:
        return None
    marks = {context: np.array([_quality(row, context) for row in rows]) for context in CONTEXTS}
    groups = [row.conversation for row in rows]
    others = [context for context in CONTEXTS if context != OURS]
    return {
        "contexts": {context: _context(rows, context, marks[context], groups) for context in CONTEXTS},
        "differences": {other: _qualities(marks[OURS] - marks[other], groups) for other in others},
    }


def _quality(row: _Row, context: str) -> list[float]:
    """Of QUALITIES; NaN where there was no answer, or no verdict."""
    answered, reference = row.asked.answers[context], str(row.question.answer)
    if answered.error is not None:
        return [np.nan, np.nan, np.nan]
    right = answered.verdicts[reference].right
    marks = f1(answered.text, reference, row.question.category), float(exact(answered.text, reference))
    return [*marks, np.nan if right is None else float(right)]


def _qualities(marks: Values, groups: Sequence[int]) -> dict[str, Any]:
    return {name: _known(marks[:, [column]], groups) for column, name in enumerate(QUALITIES)}


def _known(values: Values, groups: Sequence[int]) -> dict[str, float | None]:
    known = np.flatnonzero(~np.isnan(values[:, 0]))
    if not len(known):
        return {"mean": None, "low": None, "high": None}
    return _bounds(values[known], [groups[place] for place in known])[0]


def _context(rows: Sequence[_Row], context: str, marks: Values, groups: Sequence[int]) -> dict[str, Any]:
    answers = [row.asked.answers[context] for row in rows]
    verdicts = [
        row.asked.answers[context].verdicts[str(row.question.answer)]
        for row in rows
        if row.asked.answers[context].error is None
    ]
    return {
        "asked": len(answers),
        "answered": len(verdicts),
        "unjudged": sum(verdict.right is None for verdict in verdicts),
        **_qualities(marks, groups),
        "tokens": round(float(np.mean([one.tokens for one in answers])), 1),
        "errors": dict(Counter(one.error for one in answers if one.error is not None)),
        "judge_errors": dict(Counter(verdict.error for verdict in verdicts if verdict.error is not None)),
    }
