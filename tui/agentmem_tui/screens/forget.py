"""Forgetting, shown before it is done: all that would go, with its text, and what may be left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from agentmem.types import ForgetPlan, Receipt
from agentmem_tui.conversation import Conversation, Target
from agentmem_tui.printable import one_line
from agentmem_tui.screens.dialog import Dialog
from agentmem_tui.tasks import background
from agentmem_tui.widgets.choice import Choice

_SHOWN = 200
_LISTED = 100
"""Of each group: a session of thousands of turns would take long to lay out."""


class ForgetScreen(Dialog[Receipt | None]):
    """The preview of a forget. Dismissed with the receipt, or None where nothing was forgotten."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "keep", "Keep")]

    def __init__(self, conversation: Conversation, target: Target) -> None:
        super().__init__()
        self._conversation = conversation
        self._target = target
        self._plan: ForgetPlan | None = None
        self._forgetting = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield VerticalScroll(Static("Looking for all that hangs on it…", id="preview"))
            with Horizontal(id="consent"):
                yield Choice("what repeats it", True, id="repeats")
                yield Choice("turns that echo it", True, id="echoes")
                yield Choice("keep the turns it came from", False, id="keep")
            with Horizontal(id="buttons"):
                yield Button("Keep it", id="cancel", compact=True)
                yield Button("Forget for good", variant="error", id="forget", disabled=True, compact=True)

    def on_mount(self) -> None:
        self.query_one(".dialog").border_title = "Forget"
        self.query_one("#consent").display = False
        self.query_one("#cancel").focus()
        self._look()

    def on_checkbox_changed(self) -> None:
        self._look()

    def _look(self) -> None:
        self.query_one("#forget", Button).disabled = True
        self._draw_up(*(self.query_one(f"#{name}", Choice).value for name in ("keep", "repeats", "echoes")))

    @background("plan")
    async def _draw_up(self, keep_source: bool, repeats: bool, echoes: bool) -> None:
        plan = await asyncio.to_thread(
            self._conversation.plan_forget,
            self._target,
            keep_source=keep_source,
            repeats=repeats,
            echoes=echoes,
        )
        first = self._plan is None
        self._plan = plan
        self.query_one("#preview", Static).update(preview(plan))
        if first:
            self._offer(plan)
        self.query_one("#forget", Button).disabled = not (plan.turns or plan.thoughts)

    def _offer(self, plan: ForgetPlan) -> None:
        """Offer only the choices that change something for this plan."""
        offered = {
            "repeats": bool(plan.repeats),
            "echoes": bool(plan.echoes),
            "keep": bool(plan.turns) and {*self._target.ids} <= {*plan.thoughts} and self._target.session is None,
        }
        for name, useful in offered.items():
            self.query_one(f"#{name}").display = useful
        self.query_one("#consent").display = any(offered.values())

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "cancel" or self._plan is None:
            self.action_keep()
            return
        self._forget(self._plan)

    @background("forget", exclusive=False)
    async def _forget(self, plan: ForgetPlan) -> None:
        self.query_one(".dialog").disabled = self._forgetting = True
        try:
            receipt = await asyncio.to_thread(self._conversation.forget, plan)
        finally:
            self.query_one(".dialog").disabled = self._forgetting = False
        self.dismiss(receipt)

    def action_keep(self) -> None:
        """Leave without forgetting; not while it is being done, for then the receipt would be lost."""
        if not self._forgetting:
            self.dismiss(None)


def preview(plan: ForgetPlan) -> Content:
    sections = [
        _section("Turns that go", plan.turns, plan),
        _section("Thoughts that go", plan.thoughts, plan),
        _section("Thoughts that say the same again", plan.repeats, plan),
        _section("Turns that repeat it, answers among them", plan.echoes, plan),
        _section("Thoughts that come back, as the merge above them is dissolved", plan.restored, plan),
    ]
    shown = [*filter(None, sections)]
    return Content("\n\n").join([*shown, Content("This cannot be undone." if shown else "Nothing is there to forget.")])


def _section(title: str, ids: Sequence[str], plan: ForgetPlan) -> Content | None:
    if not ids:
        return None
    lines = [Content.assemble("  · ", one_line(plan.samples.get(i, i), _SHOWN)) for i in ids[:_LISTED]]
    if len(ids) > _LISTED:
        lines.append(Content(f"  and {len(ids) - _LISTED:,} more"))
    return Content("\n").join([Content.styled(f"{title} ({len(ids)})", "bold"), *lines])


def in_words(receipt: Receipt) -> str:
    counts = {kind: len(ids) for kind, ids in receipt.forgotten.items() if ids and kind != "chunks"}
    went = ", ".join(f"{n} {kind if n != 1 else kind.removesuffix('s')}" for kind, n in counts.items()) or "nothing"
    erased = "their bytes are erased" if receipt.erased == "done" else "bytes wait for another program to let go"
    back = f"; {len(receipt.restored)} came back" if receipt.restored else ""
    copies = f". Copies made earlier are yours to remove: {', '.join(receipt.copies)}" if receipt.copies else ""
    return f"{went}; {erased}{back}{copies}"
