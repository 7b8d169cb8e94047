"""Keys of one's own, from the setting `keys`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from textual.widgets._footer import FooterKey

from agentmem.agent import ChosenModel
from agentmem.errors import SettingsError
from agentmem.memory import Memory
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.keys import hint, keymap, named
from agentmem_tui.screens.find import FindScreen
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.sessions import SessionList
from tests.tui.conftest import NAMESPACE, SIZE, Driver, shown, until


def app_of(memory: Memory, keys: dict[str, str]) -> ChatApp:
    settings = replace(memory.settings, keys=keys)
    return make_app(memory, namespace=NAMESPACE, chosen=ChosenModel(None, "stand-in", None), settings=settings)


async def test_another_key_does_it_and_the_one_before_no_more(memory: Memory) -> None:
    async with app_of(memory, {"chat.find": "ctrl+t"}).run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+s")
        assert not isinstance(pilot.app.screen, FindScreen)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(pilot.app.screen, FindScreen))


async def test_hints_name_the_keys_that_there_are(memory: Memory) -> None:
    keys = {"chat.memory": "alt+m", "prompt.newline": "alt+enter,ctrl+j", "chat.sample": "f12", "sessions.delete": "k"}
    app = app_of(memory, keys)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Alt+M is all of memory" in shown(pilot))
        assert "F12 loads a sample conversation" in shown(pilot)
        assert pilot.app.screen.query_one(Prompt).border_subtitle == "Enter sends · Alt+Enter new line"
        assert {"Open the page Thoughts (Alt+M, then 1)"} <= {c.help for c in app.get_system_commands(app.screen)}
        pilot.app.screen.query_one(SessionList).focus()
        await until(pilot, lambda: "k" in footer(pilot) and "d" not in footer(pilot))


def footer(pilot: Driver) -> list[str]:
    return [key.key_display for key in pilot.app.screen.query(FooterKey)]


@pytest.mark.parametrize(
    ("key", "written"), [("ctrl+n", "Ctrl+N"), ("escape", "Esc"), ("f,delete", "f"), (" slash", "/"), ("f10", "F10")]
)
def test_a_key_as_one_writes_it(key: str, written: str) -> None:
    assert hint({"chat.find": key}, "chat.find") == written


@pytest.mark.parametrize(
    ("keys", "said"), [({"chat.fnd": "ctrl+t"}, "chat.fnd"), ({"chat.find": " "}, "such as ctrl+s")]
)
def test_a_name_that_there_is_not_and_no_key_are_told(memory: Memory, keys: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        app_of(memory, keys)


def test_every_name_is_known_and_in_the_docs(repository: Path) -> None:
    written = "".join(path.read_text("utf-8") for path in (repository / "tui").rglob("*.py"))
    assert set(re.findall(r'Binding\([^()]*(?:\([^()]*\)[^()]*)*id="([a-z_.]+)"', written)) == set(named())
    page = (repository / "docs/howto/chat.md").read_text("utf-8")
    for name in named():
        group, _, word = name.partition(".")
        assert re.search(rf"`{group}\.(?:{word}`|`[^;]*\b{word}\b)", page), name
    assert keymap({}) == {}
