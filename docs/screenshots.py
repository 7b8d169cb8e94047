"""The pictures of the terminal interface: the real app, without a model, on the example conversation.

    python docs/screenshots.py

writes docs/images/*.svg. Date and time zone are fixed and nothing is random: a picture changes only when what it shows
does.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from textual.pilot import Pilot
from textual.widgets import Static, Tree

from agentmem.agent import choose_model
from agentmem.config import Settings
from agentmem.ingest import read_turns
from agentmem.memory import Memory
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import RecalledList
from agentmem_tui.widgets.status_bar import StatusBar

HERE = Path(__file__).parent
CONVERSATION = HERE.parent / "examples" / "data" / "mara.jsonl"
NAMESPACE = ("mara",)
QUESTIONS = ("What is Elin allergic to?", "Which degrees does the kiln in the cannery need?")
THOUGHTS = (
    ("Elin is allergic to peanuts.", "allergic to peanuts", None),
    ("Jonas lives in Bergen with his daughter Elin.", "Jonas lives Bergen", None),
    ("Mara has a cat, Pepper.", "cat Pepper tabby", None),
    ("The kiln needs 1222 degrees for the glaze.", "kiln reached 1222", None),
    ("Mara's studio is in the old cannery, Pier Road 8, from May.", "moving studio cannery", None),
    (
        "The new kiln needs 1210 degrees for the glaze.",
        "kiln cannery 1210",
        "The kiln needs 1222 degrees for the glaze.",
    ),
    ("Elin's birthday is the 2nd of June.", "Elin birthday June", None),
)
"""What is thought, words of the turn that says so, and what it supersedes."""
START = datetime(2026, 6, 8, 9, 30, tzinfo=UTC)
TICKS = count()
NO_SERVER = "http://localhost:9/v1"


def main() -> None:
    os.environ.update(TZ="UTC", TEXTUAL_ANIMATIONS="none", COLORTERM="truecolor")
    time.tzset()
    with TemporaryDirectory() as folder:
        settings = Settings(store=f"{folder}/memory.db", namespace=NAMESPACE)
        with Memory(settings.store, settings=settings, clock=_clock) as memory:
            memory.observe_many(read_turns(CONVERSATION), namespace=NAMESPACE)
            memory.rename_session("6-moving", "Moving the studio", namespace=NAMESPACE)
            _think(memory)
            memory.flush()
            chosen = choose_model(settings, local=NO_SERVER)
            app = make_app(memory, namespace=NAMESPACE, chosen=chosen, settings=settings, clock=_clock)
            asyncio.run(_pictures(app))


def _think(memory: Memory) -> None:
    """Thoughts as they would have been drawn from the conversation, one of them superseded."""
    for text, words, replaced in THOUGHTS:
        source = memory.find_turns(words, namespace=NAMESPACE)[-1]
        old = next((t.id for t in memory.thoughts(namespace=NAMESPACE) if t.text == replaced), None)
        memory.insert(text, namespace=NAMESPACE, sources=[source.id], supersedes=old)


def _clock() -> datetime:
    return START + timedelta(milliseconds=next(TICKS))


async def _pictures(app: ChatApp) -> None:
    async with app.run_test(size=(146, 40)) as pilot:
        app.screen.query_one(Prompt).cursor_blink = False
        for question in QUESTIONS:
            await _ask(pilot, question)
        _keep(app, "chat")
        app.screen.query_one(RecalledList).focus()
        await pilot.press("f")
        await _until(pilot, lambda: bool(app.screen.query("#forget:enabled")))
        _keep(app, "forget")
        await pilot.press("escape", "f9")
        await _until(pilot, lambda: bool(app.screen.query("#count")) and "thoughts" in _count(app))
        await pilot.press("o")
        await pilot.pause(0.5)
        _keep(app, "memory")
        await pilot.press("2")
        await _until(pilot, lambda: bool(app.screen.query(Tree)) and "sessions" in _count(app))
        await pilot.press("down", "down", "enter")
        await pilot.pause(0.5)
        await pilot.press("down", "enter")
        await pilot.pause(1)
        _keep(app, "timeline")


def _count(app: ChatApp) -> str:
    """What a page says below its list, once that is read."""
    return str(app.screen.query_one("#count", Static).render())


async def _ask(pilot: Pilot[None], question: str) -> None:
    app = pilot.app
    shown = len(app.screen.query(Answer))
    app.screen.query_one(Prompt).load_text(question)
    await pilot.press("enter")
    await _until(pilot, lambda: len(app.screen.query(Answer)) > shown)
    answer = app.screen.query(Answer).last()
    await _until(pilot, lambda: answer.note.endswith("recalled"))
    assert isinstance(app, ChatApp)
    await _until(pilot, lambda: not app.conversation.waiting())
    bar = app.screen.query_one(StatusBar)
    await _until(pilot, lambda: bar.embedder == "ready" and not bar.waiting)
    await pilot.pause(0.5)


async def _until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await pilot.pause(0.05)


def _keep(app: ChatApp, name: str) -> None:
    """Write the picture without the address of the font that Textual puts into it: a picture loads nothing."""
    images = HERE / "images"
    images.mkdir(exist_ok=True)
    picture = re.sub(r"@font-face \{.*?\}\s*", "", app.export_screenshot(), flags=re.DOTALL)
    (images / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
