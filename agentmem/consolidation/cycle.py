"""One cycle of consolidation: select, write a curriculum, train, judge, publish, record, load, switch.

It may be killed at any stage: what serves is named by one record in the store, which changes last and in one
transaction, and only to an adapter that was judged. What a killed cycle left is gone on with (training) or removed by
the next one. A lock of the operating system keeps two cycles apart and ends with its process.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Timer
from typing import Any

from agentmem import lineage, offline
from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.consolidation import adapters, curriculum, hotload, strategies, worker
from agentmem.consolidation.curriculum import Curriculum
from agentmem.consolidation.gates import Judgement, Thresholds, judge
from agentmem.consolidation.marking import Probe
from agentmem.consolidation.recipe import Recipe, as_values
from agentmem.consolidation.selection import Rules, Selection, select
from agentmem.consolidation.service import retire, switch
from agentmem.consolidation.watching import Journal
from agentmem.consolidation.writing import Writer
from agentmem.errors import ConflictError, InputError, ModelError, SettingsError
from agentmem.ids import new_id
from agentmem.interfaces import Backend, Reader
from agentmem.models.select import Place
from agentmem.types import Adapter, Namespace, Thought

Report = Callable[[str, int, int, str], None]
"""Called with the stage, how much of it is done, of how much, and a word on it."""
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a cycle is to do. `base` is the folder of the model that is served. Training and judging use `threads` of
    the processor (0: all), give way to other processes by `nice`, and are stopped after `limit`, to be gone on with."""

    base: str
    writer: Writer
    recipe: Recipe = field(default_factory=Recipe)
    rules: Rules = field(default_factory=Rules)
    thresholds: Thresholds = field(default_factory=Thresholds)
    control: bool = False
    threads: int = 0
    nice: int = 0
    limit: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cycle came to: `adapter` is "serving" where it passed its gates, else "rejected". `control` is how the
    adapter that learned shuffled answers was judged, which must not have passed."""

    adapter: Adapter
    selection: Selection
    judgement: Judgement
    control: Judgement | None = None


def survey(backend: Backend, plan: Plan, *, namespace: Namespace, now: datetime) -> Selection:
    """What would be learned, and why the rest would not. Changes nothing."""
    with backend.read() as reader:
        return select(reader, namespace=namespace, now=now, teachable=plan.writer.unfit, rules=plan.rules)


def consolidate(
    backend: Backend,
    settings: Settings,
    plan: Plan,
    *,
    namespace: Namespace,
    place: Place | None = None,
    report: Report = lambda *_: None,
) -> Outcome:
    """Run a cycle. Where `place` names a server, the adapter is loaded there and tried before it answers.

    Raises InputError where nothing is to be learned, ConflictError where another cycle is running, ModelError where the
    base cannot be trained or served. Whatever fails, what served before goes on serving.
    """
    require_extra()
    root = adapters.root_of(settings, namespace)
    base = adapters.base_digest(plan.base)
    with _alone(root):
        _clean(backend, settings, root, namespace)
        selection = survey(backend, plan, namespace=namespace, now=utc_now())
        folder, made, parent = _prepare(backend, plan, selection, root, base, namespace)
        job = worker.Job(plan.base, base, plan.recipe, parent, plan.control, plan.threads, plan.nice)
        _work(folder, job, report, plan.limit)
        judgement = _judged(folder, plan, made)
        control = _judged(folder / "control", plan, made) if plan.control else None
        adapter = _recorded(backend, plan, folder, made, judgement, base, namespace, parent, place)
        report("serve", 0, 1, adapter.name)
        if adapter.state == "ready":
            _serve(backend, settings, place, adapter, made, namespace)
        adapters.remove(folder)
        with backend.read() as reader:
            final = lineage.find_adapter(reader, adapter.id, namespace=namespace)
    return Outcome(final, selection, judgement, control)


def require_extra() -> None:
    """Raises InputError where what trains is not installed."""
    missing = [name for name in ("peft", "accelerate") if find_spec(name) is None]
    if missing:
        raise InputError(f"{missing[0]} is not installed, which trains adapters: pip install 'agentmem[lora]'")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock of a namespace's cycles. It is the open file that is locked: nothing is left of it by a crash."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (root / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError("another cycle is running for this namespace: wait until it has ended") from error
        yield


def _clean(backend: Backend, settings: Settings, root: Path, namespace: Namespace) -> None:
    """Remove withdrawn adapters that could not be removed before, and folders that no record names."""
    with backend.read() as reader:
        known = lineage.adapters(reader, namespace=namespace)
    gone = [one.name for one in known if one.state == "withdrawn" and adapters.folder_of(root, one.name).exists()]
    if gone:
        retire(settings, gone, namespace)
    unfinished = [path.name for path in root.glob("work-*")]
    adapters.tidy(root, [*unfinished, *(one.name for one in known if one.state in ("ready", "serving"))])


def _prepare(
    backend: Backend, plan: Plan, selection: Selection, root: Path, base: str, namespace: Namespace
) -> tuple[Path, Curriculum, str | None]:
    """The cycle's folder with its curriculum, and the folder of the adapter that it goes on from, if any.

    The folder is named by what there is to learn and how, so that a cycle that was stopped, on whatever day, is gone on
    with as long as nothing of that has changed.
    """
    strategy = strategies.find(plan.recipe.strategy)
    with backend.read() as reader:
        everything = list(reader.select("thought", namespace=namespace, where={"state": "live"}))
        before = lineage.serving(reader, namespace=namespace) if strategy.goes_on else None
    parent = None if before is None else adapters.folder_of(root, before.name)
    if parent is not None:
        adapters.check(parent, base)
    ids = [sorted(thought.id for thought in some) for some in (selection.chosen, everything)]
    told = [ids, as_values(plan.recipe), plan.writer.name, base, None if parent is None else parent.name]
    folder = adapters.work_folder(root, adapters.digest_of(json.dumps(told)))
    adapters.tidy(root, [path.name for path in root.iterdir() if not path.name.startswith("work-")] + [folder.name])
    if not (folder / worker.CURRICULUM).exists():
        made = _curriculum(backend, plan, selection, everything, namespace, going_on=parent is not None)
        curriculum.write(made, folder / worker.CURRICULUM)
    return folder, curriculum.read(folder / worker.CURRICULUM), None if parent is None else str(parent)


def _curriculum(
    backend: Backend,
    plan: Plan,
    selection: Selection,
    everything: Sequence[Thought],
    namespace: Namespace,
    *,
    going_on: bool,
) -> Curriculum:
    now = utc_now()
    with backend.read() as reader:
        ages = rehearsed(reader, namespace=namespace, now=now)
    return curriculum.build(
        selection.chosen,
        plan.writer,
        seed=plan.recipe.seed,
        now=now,
        everything=everything,
        rehearsed=ages,
        going_on=going_on,
        rehearses=strategies.find(plan.recipe.strategy).rehearses,
    )


def rehearsed(reader: Reader, *, namespace: Namespace, now: datetime) -> dict[str, float]:
    """Days since an adapter last learned each thought, of those that one that passed has learned."""
    found: dict[str, float] = {}
    for adapter in lineage.adapters(reader, namespace=namespace):
        if adapter.state in ("ready", "serving"):
            age = (now - adapter.recorded_at) / _DAY
            found |= dict.fromkeys(lineage.learned(reader, adapter), age)
    return found


def _work(folder: Path, job: worker.Job, report: Report, limit: timedelta | None = None) -> None:
    """Train and judge in a process of its own, telling its progress. Raises ModelError with what it says went wrong,
    and where it was stopped at its limit."""
    job.write(folder)
    env = {**os.environ, **offline.OFF, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "agentmem.consolidation.worker", str(folder)]
    log = folder / "log"
    fault = ""
    over = Event()
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        log.open("wb") as errors,
        Journal(folder) as journal,
        subprocess.Popen(command, stderr=errors, env=env, **pipes) as child,
    ):
        assert child.stdout is not None
        ends = _ended_after(child, limit, over)
        try:
            for line in child.stdout:
                told = _progress(line)
                fault = str(told.get("error", fault))
                if "stage" in told:
                    journal.note(told)
                    note = f"loss {told['loss']:.3f}" if "loss" in told else ""
                    report(str(told["stage"]), int(told["done"]), int(told["of"]), note)
        except BaseException:
            child.kill()
            raise
        finally:
            ends.cancel()
    if over.is_set():
        raise ModelError(f"training was stopped at its limit of {limit}: the next cycle goes on from its checkpoint")
    if child.returncode:
        said = (log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(fault or f"training ended with code {child.returncode}: {said[:300]}")


def _ended_after(child: subprocess.Popen[bytes], limit: timedelta | None, over: Event) -> Timer:
    """Kills the child after a time, and says so."""

    def end() -> None:
        over.set()
        child.kill()

    timer = Timer((limit or timedelta()).total_seconds(), end)
    timer.daemon = True
    if limit is not None:
        timer.start()
    return timer


def _progress(line: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _judged(folder: Path, plan: Plan, made: Curriculum) -> Judgement:
    found = json.loads((folder / worker.PROBES).read_text("utf-8"))
    older = [i for i in made.thoughts if i not in set(made.new)]
    oldest = sorted(older)[: max(1, len(older) // 10)] if older else []  # ids are in order of time
    return judge([Probe(**probe) for probe in found["probes"]], plan.thresholds, oldest=oldest)


def _recorded(
    backend: Backend,
    plan: Plan,
    folder: Path,
    made: Curriculum,
    judgement: Judgement,
    base: str,
    namespace: Namespace,
    parent: str | None,
    place: Place | None,
) -> Adapter:
    """Publish an adapter that passed, and record it, what it learned and how it was judged, passed or not."""
    root, now = folder.parent, utc_now()
    work = folder / worker.ADAPTER
    told: dict[str, Any] = {
        "base": plan.base,
        "base_digest": base,
        "curriculum": made.digest,
        "writer": made.writer,
        "recipe": as_values(plan.recipe),
        "strategy": plan.recipe.strategy,
        "seed": plan.recipe.seed,
        "learned": len(made.thoughts),
        "new": len(made.new),
        "judgement": judgement.as_json(),
        "model": None if place is None else place.name,
    }
    adapter = Adapter(
        id=new_id(),
        namespace=namespace,
        name=adapters.name_for(work),
        recorded_at=now,
        state="ready" if judgement.passed else "rejected",
        metadata=told,
    )
    if judgement.passed:
        lines = {**told, "thoughts": list(made.thoughts), "made_at": now.isoformat()}
        adapters.publish(work, root, lines)
    return _kept(backend, adapter, made.thoughts, parent, namespace)


def _kept(
    backend: Backend, adapter: Adapter, thoughts: Sequence[str], parent: str | None, namespace: Namespace
) -> Adapter:
    """In the store. The same weights, made again from the same thoughts, are the record that is there."""
    with backend.write(namespace) as writer:
        for known in lineage.adapters(writer, namespace=namespace):
            if known.name == adapter.name and known.state in ("ready", "serving"):
                return replace(known, state="ready")
        made_from = []
        if parent is not None:
            made_from = [lineage.find_adapter(writer, Path(parent).name, namespace=namespace).id]
        lineage.record(writer, adapter, thoughts, made_from)
    return adapter


def _serve(
    backend: Backend, settings: Settings, place: Place | None, adapter: Adapter, made: Curriculum, namespace: Namespace
) -> None:
    """Load, try, switch. One that the server cannot have is not put into service."""
    if place is not None:
        root = adapters.root_of(settings, namespace)
        try:
            hotload.load(place, root, adapter.name)
            hotload.try_out(place, adapter.name, made.items, made.unknown)
        except ModelError:
            with suppress(ModelError):  # of a server that does not even let go: what it could not do is told
                hotload.unload(place, root, adapter.name)
            raise
    switch(backend, settings, place, adapter, namespace)


def thresholds_of(settings: Settings) -> Thresholds:
    """The thresholds, with what the settings give otherwise. Raises SettingsError for a gate that is none."""
    try:
        return replace(Thresholds(), **settings.gates)
    except TypeError as error:
        known = ", ".join(Thresholds.__dataclass_fields__)
        raise SettingsError(f"the setting gates names a gate that there is none of: there are {known}") from error
