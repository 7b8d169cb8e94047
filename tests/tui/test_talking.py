"""What an answer shows while it comes and after: code, tools, the model's wish to forget; and finding what was said."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from textual.widgets import Input, OptionList

from agentmem.agent import choose_model
from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.testing.fake_model import tool_call
from agentmem.testing.model_server import ModelServer
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.screens.confirm import ConfirmScreen
from agentmem_tui.screens.find import FindScreen
from agentmem_tui.screens.forget import ForgetScreen
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.code import Code
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.sessions import SessionList
from agentmem_tui.widgets.step import Step
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, say, shown, transcript, until

Chat = Callable[..., ChatApp]
CODE = "Like so:\n\n```python\nprint('hello')\n```\n\nThat is all."
FACT = "My doctor raised the dose to 20 mg daily."


async def test_what_is_written_after_a_click_into_the_conversation_goes_into_the_prompt(chat: Chat) -> None:
    async with chat("Yes.").run_test(size=SIZE) as pilot:
        await say(pilot, "Is it?")
        transcript(pilot).focus()
        await pilot.press("f", "o", "x")
        prompt = pilot.app.screen.query_one(Prompt)
        await until(pilot, lambda: prompt.text == "fox")
        assert prompt.has_focus


async def test_code_is_copied_as_the_model_wrote_it(chat: Chat) -> None:
    app = chat(CODE)
    async with app.run_test(size=SIZE) as pilot:
        answer = await say(pilot, "How do I print?")
        assert "That is all." in shown(pilot)
        answer.query_one(Code).focus()
        await pilot.press("c")
        assert app.clipboard == "print('hello')"
        await pilot.app.screen.run_action("copy_answer")
        assert app.clipboard == CODE
        await pilot.app.screen.run_action("copy_code")
        assert app.clipboard == "print('hello')"


async def test_tokens_are_those_that_the_server_counts_where_it_does(chat: Chat, memory: Memory) -> None:
    async with chat("It is sunny.").run_test(size=SIZE) as pilot:
        assert "· about " in (await say(pilot, "Weather?")).note
    with ModelServer(["It is sunny."]) as server:
        chosen = choose_model(Settings(base_url=server.url))
        app = make_app(memory, namespace=NAMESPACE, chosen=chosen, settings=Settings(think=False))
        async with app.run_test(size=SIZE) as pilot:
            assert "s · 3 tokens" in (await say(pilot, "Weather?")).note


async def test_a_fence_is_shown_while_it_is_open(chat: Chat) -> None:
    going_on = threading.Event()

    def slowly(_messages: Any) -> Iterator[str]:
        yield "```python\n" + "".join(f"x = {n}\n" for n in range(60))
        going_on.wait(20)
        yield "y = 1\n```\nDone."

    app = chat(slowly)
    async with app.run_test(size=SIZE) as pilot:
        app.screen.query_one(Prompt).load_text("Code?")
        await pilot.press("enter")
        await until(pilot, lambda: "x = 59" in shown(pilot))
        assert len(app.screen.query_one(Code).query(".body")) > 1
        going_on.set()
        await until(pilot, lambda: "recalled" in app.screen.query(Answer).last().note)
        assert len(app.screen.query_one(Code).query(".body")) == 1
        assert app.screen.query_one(Code).code.endswith("x = 59\ny = 1")


async def test_a_flood_of_pieces_is_shown_whole(chat: Chat) -> None:
    text = " ".join(f"word{n}" for n in range(600))
    async with chat(text).run_test(size=SIZE) as pilot:
        answer = await say(pilot, "Say much.")
        assert answer.text == text
        assert "word599" in shown(pilot)


async def test_the_line_below_says_how_long_it_took(chat: Chat) -> None:
    async with chat("Four words to you.").run_test(size=SIZE) as pilot:
        answer = await say(pilot, "Hello.")
        assert "s · about 5 tokens · nothing recalled" in answer.note


async def test_tools_are_shown_as_they_run(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "Rui mends boats.", namespace=NAMESPACE, session="old")
    app = chat(tool_call("search_memory", query="Rui boats"), "He mends boats.")
    async with app.run_test(size=SIZE) as pilot:
        answer = await say(pilot, "What does Rui do?")
        await until(pilot, lambda: bool(answer.query(Step)))
        assert str(answer.query_one(Step).render()) == "✓ search_memory(query='Rui boats') → 1 found"


async def asked_to_forget(pilot: Driver) -> ConfirmScreen:
    pilot.app.screen.query_one(Prompt).load_text("Forget my dose.")
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmScreen))
    assert isinstance(pilot.app.screen, ConfirmScreen)
    return pilot.app.screen


async def test_the_model_asks_to_forget_and_the_user_agrees(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", FACT, namespace=NAMESPACE, session="old")
    async with chat(tool_call("forget_memory", ids=[turn.id]), "Gone.", session="s").run_test(size=SIZE) as pilot:
        await asked_to_forget(pilot)
        await until(pilot, lambda: FACT in shown(pilot))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await until(pilot, lambda: "recalled" in pilot.app.screen.query(Answer).last().note)
    assert FACT not in [t.text for t in memory.turns(namespace=NAMESPACE)]


async def test_the_model_asks_to_forget_and_the_user_says_no(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", FACT, namespace=NAMESPACE, session="old")
    async with chat(tool_call("forget_memory", ids=[turn.id]), "Kept.", session="s").run_test(size=SIZE) as pilot:
        await asked_to_forget(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await until(pilot, lambda: "recalled" in pilot.app.screen.query(Answer).last().note)
    assert FACT in [t.text for t in memory.turns(namespace=NAMESPACE)]


async def test_leaving_while_the_model_asks_forgets_nothing(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", FACT, namespace=NAMESPACE, session="old")
    async with chat(tool_call("forget_memory", ids=[turn.id]), "Kept.", session="s").run_test(size=SIZE) as pilot:
        await asked_to_forget(pilot)
        await pilot.press("ctrl+q")
    assert FACT in [t.text for t in memory.turns(namespace=NAMESPACE)]


async def test_what_was_said_is_found_in_every_session(chat: Chat, memory: Memory) -> None:
    for n in range(3):
        memory.observe("user", f"Boat number {n} leaks.", namespace=NAMESPACE, session=f"s{n}")
    async with chat(session="now").run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+s")
        assert isinstance(pilot.app.screen, FindScreen)
        await pilot.press(*"leaking boats")
        found = pilot.app.screen.query_one("#found", OptionList)
        await until(pilot, lambda: found.option_count == 3)
        pilot.app.screen.query_one(Input).value = "nothing of that"
        await until(pilot, lambda: found.option_count == 0)
        pilot.app.screen.query_one(Input).value = "boat"
        await until(pilot, lambda: found.option_count == 3)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AroundScreen) and "Boat number 1" in shown(pilot))
        await pilot.press("g")
        await until(pilot, lambda: [said.text for said in transcript(pilot).said()] == ["Boat number 1 leaks."])


async def test_sessions_are_filtered_and_one_is_deleted(chat: Chat, memory: Memory) -> None:
    for n in range(3):
        memory.observe("user", f"Boat number {n} leaks.", namespace=NAMESPACE, session=f"s{n}")
    async with chat(session="s0").run_test(size=SIZE) as pilot:
        sessions = pilot.app.screen.query_one(SessionList)
        await until(pilot, lambda: sessions.option_count == 3)
        sessions.focus()
        await pilot.press("slash", *"number 1", "enter")
        await until(pilot, lambda: sessions.option_count == 1)
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ForgetScreen) and "Boat number 1" in shown(pilot))
        await until(pilot, lambda: bool(pilot.app.screen.query("#forget:enabled")))
        await pilot.click("#forget")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and bool(notices(pilot)))
        await until(pilot, lambda: sessions.option_count == 0)
    assert {t.session for t in memory.turns(namespace=NAMESPACE)} == {"s0", "s2"}
