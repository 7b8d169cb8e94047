"""Weights: the adapters that memories were distilled into, how each was judged, and which one answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from agentmem.types import Adapter
from agentmem_tui import weights
from agentmem_tui.curves import curve
from agentmem_tui.printable import minute, one_line, printable
from agentmem_tui.screens.confirm import AgreeScreen
from agentmem_tui.screens.page import Page
from agentmem_tui.screens.write import WriteScreen
from agentmem_tui.tasks import background
from agentmem_tui.weights import IN_WORDS, About
from agentmem_tui.widgets.table import Column, Table

if TYPE_CHECKING:
    from agentmem.consolidation.gates import Gate, Judgement
    from agentmem.consolidation.watching import Progress
    from agentmem.findings import Finding

_COLUMNS = (Column("made", 16), Column("state", 9), Column("thoughts", 8), Column("gates", 14), Column("name"))
_LOOK_SECONDS = 1.0
_BAR = 30
_TAUGHT = 100
"""Thoughts that are listed: an adapter may have learned thousands."""
_SHOWN = 160
_VERDICTS = {"passed": "✓ passed", "insufficient": "· passed, few items", "failed": "✗ failed"}
_EMPTY = (
    "No adapter yet. `agentmem consolidate --dry-run` says which thoughts could be learned, and why the rest could "
    "not; `agentmem consolidate` distils them into one and has it judged.\n\nUntil then memory works by recall alone; "
    "and recall stays on beside every adapter."
)


class WeightsPage(Page):
    """The adapters above, below them what is known of the one under the cursor."""

    NUMBER = 4
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "roll_back", "Roll back", id="weights.back"),
        Binding("t", "take", "Have it answer", id="weights.take"),
        Binding("b", "base", "Base alone", id="weights.base"),
        Binding("v", "verify", "Is it gone?", id="weights.verify"),
        Binding("l", "look", "Look again", id="weights.look"),
    ]

    def contents(self) -> Iterable[Widget]:
        yield Static("Reading…", id="count", markup=False)
        yield Static("", id="run", markup=False)
        yield Table(_COLUMNS, _cells, lambda adapter: adapter.id, dim=_is_gone)
        with VerticalScroll(id="weights"):
            yield Static("", id="about", markup=False)

    def on_mount(self) -> None:
        self._run: Progress | None = None
        self.table.focus()
        self.watch(self.table, "cursor", self._moved, init=False)
        self.action_look()
        self._watch_run()
        self.set_interval(_LOOK_SECONDS, self._watch_run)

    @property
    def table(self) -> Table[Adapter]:
        return self.query_one(Table)

    def action_look(self) -> None:
        self._read()

    @background("read")
    async def _read(self) -> None:
        found = await asyncio.to_thread(weights.adapters, self.conversation)
        self.table.show(found)
        self._count("asking the model server…" if found else "")
        if not found:
            missing = await asyncio.to_thread(weights.missing)
            self.query_one("#about", Static).update(Content(f"{_EMPTY}\n\n{printable(missing)}" if missing else _EMPTY))
            return
        self._show_current()
        self._count(await asyncio.to_thread(weights.on_server, self.conversation, self._serving()))

    @background("run")
    async def _watch_run(self) -> None:
        """Show the cycle that is under way; when it has ended, what came of it."""
        before, self._run = self._run, await asyncio.to_thread(weights.progress, self.conversation)
        shown = self.query_one("#run", Static)
        shown.display = self._run is not None
        if self._run is not None:
            shown.update(_in_lines(self._run, self.size.width - 2))
        elif before is not None:
            self._read()

    def action_verify(self) -> None:
        """See whether something is left of what was forgotten."""
        hint = "Ids of forgotten thoughts, as receipts name them; those forgotten in this chat stand here."
        screen = WriteScreen("Is it gone from the weights?", " ".join(self.conversation.forgotten), hint=hint)
        self.app.push_screen(screen, self._named_ids)

    def _named_ids(self, written: str | None) -> None:
        self._verify((written or "").split())

    @background("verify")
    async def _verify(self, ids: Sequence[str]) -> None:
        found = []
        for thought in ids:
            traces = await asyncio.to_thread(weights.traces, self.conversation, thought)
            found.append(_looked_for(thought, traces))
        if found:
            self.query_one("#about", Static).update(Content("\n\n").join(found))

    def _count(self, server: str) -> None:
        serving = self._serving()
        many = len(self.table.rows)
        said = f"{many} adapter{'s' * (many != 1)} · " if many else ""
        who = f"{serving.name} answers" if serving else "the base model alone answers"
        self.query_one("#count", Static).update(f"{said}{who}{' · ' * bool(server)}{printable(server)}")

    def _serving(self) -> Adapter | None:
        return next((adapter for adapter in self.table.rows if adapter.state == "serving"), None)

    def _moved(self) -> None:
        self._show_current()

    @background("about")
    async def _show_current(self) -> None:
        """What is known of the adapter under the cursor."""
        if (adapter := self.table.current) is not None:
            found = await asyncio.to_thread(weights.about, self.conversation, adapter)
            self.query_one("#about", Static).update(_about(found))

    def on_table_chosen(self) -> None:
        self.query_one("#weights").focus()  # to scroll in

    @background("back")
    async def action_roll_back(self) -> None:
        """Go back to the adapter before the one that answers."""
        self._ask(await asyncio.to_thread(weights.before, self.conversation))

    def action_take(self) -> None:
        """Have the adapter under the cursor answer."""
        adapter = self.table.current
        if adapter is not None and adapter.state == "ready":
            self._ask(adapter)
        elif adapter is not None:
            self.notify(f"{adapter.name} is {adapter.state}: {IN_WORDS[adapter.state]}", markup=False)

    def action_base(self) -> None:
        """Have the base model alone answer."""
        if self._serving() is None:
            self.notify("The base model alone answers already", markup=False)
        else:
            self._ask(None)

    def _ask(self, adapter: Adapter | None) -> None:
        serving, named = self._serving(), _named(adapter)
        asked = Content(
            f"Now {_named(serving)} answers. From the next question on it would be {named}.\n\n"
            "Nothing is lost: what it learned is remembered as text too, and one can go back the same way."
        )
        screen = AgreeScreen("Which weights answer", asked, no="Leave it", yes=f"Have {named} answer")
        self.app.push_screen(screen, partial(self._agreed, adapter))

    def _agreed(self, adapter: Adapter | None, agreed: bool | None) -> None:
        if agreed:
            self._answer_with(adapter)

    @background("change", exclusive=False)
    async def _answer_with(self, adapter: Adapter | None) -> None:
        try:
            await asyncio.to_thread(weights.answer_with, self.conversation, adapter)
            self.notify(f"From now on {_named(adapter)} answers", markup=False)
        finally:
            self._read()  # what is so now, also where it did not work


def _in_lines(run: Progress, width: int) -> Content:
    """A bar, and the curves of the loss and of what is answered right, side by side."""
    filled = _BAR * run.done // max(1, run.of)
    state = "A cycle is running" if run.running else "A cycle was stopped; the next one goes on from its checkpoint"
    bar = f"{run.stage} {'━' * filled}{'╌' * (_BAR - filled)} {run.done:,} of {run.of:,}"
    half = max(16, (width - 2) // 2)
    charts = [
        curve("loss of a token", run.losses, end=run.steps, width=half),
        curve("share answered right", run.right, end=run.steps, width=half),
    ]
    lines = [Content("  ".join(pair)) for pair in zip(*charts, strict=True)] if run.losses else []
    return Content("\n").join([Content.assemble((f"{state}: ", "bold"), bar), *lines])


def _looked_for(thought: str, traces: Sequence[Finding]) -> Content:
    left = any(finding.state != "ok" for finding in traces)
    head = ("✗ not gone", "bold") if left else ("✓ nothing of it is left", "bold")
    lines = [
        f"  {finding.name}: {printable(finding.detail)}" + (f" ({finding.remedy})" if finding.remedy else "")
        for finding in traces
    ]
    return Content("\n").join([Content.assemble(f"{printable(thought)}: ", head), *map(Content, lines)])


def _named(adapter: Adapter | None) -> str:
    return "the base model alone" if adapter is None else adapter.name


def _is_gone(adapter: Adapter) -> bool:
    return adapter.state in ("rejected", "withdrawn")


def _cells(adapter: Adapter) -> tuple[str, ...]:
    told = adapter.metadata.get("judgement")
    failed = sum(gate["verdict"] == "failed" for gate in told["gates"]) if told else 0
    gates = "not recorded" if not told else f"{failed} failed" if failed else "none failed"
    learned = str(adapter.metadata.get("learned", ""))
    return minute(adapter.recorded_at), adapter.state, learned, gates, printable(adapter.name)


def _about(found: About) -> Content:
    adapter = found.adapter
    since = f" · since {minute(adapter.served_at)}" if adapter.served_at and adapter.state == "serving" else ""
    parts = [
        Content.assemble((printable(adapter.name), "bold"), f": {IN_WORDS[adapter.state]}{since}"),
        Content.styled(_made(found), "dim"),
        _gates(found.judgement) if found.judgement is not None else Content("How it was judged is not recorded."),
        _taught(found),
    ]
    return Content("\n\n").join(parts)


def _made(found: About) -> str:
    told = found.adapter.metadata
    new = f", {told['new']} of them new" if "new" in told else ""
    learned = told.get("learned", "an unknown number of")
    lines = [
        f"made {minute(found.adapter.recorded_at)} of {learned} thought{'s' * (learned != 1)}{new}",
        f"base: {printable(str(told.get('base', 'not recorded')))}",
        *(f"{name}: {printable(str(told[name]))}" for name in ("strategy", "seed", "writer") if name in told),
        *(f"goes on from {printable(name)}" for name in found.made_from),
    ]
    return "\n".join(lines)


def _gates(judgement: Judgement) -> Content:
    from agentmem.consolidation.gates import LOSSES

    head = f"{'gate':12}{'value':>8}{'bound':>8}  {'wanted':12}{'items':>6}"
    rows = [Content.styled(head, "bold"), *(_gate(gate, at_most=gate.name in LOSSES) for gate in judgement.gates)]
    return Content("\n").join(rows)


def _gate(gate: Gate, *, at_most: bool) -> Content:
    wanted = f"{'at most' if at_most else 'at least'} {gate.threshold:g}"
    line = f"{printable(gate.name):12}{gate.value:8.3f}{gate.bound:8.3f}  {wanted:12}{gate.items:6}  "
    return Content.assemble(line, (_VERDICTS[gate.verdict], "bold" if gate.verdict == "failed" else ""))


def _taught(found: About) -> Content:
    count, learned = len(found.thoughts), found.adapter.metadata.get("learned", len(found.thoughts))
    title = Content.styled(f"What it was taught (of {learned}, {count} still remembered)", "bold")
    lines = [Content(f"  · {one_line(thought.text, _SHOWN)}") for thought in found.thoughts[:_TAUGHT]]
    more = [Content(f"  and {count - _TAUGHT:,} more")] if count > _TAUGHT else []
    return Content("\n").join([title, *lines, *more])
