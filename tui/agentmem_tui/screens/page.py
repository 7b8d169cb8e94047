"""The pages beside the chat: a line that names them, keys that lead from one to the other, Esc back to the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static

from agentmem.types import Receipt
from agentmem_tui.conversation import Conversation, Target
from agentmem_tui.screens.forget import ForgetScreen, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = ("Thoughts", "Timeline", "Health", "Weights")


class Page(Screen[None]):
    """One of the pages: `NUMBER` is its place among `NAMES`, from 1; `MAIN` selects what its keys work on."""

    AUTO_FOCUS = "Table, Tree"  # not the filter above: a key that comes at once would be written there
    NUMBER: ClassVar[int]
    MAIN: ClassVar[str] = "Table"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Chat", key_display="esc", id="page.back"),
        *(Binding(f"{n}", f"page({n})", name, show=False) for n, name in enumerate(NAMES, 1)),
        Binding("f9", "page_beside", "Next page", id="page.next"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self.conversation = conversation

    def compose(self) -> ComposeResult:
        yield Static(self._names(), id="pages")
        yield from self.contents()
        yield Footer(show_command_palette=True)

    def contents(self) -> Iterable[Widget]:
        """The widgets between the line of names and the footer."""
        raise NotImplementedError

    def _names(self) -> Content:
        names = [
            Content.styled(f"[{n} {name}]", "bold") if n == self.NUMBER else Content(f" {n} {name} ")
            for n, name in enumerate(NAMES, 1)
        ]
        return Content(" ").join(
            [*names, Content.styled(f"  {self.conversation.key('page.back')}: back to the chat", "dim")]
        )

    def check_action(self, _action: str, _parameters: tuple[object, ...]) -> bool | None:
        """A key that comes before the page is there, or while it goes, does nothing."""
        return bool(self.query(self.MAIN))

    def action_back(self) -> None:
        if self.is_active:  # a second key may come while it goes
            self.app.pop_screen()

    def forget(self, target: Target) -> None:
        """Have the user look at what would go, and forget it if they agree."""
        self.app.push_screen(ForgetScreen(self.conversation, target), self._forgotten)

    def _forgotten(self, receipt: Receipt | None) -> None:
        if receipt is not None:
            self.conversation.changed_elsewhere = True
            self.notify(in_words(receipt), title="Forgotten", timeout=12, markup=False)
            self.forgotten()

    def forgotten(self) -> None:
        """What is shown may be there no more."""
        raise NotImplementedError

    def action_page(self, number: int) -> None:
        if number != self.NUMBER and self.is_active:
            self.app.switch_screen(open_page(number, self.conversation))

    def action_page_beside(self) -> None:
        self.action_page(self.NUMBER % len(NAMES) + 1)


def open_page(number: int, conversation: Conversation) -> Page:
    """The page of a number, from 1."""
    from agentmem_tui.screens.health import HealthPage
    from agentmem_tui.screens.thoughts import ThoughtsPage
    from agentmem_tui.screens.timeline import TimelinePage
    from agentmem_tui.screens.weights import WeightsPage

    pages: tuple[type[Page], ...] = (ThoughtsPage, TimelinePage, HealthPage, WeightsPage)
    return pages[number - 1](conversation)
