"""A list to choose from, each entry with what it stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from textual.visual import VisualType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

T = TypeVar("T")


class Entry(Option, Generic[T]):
    """A line of the list with its `value`. A message about it may be read when the list holds others already, so the
    value comes with the entry, not by its place."""

    def __init__(self, shown: VisualType, value: T) -> None:
        super().__init__(shown)
        self.value = value


class Options(OptionList, Generic[T]):
    """Textual's list of options, without markup, with values."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(markup=False, id=id)

    def show_entries(self, entries: Iterable[tuple[VisualType, T]]) -> None:
        """List these, each as what is shown and what it stands for, and nothing else."""
        self.set_options(Entry(shown, value) for shown, value in entries)

    @property
    def current(self) -> T | None:
        """What the highlighted entry stands for."""
        entry = self.highlighted_option
        return entry.value if isinstance(entry, Entry) else None

    def action_page_up(self) -> None:
        if has_room(self):
            super().action_page_up()  # type: ignore[no-untyped-call]

    def action_page_down(self) -> None:
        if has_room(self):
            super().action_page_down()  # type: ignore[no-untyped-call]


def has_room(options: OptionList) -> bool:
    """Whether there is a page to turn: a list of no height has no lines, and Textual looks for the highlighted one."""
    return bool(options.scrollable_content_region)
