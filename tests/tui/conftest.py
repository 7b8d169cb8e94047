"""The real app on a real store, driven by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from textual.pilot import Pilot

from agentmem.agent import ChosenModel
from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.page import Page
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import RecalledList
from agentmem_tui.widgets.transcript import Transcript

NAMESPACE = ("alice",)
SIZE = (150, 45)
Driver: TypeAlias = Pilot[None]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    store = str(tmp_path / "memory.db")
    with Memory(store, embedder=None, settings=Settings(store=store)) as opened:
        yield opened


@pytest.fixture
def chat(memory: Memory) -> Callable[..., ChatApp]:
    """Makes the app; `script` is what the model says, without one the stand-in answers."""

    def make(*script: Any, session: str | None = None, private: bool = False) -> ChatApp:
        model = FakeChatModel(script) if script else None
        chosen = ChosenModel(model, "the fake" if script else "stand-in", None if script else "How to get a model.")
        app = make_app(
            memory, namespace=NAMESPACE, chosen=chosen, settings=memory.settings, session=session, private=private
        )
        app.NOTIFICATION_TIMEOUT = 600  # type: ignore[misc]  # a busy machine must not outlast a notice
        return app

    return make


async def until(pilot: Driver, true: Callable[[], bool], seconds: float = 60.0) -> None:
    """Let the app work until a condition holds."""
    async with asyncio.timeout(seconds):
        while not true():
            await pilot.pause(0.02)


async def say(pilot: Driver, text: str) -> Answer:
    """Send a text and wait for the answer to be complete."""
    app = pilot.app
    before = len(app.screen.query(Answer))
    prompt = app.screen.query_one(Prompt)
    prompt.focus()
    prompt.load_text(text)
    await pilot.press("enter")
    await until(pilot, lambda: len(app.screen.query(Answer)) > before)
    answer = app.screen.query(Answer).last()
    await until(pilot, lambda: "recalled" in answer.note)
    await pilot.pause()
    return answer


async def turn_to(pilot: Driver, number: int) -> None:
    """Open a page of the memory by its keys, each when what takes it is there."""
    for n, key in ((1, "f9"), (number, str(number))):
        await pilot.press(key)
        await until(pilot, lambda n=n: _is_there(pilot, n))  # type: ignore[misc]


def _is_there(pilot: Driver, number: int) -> bool:
    screen = pilot.app.screen
    return isinstance(screen, Page) and number == screen.NUMBER and screen.focused in [*screen.query(screen.MAIN)]


def shown(pilot: Driver) -> str:
    """All text on the screen that stands in Static widgets and in answers."""
    return "\n".join(str(widget.render()) for widget in pilot.app.screen.query("Static, Prose"))


def recalled(pilot: Driver) -> list[str]:
    """The texts in the pane of recalled items."""
    return [item.text for item in pilot.app.screen.query_one(RecalledList).items]


def transcript(pilot: Driver) -> Transcript:
    return pilot.app.screen.query_one(Transcript)


def notices(pilot: Driver) -> list[str]:
    return [notice.message for notice in pilot.app._notifications]
