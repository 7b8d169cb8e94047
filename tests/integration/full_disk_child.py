"""A child that adds turns until the file system, or its limit on file sizes, says no; then reads what is there."""

from __future__ import annotations

import resource
import sys

from agentmem.config import Settings
from agentmem.errors import StoreFullError
from agentmem.memory import Memory
from tests.integration.support import NS, HashEmbedder, said, say

if __name__ == "__main__":
    store, limit = sys.argv[1], int(sys.argv[2])
    with Memory(store, embedder=None, settings=Settings(store=store)) as memory:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        ids: list[str] = []
        error = None
        for number in range(5000):
            try:
                if number % 2:
                    ids.append(memory.observe("user", f"single {number} " + "long " * 200, namespace=NS).id)
                else:
                    batch = [said(f"batch {number}-{n} " + "long " * (50 if limit else 40_000)) for n in range(4)]
                    ids += [t.id for t in memory.observe_many(batch, namespace=NS).added]
            except StoreFullError as full:
                error = str(full)
                break
        readable = {t.id for t in memory.turns(namespace=NS)} == set(ids)
        found = bool(memory.recall("batch 0-3", namespace=NS, wait=0).items)
        if limit:
            with Memory(store, embedder=HashEmbedder(), settings=Settings(store=store)) as embedding:
                # It would embed what waits before it answers, and cannot store the vectors.
                found = found and bool(embedding.recall("batch 0-3", namespace=NS).items)
        say(ids=ids, error=error, readable=readable, found=found)
