"""Random keys and sizes against the live app with a slow model that fails: no error of the interface, no lost turn.

AGENTMEM_CHAOS_ROUNDS says how many rounds of a dozen keys each; 600 take some minutes. When a key comes is chance, so
no two runs are alike.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest
from textual import events

from agentmem.agent import ChosenModel
from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem.testing.fake_model import SlowChatModel, tool_call
from agentmem.types import ForgetPlan, Receipt
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.sample import turns
from tests.tui.conftest import NAMESPACE, until

ROUNDS = int(os.environ.get("AGENTMEM_CHAOS_ROUNDS", "30"))
KEYS = (
    "enter", "enter", "enter", "escape", "tab", "shift+tab", "up", "down", "left", "pageup", "pagedown", "home", "end",
    "ctrl+j", "ctrl+n", "ctrl+o", "ctrl+g", "ctrl+s", "ctrl+up", "ctrl+down", "ctrl+end", "space", "slash",
    "backspace", "f1", "f2", "f3", "f4", "f5", "f9", "f10", *"1234aefmrzsodpxuyng",
)  # fmt: skip
SIZES = ((80, 24), (20, 5), (160, 50), (100, 30), (41, 12))
WORDS = ("peanuts", "the kiln", "1222", "[bold]x[/]", "\x1b[2J", "```", "日本", "| a | b |")


def step(chance: random.Random) -> Any:
    """What the model says: some words, an error in the middle of them, a tool, or a wish to forget."""
    words = [" ".join(chance.choices(WORDS, k=12)) + "\n\n" for _ in range(chance.randrange(1, 6))]
    kind = chance.random()
    if kind < 0.2:
        return [*words, ModelError("the server went away")]
    if kind < 0.35:
        return tool_call("search_memory", query="kiln")
    return tool_call("forget_memory", ids=["nothing"]) if kind < 0.4 else words


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_typed_breaks_it_and_nothing_said_is_lost(memory: Memory, seed: int) -> None:
    chance = random.Random(seed)
    model = SlowChatModel([lambda _: step(chance) for _ in range(50)], seed=seed, repeat=True)
    memory.observe_many(turns(), namespace=NAMESPACE)
    said: set[str] = set()
    chosen = ChosenModel(model, "the fake", None)
    app = make_app(memory, namespace=NAMESPACE, chosen=chosen, settings=memory.settings)
    erased, told = hear(app)
    async with app.run_test(size=SIZES[0]) as pilot:
        for _ in range(ROUNDS):
            for key in chance.choices(KEYS, k=12):
                app.post_message(events.Key(key, key if len(key) == 1 else None))
            for letter in chance.choice(WORDS):
                if letter.isprintable():
                    app.post_message(events.Key(letter, letter))
            await asyncio.sleep(chance.uniform(0, 0.1))
            if chance.random() < 0.3:
                await pilot.resize_terminal(*chance.choice(SIZES))
            said |= {turn.id for turn in memory.turns(namespace=NAMESPACE)}
            assert app._exception is None
            assert app.is_running
        await until(pilot, lambda: not app.message_queue_size)
        await until(pilot, lambda: told.count("Forgotten") == len(erased))
    assert app._exception is None
    gone = said - {turn.id for turn in memory.turns(namespace=NAMESPACE)}
    asked_for = {i for receipt in erased for i in receipt.forgotten.get("turns", ())}
    assert gone <= asked_for, f"{len(gone - asked_for)} turns are lost"
    assert memory.backend.check() == []


def hear(app: ChatApp) -> tuple[list[Receipt], list[str]]:
    """What the app has erased, and the titles of its notices: they themselves go off the screen after a while."""
    erased: list[Receipt] = []
    told: list[str] = []
    forget, notify = app.conversation.forget, app.notify

    def forgetting(plan: ForgetPlan) -> Receipt:
        erased.append(forget(plan))
        return erased[-1]

    def noticing(message: str, *, title: str = "", **how: Any) -> None:
        told.append(title)
        notify(message, title=title, **how)

    app.conversation.forget = forgetting  # type: ignore[method-assign]
    app.notify = noticing  # type: ignore[method-assign]
    return erased, told
