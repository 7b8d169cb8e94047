"""Keys of one's own: the setting `keys` says which key does what, where that is not the one it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from textual.binding import Binding

from agentmem.errors import SettingsError

_WRITTEN = {"escape": "Esc", "slash": "/"}


@cache
def named() -> Mapping[str, str]:
    """What a key can be named for, with the keys that it has."""
    found: dict[str, str] = {}
    for binding in _bindings():
        if binding.id is not None:
            found[binding.id] = f"{found[binding.id]},{binding.key}" if binding.id in found else binding.key
    return found


def keymap(wanted: Mapping[str, str]) -> dict[str, str]:
    """The setting, as the app takes it: a name and a key, or several keys with commas. Raises SettingsError."""
    known = named()
    for name, key in wanted.items():
        if name not in known:
            raise SettingsError(
                f"the setting keys names {name!r}, which no key stands for; there are {', '.join(known)}"
            )
        if not key.strip():
            raise SettingsError(f"the setting keys gives {name} no key: name one, such as {known[name]}")
    return dict(wanted)


def hint(own: Mapping[str, str], name: str) -> str:
    """The key that does what is named, the first of several, as one writes it: Ctrl+N, F9, Esc, z."""
    key = own.get(name, named()[name]).split(",")[0].strip()
    parts = [_WRITTEN.get(part, part) for part in key.split("+")]
    return parts[0] if len(key) == 1 else "+".join(part.capitalize() for part in parts)


def _bindings() -> Iterator[Binding]:
    """Those of all that can have the focus, as they are written down."""
    from agentmem_tui.app import ChatApp
    from agentmem_tui.screens.asking import AskingScreen
    from agentmem_tui.screens.chat import ChatScreen
    from agentmem_tui.screens.health import HealthPage
    from agentmem_tui.screens.page import Page
    from agentmem_tui.screens.thoughts import ThoughtsPage
    from agentmem_tui.screens.weights import WeightsPage
    from agentmem_tui.widgets.code import Code
    from agentmem_tui.widgets.learned import LearnedList
    from agentmem_tui.widgets.prompt import Prompt
    from agentmem_tui.widgets.recalled import RecalledList
    from agentmem_tui.widgets.sessions import SessionList
    from agentmem_tui.widgets.table import Table

    chat = (ChatApp, AskingScreen, ChatScreen, Prompt, SessionList, RecalledList, LearnedList, Code)
    pages = (Page, Table, ThoughtsPage, HealthPage, WeightsPage)
    for holder in (*chat, *pages):
        yield from Binding.make_bindings(holder.BINDINGS)
