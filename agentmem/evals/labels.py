"""LoCoMo's labels, corrected: the published errors put right (`errors.json` of github.com/dial481/locomo-audit).

A correction names its question by "locomo_3_qa17", an index into all ten conversations. Part of them may be what is
here, so corrections are matched by what the question says and which turns it cites, within any conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentmem.errors import FormatError, InputError
from agentmem.evals.datasets import DIA_ID, Case, load_json, locomo_questions

BESIDE = "audit_errors.json"
"""The file's name beside the conversations."""
_Key = tuple[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Conversations under corrected labels; how many of the corrections were `applied`, and how many belong to no
    question here (`unmatched`)."""

    file: Path
    cases: Sequence[Case]
    applied: int
    unmatched: int


def find_corrections(dataset: str, path: Path, given: Path | None) -> Path | None:
    """The file given, else the one beside LoCoMo's conversations, else None. Raises InputError for another dataset."""
    if dataset != "locomo":
        if given is not None:
            raise InputError(f"corrected labels are for locomo; there are none for {dataset}: leave out --labels")
        return None
    beside = (path if path.is_dir() else path.parent) / BESIDE
    return given or (beside if beside.is_file() else None)


def under_corrections(cases: Sequence[Case], dataset: str, path: Path, given: Path | None) -> Corrected | None:
    """The conversations under `path` with their labels corrected; None where there are no corrections for them.

    Raises InputError where the file given has none.
    """
    file = find_corrections(dataset, path, given)
    corrected = correct(cases, file) if file is not None else None
    if corrected is None or corrected.applied:
        return corrected
    if given is not None:
        raise InputError(f"none of the corrections in {given} belongs to a question here: is it for other ones?")
    return None


def correct(cases: Sequence[Case], file: Path) -> Corrected:
    """The conversations with the corrections in `file` made. Raises FormatError for another shape."""
    known = _corrections(file)
    used: set[_Key] = set()
    corrected = [_corrected(case, known, used) for case in cases]
    return Corrected(file, corrected, len(used), len(known.keys() - used))


def _corrections(file: Path) -> dict[_Key, Mapping[str, Any]]:
    entries = load_json(file)
    try:
        return {_key(entry["question"], entry["cited_evidence"]): _checked(entry) for entry in entries}
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{file}: expected a list of corrections, each with question, cited_evidence and correct_evidence "
            f"({type(error).__name__}: {error})"
        ) from error


def _checked(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What takes the place of a question's own: its evidence, and its answer where that is corrected too."""
    answer = entry.get("correct_answer")
    kept = {"evidence": sorted(_ids(entry["correct_evidence"]))}
    return kept if answer is None else {**kept, "answer": str(answer)}


def _corrected(case: Case, known: Mapping[_Key, Mapping[str, Any]], used: set[_Key]) -> Case:
    asked = []
    for question in case.content["qa"]:
        key = _key(str(question["question"]), question.get("evidence") or [])
        if key in known:
            used.add(key)
        asked.append({**question, **known.get(key, {})})
    return replace(case, questions=tuple(locomo_questions({**case.content, "qa": asked})))


def _key(question: str, cited: Iterable[str]) -> _Key:
    return re.sub(r"\s+", " ", question).strip().casefold(), _ids(cited)


def _ids(cited: Iterable[str]) -> frozenset[str]:
    return frozenset(DIA_ID.findall(" ".join(cited)))
