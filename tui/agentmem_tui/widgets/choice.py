"""A box to tick whose state shows without colour, too."""

from __future__ import annotations

from textual.widgets import Checkbox


class Choice(Checkbox):
    """Textual's checkbox, whose mark is always there and only changes colour, with a mark for yes alone."""

    def __init__(self, label: str, value: bool, *, id: str) -> None:
        super().__init__(label, value, id=id, compact=True)
        self.BUTTON_INNER = _mark(value)

    def watch_value(self) -> None:
        self.BUTTON_INNER = _mark(self.value)
        super().watch_value()
        self.refresh(layout=True)


def _mark(value: bool) -> str:
    return "✓" if value else " "
