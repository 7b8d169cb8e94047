"""The labelled questions of LoCoMo, BEAM and LongMemEval, each with the turns that hold its evidence.

Questions without evidence in the conversation are left out, and so is LoCoMo's category 5 (adversarial: unanswerable).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentmem.errors import FormatError, InputError
from agentmem.types import NewTurn, RecallItem

DIA_ID = re.compile(r"D\d+:\d+")
_ADVERSARIAL = 5
_BEAM_ANSWERS = ("answer", "ideal_answer", "ideal_response", "ideal_summary")
_LOCOMO_KINDS = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its category, and the keys (see `Dataset.key`) of the turns that hold its evidence.

    `answer` is the reference answer, None where the dataset judges by other means (BEAM's instructions, preferences).
    """

    text: str
    category: str
    evidence: frozenset[str]
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation with its questions; `content` is what a file of this conversation alone would hold."""

    name: str
    content: Any
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """How to read a dataset: its cases under a path, and the key by which a turn is known to its questions."""

    name: str
    cases: Callable[[Path], Iterator[Case]]
    key: Callable[[Mapping[str, Any], str], str]
    """Of a turn's metadata and its text."""

    def key_of(self, turn: NewTurn | RecallItem) -> str:
        return self.key(turn.metadata if isinstance(turn, NewTurn) else turn.source, turn.text)


def read_cases(dataset: Dataset, path: Path) -> list[Case]:
    """The conversations under `path` that have questions. Raises FormatError for another shape than the published one,
    InputError where there is no question."""
    try:
        cases = [case for case in dataset.cases(path) if case.questions]
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not {dataset.name} as published ({type(error).__name__}: {error})") from error
    if not cases:
        raise InputError(f"no {dataset.name} question with evidence in {path}: give a file or folder of the dataset")
    return cases


def find_dataset(name: str) -> Dataset:
    """The dataset called `name`; raises InputError for another name."""
    if name not in _DATASETS:
        raise InputError(f"no dataset {name!r}: one of {', '.join(DATASETS)}")
    return _DATASETS[name]


def _locomo(path: Path) -> Iterator[Case]:
    for file in _files(path, "*.json"):
        content = load_json(file)
        for conversation in content if isinstance(content, list) else [content]:
            if isinstance(conversation, dict) and "qa" in conversation and "conversation" in conversation:
                questions = tuple(locomo_questions(conversation))
                yield Case(conversation.get("sample_id", file.stem), conversation, questions)


def locomo_questions(conversation: dict[str, Any]) -> Iterator[Question]:
    """The answerable questions of a conversation as published that cite at least one turn of it."""
    said = {t["dia_id"] for turns in conversation["conversation"].values() if isinstance(turns, list) for t in turns}
    for asked in conversation["qa"]:
        evidence = said & set(DIA_ID.findall(" ".join(asked.get("evidence") or [])))
        if evidence and asked["category"] != _ADVERSARIAL:
            category = f"{asked['category']} {_LOCOMO_KINDS[asked['category']]}"
            yield Question(str(asked["question"]), category, frozenset(evidence), _text(asked.get("answer")))


def _beam(path: Path) -> Iterator[Case]:
    for file in _files(path, "**/probing_questions.json"):
        chat = file.with_name("chat.json")
        content = load_json(chat)
        said = {str(t["id"]) for batch in content for turns in batch["turns"] for t in turns}
        yield Case(f"beam-{file.parent.name}", content, tuple(_beam_questions(load_json(file), said)))


def _beam_questions(kinds: dict[str, list[dict[str, Any]]], said: set[str]) -> Iterator[Question]:
    for category, questions in kinds.items():
        for asked in questions:
            evidence = said & set(_leaves(asked.get("source_chat_ids")))
            if evidence:
                answer = next((_text(asked[name]) for name in _BEAM_ANSWERS if asked.get(name)), None)
                yield Question(asked["question"], category, frozenset(evidence), answer)


def _leaves(value: Any) -> Iterator[str]:
    """All ids in nested lists and objects."""
    if isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    elif value is not None:
        yield str(value)


def _longmemeval(path: Path) -> Iterator[Case]:
    for file in _files(path, "*.json"):
        for instance in load_json(file):
            turns = (turn for session in instance["haystack_sessions"] for turn in session)
            evidence = frozenset(turn["content"].strip() for turn in turns if turn.get("has_answer"))
            answer = _text(instance.get("answer"))
            asked = Question(instance["question"], instance["question_type"], evidence, answer)
            yield Case(instance["question_id"], [instance], (asked,) if evidence else ())


def _files(path: Path, pattern: str) -> list[Path]:
    """The file itself, or the files under a folder, numbers in their names in numeric order."""
    if path.is_file():
        return [path.with_name("probing_questions.json") if path.name == "chat.json" else path]
    return sorted(path.glob(pattern), key=lambda file: [int(n) for n in re.findall(r"\d+", str(file))])


def _text(answer: Any) -> str | None:
    return None if answer is None else str(answer)


def load_json(file: Path) -> Any:
    """Raises FormatError, with the file's name, where it cannot be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file}: cannot be read as JSON: {error}") from error


_DATASETS = {
    "locomo": Dataset("locomo", _locomo, lambda source, _text: str(source.get("dia_id"))),
    "beam": Dataset("beam", _beam, lambda source, _text: str(source.get("message_id"))),
    "longmemeval": Dataset("longmemeval", _longmemeval, lambda _source, text: text.strip()),
}
DATASETS = tuple(_DATASETS)
