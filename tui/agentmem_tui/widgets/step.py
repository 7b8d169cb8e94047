"""A tool that the model called: one line, while it runs and after."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from agentmem.exchange import ToolStep
from agentmem_tui.printable import one_line

_ARGUMENTS = 80
_RESULT = 120


class Step(Static):
    """`running` until its result is there."""

    def __init__(self, step: ToolStep) -> None:
        super().__init__(_line(step), classes="step")
        self.running = step.result is None

    def end(self, step: ToolStep) -> None:
        self.running = False
        self.update(_line(step))


def _line(step: ToolStep) -> Content:
    called = f"{one_line(step.name, _ARGUMENTS)}({one_line(step.arguments, _ARGUMENTS)})"
    if step.result is None:
        return Content.assemble("⋯ ", (called, "dim"), " runs")
    mark = "✗" if step.failed else "✓"
    result = one_line(step.result.removeprefix(f"{step.name}: "), _RESULT)
    return Content.assemble(f"{mark} ", (called, "dim"), f" → {result}")
