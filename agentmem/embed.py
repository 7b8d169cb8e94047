"""Embedders: the bundled all-MiniLM-L6-v2 by default, any other sentence-transformers model by name or folder.

The bundled one runs in numpy on the CPU; on another device it turns to sentence-transformers for many texts, with the
same vectors. No model hub is ever asked.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentmem.errors import EmbedderError, first_line
from agentmem.interfaces import Embedder, EmbedderIdentity, Matrix
from agentmem.offline import go_offline, local_model

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["BundledEmbedder", "SentenceTransformersEmbedder", "bundled_identity", "load_embedder"]

BULK_TEXTS = 128
"""Texts from which it pays to use a device other than the CPU."""
_BATCH = 32
_BUNDLED = frozenset({"bundled", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})


def load_embedder(name: str = "bundled", device: str = "cpu") -> Embedder:
    """The embedder called `name`: "bundled", a sentence-transformers model on this machine, or a folder with one.

    `device` is torch's ("cpu", "cuda", "mps"). Raises EmbedderError where it cannot be loaded.
    """
    if name in _BUNDLED:
        return BundledEmbedder(device)
    return SentenceTransformersEmbedder(name, device)


def bundled_identity() -> EmbedderIdentity:
    """Identity of the bundled embedder, without loading it."""
    from agentmem.minilm import DIGEST, DIMENSION, NAME

    return EmbedderIdentity(NAME, DIMENSION, DIGEST)


class BundledEmbedder:
    """all-MiniLM-L6-v2 from its package in site-packages, its weights' digest checked at load."""

    def __init__(self, device: str = "cpu") -> None:
        from agentmem.minilm import MiniLM, model_folder

        self.identity = bundled_identity()
        self._device = device
        self._folder = model_folder()
        self._light = MiniLM(self._folder)
        self._bulk: SentenceTransformer | None = None
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), 384) float32, of each text's first 256 tokens."""
        if self._device == "cpu" or len(texts) < BULK_TEXTS:
            return self._light.encode(texts)
        with self._lock:
            if self._bulk is None:
                self._bulk = _sentence_transformer(str(self._folder), self._device)
        return _encode(self._bulk, texts)


class SentenceTransformersEmbedder:
    """A sentence-transformers model that is on this machine already: in the hub's cache, or in a folder."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        folder = _folder(name)
        digest = _weights_digest(folder)
        self._model = _sentence_transformer(str(folder), device)
        dimension = self._model.get_embedding_dimension()
        if not dimension:
            raise EmbedderError(f"embedder {name!r} does not say its dimension: choose a sentence embedding model")
        # A folder may move: only its own name is part of what the vectors are compared by.
        known_as = folder.resolve().name if Path(name).expanduser().is_dir() else name
        self.identity = EmbedderIdentity(known_as, dimension, digest)

    def encode(self, texts: Sequence[str]) -> Matrix:
        """Unit vectors, shape (len(texts), dimension) float32; text beyond the model's length is not read."""
        return _encode(self._model, texts)


def _encode(model: SentenceTransformer, texts: Sequence[str]) -> Matrix:
    import numpy as np

    from agentmem.minilm import clean

    if not texts:
        return np.zeros((0, model.get_embedding_dimension() or 0), np.float32)
    vectors: Any = model.encode(
        [clean(text) for text in texts],
        batch_size=_BATCH,
        show_progress_bar=False,
        convert_to_numpy=True,
        normalize_embeddings=True,
    )
    return np.ascontiguousarray(vectors, np.float32)


def _sentence_transformer(folder: str, device: str) -> SentenceTransformer:
    go_offline()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(folder, device=device, local_files_only=True)
    except Exception as error:  # whatever a model's files or a device may raise
        raise EmbedderError(f"embedder {folder!r} cannot be loaded on {device!r}: {first_line(error)}") from error


def _folder(name: str) -> Path:
    """Where the model's files are. Raises EmbedderError where they are not on this machine."""
    folder = local_model(name, "sentence-transformers")
    if folder is None:
        raise EmbedderError(
            f"embedder {name!r} is not on this machine, and agentmem downloads none: "
            "give a folder with the model, or set `embedder` to bundled"
        )
    return folder


def _weights_digest(folder: Path) -> str:
    """SHA-256 over the weight files in order of their names; of a single file, that file's own."""
    files = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.bin"))
    if not files:
        raise EmbedderError(f"no weights (*.safetensors, *.bin) in {folder}: it holds no embedding model")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
