"""A child of test_durability.py: writes, and marks in the shim's log where each call began and returned."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentmem.config import Settings
from agentmem.memory import Memory
from tests.integration.support import NS, HashEmbedder, said

_log = -1


@contextmanager
def marked(name: str) -> Iterator[None]:
    mark("B", name)
    yield
    mark("E", name)


def mark(op: str, name: str) -> None:
    os.write(_log, f"{op} {threading.get_native_id()} {name}\n".encode())


def write_all(store: Path, *, embedder: bool) -> None:
    with marked("create"):
        memory = Memory(store, embedder=HashEmbedder() if embedder else None, settings=Settings(store=str(store)))
    with memory:
        for number in range(20):
            with marked("observe"):
                memory.observe("user", f"Turn {number} of the trace", namespace=NS)
        with marked("observe_many"):
            turns = memory.observe_many([said(f"Batch {n} of the trace") for n in range(700)], namespace=NS).added
        with marked("set_status"):
            memory.set_status(turns[0].id, "superseded", namespace=NS)
        with marked("record_recalled"):
            memory.record_recalled(turns[2].id, [("turn", turns[1].id)], namespace=NS)
        thoughts = []
        for number in range(6):
            with marked("insert"):
                thoughts.append(memory.insert(f"Thought {number}", namespace=NS, sources=[turns[number].id]).thought.id)
        with marked("strengthen"):
            memory.insert("Thought 0", namespace=NS)
        with marked("merge"):
            memory.merge(thoughts[:2], "Thoughts 0 and 1", namespace=NS)
        with marked("undo"):
            memory.undo(namespace=NS)
        with marked("retract"):
            memory.retract(thoughts[2], namespace=NS)
        with marked("forget"):
            memory.forget([thoughts[3]], namespace=NS)
        with marked("rebuild_chunks"):
            memory.rebuild_chunks(namespace=NS)
        with marked("erase"):
            memory.erase(namespace=NS)


def unsynced(store: Path) -> None:
    """The control: a commit that SQLite was told not to sync."""
    db = sqlite3.connect(store)
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE t (x)")
    db.commit()
    for number in range(3):
        with marked("control"):
            db.execute("INSERT INTO t VALUES (?)", [number])
            db.commit()
    db.close()


if __name__ == "__main__":
    _log = os.open(os.environ["SHIM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    kind, path = sys.argv[1], Path(sys.argv[2])
    if kind == "control":
        unsynced(path)
    else:
        write_all(path, embedder=kind == "embedder")
