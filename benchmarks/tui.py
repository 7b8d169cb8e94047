"""How quick the chat is: what a key, a theme, a code fence, 500 exchanges and a large memory cost on this machine.

    python benchmarks/tui.py [--json] [NAME ...]

runs the real app without a terminal (its pictures are composed, and written nowhere), on a store in a temporary folder,
with the public fake model. Figures are wall-clock milliseconds; on a machine with other work those of CPU count.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pty
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from agentmem.agent import ChosenModel
from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, SlowChatModel
from agentmem.types import NewTurn, Thought
from agentmem_tui import make_app
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.sessions import SessionList
from agentmem_tui.widgets.table import Table
from agentmem_tui.widgets.transcript import Transcript

NAMESPACE = ("bench",)
SIZE = (120, 40)
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
PROMISED = {
    "focus_ms": 150.0,
    "theme_ms": 150.0,
    "fence_times_plain": 2.0,
    "start_ms": 1000.0,
    "echo_p99_ms": 30.0,
    "echo_ingesting_p99_ms": 30.0,
    "browser_ms": 300.0,
}
TEXT = "Some **words** that stand in an answer, with `code` and a list:\n\n- one\n- two\n\nAnd a last paragraph.\n"
FENCE = "```python\n" + "".join(f"value_{n} = compute({n}, 'a string')  # a comment\n" for n in range(310)) + "```\n"


@asynccontextmanager
async def chat(memory: Memory, model: FakeChatModel | None = None, **how: Any) -> AsyncIterator[Pilot[None]]:
    chosen = ChosenModel(model, "the fake" if model else "stand-in", None)
    settings = Settings(store=memory.settings.store, think=False)
    app = make_app(memory, namespace=NAMESPACE, chosen=chosen, settings=settings, **how)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        yield pilot


async def until(true: Callable[[], bool], step: float = 0.001) -> float:
    """Milliseconds until a condition holds."""
    begun = time.perf_counter()
    while not true():
        await asyncio.sleep(step)
    return (time.perf_counter() - begun) * 1000


async def say(pilot: Pilot[None], text: str) -> float:
    """Milliseconds until the answer is whole."""
    shown = {*pilot.app.screen.query(Answer)}
    pilot.app.screen.query_one(Prompt).load_text(text)
    await pilot.press("enter")
    begun = time.perf_counter()
    await until(lambda: bool(new := {*pilot.app.screen.query(Answer)} - shown) and "recalled" in new.pop().note, 0.01)
    return (time.perf_counter() - begun) * 1000


async def drawn(pilot: Pilot[None], change: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds from a change until the picture after it is composed: by the clock, and of CPU."""
    done = asyncio.Event()
    begun, spent = time.perf_counter(), time.process_time()
    change()
    pilot.app.screen.call_after_refresh(done.set)
    await done.wait()
    return (time.perf_counter() - begun) * 1000, (time.process_time() - spent) * 1000


def turns(count: int, sessions: int = 1) -> list[NewTurn]:
    """A conversation, the assistant's turns as this chat would have kept them."""
    return [
        NewTurn(
            role="assistant" if n % 2 else "user",
            parts=({"type": "text", "text": f"{n}: {TEXT}"},),
            session=f"s{n * sessions // count}",
            occurred_at=BEGUN + timedelta(minutes=n),
            metadata={"model": "the fake"} if n % 2 else {},
        )
        for n in range(count)
    ]


async def messages(memory: Memory) -> dict[str, float]:
    """200 messages on screen: moving the focus, changing the theme."""
    memory.observe_many(turns(200), namespace=NAMESPACE)
    async with chat(memory, FakeChatModel(["Yes."], repeat=True), session="s0") as pilot:
        screen = pilot.app.screen
        transcript = screen.query_one(Transcript)
        while len(transcript.said()) < 200:
            before = len(transcript.said())
            transcript.query_one("#earlier").focus()
            await pilot.press("enter")
            await until(lambda before=before: len(transcript.said()) > before, 0.01)  # type: ignore[misc]
        await pilot.pause()
        focus = [await drawn(pilot, screen.query_one(kind).focus) for kind in (SessionList, Prompt) * 5]
        theme, behind = [], []
        for name in ("textual-light", "high-contrast", "textual-dark") * 2:
            theme.append(await drawn(pilot, lambda name=name: setattr(pilot.app, "theme", name)))  # type: ignore[misc]
            behind.append(await until(lambda: all(work.group != "restyle" for work in pilot.app.workers)))
            await asyncio.sleep(0.5)
        widgets = float(len(list(screen.walk_children())))
    return {
        "focus_ms": median([wall for wall, _ in focus]),
        "focus_cpu_ms": median([cpu for _, cpu in focus]),
        "theme_ms": median([wall for wall, _ in theme]),
        "theme_cpu_ms": median([cpu for _, cpu in theme]),
        "theme_out_of_sight_ms": median(behind),
        "widgets_of_200_messages": widgets,
    }


