"""Pictures of the pages and of a preview, at two sizes, of a memory and a clock that do not change.

`pytest tests/tui/test_snapshots.py --snapshot-update` makes them anew: look at each before it is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Static

from agentmem import lineage
from agentmem.agent import ChosenModel
from agentmem.config import Settings
from agentmem.consolidation.gates import Gate, Judgement
from agentmem.findings import Finding
from agentmem.ledger import change_jobs
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel
from agentmem.types import Adapter
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.sample import turns
from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.widgets.options import Options
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import Recalled, RecalledList
from agentmem_tui.widgets.sessions import SessionList
from agentmem_tui.widgets.status_bar import StatusBar
from tests.tui.conftest import NAMESPACE, say, turn_to, until

START = datetime(2026, 6, 8, 9, 30, tzinfo=UTC)
SIZES = [(80, 24), (120, 40)]
ANSWER = """With one line for each:

```python
log.append((cone, degrees))
```

- the **cone** first
- then the degrees
"""
PASSED = Gate("recall", 0.981, 0.95, 0.9, 200, "passed")
FAILED = Gate("older", 0.31, 0.38, 0.02, 160, "failed")
FOUND = [
    Finding("store", "ok", "SQLite, 1 turn, sound"),
    Finding("embedder", "note", "off: recall is by words alone", "leave out --no-embedder"),
    Finding("model", "fault", "the server does not answer", "start it, or name another with --base-url"),
]
Snap = Callable[..., bool]
Before = Callable[[Pilot[None]], Awaitable[None]]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        changed.setenv("TEXTUAL_ANIMATIONS", "none")
        changed.delenv("NO_COLOR", raising=False)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    ticks = count()
    store = str(tmp_path / "memory.db")
    settings = Settings(store=store, think=False)
    clock = lambda: START + timedelta(milliseconds=next(ticks))  # noqa: E731
    with Memory(store, embedder=None, settings=settings, clock=clock) as opened:
        yield opened


def app_of(memory: Memory, *script: str) -> ChatApp:
    chosen = ChosenModel(FakeChatModel(list(script)), "the fake", None)
    return make_app(
        memory, namespace=NAMESPACE, chosen=chosen, settings=memory.settings, session="s", clock=lambda: START
    )


async def still(pilot: Pilot[None]) -> None:
    """No cursor that blinks, and nothing that is still on its way."""
    await until(pilot, lambda: bool(pilot.app.screen.query("Footer, #forget")))
    if isinstance(pilot.app.screen, ChatScreen):
        await until(pilot, lambda: _is_filled(pilot.app.screen))
    for prompt in pilot.app.screen.query(Prompt):
        prompt.cursor_blink = False
    await until(
        pilot, lambda: not [w for w in pilot.app.workers if w.group in ("load", "sessions", "read", "status", "about")]
    )
    await pilot.pause()


def _is_filled(screen: Screen[Any]) -> bool:
    """Whether the chat shows the session, the list of sessions and who answers, each of which is read by itself."""
    said = screen.query("Transcript > Said, Transcript > Welcome")
    return bool(said and screen.query_one(SessionList).option_count and screen.query_one(StatusBar).model)


async def paged(pilot: Pilot[None], number: int) -> None:
    await still(pilot)
    await turn_to(pilot, number)
    await until(pilot, lambda: "Reading" not in str(pilot.app.screen.query_one("#count", Static).render()))
    await still(pilot)


@pytest.mark.parametrize("size", SIZES)
def test_forget(snap_compare: Snap, memory: Memory, size: tuple[int, int]) -> None:
    turn = memory.observe("user", "My dose is 20 mg daily.", namespace=NAMESPACE, session="old")
    memory.insert("The dose is 20 mg daily.", namespace=NAMESPACE, sources=[turn.id])

    async def before(pilot: Pilot[None]) -> None:
        await paged(pilot, 1)
        await pilot.press("f")
        await until(pilot, lambda: bool(pilot.app.screen.query("#forget:enabled")))
        await still(pilot)

    assert snap_compare(app_of(memory), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_thoughts(snap_compare: Snap, memory: Memory, size: tuple[int, int]) -> None:
    old = memory.insert("Mara takes 20 mg of iron a day.", namespace=NAMESPACE).thought
    memory.insert("Mara takes 40 mg of iron a day.", namespace=NAMESPACE, supersedes=old.id)
    memory.insert("Elin bakes.", namespace=NAMESPACE, origin="agent", trusted=False)

    async def before(pilot: Pilot[None]) -> None:
        await paged(pilot, 1)
        await pilot.press("o", "down", "space")
        await still(pilot)

    assert snap_compare(app_of(memory), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_timeline(snap_compare: Snap, memory: Memory, size: tuple[int, int]) -> None:
    memory.observe_many(turns(), namespace=NAMESPACE)

    async def before(pilot: Pilot[None]) -> None:
        await paged(pilot, 2)
        await pilot.press("down", "enter")
        await asyncio.sleep(0)
        tree: Any = pilot.app.screen.query_one("#timeline")
        await until(pilot, lambda: bool(tree.root.children[0].children))
        await still(pilot)

    assert snap_compare(app_of(memory), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_chat(snap_compare: Snap, memory: Memory, size: tuple[int, int]) -> None:
    memory.observe_many(turns(), namespace=NAMESPACE)
    asked = memory.observe("user", "How do I log a firing?", namespace=NAMESPACE, session="s").id
    memory.observe(
        "assistant", ANSWER, namespace=NAMESPACE, session="s", parent_id=asked, metadata={"model": "the fake"}
    )
    assert snap_compare(app_of(memory), terminal_size=size, run_before=still)


@pytest.mark.parametrize("size", SIZES)
def test_why_this_answer(snap_compare: Snap, memory: Memory, size: tuple[int, int]) -> None:
    memory.observe_many(turns(), namespace=NAMESPACE)

    async def before(pilot: Pilot[None]) -> None:
        await still(pilot)
        await say(pilot, "What is Elin allergic to?")
        recalled = pilot.app.screen.query_one(Recalled)
        if not recalled.display:
            await pilot.press("f3")
        recalled.query_one(RecalledList).focus()
        await pilot.press("p", "down", "x")
        await still(pilot)

    assert snap_compare(app_of(memory, "Peanuts, badly."), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_history(snap_compare: Snap, memory: Memory, size: tuple[int, int]) -> None:
    turn = memory.observe("user", "The doctor says 40 mg of iron now.", namespace=NAMESPACE, session="old")
    old = memory.insert("Mara takes 20 mg of iron a day.", namespace=NAMESPACE).thought
    memory.insert("Mara takes 40 mg of iron a day.", namespace=NAMESPACE, sources=[turn.id], supersedes=old.id)

    async def before(pilot: Pilot[None]) -> None:
        await paged(pilot, 1)
        await pilot.press("enter")
        await until(
            pilot, lambda: bool(pilot.app.screen.query(Options) and pilot.app.screen.query_one(Options).options)
        )
        await still(pilot)

    assert snap_compare(app_of(memory), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_health(snap_compare: Snap, memory: Memory, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    memory.observe("user", "Hello.", namespace=NAMESPACE)
    waiting = memory.jobs(namespace=NAMESPACE)
    with memory.backend.write() as writer:
        change_jobs(writer, waiting, state="parked", reason="the vector is not finite")
    app = app_of(memory)
    # What the doctor finds differs from machine to machine.
    monkeypatch.setattr(app.conversation, "examine", lambda: FOUND)

    async def before(pilot: Pilot[None]) -> None:
        await paged(pilot, 3)
        await until(pilot, lambda: "SQLite" in str(pilot.app.screen.query_one("#found", Static).render()))
        await still(pilot)

    assert snap_compare(app, terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
def test_weights(snap_compare: Snap, memory: Memory, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.models.select._look", lambda _address: None)
    thought = memory.insert("Elin is allergic to peanuts.", namespace=NAMESPACE).thought.id
    told = {"base": "/models/base", "strategy": "from-base", "seed": 0, "writer": "templates", "learned": 1, "new": 1}
    for n, gates in enumerate(((PASSED,), (PASSED, FAILED))):
        judged = Judgement(gates)
        adapter = Adapter(
            id=f"adapter-{n}",
            namespace=NAMESPACE,
            name=f"mem-{n:016x}",
            recorded_at=START,
            state="ready" if judged.passed else "rejected",
            metadata=told | {"judgement": judged.as_json()},
        )
        with memory.backend.write() as writer:
            lineage.record(writer, adapter, [thought])
            if judged.passed:
                lineage.put_in_service(writer, adapter, namespace=NAMESPACE, now=START)

    async def before(pilot: Pilot[None]) -> None:
        await paged(pilot, 4)
        await until(pilot, lambda: "No model server" in str(pilot.app.screen.query_one("#count", Static).render()))
        await until(pilot, lambda: "taught" in str(pilot.app.screen.query_one("#about", Static).render()))
        await still(pilot)

    assert snap_compare(app_of(memory), terminal_size=size, run_before=before)
