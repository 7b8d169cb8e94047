"""A recall from its query to its items: the query embedded, the namespaces asked, the best reranked."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from agentmem import embedqueue
from agentmem.config import Settings
from agentmem.embedqueue import EmbedQueue
from agentmem.errors import EmbedderError, InputError, StoreError
from agentmem.filters import Conditions
from agentmem.interfaces import Backend
from agentmem.recall import RecallEngine
from agentmem.rerank import CrossEncoder, Reranker
from agentmem.text import count_tokens
from agentmem.types import Namespace, RecallItem, Recollection

_log = logging.getLogger(__name__)
_CATCH_UP = 64
"""Records that a recall embeds first when it may wait: what was just said, not the backlog of an ingest."""


class Search:
    """Asks a store's namespaces. The settings' reranker, if any, orders the best of what they hold anew."""

    def __init__(self, backend: Backend, engine: RecallEngine, queue: EmbedQueue, settings: Settings) -> None:
        self._backend = backend
        self._engine = engine
        self._queue = queue
        self._candidates = settings.rerank_items
        load = partial(CrossEncoder, settings.reranker or "", settings.embedder_device)
        self._reranker = Reranker(load) if settings.reranker else None

    def recall(
        self,
        query: str,
        conditions: Conditions,
        *,
        namespaces: Sequence[Namespace],
        k: int,
        budget: int | None,
        wait: float | None,
        without: Sequence[str] = (),
        named: bool = False,
    ) -> Recollection:
        """What `Memory.recall` promises, of these namespaces together; `named`: each item says which it is from.

        With a reranker the budget is filled from its candidates.
        """
        if not query.strip():
            raise InputError("an empty query finds nothing: give words to recall by")
        if k < 1:
            raise InputError(f"k is the number of things to recall, at least 1; got {k}")
        until = None if wait is None else time.monotonic() + wait
        if self._reranker is not None:
            self._reranker.start()
        vector = self._vector(query, wait, namespaces)
        started = time.perf_counter()
        ask = partial(self._engine.recall, query, vector, conditions=conditions, without=without)
        if self._reranker is None:
            items = _merged({ns: ask(namespace=ns, k=k, budget=budget) for ns in namespaces}, named)
        else:
            most = max(k, self._candidates)
            best = _merged({ns: ask(namespace=ns, k=most) for ns in namespaces}, named)[:most]
            items = self._reranker.ordered(query, best, None if until is None else max(0, until - time.monotonic()))
        elapsed = (time.perf_counter() - started) * 1000
        return Recollection(query, _within(items, k, budget), dense=vector is not None, milliseconds=elapsed)

    def reading(self, query: str, namespaces: Sequence[Namespace]) -> dict[str, tuple[str, ...]]:
        """What a query is read as in these namespaces together, see `explain.reading`."""
        found: dict[str, tuple[str, ...]] = {}
        for namespace in namespaces:
            for sort, values in self._engine.reading(query, namespace=namespace).items():
                found[sort] = tuple(dict.fromkeys((*found.get(sort, ()), *values)))
        return found

    def _vector(self, query: str, wait: float | None, namespaces: Sequence[Namespace]) -> Any:
        embedder = self._queue.embedder(wait)
        if embedder is None:
            return None
        if wait is None and self._waiting(namespaces):
            self._catch_up()
        try:
            return embedqueue.encode(embedder, [query])[0]
        except EmbedderError:
            _log.warning("the query could not be embedded: full text answers alone")
            return None

    def _waiting(self, namespaces: Sequence[Namespace]) -> bool:
        queued = {"task": "embed", "state": "queued"}
        with self._backend.read() as reader:
            return any(reader.count("job", namespace=namespace, where=queued) for namespace in namespaces)

    def _catch_up(self) -> None:
        """Embed what was just said. A store that cannot be written to now (locked, full) is no reason not to answer."""
        try:
            self._queue.work(_CATCH_UP, patient=False)
        except StoreError as error:
            _log.warning("what waits to be embedded goes on waiting: %s", error)


def _merged(found: Mapping[Namespace, Sequence[RecallItem]], named: bool) -> list[RecallItem]:
    """The items of several namespaces by score."""
    items = [_named(item, namespace) if named else item for namespace in found for item in found[namespace]]
    return sorted(items, key=lambda item: -item.score)


def _named(item: RecallItem, namespace: Namespace) -> RecallItem:
    return replace(item, source={**item.source, "namespace": list(namespace)})


def _within(items: Sequence[RecallItem], k: int, budget: int | None) -> tuple[RecallItem, ...]:
    """The first `k` that the budget has room for."""
    kept: list[RecallItem] = []
    left = float("inf") if budget is None else budget
    for item in items:
        tokens = count_tokens(item.text)
        if len(kept) < k and tokens <= left:
            kept.append(item)
            left -= tokens
    return tuple(kept)
