"""When a cycle is due, why not, and what becomes of one that fails. Training is left out, its results given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from click.testing import CliRunner

from agentmem import lineage
from agentmem.cli import cli
from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.consolidation import adapters, curriculum, cycle, schedule
from agentmem.consolidation.cycle import Outcome, Plan
from agentmem.consolidation.schedule import Keeper, When, waits, when_of
from agentmem.errors import ConflictError, InputError, ModelError
from agentmem.memory import Memory
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.testing.samples import new_adapter
from agentmem.types import Thought
from tests.unit.consolidation_support import NS, facts, quick, remember

BASE = str(closed_world.path())
PLAN = Plan(base=BASE, writer=ClosedWorldWriter())
HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=str(tmp_path / "m.db"))


@pytest.fixture
def memory(settings: Settings) -> Iterator[Memory]:
    with Memory(settings.store, embedder=None, settings=settings) as made:
        yield made


@pytest.fixture
def thoughts(memory: Memory) -> list[Thought]:
    return remember(memory, facts(1, 3))


def why(memory: Memory, when: When, *, now: datetime | None = None) -> str | None:
    wait, found = waits(memory.backend, lambda: (PLAN, None), when, namespace=NS, now=now or utc_now())
    assert (wait is None) is (found == (PLAN, None))
    return None if wait is None else wait.kind


def learned(memory: Memory, thoughts: list[Thought], **given: Any) -> None:
    with memory.backend.write() as writer:
        lineage.record(writer, new_adapter(namespace=NS, **given), [thought.id for thought in thoughts])


def test_conditions_are_read_from_words() -> None:
    assert when_of(["idle", "new:50"], 2 * HOUR) == When(2 * HOUR, 50, idle=True)
    assert when_of(["nightly"]) == When(nightly=True)
    for wrong in ("new", "new:0", "noon"):
        with pytest.raises(InputError, match="there are idle, nightly and new:50"):
            when_of([wrong])


def test_where_nothing_was_learned_yet_a_cycle_is_due(memory: Memory, thoughts: list[Thought]) -> None:
    assert why(memory, When()) is None
    assert why(memory, When(new=len(thoughts) + 1)) == "new"


def test_without_a_thought_there_is_nothing_to_learn(memory: Memory) -> None:
    assert why(memory, When()) == "nothing"


def test_so_long_after_the_last_and_only_for_what_changed(memory: Memory, thoughts: list[Thought]) -> None:
    learned(memory, thoughts, recorded_at=utc_now() - HOUR, state="rejected")
    assert why(memory, When()) == "new", "what was rejected would be rejected again"
    remember(memory, facts(1, 1, skip=3))
    assert why(memory, When()) is None
    assert why(memory, When(every=2 * HOUR)) == "every"
    assert why(memory, When(every=HOUR / 2)) is None
    assert why(memory, When(new=2)) == "new"


def test_what_is_no_longer_true_counts_as_a_change(memory: Memory, thoughts: list[Thought]) -> None:
    learned(memory, thoughts)
    memory.retract(thoughts[0].id, namespace=NS)
    assert why(memory, When(new=1)) is None


def test_what_was_withdrawn_is_rebuilt_however_little_is_new(memory: Memory, thoughts: list[Thought]) -> None:
    learned(memory, thoughts)
    memory.forget([thoughts[0].id], namespace=NS)
    assert why(memory, When(new=50)) is None


def test_nobody_is_disturbed(memory: Memory, thoughts: list[Thought]) -> None:
    assert thoughts
    turn = memory.observe("user", "Hello!", namespace=NS)
    assert why(memory, When(idle=True)) == "idle"
    assert why(memory, When(idle=True), now=turn.recorded_at + timedelta(minutes=10)) is None


@pytest.mark.parametrize(("hour", "due"), [(0, False), (1, True), (4, True), (5, False), (14, False)])
def test_nights_are_those_of_the_systems_own_clock(
    memory: Memory, thoughts: list[Thought], hour: int, due: bool
) -> None:
    assert thoughts
    now = datetime(2027, 3, 3, hour, 30).astimezone().astimezone(UTC)
    assert (why(memory, When(nightly=True), now=now) is None) is due


class Run:
    """A keeper with a clock of its own, which goes on half an hour a look, and what it told."""

    def __init__(self, memory: Memory, settings: Settings, looks: int, when: When | None = None) -> None:
        self.told: list[str] = []
        self.done: list[Outcome] = []
        self.stop, self._now, self._left = Event(), utc_now(), looks
        self.keeper = Keeper(
            memory.backend, settings, lambda: (PLAN, None), when or When(), NS,
            self.told.append, lambda outcome, _place: self.done.append(outcome), clock=self._clock,
        )  # fmt: skip

    def _clock(self) -> datetime:
        return self._now

    def wait(self, _seconds: float) -> bool:
        self._now += timedelta(minutes=30)
        self._left -= 1
        if self._left == 0:
            self.stop.set()
        return self.stop.is_set()

    def go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(self.stop, "wait", self.wait)
        self.keeper.keep(self.stop)


@pytest.mark.usefixtures("thoughts")
def test_cycles_are_run_as_they_fall_due_and_each_reason_is_told_once(
    memory: Memory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycle, "_work", quick)
    run = Run(memory, settings, looks=4)
    run.go(monkeypatch)
    assert [outcome.adapter.state for outcome in run.done] == ["serving"]
    assert run.told == [
        "skipped: 0 thoughts are new or no longer true since the last cycle, 1 are waited for",
    ]
    remember(memory, facts(1, 1, skip=3))
    again = Run(memory, settings, looks=1)
    again.go(monkeypatch)
    assert len(again.done) == 1, "another scheduler goes on where the first one ended"


@pytest.mark.usefixtures("thoughts")
def test_a_cycle_that_fails_is_told_and_tried_again_after_an_hour(
    memory: Memory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fail(*_: Any) -> None:
        tries.append(run.keeper.clock())
        raise ModelError("no room")

    monkeypatch.setattr(cycle, "_work", fail)
    run = Run(memory, settings, looks=5)
    run.go(monkeypatch)
    assert [later - earlier for earlier, later in pairwise(tries)] == [HOUR, HOUR]
    assert run.told[0] == "skipped: no adapter came of it: no room"
    assert run.told[1].startswith("skipped: the next try is at ")


@pytest.mark.usefixtures("thoughts")
def test_while_another_cycle_is_running_it_waits(
    memory: Memory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: Any, **__: Any) -> Outcome:
        raise ConflictError("another cycle is running for this namespace: wait until it has ended")

    monkeypatch.setattr(schedule, "consolidate", busy)
    wait = Run(memory, settings, looks=1).keeper.look()
    assert wait is not None
    assert wait.kind == "lock"


@pytest.mark.usefixtures("thoughts")
def test_what_was_stopped_is_gone_on_with_on_another_day(
    memory: Memory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit ends the trainer's process while it is still starting."""
    limited = replace(PLAN, limit=timedelta(seconds=0.2))
    with pytest.raises(ModelError, match="stopped at its limit"):
        cycle.consolidate(memory.backend, settings, limited, namespace=NS)
    (folder,) = adapters.root_of(settings, NS).glob("work-*")
    before = curriculum.read(folder / "curriculum.jsonl").digest
    monkeypatch.setattr(cycle, "utc_now", lambda: utc_now() + timedelta(days=3))
    monkeypatch.setattr(cycle, "_work", quick)
    done = cycle.consolidate(memory.backend, settings, PLAN, namespace=NS)
    assert done.adapter.metadata["curriculum"] == before


@pytest.mark.usefixtures("thoughts")
def test_the_command_looks_once_and_says_why_it_did_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentmem.models.select._look", lambda _address: None)
    call = ["consolidate", "--once", "--base", BASE, "--store", settings.store, "--namespace", "ada"]
    found = CliRunner().invoke(cli, [*call, "--when", "new:50"])
    assert found.exit_code == 0
    assert found.stdout.startswith("skipped: 3 thoughts are new")
    assert CliRunner().invoke(cli, call).exit_code == 2
