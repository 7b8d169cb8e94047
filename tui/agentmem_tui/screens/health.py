"""Health: what the doctor finds and how to mend it, and the work that waits: tried again, or given up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from agentmem.findings import Finding
from agentmem.types import Job
from agentmem_tui.printable import minute, one_line, printable
from agentmem_tui.screens.page import Page
from agentmem_tui.tasks import background
from agentmem_tui.widgets.table import Column, Table

_MARKS = {"ok": "✓", "note": "·", "fault": "✗"}
_REASON = 200
_COLUMNS = (Column("since", 16), Column("state", 6), Column("to", 9), Column("why it was parked"))


class HealthPage(Page):
    """The findings above, the work below."""

    NUMBER = 3
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "retry", "Try again", id="health.retry"),
        Binding("d,delete", "drop", "Give up", key_display="d", id="health.drop"),
        Binding("l", "look", "Look again", id="health.look"),
    ]

    def contents(self) -> Iterable[Widget]:
        with VerticalScroll(id="findings"):
            yield Static("Looking for faults…", id="found")
        yield Static("Reading…", id="count", markup=False)
        yield Table(_COLUMNS, _cells, lambda job: job.id)

    def compose_findings(self, findings: Sequence[Finding]) -> Content:
        return Content("\n").join(map(_line, findings))

    def on_mount(self) -> None:
        self.table.focus()
        self.action_look()

    @property
    def table(self) -> Table[Job]:
        return self.query_one(Table)

    def action_look(self) -> None:
        self._examine()
        self._read()

    @background("examine")
    async def _examine(self) -> None:
        findings = await asyncio.to_thread(self.conversation.examine)
        self.query_one("#found", Static).update(self.compose_findings(findings))

    @background("read")
    async def _read(self) -> None:
        talk = self.conversation
        found = await asyncio.to_thread(talk.memory.jobs, namespace=talk.namespace)
        parked = sum(job.state == "parked" for job in found)
        self.table.show(sorted(found, key=lambda job: (job.state != "parked", job.id)))
        said = f"{len(found) - parked:,} waiting, {parked:,} parked" if found else "Nothing waits"
        self.query_one("#count", Static).update(f"Work behind the answers: {said}")

    def action_retry(self) -> None:
        self._change("retry_jobs", "queued again")

    def action_drop(self) -> None:
        self._change("drop_jobs", "given up; what it was about stays remembered")

    @background("change", exclusive=False)
    async def _change(self, name: str, said: str) -> None:
        """Do something with what is marked, or with the job under the cursor."""
        talk, chosen = self.conversation, [job.id for job in self.table.chosen()]
        if chosen:
            count = await asyncio.to_thread(getattr(talk.memory, name), chosen, namespace=talk.namespace)
            self.table.marked.clear()
            self.notify(f"{count} {said}", markup=False)
            self.action_look()


def _line(finding: Finding) -> Content:
    remedy = f"\n     → {printable(finding.remedy)}" if finding.remedy else ""
    return Content.assemble(
        f" {_MARKS[finding.state]} ",
        (f"{finding.name}: ", "bold"),
        printable(finding.detail),
        (remedy, "bold" if finding.state == "fault" else "dim"),
    )


def _cells(job: Job) -> tuple[str, ...]:
    return minute(job.recorded_at), job.state, job.task, one_line(job.reason or "", _REASON)
