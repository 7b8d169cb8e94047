"""Keeping what caches have sealed as snapshots in the store, one run of documents a transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from agentmem.cache import NamespaceCache
from agentmem.columns import TURN
from agentmem.errors import StoreError
from agentmem.interfaces import Backend
from agentmem.snapshots import Run, encode, origin
from agentmem.types import Kind

_log = logging.getLogger(__name__)


def keep(backend: Backend, cache: NamespaceCache, stopped: Callable[[], bool] = lambda: False) -> int:
    """Keep the runs of a cache that no snapshot is kept of; return how many were. Ends early where `stopped` says so.

    A store that cannot be written to is left without: snapshots save time and nothing else.
    """
    done = 0
    try:
        while backend.abilities.snapshots and not stopped() and _keep_one(backend, cache):
            done += 1
    except StoreError as error:
        _log.info("no snapshot kept: %s", error)
    return done


def _keep_one(backend: Backend, cache: NamespaceCache) -> bool:
    """Keep the first run that is due; False where none is. A run that the store does not take is not offered again
    until something of it is removed: another process keeps these records, or has removed some of them."""
    with cache.lock:
        first, useless, seen = next(iter(cache.due()), None), cache.useless, cache.seen
        run = None if first is None else cache.run(first)
        cache.useless = []
        if first is not None:
            cache.kept.add(first)
    if run is None and not useless:
        return False
    try:
        _write(backend, cache, run, useless, seen)
    except StoreError:
        with cache.lock:
            cache.kept.discard(first)
        raise
    return True


def _write(backend: Backend, cache: NamespaceCache, run: Run | None, useless: Sequence[int], seen: int) -> None:
    covers: dict[Kind, list[str]] = {}
    if run is not None:
        turns = (run.fields["kind"] == TURN).tolist()
        covers["turn"] = [id_ for id_, turn in zip(run.ids, turns, strict=True) if turn]
        covers["thought"] = [id_ for id_, turn in zip(run.ids, turns, strict=True) if not turn]
        with backend.read() as reader:
            data = encode(run, origin(reader, cache.namespace))
    with backend.write() as writer:
        writer.drop_snapshots(useless, namespace=cache.namespace)
        if run is not None:
            writer.put_snapshot("text", data, covers=covers, seen=seen, namespace=cache.namespace)
