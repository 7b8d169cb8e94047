"""Keeping what caches have derived as snapshots in the store, a sealed run of documents or a graph a transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentmem.cache import NamespaceCache
from agentmem.columns import TURN
from agentmem.errors import StoreError
from agentmem.indexes.rows import NONE
from agentmem.interfaces import Backend, Basis
from agentmem.opening import first_of
from agentmem.snapshots import encode, encode_graph, graph_origin, origin
from agentmem.types import Kind

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Something to be kept, as of the change `seen`; `forget` takes back that the cache counts it as kept."""

    basis: Basis
    ids: Sequence[str]
    turns: Sequence[bool]
    seen: int
    encode: Callable[[list[Any]], bytes]
    forget: Callable[[], object]
    instead: bool = False

    @property
    def covers(self) -> dict[Kind, list[str]]:
        pairs = list(zip(self.ids, self.turns, strict=True))
        return {
            "turn": [id_ for id_, turn in pairs if id_ and turn],
            "thought": [id_ for id_, turn in pairs if id_ and not turn],
        }


def keep(backend: Backend, cache: NamespaceCache, stopped: Callable[[], bool] = lambda: False) -> int:
    """Keep what of a cache no snapshot is kept of; return how many were. Ends early where `stopped` says so.

    A store that cannot be written to is left without: snapshots save time and nothing else. What the store does not
    take is not offered again until something of it is removed: another process keeps these records, or removed some.
    """
    done = 0
    try:
        while backend.abilities.snapshots and not stopped() and _keep_one(backend, cache):
            done += 1
    except StoreError as error:
        _log.info("no snapshot kept: %s", error)
    return done


def _keep_one(backend: Backend, cache: NamespaceCache) -> bool:
    """Keep the first piece that is due; False where none is."""
    with cache.lock:
        piece = _run(cache) or _graph(cache)
        useless, cache.useless = cache.useless, []
    if piece is None and not useless:
        return False
    try:
        _write(backend, cache, piece, useless)
    except StoreError:
        if piece is not None:
            with cache.lock:
                piece.forget()
        raise
    return True


def _run(cache: NamespaceCache) -> _Piece | None:
    first = next(iter(cache.due()), None)
    if first is None:
        return None
    run = cache.run(first)
    cache.kept.add(first)
    turns = (run.fields["kind"] == TURN).tolist()
    return _Piece(
        "text", run.ids, turns, cache.seen, lambda origin: encode(run, origin), lambda: cache.kept.discard(first)
    )


def _graph(cache: NamespaceCache) -> _Piece | None:
    graph = next(iter(cache.due_graphs()), None)
    if graph is None:
        return None
    first = first_of(graph.docs)
    before = cache.kept_graphs.get(first)
    cache.kept_graphs[first] = graph.docs
    ids = [cache.ids[doc] if doc != NONE else "" for doc in graph.docs.tolist()]
    turns = (cache.columns["kind"][graph.docs] == TURN).tolist()

    def encoded(origin: list[Any]) -> bytes:
        return encode_graph(ids, graph.dump(), origin)

    def forget() -> None:
        cache.kept_graphs.pop(first, None)

    return _Piece("vectors", ids, turns, cache.seen, encoded, forget, instead=before is not None)


def _write(backend: Backend, cache: NamespaceCache, piece: _Piece | None, useless: Sequence[int]) -> None:
    """Encode before the transaction of writing begins, which others wait for."""
    namespace = cache.namespace
    if piece is not None:
        with backend.read() as reader:
            made_from = (origin if piece.basis == "text" else graph_origin)(reader, namespace)
        data, covers = piece.encode(made_from), piece.covers
    with backend.write(namespace) as writer:
        writer.drop_snapshots(useless, namespace=namespace)
        if piece is not None:
            writer.put_snapshot(
                piece.basis, data, covers=covers, seen=piece.seen, namespace=namespace, instead=piece.instead
            )
