"""The pages beside the chat, on a real store: thoughts, timeline, health, weights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from textual.widgets import Input, Static, TextArea, Tree

from agentmem.ledger import change_jobs
from agentmem.memory import Memory
from agentmem.types import Thought
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.screens.forget import ForgetScreen
from agentmem_tui.screens.health import HealthPage
from agentmem_tui.screens.history import HistoryScreen
from agentmem_tui.screens.thoughts import ThoughtsPage
from agentmem_tui.screens.timeline import TimelinePage
from agentmem_tui.screens.weights import WeightsPage
from agentmem_tui.screens.write import WriteScreen
from agentmem_tui.widgets.table import Table
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, shown, transcript, turn_to, until

Chat = Callable[..., ChatApp]
IRON20, IRON40 = "Mara takes 20 mg of iron a day.", "Mara takes 40 mg of iron a day."
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def table(pilot: Driver) -> Table[Any]:
    return pilot.app.screen.query_one(Table)


def texts(pilot: Driver) -> list[str]:
    return [row.text for row in table(pilot).rows]


def live(memory: Memory) -> list[str]:
    return [thought.text for thought in memory.thoughts(namespace=NAMESPACE)]


async def open_thoughts(pilot: Driver, *expected: str) -> None:
    await pilot.press("f9")
    await until(pilot, lambda: isinstance(pilot.app.screen, ThoughtsPage))
    await until(pilot, lambda: "Reading" not in shown(pilot) and sorted(texts(pilot)) == sorted(expected))


async def write(pilot: Driver, text: str) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, WriteScreen))
    pilot.app.screen.query_one(TextArea).load_text(text)
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ThoughtsPage))


async def test_a_thought_is_added_edited_and_the_edit_taken_back(chat: Chat, memory: Memory) -> None:
    async with chat().run_test(size=SIZE) as pilot:
        await open_thoughts(pilot)
        await pilot.press("a")
        await write(pilot, IRON20)
        await until(pilot, lambda: texts(pilot) == [IRON20])
        await pilot.press("e")
        await write(pilot, IRON40)
        await until(pilot, lambda: texts(pilot) == [IRON40])
        assert [t.superseded_by for t in memory.thoughts(namespace=NAMESPACE, state="retracted")] == [
            memory.thoughts(namespace=NAMESPACE)[0].id
        ]
        await pilot.press("o")
        await until(pilot, lambda: len(texts(pilot)) == 2)
        await pilot.press("z")
        await until(pilot, lambda: any("taken back" in notice for notice in notices(pilot)))
    assert IRON20 in live(memory)


async def test_two_are_merged_and_a_third_is_retracted(chat: Chat, memory: Memory) -> None:
    for text in (IRON20, "Mara takes iron.", "Elin bakes."):
        memory.insert(text, namespace=NAMESPACE, valid_from=MARCH)
    async with chat().run_test(size=SIZE) as pilot:
        await open_thoughts(pilot, IRON20, "Mara takes iron.", "Elin bakes.")
        await pilot.press("m")
        assert "Mark two or more" in notices(pilot)[-1]
        pilot.app.screen.query_one(Input).value = "iron"
        await until(pilot, lambda: len(texts(pilot)) == 2)
        await pilot.press("space", "space", "m")
        await write(pilot, "Mara takes 20 mg of iron.")
        await until(pilot, lambda: texts(pilot) == ["Mara takes 20 mg of iron."])
        pilot.app.screen.query_one(Input).value = "about:nobody"
        await until(pilot, lambda: texts(pilot) == [])
        pilot.app.screen.query_one(Input).value = "bakes"
        await until(pilot, lambda: texts(pilot) == ["Elin bakes."])
        await pilot.press("r")
        await until(pilot, lambda: texts(pilot) == [])
    assert live(memory) == ["Mara takes 20 mg of iron."]


async def test_what_was_true_on_a_day(chat: Chat, memory: Memory) -> None:
    old = memory.insert(IRON20, namespace=NAMESPACE, valid_from=MARCH).thought
    memory.insert(IRON40, namespace=NAMESPACE, valid_from=datetime(2026, 5, 1, tzinfo=UTC), supersedes=old.id)
    async with chat().run_test(size=SIZE) as pilot:
        await open_thoughts(pilot, IRON40)
        await pilot.press("d")
        await write(pilot, "not a day")
        assert "is no date" in notices(pilot)[-1]
        await pilot.press("d")
        await write(pilot, "2026-04-01")
        await until(pilot, lambda: texts(pilot) == [IRON20])
        assert "true on 2026-04-01" in shown(pilot)


async def test_history_leads_back_to_the_very_turn(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", "The doctor said 20 mg.", namespace=NAMESPACE, session="old")
    old = memory.insert(IRON20, namespace=NAMESPACE, sources=[turn.id]).thought
    memory.insert(IRON40, namespace=NAMESPACE, supersedes=old.id)
    async with chat().run_test(size=SIZE) as pilot:
        await open_thoughts(pilot, IRON40)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HistoryScreen) and "by hand" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: "retracted · true since" in shown(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AroundScreen) and turn.text in shown(pilot))
        await pilot.press("escape", "escape", "escape")
        assert isinstance(pilot.app.screen, ThoughtsPage)


async def test_forgetting_in_the_browser_takes_the_turn_off_the_chat(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", "The doctor said 20 mg.", namespace=NAMESPACE, session="s")
    memory.insert(IRON20, namespace=NAMESPACE, sources=[turn.id])
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: [said.text for said in transcript(pilot).said()] == [turn.text])
        await open_thoughts(pilot, IRON20)
        await pilot.press("f")
        await until(pilot, lambda: isinstance(pilot.app.screen, ForgetScreen))
        await until(pilot, lambda: bool(pilot.app.screen.query("#forget:enabled")))
        await pilot.click("#forget")
        await until(pilot, lambda: isinstance(pilot.app.screen, ThoughtsPage) and texts(pilot) == [])
        await until(pilot, lambda: any("1 turn, 1 thought; their bytes are erased" in n for n in notices(pilot)))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and not transcript(pilot).said())
    assert memory.turns(namespace=NAMESPACE) == []


async def test_an_error_in_the_browser_is_a_notice(chat: Chat, memory: Memory) -> None:
    memory.insert(IRON20, namespace=NAMESPACE)
    async with chat().run_test(size=SIZE) as pilot:
        await open_thoughts(pilot, IRON20)
        await pilot.press("z")
        await until(pilot, lambda: "nothing to undo" in notices(pilot)[-1])
        await pilot.press("e")
        await write(pilot, IRON20)
        await until(pilot, lambda: "the wording is the same" in notices(pilot)[-1])
    assert live(memory) == [IRON20]


async def test_the_timeline_unfolds_from_sessions_to_turns(chat: Chat, memory: Memory) -> None:
    for n in range(20):
        memory.observe("user", f"line {n}", namespace=NAMESPACE, session="long")
    memory.observe("user", "Short.", namespace=NAMESPACE, session="short")
    async with chat().run_test(size=SIZE) as pilot:
        await turn_to(pilot, 2)
        await until(pilot, lambda: isinstance(pilot.app.screen, TimelinePage) and "2 sessions" in shown(pilot))
        tree = pilot.app.screen.query_one(Tree)
        await pilot.press("down", "down", "enter")
        sessions = tree.root.children
        await until(pilot, lambda: len(sessions[1].children) >= 2)
        chunks = len(memory.chunks(namespace=NAMESPACE, session="long"))
        assert len(sessions[1].children) == chunks
        await pilot.press("down", "enter")
        await until(pilot, lambda: bool(sessions[1].children[0].children))
        assert "line 0" in str(sessions[1].children[0].children[0].label)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AroundScreen) and "line 0" in shown(pilot))
        await pilot.press("g")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await until(pilot, lambda: len(transcript(pilot).said()) == 20)


@pytest.mark.parametrize(("key", "left"), [("d", []), ("r", ["queued"])])
async def test_parked_work_is_shown_with_its_reason_given_up_or_tried_again(
    chat: Chat, memory: Memory, key: str, left: list[str]
) -> None:
    memory.observe("user", "Hello.", namespace=NAMESPACE)
    (job,) = memory.jobs(namespace=NAMESPACE)
    with memory.backend.write() as writer:
        change_jobs(writer, [job], state="parked", reason="the vector is not finite")
    async with chat().run_test(size=SIZE) as pilot:
        await turn_to(pilot, 3)
        await until(pilot, lambda: isinstance(pilot.app.screen, HealthPage) and "1 parked" in shown(pilot))
        assert "the vector is not finite" in table(pilot).render_line(1).text
        await until(pilot, lambda: "SQLite" in shown(pilot), 60)
        found = str(pilot.app.screen.query_one("#found", Static).render())
        assert "agentmem queue drop" in found
        await pilot.press(key)
        await until(pilot, lambda: [j.state for j in memory.jobs(namespace=NAMESPACE)] == left)
    assert len(memory.turns(namespace=NAMESPACE)) == 1


async def test_every_page_is_a_key_away(chat: Chat) -> None:
    async with chat().run_test(size=(80, 24)) as pilot:
        await turn_to(pilot, 4)
        await until(pilot, lambda: isinstance(pilot.app.screen, WeightsPage))
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(pilot.app.screen, ThoughtsPage))
        titles = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"Add", "Edit", "Merge marked", "Forget", "Timeline", "Health", "Chat"} <= titles
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, ChatScreen)


async def test_ten_thousand_thoughts_are_listed(chat: Chat, memory: Memory) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with memory.backend.write() as writer:
        writer.add(
            Thought(id=f"{n:08}", namespace=NAMESPACE, text=f"Fact {n}.", recorded_at=now, valid_from=now)
            for n in range(10_000)
        )
    async with chat().run_test(size=SIZE) as pilot:
        await pilot.press("f9")
        await until(pilot, lambda: isinstance(pilot.app.screen, ThoughtsPage) and "10,000 thoughts" in shown(pilot))
        await pilot.press("end")
        assert table(pilot).current == table(pilot).rows[-1]
