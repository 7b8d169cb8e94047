"""LoCoMo under corrected labels: which questions a correction belongs to, and what it makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentmem.errors import FormatError, InputError
from agentmem.evals import run_eval
from agentmem.evals.datasets import find_dataset, read_cases
from agentmem.evals.labels import correct, find_corrections

SESSION = [
    {"speaker": "Ann", "dia_id": "D1:1", "text": "I planted tulips by the shed."},
    {"speaker": "Bo", "dia_id": "D1:2", "text": "My boat leaks again."},
    {"speaker": "Ann", "dia_id": "D1:3", "text": "Herons nest at the lake."},
]


def _conversation(*questions: dict[str, Any]) -> dict[str, Any]:
    asked = [{"category": 4, "answer": "?", **question} for question in questions]
    said = {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_1": SESSION}
    return {"sample_id": "made-up", "conversation": said, "qa": asked}


TULIPS = {"question": "What did Ann plant?", "evidence": ["D1:2"], "answer": "roses"}
HERONS = {"question": "Where do herons nest?", "evidence": ["D1:3"], "answer": "at the lake"}


def _correction(question: dict[str, Any], *evidence: str, **more: Any) -> dict[str, Any]:
    return {
        "question_id": "locomo_7_qa99",
        "question": question["question"],
        "cited_evidence": question["evidence"],
        "correct_evidence": list(evidence),
        **more,
    }


def _write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _measured(folder: Path, **given: Any) -> dict[str, Any]:
    return run_eval("locomo", folder, embedder=None, **given)


def test_the_same_rankings_are_measured_under_both_labels(tmp_path: Path) -> None:
    _write(tmp_path / "conv-1.json", _conversation(TULIPS, HERONS))
    _write(tmp_path / "audit_errors.json", [_correction(TULIPS, "D1:1")])
    result = _measured(tmp_path)
    corrected = result["corrected"]
    assert (corrected["applied"], corrected["unmatched"], corrected["questions"]) == (1, 0, 2)
    assert corrected["file"] == str(tmp_path / "audit_errors.json")
    assert result["methods"]["agentmem"]["mrr"]["mean"] < 1
    assert corrected["methods"]["agentmem"]["mrr"]["mean"] == 1


def test_corrections_beside_one_file_or_given_by_name_are_found(tmp_path: Path) -> None:
    conversation = _write(tmp_path / "conv-1.json", _conversation(TULIPS))
    assert _measured(conversation)["corrected"] is None
    elsewhere = _write(tmp_path / "mine.json", [_correction(TULIPS, "D1:1")])
    assert _measured(conversation, labels=elsewhere)["corrected"]["applied"] == 1
    beside = _write(tmp_path / "audit_errors.json", [])
    assert find_corrections("locomo", conversation, None) == beside
    assert find_corrections("locomo", conversation, elsewhere) == elsewhere
    assert find_corrections("beam", tmp_path, None) is None


def test_a_correction_belongs_to_the_question_that_says_and_cites_the_same(tmp_path: Path) -> None:
    """Whatever its number says: here may be a part of the conversations, in another order."""
    again = {**TULIPS, "evidence": ["D1:3"]}
    first = _write(tmp_path / "a.json", [_conversation(HERONS, again), _conversation(TULIPS)])
    file = _write(tmp_path / "labels.json", [_correction(TULIPS, "D1:1") | {"question": " what did  ANN plant? "}])
    corrected = correct(read_cases(find_dataset("locomo"), first), file)
    evidence = [sorted(question.evidence) for case in corrected.cases for question in case.questions]
    assert evidence == [["D1:3"], ["D1:3"], ["D1:1"]]
    assert (corrected.applied, corrected.unmatched) == (1, 0)


def test_a_corrected_answer_takes_the_answers_place(tmp_path: Path) -> None:
    path = _write(tmp_path / "conv-1.json", _conversation(TULIPS, HERONS))
    file = _write(tmp_path / "labels.json", [_correction(TULIPS, "D1:1", correct_answer="tulips")])
    questions = correct(read_cases(find_dataset("locomo"), path), file).cases[0].questions
    assert [question.answer for question in questions] == ["tulips", "at the lake"]


def test_a_question_left_without_evidence_is_left_out_of_the_corrected_figures(tmp_path: Path) -> None:
    _write(tmp_path / "conv-1.json", _conversation(TULIPS, HERONS))
    _write(tmp_path / "audit_errors.json", [_correction(TULIPS)])
    result = _measured(tmp_path)
    assert (result["questions"], result["corrected"]["questions"]) == (2, 1)


def test_a_question_that_cites_nothing_said_counts_once_it_is_corrected(tmp_path: Path) -> None:
    lost = {**TULIPS, "evidence": ["D9:9"]}
    _write(tmp_path / "conv-1.json", _conversation(lost, HERONS))
    _write(tmp_path / "audit_errors.json", [_correction(lost, "D1:1")])
    result = _measured(tmp_path)
    assert (result["questions"], result["corrected"]["questions"]) == (1, 2)


def test_corrections_for_conversations_that_are_not_here_are_counted(tmp_path: Path) -> None:
    _write(tmp_path / "conv-1.json", _conversation(TULIPS))
    _write(tmp_path / "audit_errors.json", [_correction(TULIPS, "D1:1"), _correction(HERONS, "D1:1")])
    corrected = _measured(tmp_path)["corrected"]
    assert (corrected["applied"], corrected["unmatched"]) == (1, 1)


def test_a_file_beside_that_has_nothing_for_what_is_here_changes_nothing(tmp_path: Path) -> None:
    path = _write(tmp_path / "conv-1.json", _conversation(TULIPS))
    _write(tmp_path / "audit_errors.json", [_correction(HERONS, "D1:1")])
    assert _measured(path)["corrected"] is None


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ([], InputError, "none of the corrections in"),
        ([_correction(HERONS, "D1:1")], InputError, "none of the corrections in"),
        ([{"question": "Who?"}], FormatError, "each with question, cited_evidence and correct_evidence"),
        ({"a": 1}, FormatError, "expected a list of corrections"),
        ([_correction(TULIPS) | {"correct_evidence": None}], FormatError, "expected a list of corrections"),
    ],
)
def test_what_corrects_nothing_is_one_clear_error(
    tmp_path: Path, content: Any, error: type[Exception], says: str
) -> None:
    path = _write(tmp_path / "conv-1.json", _conversation(TULIPS))
    with pytest.raises(error, match=says):
        _measured(path, labels=_write(tmp_path / "labels.json", content))


def test_labels_for_another_dataset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="corrected labels are for locomo"):
        find_corrections("beam", tmp_path, tmp_path / "labels.json")


def test_the_published_corrections_all_belong_to_a_question(shared_data: Path) -> None:
    folder = shared_data / "locomo"
    cases = read_cases(find_dataset("locomo"), folder)
    corrected = correct(cases, folder / "audit_errors.json")
    assert (corrected.applied, corrected.unmatched) == (85, 0)
    one = correct(read_cases(find_dataset("locomo"), folder / "conv-30.json"), folder / "audit_errors.json")
    assert (one.applied, one.unmatched) == (7, 78)
    first = [case.questions[1] for case in (cases[0], corrected.cases[0])]
    assert [sorted(question.evidence) for question in first] == [["D1:12"], ["D1:14"]]