async def fence(memory: Memory) -> dict[str, float]:
    """Seconds of CPU to stream a 15 KB code fence, and as much plain text."""
    plain = "".join(f"Line {n} of plain text that is about as long as code is.\n\n" for n in range(len(FENCE) // 55))
    spent = {}
    for name, text in {"plain": plain, "fence": FENCE}.items():
        async with chat(memory, SlowChatModel([text], longest=0.004)) as pilot:
            begun = time.process_time()
            await say(pilot, "Go on.")
            spent[name] = time.process_time() - begun
    return {
        "fence_cpu_s": spent["fence"],
        "plain_cpu_s": spent["plain"],
        "fence_times_plain": spent["fence"] / spent["plain"],
    }


async def echo(memory: Memory, *, ingesting: bool) -> list[float]:
    """Milliseconds from a key press to the picture with its letter, while 200 tokens a second stream in."""
    words = "".join(f"word{n} " + ("\n\n" if n % 40 == 39 else "") for n in range(4000))
    waits: list[float] = []
    async with chat(memory, SlowChatModel([words], longest=0.01)) as pilot:
        prompt = pilot.app.screen.query_one(Prompt)
        prompt.load_text("Say much.")
        await pilot.press("enter")
        await until(
            lambda: len(pilot.app.screen.query(Answer).last().text) > 100 if pilot.app.screen.query(Answer) else False,
            0.01,
        )
        more = (
            asyncio.create_task(asyncio.to_thread(memory.observe_many, turns(3000, 30), namespace=NAMESPACE))
            if ingesting
            else None
        )
        for n in range(200):
            letter = "abcdefghij"[n % 10]
            done = asyncio.Event()
            begun = time.perf_counter()
            pilot.app.post_message(events.Key(letter, letter))
            await until(lambda n=n: len(prompt.text) > n, 0.0005)  # type: ignore[misc]
            pilot.app.screen.call_after_refresh(done.set)
            await done.wait()
            waits.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(0.03)
        pilot.app.screen.action_cancel()  # type: ignore[attr-defined]
        if more is not None:
            await more
    return waits


async def typing(memory: Memory) -> dict[str, float]:
    quiet = await echo(memory, ingesting=False)
    busy = await echo(memory, ingesting=True)
    return {
        "echo_median_ms": median(quiet),
        "echo_p99_ms": percentile(quiet, 0.99),
        "echo_ingesting_median_ms": median(busy),
        "echo_ingesting_p99_ms": percentile(busy, 0.99),
    }


async def long_talk(memory: Memory) -> dict[str, float]:
    """Growth of the process over 500 exchanges, and the widgets that are left of them."""
    sizes = {}
    async with chat(memory, FakeChatModel([TEXT], repeat=True)) as pilot:
        for n in range(1, 501):
            await say(pilot, f"Question {n}?")
            if n in (150, 500):
                gc.collect()
                sizes[n] = resident()
        widgets = len(list(pilot.app.screen.walk_children()))
    return {"mb_after_150": sizes[150], "mb_after_500": sizes[500], "widgets_after_500": float(widgets)}


def resident() -> float:
    """MB of RAM that the process holds."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def large(memory: Memory) -> dict[str, float]:
    """50,000 turns and 10,000 thoughts in the store: opening the browser, and leafing through it."""
    memory.observe_many(turns(50_000, 500), namespace=NAMESPACE)
    with memory.backend.write() as writer:
        writer.add(
            Thought(
                id=f"{n:08}", namespace=NAMESPACE, text=f"Fact {n} of the world.", recorded_at=BEGUN, valid_from=BEGUN
            )
            for n in range(10_000)
        )
    opened, leafed = [], []
    async with chat(memory) as pilot:
        await pilot.pause(1)
        for _ in range(5):
            begun = time.perf_counter()
            await pilot.press("f9")
            await until(
                lambda: bool(pilot.app.screen.query(Table)) and len(pilot.app.screen.query_one(Table).rows) == 10_000
            )
            opened.append((time.perf_counter() - begun) * 1000)
            table = pilot.app.screen.query_one(Table)
            leafed += [await drawn(pilot, lambda: table.action_page(1)) for _ in range(10)]  # noqa: B023
            assert "10,000" in str(pilot.app.screen.query_one("#count", Static).render())
            await pilot.press("escape")
            await pilot.pause(0.2)
    return {"browser_ms": median(opened), "browser_page_ms": median([wall for wall, _ in leafed])}


async def start(memory: Memory) -> dict[str, float]:
    """From the command to a prompt that can be typed into, at a terminal, with a warm file cache."""
    waits = [await asyncio.to_thread(_start_once, memory.settings.store) for _ in range(4)]
    return {"start_ms": median(waits[1:])}


def _start_once(store: str) -> float:
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "agentmem", "chat", "--store", store, "--namespace", "bench"]
    known = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    begun = time.perf_counter()
    with subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=known, close_fds=True) as process:
        os.close(inner)
        seen = b""
        while b"Enter sends" not in seen:
            seen += os.read(outer, 65536)
        took = (time.perf_counter() - begun) * 1000
        process.terminate()
        while _drained(outer):
            pass
    os.close(outer)
    return took


def _drained(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 65536))
    except OSError:
        return False


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


PARTS: dict[str, Callable[[Memory], Awaitable[dict[str, float]]]] = {
    "start": start,
    "messages": messages,
    "fence": fence,
    "typing": typing,
    "large": large,
    "talk": long_talk,
}


def measure(names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in names:
        with TemporaryDirectory() as folder:
            settings = Settings(store=f"{folder}/memory.db", think=False)
            with Memory(settings.store, embedder=None, settings=settings) as memory:
                found |= asyncio.run(_run(PARTS[name], memory))
    return found


async def _run(part: Callable[[Memory], Awaitable[dict[str, float]]], memory: Memory) -> dict[str, float]:
    return await part(memory)


def main(arguments: Sequence[str]) -> None:
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    names = [name for name in arguments if name in PARTS] or list(PARTS)
    found = measure(names)
    if "--json" in arguments:
        print(json.dumps(found))
        return
    for name, value in found.items():
        promised = f"  (promised: {PROMISED[name]:g})" if name in PROMISED else ""
        print(f"{name:28}{value:10.2f}{promised}")


if __name__ == "__main__":
    main(sys.argv[1:])
