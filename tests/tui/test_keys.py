"""Keys of one's own, from the setting `keys`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from agentmem.agent import ChosenModel
from agentmem.errors import SettingsError
from agentmem.memory import Memory
from agentmem_tui import make_app
from agentmem_tui.app import ChatApp
from agentmem_tui.keys import keymap, named
from agentmem_tui.screens.find import FindScreen
from tests.tui.conftest import NAMESPACE, SIZE, until


def app_of(memory: Memory, keys: dict[str, str]) -> ChatApp:
    settings = replace(memory.settings, keys=keys)
    return make_app(memory, namespace=NAMESPACE, chosen=ChosenModel(None, "stand-in", None), settings=settings)


async def test_another_key_does_it_and_the_one_before_no_more(memory: Memory) -> None:
    async with app_of(memory, {"chat.find": "ctrl+t"}).run_test(size=SIZE) as pilot:
        await pilot.press("ctrl+s")
        assert not isinstance(pilot.app.screen, FindScreen)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(pilot.app.screen, FindScreen))


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
