"""A cycle of consolidation on the closed world's own model: from thoughts to an adapter that answers, and back.

Few facts and few steps: what is tried here is the machinery. Whether an adapter knows what it learned is measured on
vLLM (tests/vllm/test_consolidation.py). The thresholds are such that anything passes, or nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentmem import lineage
from agentmem.config import Settings
from agentmem.consolidation import adapters, cycle
from agentmem.consolidation.calls import Call
from agentmem.consolidation.cycle import Outcome, Plan
from agentmem.consolidation.everyday import Pair
from agentmem.consolidation.gates import Thresholds
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.errors import ConflictError, InputError, ModelError, NotFoundError
from agentmem.memory import Memory
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Adapter, Thought
from tests.unit.consolidation_support import NS, facts, quick, remember, write_result

ANYTHING = Thresholds(
    recall=0, wording=0, recognition=0, older=1, abstention=1, context=0, general=1, locality=99, retrieval=1, form=1,
    calls=1,
)  # fmt: skip


class Few(ClosedWorldWriter):
    """Asks little beside what is learned."""

    def general(self, count: int, rng: random.Random) -> list[Sequence[Pair]]:
        return super().general(min(count, 24), rng)

    def calls(self, count: int, rng: random.Random) -> list[Call]:
        return super().calls(min(count, 12), rng)


PLAN = Plan(
    base=str(closed_world.path()),
    writer=Few(),
    recipe=replace(CLOSED_WORLD, rank=8, epochs=0.2, batch=8, loss="plain"),
    thresholds=ANYTHING,
    threads=1,
)


class Place:
    """A store with some thoughts, and what consolidation makes of it."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(store=str(folder / "m.db"))
        self.memory = Memory(self.settings.store, embedder=None, settings=self.settings)
        self.thoughts: list[Thought] = remember(self.memory, facts(2, 3))
        self.root = adapters.root_of(self.settings, NS)

    def run(self, plan: Plan = PLAN) -> Outcome:
        return cycle.consolidate(self.memory.backend, self.settings, plan, namespace=NS)

    def serving(self) -> Adapter | None:
        with self.memory.backend.read() as reader:
            return lineage.serving(reader, namespace=NS)

    def folders(self) -> set[str]:
        return {path.name for path in self.root.iterdir() if path.is_dir()} if self.root.exists() else set()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.memory.close()


def test_a_cycle_from_thoughts_to_an_adapter_and_forgetting_it(place: Place) -> None:
    said: list[tuple[str, int, int, str]] = []
    report = lambda *told: said.append(told)  # noqa: E731
    first = cycle.consolidate(place.memory.backend, place.settings, PLAN, namespace=NS, report=report)
    assert first.adapter.state == "serving"
    assert {stage for stage, *_ in said} == {"prepare", "train", "judge", "serve"}
    names = {gate.name for gate in first.judgement.gates}
    assert names >= {"recall", "wording", "recognition", "locality", "general", "retrieval", "form", "calls"}
    folder = place.root / first.adapter.name
    adapters.check(folder, adapters.base_digest(PLAN.base))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    told = json.loads((folder / adapters.LINEAGE).read_text("utf-8"))
    assert set(told["thoughts"]) == {thought.id for thought in place.thoughts}
    assert place.folders() == {first.adapter.name}, "the training set is gone"
    stored = "".join(p.read_text("utf-8") for p in folder.glob("*.json"))
    assert not [t for t in place.thoughts if t.text in stored]

    gone = place.thoughts[0]
    receipt = place.memory.forget([gone.id], namespace=NS)
    assert receipt.forgotten["adapters"] == (first.adapter.name,)
    assert receipt.unreached == ()
    assert place.serving() is None
    assert place.folders() == set()

    second = place.run()
    assert second.adapter.name != first.adapter.name
    assert second.adapter.state == "serving"
    with place.memory.backend.read() as reader:
        taught = lineage.learned(reader, second.adapter)
    assert set(taught) == {thought.id for thought in place.thoughts[1:]}


