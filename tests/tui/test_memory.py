"""Looking into the memory and forgetting from it; sessions and panes."""

from __future__ import annotations

from collections.abc import Callable

from textual.widgets import Button

from agentmem.memory import Memory
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.screens.forget import ForgetScreen
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.recalled import Recalled, RecalledList
from agentmem_tui.widgets.sessions import SessionList, Sessions
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, recalled, say, shown, transcript, until

Chat = Callable[..., ChatApp]
FACT = "My doctor raised the dose to 20 mg daily."


async def open_forget(pilot: Driver) -> ForgetScreen:
    """Ask about the fact, mark it in the pane and press `f`."""
    await say(pilot, "Which dose did my doctor raise?")
    pilot.app.screen.query_one(RecalledList).focus()
    await pilot.press("f")
    await until(pilot, lambda: isinstance(pilot.app.screen, ForgetScreen))
    screen = pilot.app.screen
    assert isinstance(screen, ForgetScreen)
    await until(pilot, lambda: not screen.query_one("#forget", Button).disabled)
    return screen


async def test_forget_shows_what_goes_and_then_it_is_gone(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", FACT, namespace=NAMESPACE, session="old")
    memory.insert("The dose is 20 mg daily.", namespace=NAMESPACE, sources=[turn.id])
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await open_forget(pilot)
        preview = shown(pilot)
        assert FACT in preview
        assert "The dose is 20 mg daily." in preview
        assert "Turns that repeat it" in preview
        await pilot.click("#forget")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and bool(notices(pilot)))
        assert "erased" in notices(pilot)[0]
        await until(
            pilot, lambda: FACT not in "".join([*recalled(pilot), *(a.text for a in transcript(pilot).answers())])
        )
        assert "20 mg" not in shown(pilot)
    assert not [t for t in memory.turns(namespace=NAMESPACE) if "20 mg" in t.text]
    assert memory.thoughts(namespace=NAMESPACE) == []


async def test_echoes_stay_where_the_user_leaves_them_out(chat: Chat, memory: Memory) -> None:
    memory.observe("user", FACT, namespace=NAMESPACE, session="old")
    async with chat(session="s").run_test(size=SIZE) as pilot:
        screen = await open_forget(pilot)
        await pilot.click("#echoes")
        await until(pilot, lambda: "Turns that repeat it" not in shown(pilot))
        await until(pilot, lambda: not screen.query_one("#forget", Button).disabled)
        await pilot.click("#forget")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
    left = [t.role for t in memory.turns(namespace=NAMESPACE) if "20 mg" in t.text]
    assert left == ["assistant"]


async def test_leaving_the_preview_forgets_nothing(chat: Chat, memory: Memory) -> None:
    memory.observe("user", FACT, namespace=NAMESPACE, session="old")
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await open_forget(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
        await open_forget(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))
    assert FACT in [t.text for t in memory.turns(namespace=NAMESPACE)]


async def test_enter_opens_what_stood_around_a_memory(chat: Chat, memory: Memory) -> None:
    for text in ("Good morning.", FACT, "The weather is fine."):
        memory.observe("user", text, namespace=NAMESPACE, session="old")
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "Which dose did my doctor raise?")
        pilot.app.screen.query_one(RecalledList).focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AroundScreen) and FACT in shown(pilot))
        assert "Good morning." in shown(pilot)
        assert "The weather is fine." in shown(pilot)
        await pilot.press("m")
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, ChatScreen)


async def test_a_thought_opens_at_the_turn_it_came_from(chat: Chat, memory: Memory) -> None:
    turn = memory.observe("user", "It is twice what it was.", namespace=NAMESPACE, session="old")
    memory.insert(FACT, namespace=NAMESPACE, sources=[turn.id])
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "Which dose did my doctor raise?")
        pilot.app.screen.query_one(RecalledList).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "It is twice what it was." in shown(pilot))
        assert FACT in shown(pilot)


async def test_a_thought_without_source_says_so(chat: Chat, memory: Memory) -> None:
    memory.insert(FACT, namespace=NAMESPACE)
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "Which dose did my doctor raise?")
        pilot.app.screen.query_one(RecalledList).focus()
        await pilot.press("enter")
        await until(pilot, lambda: "No turn is kept that this came from." in shown(pilot))


async def test_going_back_to_a_session(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "In the old one.", namespace=NAMESPACE, session="old")
    async with chat("Yes.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "In the new one.")
        sessions = pilot.app.screen.query_one(SessionList)
        await until(pilot, lambda: sessions.option_count == 2)
        sessions.focus()
        await pilot.press("down", "enter")
        await until(pilot, lambda: "In the old one." in shown(pilot))
        assert "In the new one." not in [w.text for w in transcript(pilot).said()]
        await pilot.press("ctrl+n")
        await until(pilot, lambda: not transcript(pilot).said())
        assert "3 turns remembered" in shown(pilot)


async def test_answers_can_be_selected_by_key(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "My sister Ana bakes bread.", namespace=NAMESPACE, session="old")
    memory.observe("user", "My brother Rui mends boats.", namespace=NAMESPACE, session="old")
    async with chat("Bread.", "Boats.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "What does Ana bake?")
        first = recalled(pilot)
        await say(pilot, "What does Rui mend?")
        assert recalled(pilot) != first
        await pilot.press("ctrl+up")
        await pilot.pause()
        assert recalled(pilot) == first


async def test_narrow_screen_shows_one_pane_at_a_time(chat: Chat) -> None:
    async with chat().run_test(size=(80, 24)) as pilot:
        screen = pilot.app.screen
        panes = screen.query_one(Sessions), screen.query_one(Recalled)
        assert [pane.display for pane in panes] == [False, False]
        await pilot.press("f2")
        assert [pane.display for pane in panes] == [True, False]
        await pilot.press("f3")
        assert [pane.display for pane in panes] == [False, True]
        await pilot.press("f3")
        assert [pane.display for pane in panes] == [False, False]
        assert screen.query_one(Prompt).has_focus
        await pilot.resize_terminal(160, 50)
        await pilot.pause()
        assert [pane.display for pane in panes] == [True, True]


async def test_the_palette_has_every_action(chat: Chat) -> None:
    app = chat()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        titles = {command.title for command in app.get_system_commands(app.screen)}
        wanted = {"New session", "Sessions", "Recalled", "Private mode", "Open memory", "Forget memory", "Cancel"}
        assert wanted <= titles
        assert {"Quit", "Theme", "Keys"} <= titles
