"""What the command palette lists: every action by name, with the key that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from textual.app import SystemCommand
from textual.screen import Screen

from agentmem_tui.screens.chat import ChatScreen
from agentmem_tui.screens.page import NAMES

Key = Callable[[str], str]


def commands(screen: Screen[object], key: Key) -> Iterable[SystemCommand]:
    """Those of a screen; `key` says which key does what is named."""
    if not isinstance(screen, ChatScreen):
        yield from _bound(screen)
        return
    for title, words, name, action in _of_chat(screen):
        yield SystemCommand(title, f"{words} ({key(name)})" if name else words, action)
    for number, page in enumerate(NAMES, 1):
        words = f"Open the page {page} ({key('chat.memory')}, then {number})"
        yield SystemCommand(page, words, partial(screen.action_page, number))


def _of_chat(screen: ChatScreen) -> Iterable[tuple[str, str, str, Callable[[], object]]]:
    """Title, what it does, the name of its key if it has one, the action."""
    return (
        ("New session", "Begin a new session", "chat.new", screen.action_new_session),
        ("Sessions", "Show or hide the sessions", "chat.sessions", partial(screen.action_pane, "Sessions")),
        ("Rename session", "Give this session another title", "", screen.action_rename_session),
        ("Recalled", "Show or hide what was recalled", "chat.recalled", partial(screen.action_pane, "Recalled")),
        ("Private mode", "Remember nothing, or remember again", "chat.private", screen.action_private),
        ("Open memory", "What stood around the marked memory", "recalled.open", screen.action_open_item),
        ("Forget memory", "Forget the marked memory", "recalled.forget", screen.action_forget_item),
        ("Answer above", "Select the answer above", "chat.above", partial(screen.action_select, -1)),
        ("Answer below", "Select the answer below", "chat.below", partial(screen.action_select, 1)),
        ("Latest", "Go to the end of the conversation", "chat.latest", screen.action_latest),
        ("Cancel", "Cancel the answer that is coming", "chat.cancel", screen.action_cancel),
        ("Answer again", "Have the selected question answered anew", "chat.retry", screen.action_retry),
        ("Edit question", "Say the selected question in other words", "chat.edit", screen.action_edit),
        ("Fork", "Go on from the selected answer in a session of its own", "chat.fork", screen.action_fork),
        ("Earlier versions", "Show or hide what was edited or answered anew", "", screen.action_versions),
        ("Copy answer", "Copy the selected answer", "", screen.action_copy_answer),
        ("Copy code", "Copy the last code of the selected answer", "", screen.action_copy_code),
        ("Sample conversation", "Load an invented one to try with", "chat.sample", screen.action_sample),
        ("Find", "Find what was said, in all sessions", "chat.find", screen.action_find),
    )


def _bound(screen: Screen[object]) -> Iterable[SystemCommand]:
    """Every action that a key stands for on a screen."""
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.description and active.enabled and active.node is not screen.app:
            action = partial(screen.app.run_action, binding.action, active.node)
            yield SystemCommand(binding.description, f"The key {screen.app.get_key_display(binding)}", action)
