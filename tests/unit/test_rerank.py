"""The reranker on a real cross-encoder, tiny and made here: loaded by path, blended, explained, never in the way."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from agentmem import doctor, minilm
from agentmem.config import Settings
from agentmem.errors import SettingsError
from agentmem.memory import Memory
from agentmem.rerank import NAME, CrossEncoder, Reranker, blend
from agentmem.types import RecallItem, Recollection, Signal

NS = ("tests", "rerank")
TEXTS = [
    "I drank green tea at the lake",
    "The tea house by the lake is closed",
    "Green is the colour of the boat",
    "No tea for me, thank you",
    "We sailed over the lake in a green boat with tea",
    "The lake",
]
QUERY = "green tea at the lake"


def _make(folder: Path, *, labels: int = 1) -> Path:
    """A cross-encoder of a few thousand parameters, random but the same each time."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = sorted({word for text in [*TEXTS, QUERY, "Ann : doctor"] for word in text.lower().replace(",", "").split()})
    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)  # type: ignore[no-untyped-call]
    torch.manual_seed(1)
    config = BertConfig(  # type: ignore[call-arg]  # num_labels is a property of its base
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make(tmp_path_factory.mktemp("tiny-cross-encoder"))


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    store = tmp_path / "memory.db"
    with Memory(store, embedder=None) as memory:
        for number, text in enumerate(TEXTS):
            memory.observe("user", text, namespace=NS, session=str(number), speaker="Ann")
    return store


def _recall(store: Path, reranker: Path | str | None, **how: Any) -> Recollection:
    settings = Settings(reranker=None if reranker is None else str(reranker), rerank_items=how.pop("rerank_items", 30))
    with Memory(store, embedder=None, settings=settings) as memory:
        return memory.recall(QUERY, namespace=NS, **how)


def test_the_order_is_that_of_both_voices(folder: Path, filled: Path) -> None:
    from sentence_transformers import CrossEncoder as Reference
    from torch.nn import Identity

    before, after = _recall(filled, None).items, _recall(filled, folder).items
    pairs = [(QUERY, f"Ann: {item.text}") for item in before]
    read = np.asarray(Reference(str(folder), device="cpu").predict(pairs, activation_fn=Identity()))
    assert read.std() > 0.01
    spread = np.std([item.score for item in before])
    expected = {
        item.id: item.score + spread * (r - read.mean()) / read.std() for item, r in zip(before, read, strict=True)
    }
    assert [item.id for item in after] == sorted(expected, key=lambda i: -expected[i]) != [item.id for item in before]
    scores = dict(zip([item.id for item in before], read.tolist(), strict=True))
    for item in after:
        assert item.score == pytest.approx(expected[item.id], abs=1e-4)
        assert sum(signal.contribution for signal in item.signals) == pytest.approx(item.score, abs=1e-4)
        assert item.signals[-1].name == NAME
        assert item.measures[NAME] == pytest.approx(scores[item.id], abs=1e-5)


def test_only_the_best_candidates_are_read(folder: Path, filled: Path) -> None:
    before, after = _recall(filled, None).items, _recall(filled, folder, rerank_items=3, k=2).items
    assert len(after) == 2
    assert {item.id for item in after} < {item.id for item in before[:3]}
    every = _recall(filled, folder, rerank_items=3, k=99).items
    assert {item.id for item in every} == {item.id for item in before}


def test_the_budget_is_kept(folder: Path, filled: Path) -> None:
    first, *_ = every = _recall(filled, folder, k=99).items
    short = min(every, key=lambda item: len(item.text))
    assert [item.id for item in _recall(filled, folder, budget=len(short.text) // 4 + 1).items] == [short.id]
    assert _recall(filled, folder, budget=len(first.text) // 4 + 1).items[0].id == first.id


def test_long_and_odd_texts_are_read(folder: Path) -> None:
    scores = CrossEncoder(str(folder)).scores("tea \ud800", ["", "tea " * 100_000, "\0\udfff", "tea"])
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()


def test_threads_may_share_it(folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    encoder = CrossEncoder(str(folder))
    expected = encoder.scores(QUERY, TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: encoder.scores(QUERY, TEXTS), range(20)):
            assert np.allclose(found, expected, atol=1e-5)


def test_what_is_no_cross_encoder_is_an_error_that_names_the_way_out(
    tmp_path: Path, folder: Path, filled: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((folder / "config.json").read_text())
    two = _make(tmp_path / "two", labels=2)
    cases: list[tuple[Path | str, str]] = [
        ("/nowhere/model", "not on this machine, and agentmem downloads none.*or unset `reranker`"),
        (minilm.model_folder(), "holds no cross-encoder: give `reranker` a folder with one"),
        (tmp_path, "holds no cross-encoder"),
        (broken, "cannot be loaded on 'cpu'"),
        (two, "tells 2 classes apart"),
    ]
    for reranker, message in cases:
        with pytest.raises(SettingsError, match=message) as raised:
            _recall(filled, reranker)
        assert "\n" not in str(raised.value)


def test_who_does_not_wait_gets_the_order_without_it(folder: Path, filled: Path) -> None:
    order = _recall(filled, None).items
    loading = Event()

    def load() -> CrossEncoder:
        assert loading.wait(60)
        return CrossEncoder(str(folder))

    reranker = Reranker(load)
    assert reranker.ordered(QUERY, order, wait=0) == reranker.ordered(QUERY, order, wait=0.01) == list(order)
    loading.set()
    assert reranker.ordered(QUERY, order, wait=60) != list(order)


def test_a_reranker_that_cannot_be_loaded_keeps_nobody_from_an_answer(
    filled: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = [item.id for item in _recall(filled, None).items]
    with caplog.at_level(logging.WARNING, "agentmem"):
        assert [item.id for item in _recall(filled, "/nowhere/model", wait=60).items] == order
    assert "goes on without its reranker: reranker '/nowhere/model' is not on this machine" in caplog.text


def test_failing_over_a_text_loses_nothing(folder: Path, filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = [replace(item, text=item.text + " lake" * 100) for item in _recall(filled, None).items]
    encoder = CrossEncoder(str(folder))
    encoder._model.max_seq_length = 10_000  # longer than it has positions for
    with caplog.at_level(logging.WARNING, "agentmem"):
        assert Reranker(lambda: encoder).ordered(QUERY, items, None) == items
    assert "the reranker failed (RuntimeError)" in caplog.text
    assert "lake" not in caplog.text


def _item(number: int, score: float) -> RecallItem:
    signals = (Signal("words", score, 1.0),)
    return RecallItem(str(number), "turn", "", score, datetime(2024, 1, 1, tzinfo=UTC), {}, "", signals)


def test_scores_that_are_no_numbers_or_all_alike_change_nothing() -> None:
    items = [_item(0, 3.0), _item(1, 2.0), _item(2, 0.5)]
    for scores in ([np.nan, 1, 2], [1, 2], [[1, 2, 3]]):
        assert blend(items, np.array(scores, np.float32)) == items
    same = blend(items, np.full(3, 7, np.float32))
    assert [replace(i, signals=i.signals[:1], measures={}) for i in same] == items
    even = [_item(n, 1.0) for n in range(3)]
    assert [item.id for item in blend(even, np.array([1, 3, 2], np.float32))] == ["1", "2", "0"]


def test_nothing_heavy_is_loaded_without_one(filled: Path) -> None:
    code = (
        "import sys; from agentmem import Memory;"
        f"Memory({str(filled)!r}, embedder=None).recall('tea', namespace={NS!r});"
        "sys.exit(bool({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_doctor_tries_it(folder: Path, tmp_path: Path) -> None:
    def found(reranker: Path | None) -> list[str]:
        given = {"store": str(tmp_path / "none.db"), "reranker": None if reranker is None else str(reranker)}
        return [f"{f.state} {f.detail}" for f in doctor.examine(given) if f.name == "reranker"]

    assert found(None) == []
    assert found(folder) == [f"ok {folder}, orders the best 30"]
    assert found(tmp_path)[0].startswith(f"fault {tmp_path} holds no cross-encoder")
