"""The memory browser: the thoughts as a table, and all that can be done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time
from functools import partial
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from agentmem.errors import InputError
from agentmem.types import Thought
from agentmem_tui.browsing import SORTS, STATES, Sort, Wanted, listed
from agentmem_tui.conversation import Target
from agentmem_tui.printable import day, one_line
from agentmem_tui.screens.history import HistoryScreen
from agentmem_tui.screens.page import Page
from agentmem_tui.screens.write import WriteScreen
from agentmem_tui.tasks import background
from agentmem_tui.widgets.table import Column, Table

_SHOWN = 300
_COLUMNS = (Column("since", 10), Column("state", 16), Column("from", 6), Column("thought"))
_FILTER = "words · about:Elin · from:agent · since:2026-05"


class ThoughtsPage(Page):
    """A filter, the table, and below it how many there are."""

    NUMBER = 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="thoughts.filter"),
        Binding("a", "add", "Add", id="thoughts.add"),
        Binding("e", "edit", "Edit", id="thoughts.edit"),
        Binding("m", "merge", "Merge marked", id="thoughts.merge"),
        Binding("r", "retract", "No longer true", show=False, id="thoughts.retract"),
        Binding("z", "undo", "Undo", id="thoughts.undo"),
        Binding("f,delete", "forget", "Forget", key_display="f", id="thoughts.forget"),
        Binding("s", "sort", "Sort", id="thoughts.sort"),
        Binding("o", "state", "State", id="thoughts.state"),
        Binding("d", "as_of", "As of", id="thoughts.as_of"),
    ]

    def contents(self) -> Iterable[Widget]:
        yield Input(placeholder=f"Filter: {_FILTER}", compact=True, id="filter")
        yield Table(_COLUMNS, _cells, lambda thought: thought.id, dim=lambda thought: thought.state != "live")
        yield Static("Reading…", id="count", markup=False)

    def on_mount(self) -> None:
        self._every: list[Thought] = []
        self._sort: Sort = "newest"
        self._state = "live"
        self._as_of: datetime | None = None
        self.table.focus()
        self._read()

    @property
    def table(self) -> Table[Thought]:
        return self.query_one(Table)

    @background("read")
    async def _read(self) -> None:
        """Read the thoughts anew, as of a date where one was named."""
        talk = self.conversation
        self._every = await asyncio.to_thread(
            talk.memory.thoughts, namespace=talk.namespace, state=None, as_of=self._as_of
        )
        self._list()

    def _list(self) -> None:
        wanted = Wanted.read(self.query_one(Input).value)
        state = "all" if self._as_of is not None else self._state
        found = listed(self._every, wanted, state=state, sort=self._sort)
        self.table.show(found)
        true = f"true on {day(self._as_of)}" if self._as_of else "of any state" if state == "all" else state
        many = "s" * (len(found) != 1)
        self.query_one("#count", Static).update(
            f"{len(found):,} thought{many}, {true}, by {self._sort}"
            + (" · none yet: a adds one" if not self._every else "")
        )

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._list()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.table.focus()

    def action_filter(self) -> None:
        self.query_one(Input).focus()

    def action_back(self) -> None:
        """Out of the filter first, then out of the page."""
        if self.query_one(Input).has_focus:
            self.table.focus()
        else:
            super().action_back()

    def action_sort(self) -> None:
        self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        self._list()

    def action_state(self) -> None:
        self._state = STATES[(STATES.index(self._state) + 1) % len(STATES)]
        self._list()

    def action_as_of(self) -> None:
        shown = day(self._as_of) if self._as_of else ""
        hint = "A day, such as 2026-05-31; nothing for now."
        self.app.push_screen(WriteScreen("What was true on", shown, hint=hint), self._at)

    def _at(self, written: str | None) -> None:
        try:
            self._as_of = datetime.combine(datetime.fromisoformat(written), time.max, UTC) if written else None
        except ValueError:
            self.notify(f"{written!r} is no date: write one such as 2026-05-31", severity="error", markup=False)
            return
        self._read()

    def action_add(self) -> None:
        hint = "One statement that makes sense by itself, with names and dates."
        self.app.push_screen(WriteScreen("Remember", hint=hint), partial(self._write, "Remembered", self._insert))

    def action_edit(self) -> None:
        if (thought := self._live()) is not None:
            hint = "The new wording takes its place from now on; the old one stays in the history."
            screen = WriteScreen("What is true now", thought.text, hint=hint)
            self.app.push_screen(screen, partial(self._write, "Changed", partial(self._insert, supersedes=thought.id)))

    def action_merge(self) -> None:
        chosen = [thought for thought in self.table.chosen() if thought.state == "live"]
        if len(chosen) < 2:
            self.notify("Mark two or more with the space bar first", markup=False)
            return
        ids = [thought.id for thought in chosen]
        screen = WriteScreen(f"One thought of these {len(ids)}", chosen[0].text, hint=_listed(chosen))
        merge = partial(self._memory("merge"), ids)
        self.app.push_screen(screen, partial(self._write, f"Merged {len(ids)}; {self._undoes}", merge))

    @property
    def _undoes(self) -> str:
        return f"{self.conversation.key('thoughts.undo')} takes it back"

    def _insert(self, text: str, supersedes: str | None = None) -> None:
        if any(thought.id == supersedes and thought.text == text for thought in self._every):
            raise InputError("the wording is the same: nothing was changed")
        self._memory("insert")(text, supersedes=supersedes)

    def _memory(self, name: str) -> Callable[..., Any]:
        """A method of the memory, in the namespace."""
        return partial(getattr(self.conversation.memory, name), namespace=self.conversation.namespace)

    def _write(self, said: str, work: Callable[[str], Any], written: str | None) -> None:
        if written is not None:
            self._do(said, partial(work, written))

    @background("change", exclusive=False)
    async def _do(self, said: str, work: Callable[[], Any]) -> None:
        """Change something, say so, and show what is there now."""
        await asyncio.to_thread(work)
        self.conversation.restart()
        self.table.marked.clear()
        self.notify(said, markup=False)
        self._read()

    def action_retract(self) -> None:
        if (thought := self._live()) is not None:
            self._do(f"No longer true, from now on; {self._undoes}", partial(self._memory("retract"), thought.id))

    def action_undo(self) -> None:
        self._do("The newest merge or retraction is taken back", self._memory("undo"))

    def _live(self) -> Thought | None:
        """The thought under the cursor, if it still holds."""
        thought = self.table.current
        if thought is not None and thought.state != "live":
            self.notify(f"It is {thought.state} already: Enter shows its history", markup=False)
            return None
        return thought

    def action_forget(self) -> None:
        if chosen := self.table.chosen():
            self.forget(Target(tuple(thought.id for thought in chosen)))

    def forgotten(self) -> None:
        self.table.marked.clear()
        self._read()

    def on_table_chosen(self, event: Table.Chosen) -> None:
        self.app.push_screen(HistoryScreen(self.conversation, event.row.id))


def _cells(thought: Thought) -> tuple[str, ...]:
    state = thought.state if thought.strength == 1 else f"{thought.state} x{thought.strength}"
    if thought.state == "live" and thought.valid_to is not None:
        state = f"until {day(thought.valid_to)}"
    return day(thought.valid_from), state, thought.origin, one_line(thought.text, _SHOWN)


def _listed(thoughts: Iterable[Thought]) -> str:
    return "\n".join(f"· {one_line(thought.text, _SHOWN)}" for thought in thoughts)
