from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentmem.errors import FormatError, InputError
from agentmem.evals import run_eval

LOCOMO: dict[str, Any] = {
    "sample_id": "made-up",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bo",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "I planted tulips by the shed."},
            {"speaker": "Bo", "dia_id": "D1:2", "text": "My boat leaks again.", "blip_caption": "a rowing boat"},
        ],
    },
    "qa": [
        {"question": "What did Ann plant?", "answer": "tulips", "evidence": ["D1:1"], "category": 4},
        {"question": "Whose rowing boats leaked?", "answer": "Bo's", "evidence": ["D1:2; D9:9"], "category": 1},
        {"question": "Which zeppelin?", "answer": "none", "evidence": ["D1:1"], "category": 5},
        {"question": "Who sings?", "answer": "nobody", "evidence": [], "category": 4},
    ],
}
BEAM_CHAT = [
    {
        "batch_number": 1,
        "turns": [
            [
                {"role": "user", "id": 0, "time_anchor": "March-15-2024", "content": "My sprint ends on Friday."},
                {"role": "assistant", "id": 1, "content": "Then plan the review for Thursday."},
            ]
        ],
    }
]
BEAM_QUESTIONS = {
    "abstention": [{"question": "Who paints?"}],
    "temporal_reasoning": [{"question": "When does my sprint end?", "source_chat_ids": {"first": [0], "second": [7]}}],
}
LONGMEMEVAL = [
    {
        "question_id": "q1",
        "question_type": "single-session-user",
        "question": "How many goats do I keep?",
        "answer": "three",
        "question_date": "2023/06/01 (Thu) 00:58",
        "haystack_dates": ["2023/05/25 (Thu) 20:21"],
        "haystack_session_ids": ["s1"],
        "haystack_sessions": [
            [
                {"role": "user", "content": "I keep three goats.", "has_answer": True},
                {"role": "assistant", "content": "Goats like company.", "has_answer": False},
            ]
        ],
        "answer_session_ids": ["s1"],
    }
]


def _write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _full_text(dataset: str, path: Path, **given: Any) -> dict[str, Any]:
    return run_eval(dataset, path, embedder=None, **given)


def test_locomo_counts_answerable_questions_with_evidence(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    result = _full_text("locomo", _write(tmp_path / "conv-1.json", LOCOMO), progress=lambda *step: steps.append(step))
    assert (result["dataset"], result["questions"]) == ("locomo", 2)
    assert result["recall"] == {"5": 1.0, "10": 1.0, "20": 1.0}
    assert {name: found["questions"] for name, found in result["per_category"].items()} == {
        "1 multi-hop": 1,
        "4 single-hop": 1,
    }
    assert set(result["ms_per_query"]) == {"p50", "p99"}
    assert steps == [(3, 4), (4, 4)]


def test_a_question_whose_evidence_is_not_found_counts_as_missed(tmp_path: Path) -> None:
    asked = {**LOCOMO, "qa": [LOCOMO["qa"][0], {**LOCOMO["qa"][0], "question": "Zeppelins?"}]}
    assert _full_text("locomo", _write(tmp_path / "conv-1.json", asked))["recall"]["10"] == 0.5


def test_a_folder_and_the_published_list_of_conversations(tmp_path: Path) -> None:
    _write(tmp_path / "conv-1.json", LOCOMO)
    _write(tmp_path / "conv-2.json", [LOCOMO, LOCOMO])
    _write(tmp_path / "audit_errors.json", [{"cited_evidence": []}])
    assert _full_text("locomo", tmp_path)["questions"] == 6


def test_beam_by_folder_or_file(tmp_path: Path) -> None:
    chat = _write(tmp_path / "3" / "chat.json", BEAM_CHAT)
    questions = _write(tmp_path / "3" / "probing_questions.json", BEAM_QUESTIONS)
    for path in (tmp_path, chat, questions):
        result = _full_text("beam", path)
        assert (result["questions"], result["recall"]["5"]) == (1, 1.0)


def test_longmemeval_gives_each_question_its_own_haystack(tmp_path: Path) -> None:
    result = _full_text("longmemeval", _write(tmp_path / "sample.json", LONGMEMEVAL * 2))
    assert (result["questions"], result["recall"]["5"]) == (2, 1.0)
    assert list(result["per_category"]) == ["single-session-user"]


@pytest.mark.parametrize(
    ("dataset", "content", "error", "says"),
    [
        ("locomo", [], InputError, "no locomo question"),
        ("locomo", {"conversation": {}, "qa": [{"question": "?"}]}, InputError, "no locomo question"),
        ("locomo", {"conversation": {"session_1": [{}]}, "qa": []}, FormatError, "not locomo as published"),
        ("longmemeval", [{"question": "?"}], FormatError, "not longmemeval as published"),
        ("nonsense", [], InputError, "one of locomo, beam, longmemeval"),
    ],
)
def test_what_is_no_dataset_is_one_clear_error(
    tmp_path: Path, dataset: str, content: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        _full_text(dataset, _write(tmp_path / "file.json", content))


def test_broken_json_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "conv.json").write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match=r"conv\.json"):
        _full_text("locomo", tmp_path)


def test_full_text_alone_finds_most_of_locomos_evidence(shared_data: Path) -> None:
    result = _full_text("locomo", shared_data / "locomo" / "conv-26.json")
    assert result["questions"] == 150
    assert result["recall"]["10"] >= 0.7
