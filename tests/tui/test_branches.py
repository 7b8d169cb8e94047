"""Answering anew, editing, forking: on screen, and in the store, where nothing is lost."""

from __future__ import annotations

from collections.abc import Callable

from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem_tui.app import ChatApp
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.sessions import SessionList
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, say, shown, transcript, until

Chat = Callable[..., ChatApp]


def on_screen(pilot: Driver) -> list[str]:
    return [said.text for said in transcript(pilot).said()]


def kept(memory: Memory) -> list[tuple[str, str]]:
    return [(turn.text, turn.status) for turn in memory.turns(namespace=NAMESPACE)]


async def settled(pilot: Driver) -> None:
    await until(pilot, lambda: "recalled" in pilot.app.screen.query(Answer).last().note)


async def test_f5_has_the_question_answered_anew(chat: Chat, memory: Memory) -> None:
    async with chat("Red.", "Blue.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "Which colour?")
        await pilot.press("f5")
        await until(pilot, lambda: on_screen(pilot) == ["Which colour?", "Blue."])
        await settled(pilot)
        assert kept(memory) == [("Which colour?", "complete"), ("Red.", "superseded"), ("Blue.", "complete")]
        await pilot.app.screen.run_action("versions")
        await until(pilot, lambda: on_screen(pilot) == ["Which colour?", "Red.", "Blue."])
        assert "superseded" in shown(pilot)


async def test_after_a_failure_f5_asks_again_and_the_question_stands_once(chat: Chat, memory: Memory) -> None:
    async with chat(ModelError("the server went away"), "Here.", session="s").run_test(size=SIZE) as pilot:
        pilot.app.screen.query_one(Prompt).load_text("Hello?")
        await pilot.press("enter")
        await until(pilot, lambda: "failed: F5 asks again" in shown(pilot))
        await pilot.press("f5")
        await until(pilot, lambda: on_screen(pilot) == ["Hello?", "Here."])
        await settled(pilot)
    assert kept(memory) == [("Hello?", "complete"), ("Here.", "complete")]


async def test_a_new_answer_that_fails_leaves_the_former_one_on_screen(chat: Chat, memory: Memory) -> None:
    async with chat("Red.", ModelError("gone"), session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "Which colour?")
        await pilot.press("f5")
        await until(pilot, lambda: bool(pilot.app._notifications))
        await until(pilot, lambda: on_screen(pilot) == ["Which colour?", "Red."])
    assert kept(memory) == [("Which colour?", "complete"), ("Red.", "complete")]


async def test_ctrl_o_edits_the_question_and_keeps_the_former_wording(chat: Chat, memory: Memory) -> None:
    async with chat("Nice.", "Nicer.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "I moved to Lisbon.")
        prompt = pilot.app.screen.query_one(Prompt)
        await pilot.press("ctrl+o")
        assert prompt.text == "I moved to Lisbon."
        await pilot.press("escape")
        assert not prompt.text
        await pilot.press("ctrl+o")
        prompt.load_text("I moved to Porto.")
        await pilot.press("enter")
        await until(pilot, lambda: on_screen(pilot) == ["I moved to Porto.", "Nicer."])
        await settled(pilot)
        assert "edited" in shown(pilot)
    assert [status for _, status in kept(memory)] == ["superseded", "superseded", "complete", "complete"]
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: on_screen(pilot) == ["I moved to Porto.", "Nicer."])


async def test_ctrl_g_forks_after_the_selected_answer(chat: Chat, memory: Memory) -> None:
    async with chat("One.", "Two.", "Forked.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "First?")
        await say(pilot, "Second?")
        await pilot.press("ctrl+up", "ctrl+g")
        await until(pilot, lambda: on_screen(pilot) == ["First?", "One."])
        await say(pilot, "Third?")
        assert on_screen(pilot) == ["First?", "One.", "Third?", "Forked."]
        sessions = pilot.app.screen.query_one(SessionList)
        await until(pilot, lambda: sessions.option_count == 2)
    assert len(memory.turns(namespace=NAMESPACE, session="s")) == 4
    forked = [t for t in memory.turns(namespace=NAMESPACE) if t.session != "s"]
    assert [t.text for t in forked] == ["Third?", "Forked."]
    async with chat(session=forked[0].session).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: on_screen(pilot) == ["First?", "One.", "Third?", "Forked."])


async def test_there_is_nothing_to_say_again_in_an_empty_or_a_private_session(chat: Chat, memory: Memory) -> None:
    async with chat("Yes.", session="s").run_test(size=SIZE) as pilot:
        await pilot.press("f5", "ctrl+o", "ctrl+g")
        assert len(notices(pilot)) == 2
        await pilot.press("f4")
        await say(pilot, "Between us.")
        await pilot.press("f5", "ctrl+o")
        assert ["not kept" in notice for notice in notices(pilot)] == [False, False, True, True]
    assert kept(memory) == []
