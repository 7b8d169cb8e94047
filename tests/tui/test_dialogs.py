"""Keys and messages that come when a dialog is going, or is covered; lists that change under them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from textual import events
from textual.widgets import Button

from agentmem.memory import Memory
from agentmem_tui.app import ChatApp
from agentmem_tui.conversation import SessionRow
from agentmem_tui.screens.dialog import Palette
from agentmem_tui.screens.forget import ForgetScreen
from agentmem_tui.screens.thoughts import ThoughtsPage
from agentmem_tui.screens.timeline import TimelinePage
from agentmem_tui.screens.write import WriteScreen
from agentmem_tui.widgets.sessions import SessionList
from agentmem_tui.widgets.table import Table
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, until

Chat = Callable[..., ChatApp]


async def on(pilot: Driver, screen: type, key: str) -> None:
    """Press a key that opens a screen, and wait for it."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, screen))
    await pilot.pause()


async def test_a_second_enter_takes_nothing_but_the_dialog_away(chat: Chat, memory: Memory) -> None:
    async with chat().run_test(size=SIZE) as pilot:
        await on(pilot, ThoughtsPage, "f9")
        await on(pilot, WriteScreen, "a")
        await pilot.press(*"Elin bakes.")
        for _ in range(2):  # in the line's own queue: both are there before the dialog goes
            pilot.app.screen.query_one("#line").post_message(events.Key("enter", None))
        table = next(s for s in pilot.app.screen_stack if isinstance(s, ThoughtsPage)).table
        await until(pilot, lambda: bool(table.rows))
        assert isinstance(pilot.app.screen, ThoughtsPage)
    assert [thought.text for thought in memory.thoughts(namespace=NAMESPACE)] == ["Elin bakes."]


async def test_a_second_choice_in_the_palette_leaves_the_chat_where_it_is(chat: Chat) -> None:
    async with chat().run_test(size=SIZE) as pilot:
        await on(pilot, Palette, "ctrl+p")
        palette = pilot.app.screen
        for _ in range(2):
            palette.dismiss()
        await pilot.pause()
        assert len(pilot.app.screen_stack) == 1
        await on(pilot, Palette, "ctrl+p")


async def test_the_palette_may_go_before_it_is_there(chat: Chat) -> None:
    app = chat()
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(3):
            app.action_command_palette()
            app.screen.dismiss()
            await pilot.pause()
            await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.is_running


async def test_a_receipt_that_comes_while_something_covers_its_dialog_is_shown_after_it(
    chat: Chat, memory: Memory
) -> None:
    memory.insert("Elin bakes.", namespace=NAMESPACE)
    async with chat().run_test(size=SIZE) as pilot:
        await on(pilot, ThoughtsPage, "f9")
        await until(pilot, lambda: bool(pilot.app.screen.query_one(Table).rows))
        await on(pilot, ForgetScreen, "f")
        dialog = pilot.app.screen
        assert isinstance(dialog, ForgetScreen)
        await until(pilot, lambda: bool(dialog.query("#forget:enabled")))
        await on(pilot, Palette, "ctrl+p")
        dialog.query_one("#forget", Button).press()
        await until(pilot, lambda: not memory.thoughts(namespace=NAMESPACE))
        await until(pilot, lambda: not dialog._forgetting)
        assert isinstance(pilot.app.screen, Palette)
        assert not notices(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, ThoughtsPage))
        await until(pilot, lambda: any("1 thought" in notice for notice in notices(pilot)))


async def test_what_is_forgotten_on_the_timeline_is_told(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "Elin bakes.", namespace=NAMESPACE, session="s")
    async with chat().run_test(size=SIZE) as pilot:
        await on(pilot, ThoughtsPage, "f9")
        await on(pilot, TimelinePage, "2")
        page = pilot.app.screen
        assert isinstance(page, TimelinePage)
        await until(pilot, lambda: bool(page.tree_.root.children))
        for _ in range(2):
            await pilot.press("down", "enter")
            await until(pilot, lambda: bool(page.tree_.cursor_node and page.tree_.cursor_node.children))
        await pilot.press("down", "enter")
        await until(pilot, lambda: bool(pilot.app.screen.query("#turns")))
        await pilot.press("f")
        await until(pilot, lambda: bool(pilot.app.screen.query("#forget:enabled")))
        await pilot.press("tab", "enter")
        await until(pilot, lambda: any("1 turn" in notice for notice in notices(pilot)))
        await until(pilot, lambda: not page.tree_.root.children)


async def test_a_page_key_in_a_list_without_room_does_nothing(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "Elin bakes.", namespace=NAMESPACE, session="s")
    async with chat().run_test(size=(30, 5)) as pilot:
        await pilot.press("f2")
        listed = pilot.app.screen.query_one(SessionList)
        await until(pilot, lambda: listed.option_count == 2)
        listed.styles.height = 0
        await pilot.pause()
        listed.show([_row("s"), _row("t")], "s")
        await pilot.press("pagedown", "pageup")
        assert listed.highlighted == 0


async def test_a_choice_in_a_list_that_changes_before_it_is_read_is_still_that_choice(chat: Chat) -> None:
    async with chat(session="s").run_test(size=SIZE) as pilot:
        listed = pilot.app.screen.query_one(SessionList)
        listed.show([_row("s"), _row("t")], "s")
        listed.highlighted = 1
        listed.action_select()
        listed.show([], "s")
        talk = pilot.app.conversation  # type: ignore[attr-defined]
        await until(pilot, lambda: talk.session == "t")


def _row(session: str) -> SessionRow:
    return SessionRow(session, session, 1, datetime(2026, 1, 1, tzinfo=UTC))
