"""Acknowledged means synced: every write is followed by a sync of its file before the call that made it returns.

A kill alone cannot tell, since the kernel keeps what a killed process wrote. The trace comes from a preloaded shim.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.support import start

EXPECTED = Counter(
    {
        "observe": 20,
        "insert": 6,
        **dict.fromkeys(
            ("create", "observe_many", "set_status", "record_recalled", "strengthen", "merge", "undo", "retract"), 1
        ),
        **dict.fromkeys(("forget", "rebuild_chunks", "erase"), 1),
    }
)


@dataclass
class Call:
    """One acknowledged call: the files it wrote to and when, and when it synced them, by place in the trace."""

    name: str
    written: dict[str, int] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)

    def unsynced(self) -> list[str]:
        """Files with a write after the last sync. The index of the log is memory, not data: it is made anew."""
        durable = {path: at for path, at in self.written.items() if not path.endswith("-shm")}
        return [path for path, at in durable.items() if self.synced.get(path, -1) < at]


def trace(kind: str, folder: Path, shim: Path) -> list[Call]:
    log, store = folder / "trace.log", folder / "store" / "memory.db"
    store.parent.mkdir()
    env = {"LD_PRELOAD": str(shim), "SHIM_FILES": str(store), "SHIM_LOG": str(log)}
    with start("durability_child", kind, store, home=folder, env=env, stderr=subprocess.PIPE) as child:
        _, complaint = child.communicate(timeout=100)
    assert child.returncode == 0, complaint
    return calls_in(log.read_text().splitlines())


def calls_in(lines: list[str]) -> list[Call]:
    """The calls of the marked thread with that thread's own writes and syncs."""
    calls: list[Call] = []
    current, caller = None, ""
    for at, line in enumerate(lines):
        op, thread, what = line.split(" ", 2)
        if op == "B":
            current, caller = Call(what), thread
        elif op == "E":
            assert current is not None
            calls.append(current)
            current = None
        elif current is not None and thread == caller and op in "WTS":
            (current.synced if op == "S" else current.written)[what] = at
    return calls


@pytest.mark.parametrize("kind", ["plain", "embedder"])
def test_every_acknowledged_write_is_synced(kind: str, tmp_path: Path, shim: Path) -> None:
    calls = trace(kind, tmp_path, shim)
    assert Counter(call.name for call in calls) == EXPECTED
    for call in calls:
        assert call.written, f"{call.name} wrote nothing: the trace sees nothing, or the call does nothing"
        assert call.synced, f"{call.name} returned without a sync"
        assert not call.unsynced(), f"{call.name} returned before a sync of {call.unsynced()}"


def test_the_trace_sees_a_commit_that_is_not_synced(tmp_path: Path, shim: Path) -> None:
    """The check can fail: with synchronous=NORMAL a commit returns unsynced."""
    calls = trace("control", tmp_path, shim)
    assert len(calls) == 3
    assert any(call.unsynced() for call in calls)
