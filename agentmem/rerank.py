"""The optional reranker: a cross-encoder reads the query together with each of the best candidates, and what it finds
joins the other signals.

It joins them and does not replace them: it sees one text at a time, and knows nothing of the question that a turn
answered, of its session, or of who is meant. Cross-encoders score on scales of their own, so the scores (logits) of one
recall's candidates are standardised, and weigh as much as the spread of what was fused: two voices of equal strength.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentmem.errors import SettingsError, first_line
from agentmem.offline import go_offline, local_model
from agentmem.types import RecallItem, Signal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import CrossEncoder as Model

NAME = "reranker"
"""Of the signal and of the measure, which is the cross-encoder's own score."""
_BATCH = 32
_LONGEST = 20_000
"""Characters of a text that are handed over: no model in use reads more of one."""
_log = logging.getLogger(__name__)


class CrossEncoder:
    """A sentence-transformers CrossEncoder that is on this machine already: in the hub's cache, or in a folder.

    `device` is torch's ("cpu", "cuda", "mps"). Raises SettingsError where it cannot be loaded, or is something else.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        folder = local_model(name, "cross-encoder")
        if folder is None:
            raise SettingsError(
                f"reranker {name!r} is not on this machine, and agentmem downloads none: "
                "give a folder with a cross-encoder, or unset `reranker`"
            )
        _check_kind(folder)
        self._model = _load(folder, device)
        self._lock = threading.Lock()  # a tokenizer that cuts its texts cannot be shared by threads

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """How well each text answers the query, as logits of the model's own scale, shape (len(texts),)."""
        import numpy as np
        from torch.nn import Identity

        from agentmem.minilm import clean

        pairs = [(clean(query)[:_LONGEST], clean(text)[:_LONGEST]) for text in texts]
        with self._lock:
            found: Any = self._model.predict(
                pairs, batch_size=_BATCH, show_progress_bar=False, activation_fn=Identity(), convert_to_numpy=True
            )
        return np.asarray(found, np.float32)


def _check_kind(folder: Path) -> None:
    """Another model would be given a new head with random weights, and its scores would be noise."""
    saved = [_json(folder / file) for file in ("config.json", "config_sentence_transformers.json")]
    heads = saved[0].get("architectures") or []
    if saved[1].get("model_type") == "CrossEncoder" or any("ForSequenceClassification" in head for head in heads):
        return
    raise SettingsError(f"{folder} holds no cross-encoder: give `reranker` a folder with one, or unset it")


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _load(folder: Path, device: str) -> Model:
    go_offline()
    from sentence_transformers import CrossEncoder as Model

    try:
        model: Model = Model(str(folder), device=device, local_files_only=True)
    except Exception as error:  # whatever a model's files or a device may raise
        reason = first_line(error)
        raise SettingsError(f"reranker {str(folder)!r} cannot be loaded on {device!r}: {reason}") from error
    if model.num_labels != 1:
        raise SettingsError(
            f"{folder} tells {model.num_labels} classes apart instead of giving one score: "
            "give `reranker` a cross-encoder for ranking, or unset it"
        )
    return model


class Reranker:
    """Orders recalled items anew with a cross-encoder, which is loaded in a thread at the first need."""

    def __init__(self, load: Callable[[], CrossEncoder]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._loaded = threading.Event()
        self._started = self._complained = False
        self._encoder: CrossEncoder | None = None
        self._error: SettingsError | None = None

    def start(self) -> None:
        """Begin to load, if that has not begun."""
        with self._lock:
            if not self._started:
                self._started = True
                threading.Thread(target=self._run, name="agentmem-reranker", daemon=True).start()

    def _run(self) -> None:
        try:
            self._encoder = self._load()
        except SettingsError as error:
            self._error = error
        except Exception as error:  # a thread's own would be lost
            self._error = SettingsError(f"the reranker cannot be loaded: {first_line(error)}")
        self._loaded.set()

    def _complain(self, error: SettingsError, wait: float | None) -> None:
        """Raise what kept it from loading, or say it once where nobody waits for it."""
        if wait is None:
            raise error
        if not self._complained:
            _log.warning("recall goes on without its reranker: %s", error)
        self._complained = True

    def ordered(self, query: str, items: Sequence[RecallItem], wait: float | None) -> list[RecallItem]:
        """The items by their scores with the cross-encoder's share in it; as they came where it is not up within `wait`
        seconds (None: however long it takes), or fails over them.

        Raises SettingsError where it was waited for without end and cannot be loaded.
        """
        self.start()
        self._loaded.wait(wait)
        if self._error is not None:
            self._complain(self._error, wait)
        if self._encoder is None or len(items) < 2:
            return list(items)
        try:
            scores = self._encoder.scores(query, [_as_read(item) for item in items])
        except Exception as error:  # foreign code; its message could quote the text, its type cannot
            _log.warning("the reranker failed (%s): the order is the one without it", type(error).__name__)
            return list(items)
        return blend(items, scores)


def _as_read(item: RecallItem) -> str:
    """Who said it, and what: as it is embedded."""
    speaker = item.source.get("speaker")
    return f"{speaker}: {item.text}" if speaker else item.text


def blend(items: Sequence[RecallItem], scores: NDArray[np.float32]) -> list[RecallItem]:
    """The items in the order of their scores with the standardised `scores` added, shape (len(items),)."""
    import numpy as np

    if scores.shape != (len(items),) or not np.isfinite(scores).all():
        _log.warning("the reranker gave no score for each item: the order is the one without it")
        return list(items)
    weight = float(np.std([item.score for item in items])) or 1.0
    values = (scores - scores.mean()) / (scores.std() or 1.0)
    voiced = [_voiced(*told, weight) for told in zip(items, values.tolist(), scores.tolist(), strict=True)]
    return sorted(voiced, key=lambda item: -item.score)


def _voiced(item: RecallItem, value: float, score: float, weight: float) -> RecallItem:
    signal = Signal(NAME, value, weight)
    return replace(
        item,
        score=item.score + signal.contribution,
        signals=(*item.signals, signal),
        measures={**item.measures, NAME: score},
    )
