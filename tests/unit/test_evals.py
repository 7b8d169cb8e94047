from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from agentmem.config import Settings
from agentmem.errors import FormatError, InputError
from agentmem.evals import run_eval
from agentmem.evals.baselines import Baselines
from agentmem.fusion import Weights
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory
from agentmem.types import Turn

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


def _recall(result: dict[str, Any], cut: str, method: str = "agentmem") -> float:
    return float(result["methods"][method]["recall"][cut]["mean"])


def test_locomo_counts_answerable_questions_with_evidence(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    result = _full_text("locomo", _write(tmp_path / "conv-1.json", LOCOMO), progress=lambda *step: steps.append(step))
    assert (result["dataset"], result["questions"]) == ("locomo", 2)
    ours = result["methods"]["agentmem"]
    assert {cut: found["mean"] for cut, found in ours["recall"].items()} == {"5": 1.0, "10": 1.0, "20": 1.0}
    assert {name: found["questions"] for name, found in ours["per_category"].items()} == {
        "1 multi-hop": 1,
        "4 single-hop": 1,
    }
    assert set(ours["ms_per_query"]) == set(result["ms_embedding"]) == {"p50", "p99"}
    assert steps == [(2, 4), (3, 4), (4, 4)]


def test_a_question_whose_evidence_is_not_found_counts_as_missed(tmp_path: Path) -> None:
    asked = {**LOCOMO, "qa": [LOCOMO["qa"][0], {**LOCOMO["qa"][0], "question": "Zeppelins?"}]}
    assert _recall(_full_text("locomo", _write(tmp_path / "conv-1.json", asked)), "10") == 0.5


def test_a_folder_and_the_published_list_of_conversations(tmp_path: Path) -> None:
    _write(tmp_path / "conv-1.json", LOCOMO)
    _write(tmp_path / "conv-2.json", [LOCOMO, LOCOMO])
    _write(tmp_path / "notes.json", [{"cited_evidence": []}])
    assert _full_text("locomo", tmp_path)["questions"] == 6


def test_beam_by_folder_or_file(tmp_path: Path) -> None:
    chat = _write(tmp_path / "3" / "chat.json", BEAM_CHAT)
    questions = _write(tmp_path / "3" / "probing_questions.json", BEAM_QUESTIONS)
    for path in (tmp_path, chat, questions):
        result = _full_text("beam", path)
        assert (result["questions"], _recall(result, "5")) == (1, 1.0)


def test_longmemeval_gives_each_question_its_own_haystack(tmp_path: Path) -> None:
    result = _full_text("longmemeval", _write(tmp_path / "sample.json", LONGMEMEVAL * 2))
    assert (result["questions"], _recall(result, "5")) == (2, 1.0)
    assert list(result["methods"]["agentmem"]["per_category"]) == ["single-session-user"]


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
    assert _recall(result, "10") >= 0.7


# -- baselines --------------------------------------------------------------------------------------------------


class AxesEmbedder:
    """Texts as points in the plane by the words they hold: cosines that can be reckoned by hand."""

    identity = EmbedderIdentity("axes", 2, "axes")
    points: ClassVar = {"heron": (1.0, 0.0), "otter": (0.0, 1.0), "river": (0.6, 0.8)}

    def encode(self, texts: Sequence[str]) -> Matrix:
        found = [next((p for word, p in self.points.items() if word in text), (-1.0, 0.0)) for text in texts]
        return np.array(found, dtype=np.float32)


SAID = ["The otter slept.", "A heron, said Ann.", "By the river.", "Nothing, nothing."]


@pytest.fixture
def plain() -> Iterator[Baselines]:
    with Memory("memory:", embedder=AxesEmbedder(), settings=Settings()) as memory:
        for text in SAID:
            memory.observe("user", text, namespace=("eval",))
        memory.flush()
        yield Baselines(memory.backend, ("eval",))


def _places(turns: Sequence[Turn]) -> list[int]:
    return [SAID.index(turn.text) for turn in turns]


def test_dense_ranks_by_the_cosine_alone(plain: Baselines) -> None:
    vector = AxesEmbedder().encode(["heron"])[0]
    assert _places(plain.search("dense", "Who slept?", vector, 4)) == [1, 2, 0, 3]
    assert _places(plain.search("dense", "Who slept?", vector, 2)) == [1, 2]


def test_bm25_finds_by_stems_and_nothing_that_shares_none(plain: Baselines) -> None:
    vector = AxesEmbedder().encode(["heron"])[0]
    assert _places(plain.search("bm25", "Otters in rivers", vector, 4)) == [2, 0]  # of two, the shorter turn first
    assert plain.search("bm25", "zeppelin", None, 4) == []


def test_hybrid_is_the_sum_of_z_scores(plain: Baselines) -> None:
    vector = AxesEmbedder().encode(["river"])[0]
    # Cosines 0.8, 0.6, 1.0, -0.6, and BM25 for the first turn alone: it passes the nearest.
    assert _places(plain.search("hybrid", "slept", vector, 4)) == [0, 2, 1, 3]
    assert _places(plain.search("hybrid", "zeppelin", vector, 4)) == [2, 0, 1, 3]


def test_baselines_are_measured_beside_ours_and_the_difference_is_paired(tmp_path: Path) -> None:
    path = _write(tmp_path / "conv-1.json", LOCOMO)
    result = run_eval("locomo", path, embedder=AxesEmbedder(), baselines=("dense", "bm25", "hybrid"))
    assert list(result["methods"]) == ["agentmem", "dense", "bm25", "hybrid"]
    assert list(result["differences"]) == ["dense", "bm25", "hybrid"]
    for name, difference in result["differences"].items():
        assert difference["mrr"]["mean"] == pytest.approx(
            result["methods"]["agentmem"]["mrr"]["mean"] - result["methods"][name]["mrr"]["mean"]
        )


@pytest.mark.parametrize(
    ("name", "says"), [("dense", "dense needs an embedder"), ("hybrid", "needs an embedder"), ("tf", "one of dense")]
)
def test_a_baseline_that_cannot_be_is_refused_before_any_work(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        _full_text("locomo", _write(tmp_path / "conv-1.json", LOCOMO), baselines=(name,))


def test_the_stemmed_bm25_baseline_gives_the_figures_of_the_log(shared_data: Path) -> None:
    result = _full_text("locomo", shared_data / "locomo", baselines=("bm25",))
    assert [_recall(result, cut, "bm25") for cut in ("5", "10", "20")] == pytest.approx([0.54, 0.62, 0.69], abs=0.006)


# -- weights ----------------------------------------------------------------------------------------------------


def test_weights_given_are_the_ones_measured(tmp_path: Path) -> None:
    path = _write(tmp_path / "conv-1.json", LOCOMO)
    nothing = dict.fromkeys((field.name for field in fields(Weights)), 0.0)
    first = Weights(**{**nothing, "asker": 1.0})
    assert _recall(_full_text("locomo", path, weights=first), "5") == 0
    result = _full_text("locomo", path)
    assert _recall(result, "5") == 1
    assert result["weights"] == asdict(Weights())