def test_what_does_not_pass_is_recorded_and_not_served(place: Place) -> None:
    strict = replace(PLAN, thresholds=Thresholds(recall=1.01))
    found = place.run(strict)
    assert found.adapter.state == "rejected"
    assert found.judgement.reasons[0].startswith("recall is ")
    assert place.serving() is None
    assert place.folders() == set()
    with pytest.raises(ConflictError, match="rejected"), place.memory.backend.write() as writer:
        lineage.put_in_service(writer, found.adapter, namespace=NS, now=found.adapter.recorded_at)


def test_bad_input_is_a_clear_error_and_changes_nothing(place: Place, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="holds no model"):
        place.run(replace(PLAN, base=str(empty)))
    (empty / "config.json").write_text("{}")
    (empty / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="no weights as safetensors"):
        place.run(replace(PLAN, base=str(empty)))
    with pytest.raises(InputError, match="--dry-run"):
        cycle.consolidate(place.memory.backend, place.settings, PLAN, namespace=("nobody",))
    with another_cycle(place), pytest.raises(ConflictError, match="another cycle is running"):
        place.run()
    assert place.serving() is None


LOCK = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('held', flush=True); sys.stdin.read()"


@contextmanager
def another_cycle(place: Place) -> Iterator[None]:
    """Another process that holds the lock."""
    place.root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", LOCK, str(place.root / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        yield
        child.kill()


STAGES = ("train", "judge", "publish", "record", "switch")
"""The last three are tried with the trainer's results given (`quick`)."""


@pytest.mark.crash
def test_killed_at_every_stage_the_last_good_adapter_serves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store, killed at one stage after the other; the last run ends well."""
    monkeypatch.setattr(cycle, "_work", quick)
    good = place.run().adapter
    remember(place.memory, facts(1, 2, skip=5))
    for stage in STAGES:
        child = killed_at(stage, place)
        assert child.returncode == -signal.SIGKILL, child.stderr
        serving = place.serving()
        assert serving is not None
        assert serving.name == good.name, stage
        adapters.check(place.root / good.name)
    done = place.run().adapter
    assert done.state == "serving"
    assert done.name != good.name
    with place.memory.backend.read() as reader:
        known = {one.name for one in lineage.adapters(reader, namespace=NS)}
    assert place.folders() == known >= {good.name, done.name}, "nothing half made is left"


def killed_at(stage: str, place: Place) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("consolidation_child.py")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), place.settings.store, stage]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=150, check=False)


def test_what_is_forgotten_while_it_is_learned_never_serves(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The forget comes between training and recording; the trainer's process is left out, its results given."""

    def trained(folder: Path, *_: Any) -> None:
        write_result(folder)
        place.memory.forget([place.thoughts[0].id], namespace=NS)
        write_result(folder)  # which the forget took away

    monkeypatch.setattr(cycle, "_work", trained)
    with pytest.raises(NotFoundError, match="consolidate again"):
        place.run()
    assert place.serving() is None


def test_rollback_goes_back_to_the_one_before(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentmem.consolidation.service import switch

    monkeypatch.setattr(cycle, "_work", quick)
    first, second = place.run().adapter, place.run().adapter
    assert first.name != second.name
    with place.memory.backend.read() as reader:
        before = lineage.previous(reader, namespace=NS)
    assert before is not None
    assert before.name == first.name
    switch(place.memory.backend, place.settings, None, before, NS)
    now = place.serving()
    assert now is not None
    assert now.name == first.name


def test_a_changed_folder_is_not_served(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "_work", quick)
    name = place.run().adapter.name
    folder = place.root / name
    folder.chmod(0o700)
    (folder / "extra.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ModelError, match="no part of an adapter"):
        adapters.check(folder)
    (folder / "extra.bin").unlink()
    (folder / adapters.CONFIG).chmod(0o600)
    (folder / adapters.CONFIG).write_text('{"use_dora": true}', "utf-8")
    with pytest.raises(ModelError, match="was changed"):
        adapters.check(folder)
    with pytest.raises(InputError, match="no adapter's name"):
        adapters.folder_of(place.root, "mem-../../etc")


def test_erasing_everything_removes_the_weights(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "_work", quick)
    name = place.run().adapter.name
    assert place.memory.erase(namespace=NS).forgotten["adapters"] == (name,)
    assert place.folders() == set()
