"""What a session begins with: what this is, who answers, and, while the memory is empty, three things to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from agentmem_tui.printable import printable

Key: TypeAlias = Callable[[str], str]
"""The key of what is named, as one writes it."""


class Welcome(Vertical):
    """`remembered` counts the turns in this namespace, `notice` says how to get a model where there is none, `key` what
    each key is."""

    def __init__(self, *, model: str, notice: str | None, remembered: int, key: Key) -> None:
        super().__init__()
        self._model = model
        self._notice = notice
        self._remembered = remembered
        self._key = key

    def compose(self) -> ComposeResult:
        yield Static(self._greeting(), classes="greeting")
        yield Static(Content.assemble("Answers come from: ", (printable(self._model), "bold")))
        if self._notice:
            yield Static(Content(printable(self._notice)), classes="notice")
        if not self._remembered:
            yield Static(_things_to_try(self._key), classes="try")

    def _greeting(self) -> Content:
        if self._remembered:
            turns = f"{self._remembered} turns" if self._remembered != 1 else "1 turn"
            return Content.assemble(("A new session. ", "bold"), f"{turns} remembered from before.")
        return Content.assemble(
            ("Welcome to agentmem. ", "bold"),
            "What is said here is remembered on this machine, and nowhere else, until you have it forgotten.",
        )


def _things_to_try(key: Key) -> Content:
    tries = (
        ("Tell it something", "“I moved to Lisbon in May and work at a bakery.”"),
        (
            "Ask in another session",
            f"{key('chat.new')}, then “Where do I work?” It remembers across sessions and restarts.",
        ),
        (
            "Look inside, and forget",
            f"{key('chat.recalled')} shows what was recalled: {key('recalled.open')} opens it, "
            f"{key('recalled.forget')} forgets it. {key('chat.memory')} is all of memory.",
        ),
    )
    lines = [Content.assemble((f"{n}. {what}: ", "bold"), how) for n, (what, how) in enumerate(tries, 1)]
    sample = Content.assemble(
        "\n",
        (key("chat.sample"), "bold"),
        " loads a sample conversation; ",
        (key("app.help"), "bold"),
        " shows the keys.",
    )
    return Content("\n").join([Content.styled("Three things to try", "bold underline"), *lines, sample])
