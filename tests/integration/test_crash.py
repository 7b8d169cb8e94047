"""SIGKILL at random moments, and at every write of an operation: what was acknowledged is there, nothing is half there.

AGENTMEM_CRASH_ROUNDS sets the number of kills (`make test-crash`: 50).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.types import Kind
from tests.integration.support import NS, HashEmbedder, faults, files_of, heard, said, start

pytestmark = pytest.mark.crash
ROUNDS = int(os.environ.get("AGENTMEM_CRASH_ROUNDS", "5"))


@dataclass
class Expected:
    """What a store should hold: texts of turns by id, text and state of thoughts by id."""

    turns: dict[str, str] = field(default_factory=dict)
    thoughts: dict[str, tuple[str, str]] = field(default_factory=dict)

    def after(self, intent: dict[str, Any], ids: Iterable[str]) -> Expected:
        done = Expected(dict(self.turns), dict(self.thoughts))
        getattr(done, f"_{intent['intend']}")(intent, list(ids))
        return done

    def _add(self, intent: dict[str, Any], ids: list[str]) -> None:
        self.turns.update(zip(ids, intent["texts"], strict=True))

    def _insert(self, intent: dict[str, Any], ids: list[str]) -> None:
        self.thoughts[ids[0]] = (intent["text"], "live")

    def _merge(self, intent: dict[str, Any], ids: list[str]) -> None:
        self._set(intent["parents"], "merged")
        self._insert(intent, ids)

    def _unmerge(self, intent: dict[str, Any], _: list[str]) -> None:
        self._set(intent["parents"], "live")
        del self.thoughts[intent["merged"]]

    def _retract(self, intent: dict[str, Any], _: list[str]) -> None:
        self._set([intent["id"]], "retracted")

    def _forget(self, intent: dict[str, Any], _: list[str]) -> None:
        for turn in intent["turns"]:
            del self.turns[turn]
        for thought in intent["thoughts"]:
            del self.thoughts[thought]
        self._set(intent["back"], "live")

    def _set(self, ids: Iterable[str], state: str) -> None:
        self.thoughts.update({i: (self.thoughts[i][0], state) for i in ids})

    def possible(self, intent: dict[str, Any] | None, held: Expected) -> list[Expected]:
        """What may be there if the intended operation was cut short: all of it or nothing."""
        if intent is None:
            return [self]
        fresh = sorted((held.turns.keys() - self.turns.keys()) | (held.thoughts.keys() - self.thoughts.keys()))
        wanted = {"add": len(intent.get("texts", ())), "insert": 1, "merge": 1}.get(intent["intend"], 0)
        return [self, self.after(intent, fresh)] if len(fresh) == wanted else [self]


def held_by(memory: Memory) -> Expected:
    turns = {t.id: t.text for t in memory.turns(namespace=NS)}
    return Expected(turns, {t.id: (t.text, t.state) for t in memory.thoughts(namespace=NS, state=None)})


def run_and_kill(store: Path, mix: str, seed: int, after: float) -> list[dict[str, Any]]:
    """Let a child work for `after` seconds from when it is ready, kill it, and return all it said."""
    child = start("crash_child", "work", store, mix, str(seed), home=store.parent)
    assert child.stdout is not None
    said_lines: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            said_lines.append(line)
            if '"ready"' in line:
                ready.set()
        ready.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert ready.wait(60)
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    code = child.wait()
    listener.join()
    child.stdout.close()
    assert child.stdin is not None
    child.stdin.close()
    assert code == -signal.SIGKILL, f"the child ended by itself with {code}"
    return list(heard(iter(said_lines)))


def replay(expected: Expected, lines: list[dict[str, Any]]) -> tuple[Expected, dict[str, Any] | None]:
    """What was acknowledged, and what was begun and not acknowledged."""
    intent: dict[str, Any] | None = None
    for line in lines:
        if "intend" in line:
            intent = line
        elif "done" in line:
            assert intent is not None
            expected, intent = expected.after(intent, line["done"]), None
    return expected, intent


def check_full_text(store: Path, expected: Expected) -> None:
    with Memory(store, embedder=None, create=False) as memory:
        for held, kind in ((expected.turns, "turn"), (_live(expected), "thought")):
            for key in random.Random(1).sample(sorted(held), min(len(held), 60)):
                found = memory.recall(held[key], namespace=NS, wait=0, k=3).items
                assert (kind, key) in [(item.kind, item.id) for item in found], f"full text misses {held[key]!r}"


def check_vectors(store: Path, expected: Expected) -> None:
    embedder = HashEmbedder()
    # A minute later: what the killed process had claimed is free again.
    with Memory(store, embedder=embedder, create=False, clock=lambda: utc_now() + timedelta(minutes=1)) as memory:
        memory.flush()
        assert memory.stats(namespace=NS).waiting == 0
        kinds: list[tuple[Kind, dict[str, str]]] = [("turn", expected.turns), ("thought", _live(expected))]
        for kind, texts in kinds:
            with memory.backend.read() as reader:
                ids, vectors = reader.vectors(kind, namespace=NS, ids=sorted(texts))
            assert sorted(ids) == sorted(texts)
            if ids:
                cosines = np.sum(embedder.encode([texts[i] for i in ids]) * vectors, axis=1)
                assert cosines.min() > 0.9999, (
                    f"{kind}: {(cosines < 0.9999).sum()} vectors of {len(ids)} are not theirs"
                )
        assert faults(memory, NS) == []


def _live(expected: Expected) -> dict[str, str]:
    return {key: text for key, (text, state) in expected.thoughts.items() if state == "live"}


def after_crash(store: Path, expected: Expected, intent: dict[str, Any] | None) -> Expected:
    """Check a store after a kill, and return what it holds, which is what was acknowledged and maybe the one begun."""
    with Memory(store, embedder=None, create=False) as memory:
        assert faults(memory, NS) == []
        held = held_by(memory)
    missing = expected.turns.keys() - held.turns.keys() - set((intent or {}).get("turns", ()))
    assert not missing, f"{len(missing)} acknowledged turns are lost"
    assert held in expected.possible(intent, held), f"half done: {intent}"
    check_full_text(store, held)
    check_vectors(store, held)
    return held


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_acknowledged_survives_random_kills(tmp_path: Path) -> None:
    store, expected, acknowledged = tmp_path / "memory.db", Expected(), 0
    moments = random.Random(20260801)
    for number in range(ROUNDS):
        lines = run_and_kill(store, "all", number + 1, moments.uniform(0.02, 1.2))
        acknowledged += sum("done" in line for line in lines)
        expected = after_crash(store, *replay(expected, lines))
    assert acknowledged >= ROUNDS, "too little was acknowledged for the kills to mean anything"


@pytest.mark.parametrize("mix", ["forget", "merge", "flush"])
def test_kills_in_the_middle_of(mix: str, tmp_path: Path) -> None:
    store, expected = tmp_path / "memory.db", Expected()
    moments = random.Random(mix)
    for number in range(max(1, ROUNDS // 5)):
        lines = run_and_kill(store, mix, number + 1, moments.uniform(0.05, 0.5))
        expected = after_crash(store, *replay(expected, lines))


def template(folder: Path) -> Path:
    """A small store with turns, thoughts, a merge that stands and something to forget."""
    store = folder / "memory.db"
    with Memory(store, embedder=HashEmbedder(), settings=Settings(store=str(store), chunk_turns=3)) as memory:
        turns = memory.observe_many(
            [said(f"Xylophone remark {n} in the evening") for n in range(10)], namespace=NS
        ).added
        made = [memory.insert(f"Remark {n} was made", namespace=NS, sources=[turns[n].id]).thought for n in range(6)]
        memory.flush()
        memory.merge([made[0].id, made[1].id], "Remarks were made twice", namespace=NS)
    return store


@pytest.mark.parametrize("step", ["forget_turn", "forget_parent", "merge", "unmerge", "observe_many", "erase"])
def test_a_kill_at_any_write_leaves_all_or_nothing(step: str, tmp_path: Path, shim: Path) -> None:
    store = template(tmp_path)
    whole = tmp_path / "whole.db"
    shutil.copy(store, whole)
    before, after = digest_of(store), after_whole(whole, step)
    assert before != after
    seen = []
    env = {"LD_PRELOAD": str(shim), "SHIM_FILES": str(tmp_path)}
    stride = "1" if ROUNDS > 5 else {"erase": "6", "forget_turn": "3", "forget_parent": "3"}.get(step, "2")
    with start("crash_child", "at-every-step", store, step, stride, home=tmp_path, env=env) as child:
        assert child.stdout is not None
        for line in heard(child.stdout):
            assert not line["failed"], f"{step} failed without being killed"
            found = digest_of(Path(line["copy"]))
            assert found in (before, after), f"half of {step} is there: {found}"
            assert line["killed"] or found == after
            seen.append(found)
    assert len(seen) > 3, "the shim saw no writes"
    assert seen[0] == before
    assert seen[-1] == after


def after_whole(store: Path, step: str) -> dict[str, Any]:
    from tests.integration.crash_child import STEPS

    with Memory(store, embedder=None) as memory:
        STEPS[step](memory)
    return digest_of(store)


def digest_of(store: Path) -> dict[str, Any]:
    """The state of a store by texts, since ids differ between runs; what was forgotten must have left no byte."""
    with Memory(store, embedder=None, create=False) as memory:
        assert faults(memory, NS) == []
        memory.flush()
        turns = memory.turns(namespace=NS)
        thoughts = memory.thoughts(namespace=NS, state=None)
        bytes_on_disk = b"".join(path.read_bytes() for path in files_of(store) if path.name.startswith(store.name))
        for text in {f"Xylophone remark {n} in" for n in range(10)} - {
            t.text.removesuffix(" the evening") for t in turns
        }:
            assert text.encode() not in bytes_on_disk, (
                f"{text!r} was forgotten, and its bytes are there after the crash"
            )
        return {
            "turns": sorted(t.text for t in turns),
            "thoughts": sorted((t.text, t.state, t.strength) for t in thoughts),
            "sources": sorted(len(memory.history(t.id, namespace=NS).sources) for t in thoughts),
        }
