"""A child that, told to go, adds COUNT turns to one session of a store, one by one and in small batches."""

from __future__ import annotations

import sys

from agentmem.config import Settings
from agentmem.memory import Memory
from tests.integration.support import NS, HashEmbedder, said, say

BATCH = 25

if __name__ == "__main__":
    store, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with Memory(store, embedder=HashEmbedder(), settings=Settings(store=store)) as memory:
        say(ready=True)
        sys.stdin.readline()
        ids: list[str] = []
        texts = [f"{name} wrote line {n}" for n in range(count)]
        while texts:
            ids.append(memory.observe("user", texts.pop(0), namespace=NS, session="shared", speaker=name).id)
            batch, texts = texts[:BATCH], texts[BATCH:]
            ids += [t.id for t in memory.observe_many([said(t, session="shared") for t in batch], namespace=NS).added]
            if len(ids) % 4 == 0:
                memory.insert(f"{name} has written {len(ids)} lines", namespace=NS, sources=ids[-1:])
        say(ids=ids)
