"""Sessions among the list: what they are called."""

from __future__ import annotations

from collections.abc import Callable

from agentmem.memory import Memory
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.screens.write import WriteScreen
from agentmem_tui.widgets.sessions import SessionList
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, until


def _titles(pilot: Driver) -> list[str]:
    listed = pilot.app.screen.query_one(SessionList)
    return [str(listed.get_option_at_index(n).prompt).splitlines()[0].strip() for n in range(listed.option_count)]


async def _written(pilot: Driver, title: str) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, WriteScreen))
    await pilot.press("ctrl+u", *title, "enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen))


async def test_a_session_is_renamed_and_gets_its_first_words_back(chat: Callable[..., ChatApp], memory: Memory) -> None:
    memory.observe("user", "The kiln is cold.", namespace=NAMESPACE, session="s")
    async with chat("Yes.", session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: _titles(pilot) == ["● The kiln is cold."])
        pilot.app.screen.query_one(SessionList).focus()
        await pilot.press("r")
        await _written(pilot, "Kilns")
        await until(pilot, lambda: _titles(pilot) == ["● Kilns"])
        assert [info.title for info in memory.sessions(namespace=NAMESPACE)] == ["Kilns"]
        await pilot.press("r")
        await _written(pilot, "")
        await until(pilot, lambda: _titles(pilot) == ["● The kiln is cold."])


async def _renamed_from_the_palette(app: ChatApp, pilot: Driver, before: str, title: str) -> None:
    await until(pilot, lambda: _titles(pilot) == [before])
    (command,) = (c for c in app.get_system_commands(app.screen) if c.title == "Rename session")
    command.callback()
    await _written(pilot, title)


async def test_the_session_on_screen_is_renamed_from_the_palette(chat: Callable[..., ChatApp], memory: Memory) -> None:
    memory.observe("user", "The kiln is cold.", namespace=NAMESPACE, session="s")
    app = chat("Yes.", session="s")
    async with app.run_test(size=SIZE) as pilot:
        await _renamed_from_the_palette(app, pilot, "● The kiln is cold.", "Kilns")
        await until(pilot, lambda: _titles(pilot) == ["● Kilns"])


async def test_a_session_that_nothing_was_said_in_has_no_title(chat: Callable[..., ChatApp]) -> None:
    app = chat("Yes.", session="s")
    async with app.run_test(size=SIZE) as pilot:
        await _renamed_from_the_palette(app, pilot, "● New session", "Kilns")
        await until(pilot, lambda: any("no session 's'" in notice for notice in notices(pilot)))
