"""Why this answer: signals, what is pinned or left out for the next one, and what was learnt from the exchange."""

from __future__ import annotations

import json
from collections.abc import Callable

from textual.widgets import Static

from agentmem.agent import ChosenModel
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, tool_call
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.confirm import ConfirmScreen
from agentmem_tui.widgets.learned import Learned, LearnedList
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import Recalled, RecalledList
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, recalled, say, shown, until

Chat = Callable[..., ChatApp]


def signals(pilot: Driver) -> str:
    return str(pilot.app.screen.query_one(Recalled).query_one(".signals", Static).render())


async def test_the_marked_item_shows_what_its_score_is_made_of(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "My sister Ana bakes bread.", namespace=NAMESPACE, session="old")
    async with chat("Bread.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "What does Ana bake?")
        await until(pilot, lambda: "coverage" in signals(pilot))
        assert "━" in signals(pilot)
        items = pilot.app.screen.query_one(RecalledList).items
        largest = max(items[0].signals, key=lambda signal: signal.contribution)
        assert f"{largest.contribution:+7.2f}".strip() in signals(pilot)
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "not its scores" in signals(pilot))


async def test_a_pinned_item_comes_with_the_next_answer_only_and_one_left_out_does_not(
    chat: Chat, memory: Memory
) -> None:
    memory.observe("user", "My sister Ana bakes bread.", namespace=NAMESPACE, session="old")
    async with chat("Bread.", "Bread?", "Hm.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "What does Ana bake?")
        pilot.app.screen.query_one(RecalledList).focus()
        await pilot.press("p")
        await until(pilot, lambda: bool(pilot.app.screen.query_one(RecalledList)._pinned))
        await say(pilot, "Zebras?")
        assert recalled(pilot)[0] == "My sister Ana bakes bread."
        pilot.app.screen.query_one(RecalledList).focus()
        await pilot.press("p", "x")
        await say(pilot, "What does Ana bake?")
        assert "My sister Ana bakes bread." not in recalled(pilot)


def thinks(task: str, _asked: str) -> str:
    drawn = {"turn": 1, "text": "The user lives in Oslo.", "head": "the user", "relation": "lives in", "tail": "Oslo"}
    return json.dumps({"thoughts": [drawn]} if task == "thoughts" else {"decisions": []})


def thinking_app(memory: Memory) -> ChatApp:
    model = FakeChatModel(["How nice!"], thinking=thinks)
    app = make_app(
        memory, namespace=NAMESPACE, chosen=ChosenModel(model, "the fake", None), settings=memory.settings, session="s"
    )
    app.NOTIFICATION_TIMEOUT = 600  # type: ignore[misc]
    return app


async def test_what_was_learnt_appears_behind_the_answer_and_can_be_taken_back(memory: Memory) -> None:
    async with thinking_app(memory).run_test(size=SIZE) as pilot:
        await say(pilot, "I live in Oslo now.")
        learned = pilot.app.screen.query_one(LearnedList)
        await until(pilot, lambda: bool(learned.learnt))
        assert "Learnt from this exchange" in shown(pilot)
        assert [one.thought.text for one in learned.learnt] == ["The user lives in Oslo."]
        learned.focus()
        await pilot.press("u")
        await until(pilot, lambda: any("stays in the history" in notice for notice in notices(pilot)))
        await until(pilot, lambda: not learned.learnt)
        assert not pilot.app.screen.query_one(Learned).display
    assert memory.thoughts(namespace=NAMESPACE) == []
    assert [t.state for t in memory.thoughts(namespace=NAMESPACE, state=None)] == ["retracted"]


async def test_what_the_model_had_erased_goes_off_the_screen(chat: Chat, memory: Memory) -> None:
    fact = "My dose is 20 mg daily."
    turn = memory.observe("user", fact, namespace=NAMESPACE, session="s")
    async with chat(tool_call("forget_memory", ids=[turn.id]), "Gone.", session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: fact in shown(pilot))
        pilot.app.screen.query_one(Prompt).load_text("Please forget it.")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "Gone." in shown(pilot) and fact not in shown(pilot))
