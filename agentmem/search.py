"""A recall from its query to its items: taken apart and embedded, the namespaces asked, the best reranked.

The parts of a question (questions.py) take turns, and after them the whole question, for what only it says: the best of
each comes first, then the second of each. So every part has its share of the first few, whatever the others find, and
no score of one need be weighed against another's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from agentmem import embedqueue
from agentmem.config import Settings
from agentmem.display import one_line
from agentmem.embedqueue import EmbedQueue
from agentmem.errors import EmbedderError, InputError, StoreError
from agentmem.filters import Conditions
from agentmem.interfaces import Backend
from agentmem.questions import parts
from agentmem.recall import RecallEngine
from agentmem.rerank import CrossEncoder, Reranker
from agentmem.text import count_tokens, normalise
from agentmem.types import Namespace, RecallItem, Recollection

_WHO = ("role", "speaker", "origin", "namespace")
"""What else of an item's source must be equal where two say the same."""
_LONGEST = 60
"""Characters of a part that an item is shown to be for."""
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
        asked = (*parts(query), query)
        vectors = self._vectors(asked, wait, namespaces, without)
        started = time.perf_counter()

        def ask(part: str, vector: Any, k: int, budget: int | None) -> list[RecallItem]:
            recall = partial(self._engine.recall, part, vector, conditions=conditions, without=without)
            return _merged({ns: recall(namespace=ns, k=k, budget=budget) for ns in namespaces}, named)

        if self._reranker is None:
            found = [ask(part, vector, k, budget) for part, vector in zip(asked, vectors, strict=True)]
        else:
            most = max(k, self._candidates // len(asked))
            found = [
                self._reranker.ordered(part, ask(part, vector, most, None)[:most], _left(until))
                for part, vector in zip(asked, vectors, strict=True)
            ]
        elapsed = (time.perf_counter() - started) * 1000
        items = found[0] if len(asked) == 1 else _in_turns(asked, found)
        return Recollection(query, _within(items, k, budget), dense=vectors[0] is not None, milliseconds=elapsed)

    def reading(self, query: str, namespaces: Sequence[Namespace]) -> dict[str, tuple[str, ...]]:
        """What a query is read as in these namespaces together: its "parts", and of all of them `explain.reading`."""
        asked = parts(query)
        found: dict[str, tuple[str, ...]] = {"parts": asked}
        for part in (*asked, query):
            for namespace in namespaces:
                for sort, values in self._engine.reading(part, namespace=namespace).items():
                    found[sort] = tuple(dict.fromkeys((*found.get(sort, ()), *values)))
        return found

    def _vectors(
        self, texts: Sequence[str], wait: float | None, namespaces: Sequence[Namespace], without: Sequence[str]
    ) -> Sequence[Any]:
        """The vector of each, or None for each of them: full text alone."""
        embedder = self._queue.embedder(wait)
        if embedder is None:
            return [None] * len(texts)
        if wait is None and self._waiting(namespaces, set(without)):
            self._catch_up()
        try:
            return list(embedqueue.encode(embedder, texts))
        except EmbedderError:
            _log.warning("the query could not be embedded: full text answers alone")
            return [None] * len(texts)

    def _waiting(self, namespaces: Sequence[Namespace], without: Collection[str]) -> bool:
        """Whether something waits to be embedded that may come back: in a conversation what was said last may not."""
        queued, most = {"task": "embed", "state": "queued"}, len(without) + 1
        with self._backend.read() as reader:
            found = (reader.select("job", namespace=name, where=queued, limit=most) for name in namespaces)
            return any(job.target not in without for job in chain.from_iterable(found))

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


def _in_turns(asked: Sequence[str], found: Sequence[Sequence[RecallItem]]) -> list[RecallItem]:
    """What each part and the whole found, one after the other, each item with the part that brought it first.

    What two of them find comes once, and so do two records that say the same, of which each may prefer another.
    """
    notes = [f' · for "{one_line(part, _LONGEST)}"' for part in asked[:-1]] + [""]
    taken: dict[tuple[str, ...], RecallItem] = {}
    for turn in zip_longest(*found):
        for note, item in zip(notes, turn, strict=True):
            if item is not None:
                who = (str(item.source.get(name)) for name in _WHO)
                taken.setdefault((item.kind, *who, normalise(item.text)), replace(item, why=item.why + note))
    return list(taken.values())


def _left(until: float | None) -> float | None:
    """Seconds until then, None without end."""
    return None if until is None else max(0.0, until - time.monotonic())


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
