"""When a cycle is due, and running one then: again and again, one at a time, whatever becomes of each.

Nothing about it is kept beside the store: when the last cycle was, and what it learned, its adapter's record says, so a
scheduler that is started again goes on as if it had never stopped. Two of them do no harm: a cycle holds a lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

from agentmem import lineage
from agentmem.clock import utc_now
from agentmem.consolidation.cycle import Outcome, Plan, consolidate, survey
from agentmem.errors import AgentmemError, ConflictError, InputError

if TYPE_CHECKING:
    from agentmem.config import Settings
    from agentmem.consolidation.cycle import Report
    from agentmem.interfaces import Backend, Reader
    from agentmem.models.select import Place
    from agentmem.types import Adapter, Namespace

Means: TypeAlias = "Callable[[], tuple[Plan, Place | None]]"
"""The plan of a cycle and the server to load into, as they are now. Raises AgentmemError."""
_IDLE = timedelta(minutes=10)
_NIGHT = range(1, 5)
"""Hours of the system's own time."""
_REST = timedelta(hours=1)
"""After a cycle that failed or was stopped at its limit, before the next."""
_PAUSE = 60.0
_NEW = re.compile(r"new:([1-9]\d{0,5})")


@dataclass(frozen=True, slots=True)
class When:
    """What must hold for a cycle to be run, all of it: so long since the last one, so many thoughts new or no longer
    true since, nobody having spoken for ten minutes, the night."""

    every: timedelta = timedelta(0)
    new: int = 1
    idle: bool = False
    nightly: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Why no cycle is run now: in a word, and in a line."""

    kind: str
    reason: str


def when_of(conditions: Sequence[str], every: timedelta | None = None) -> When:
    """From what a command line says: "idle", "nightly", "new:50". Raises InputError."""
    new = 1
    for condition in conditions:
        found = _NEW.fullmatch(condition)
        if found is None and condition not in ("idle", "nightly"):
            raise InputError(f"{condition!r} is no condition of a schedule: there are idle, nightly and new:50")
        new = int(found[1]) if found else new
    return When(every or timedelta(0), new, "idle" in conditions, "nightly" in conditions)


def waits(
    backend: Backend, means: Means, when: When, *, namespace: Namespace, now: datetime
) -> tuple[Wait | None, tuple[Plan, Place | None] | None]:
    """Why no cycle is due; None and the means for one where it is. What costs nothing is looked at first."""
    with backend.read() as reader:
        known = lineage.adapters(reader, namespace=namespace)
        wait = _too_soon(known, when, now) or _not_night(when, now) or _spoken(reader, when, namespace, now)
    if wait is not None:
        return wait, None
    found = means()
    wait = _unchanged(backend, found[0], known, when, namespace=namespace, now=now)
    return wait, None if wait else found


def _too_soon(known: Sequence[Adapter], when: When, now: datetime) -> Wait | None:
    if not known or now - known[-1].recorded_at >= when.every:
        return None
    last = known[-1].recorded_at
    return Wait("every", f"the last cycle was at {_at(last)}, the next may be at {_at(last + when.every)}")


def _not_night(when: When, now: datetime) -> Wait | None:
    local = now.astimezone()
    if not when.nightly or local.hour in _NIGHT:
        return None
    return Wait("nightly", f"it is {local:%H:%M}, and cycles are run from {_NIGHT.start}:00 to {_NIGHT.stop}:00")


def _spoken(reader: Reader, when: When, namespace: Namespace, now: datetime) -> Wait | None:
    if not when.idle:
        return None
    last = next(iter(reader.select("turn", namespace=namespace, order="id", descending=True, limit=1)), None)
    if last is None or now - last.recorded_at >= _IDLE:
        return None
    return Wait("idle", f"somebody spoke at {_at(last.recorded_at)}: ten quiet minutes are waited for")


def _unchanged(
    backend: Backend, plan: Plan, known: Sequence[Adapter], when: When, *, namespace: Namespace, now: datetime
) -> Wait | None:
    """Too little to learn. Where the last adapter was withdrawn, what it knew of the rest is to be learned again."""
    chosen = {thought.id for thought in survey(backend, plan, namespace=namespace, now=now).chosen}
    if not chosen:
        return Wait("nothing", "no thought is to be learned: `agentmem consolidate --dry-run` says why")
    if known and known[-1].state == "withdrawn":
        return None
    with backend.read() as reader:
        taught = set(lineage.learned(reader, known[-1])) if known else set()
    changed = len(chosen ^ taught)
    if changed >= when.new:
        return None
    return Wait("new", f"{changed} thoughts are new or no longer true since the last cycle, {when.new} are waited for")


def _at(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True)
class Keeper:
    """Runs the cycles of a namespace as they fall due. `tell` gets a line where a reason to wait has changed, and where
    a cycle failed or was stopped; `done` what a cycle came to."""

    backend: Backend
    settings: Settings
    means: Means
    when: When
    namespace: Namespace
    tell: Callable[[str], None]
    done: Callable[[Outcome, Place | None], None]
    report: Report = lambda *_: None
    clock: Callable[[], datetime] = utc_now

    def keep(self, stop: Event) -> None:
        """Until `stop` is set. After a cycle that failed what serves goes on serving, and an hour passes."""
        said, rests = "", self.clock()
        while not stop.is_set():
            wait = Wait("rest", f"the next try is at {_at(rests)}") if self.clock() < rests else self.look()
            if wait is not None and wait.kind == "fault":
                rests = self.clock() + max(_REST, self.when.every)
            if wait is not None and wait.kind != said:
                self.tell(f"skipped: {wait.reason}")
            said = "" if wait is None else wait.kind
            stop.wait(_PAUSE)

    def look(self) -> Wait | None:
        """Run a cycle if one is due; else why none was run."""
        try:
            wait, found = waits(self.backend, self.means, self.when, namespace=self.namespace, now=self.clock())
        except AgentmemError as error:
            return Wait("blind", str(error))
        return wait if found is None else self._run(*found)

    def _run(self, plan: Plan, place: Place | None) -> Wait | None:
        try:
            outcome = consolidate(
                self.backend, self.settings, plan, namespace=self.namespace, place=place, report=self.report
            )
        except ConflictError as error:
            return Wait("lock", str(error))
        except AgentmemError as error:
            return Wait("fault", f"no adapter came of it: {error}")
        self.done(outcome, place)
        return None
