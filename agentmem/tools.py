"""Memory as tools for a model: search it, look around a memory, remember a statement, forget.

What a tool brings out of memory is quoted, dated and labelled as in the prompt, and is not written to the ledger again:
its result carries `FromMemory`, which says what the ledger keeps in its place. What a model asks to remember is its own
claim: a thought of origin "agent", untrusted, beside the user's own words in the ledger. A model erases nothing: it
proposes, and the user confirms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from agentmem import prompt
from agentmem.digests import normalise
from agentmem.errors import AgentmemError
from agentmem.text import stems
from agentmem.types import ForgetPlan, Kind, Namespace, RecallItem, Receipt, Recollection, Turn, only_quotes

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from agentmem.memory import Memory

Confirm: TypeAlias = Callable[[ForgetPlan], bool]
"""Shows the user what forgetting would take and returns whether they agree. It is called in a worker thread by async
agents."""

SEARCH, OPEN, REMEMBER, FORGET = "search_memory", "open_chunk", "remember", "forget_memory"
NAMES = (SEARCH, OPEN, REMEMBER, FORGET)
_ITEMS = 8
_TOKENS = 700
"""What a result may take of the prompt, besides what was recalled for the question."""
_LONGEST = 500
"""Characters of a statement to remember: more is no statement."""
_ID = 8
_REPEATED = 0.6
"""Share of a text's stems that makes the user's own words repeat what they want forgotten."""


@dataclass(frozen=True, slots=True)
class FromMemory:
    """The artifact of a memory tool's result: what the ledger keeps of it, and what it quoted, made or erased."""

    note: str
    records: tuple[tuple[Kind, str], ...] = ()
    erased: frozenset[str] = frozenset()


Result: TypeAlias = tuple[str, FromMemory]


def memory_tools(
    memory: Memory,
    *,
    namespace: Namespace,
    find: Callable[[str, int], Recollection],
    turn: Callable[[], Turn | None],
    confirm: Callable[[], Confirm | None],
) -> list[BaseTool]:
    """The four tools. `find` recalls so many things for a query; `turn` is the user's turn that is being answered, None
    where nothing may be kept; `confirm` is how the user is asked now, None where they are told how to forget."""
    from langchain_core.tools import StructuredTool

    desk = _Desk(memory, namespace, find, turn, confirm)
    described: dict[str, tuple[Callable[..., Result], str]] = {
        SEARCH: (
            desk.search,
            "Search the long-term memory. Returns quotes, each with its id, date and speaker.",
        ),
        OPEN: (desk.open, "Show the part of a conversation around a memory, by the id that a search returned."),
        REMEMBER: (desk.remember, "Remember one short statement that makes sense by itself, with names and dates."),
        FORGET: (desk.forget, "Ask the user to let these memories be erased, by the ids that a search returned."),
    }
    return [
        StructuredTool.from_function(work, name=name, description=said, response_format="content_and_artifact")
        for name, (work, said) in described.items()
    ]


@dataclass(frozen=True, slots=True)
class _Desk:
    memory: Memory
    namespace: Namespace
    find: Callable[[str, int], Recollection]
    turn: Callable[[], Turn | None]
    confirm: Callable[[], Confirm | None]

    def search(self, query: str) -> Result:
        if not query.strip():
            return "Say what to search for.", FromMemory(f"{SEARCH}: nothing asked")
        asked = self.turn()
        found = self.find(query, _ITEMS + 1).items
        items = prompt.fit([i for i in found if asked is None or i.id != asked.id][:_ITEMS], _TOKENS, query)
        return _shown(items, SEARCH, "Nothing in memory bears on that.")

    def open(self, id: str) -> Result:
        try:
            turns = self.memory.open_chunk(self._turn_of(id), namespace=self.namespace)
        except AgentmemError as error:
            return f"Not found: {error}.", FromMemory(f"{OPEN}: not found")
        said = [_as_item(turn) for turn in turns if turn.status != "superseded" and not only_quotes(turn)]
        return _shown(prompt.fit(said, _TOKENS, ""), OPEN, "There is nothing left of it.")

    def _turn_of(self, id: str) -> str:
        """The turn that is meant: itself, or the first one that a thought came from."""
        kind, found = self.memory.resolve(id, namespace=self.namespace)
        sources = self.memory.history(found, namespace=self.namespace).sources if kind == "thought" else ()
        return sources[0].id if sources else found

    def remember(self, text: str) -> Result:
        asked = self.turn()
        if asked is None:
            return "Not remembered: this conversation is private.", FromMemory(f"{REMEMBER}: private")
        if len(text) > _LONGEST:
            said = f"Not remembered: give one statement of at most {_LONGEST} characters."
            return said, FromMemory(f"{REMEMBER}: too long")
        if text.strip() and self._known(text, asked):
            return "It is in memory already.", FromMemory(f"{REMEMBER}: known already")
        try:
            done = self.memory.insert(text, namespace=self.namespace, sources=[asked.id], origin="agent", trusted=False)
        except AgentmemError as error:
            return f"Not remembered: {error}.", FromMemory(f"{REMEMBER}: refused")
        return "Remembered.", FromMemory(f"{REMEMBER}: 1 thought", (("thought", done.thought.id),))

    def _known(self, text: str, asked: Turn) -> bool:
        """Whether memory says so word for word: what came out of it must not go in again as if newly said."""
        wanted = normalise(text)
        return any(wanted in normalise(item.text) for item in self.find(text, 3).items if item.id != asked.id)

    def forget(self, ids: list[str]) -> Result:
        if not ids:
            return "Nothing was erased: say which memories, by their ids.", FromMemory(f"{FORGET}: nothing named")
        try:
            plan = self._plan([self.memory.resolve(i, namespace=self.namespace)[1] for i in ids])
        except AgentmemError as error:
            return f"Nothing was erased: {error}.", FromMemory(f"{FORGET}: not found")
        agreed = self.confirm()
        if agreed is None:
            return _how(plan), FromMemory(f"{FORGET}: left to the user")
        if not agreed(plan):
            return "Nothing was erased: the user said no.", FromMemory(f"{FORGET}: the user said no")
        receipt = self.memory.forget(plan, namespace=self.namespace)
        gone = frozenset(i for ids in receipt.forgotten.values() for i in ids)
        counts = _counted(receipt)
        said = f"Erased: {counts}. Do not repeat what it said."
        return said, FromMemory(f"{FORGET}: {counts} erased", erased=gone)

    def _plan(self, ids: Sequence[str]) -> ForgetPlan:
        """What forgetting these would take; the user's own turn with it where its words repeat what goes."""
        plan = self.memory.plan_forget(ids, namespace=self.namespace)
        asked = self.turn()
        if asked is None or asked.id in {*plan.turns, *plan.echoes} or not _repeats(asked.text, plan.samples.values()):
            return plan
        return self.memory.plan_forget([*ids, asked.id], namespace=self.namespace)


def _repeats(said: str, texts: Iterable[str]) -> bool:
    words = set(stems(said))
    wanted = (set(stems(text)) for text in texts)
    return any(len(words & stem) >= max(2, _REPEATED * len(stem)) for stem in wanted)


def _how(plan: ForgetPlan) -> str:
    first, *_ = shorts = [i[-_ID:] for i in plan.named]
    return (
        f"Nothing was erased: only the user can do that. Tell them how: /forget {first} in the plain chat, or at the "
        f"command line: agentmem forget {' '.join(shorts)}"
    )


def _counted(receipt: Receipt) -> str:
    turns, thoughts = len(receipt.forgotten["turns"]), len(receipt.forgotten["thoughts"])
    return f"{turns} turn{'s' * (turns != 1)}, {thoughts} thought{'s' * (thoughts != 1)}"


def _shown(items: Sequence[RecallItem], name: str, nothing: str) -> Result:
    records: tuple[tuple[Kind, str], ...] = tuple((item.kind, item.id) for item in items)
    lines = [f"- {item.id[-_ID:]} | {prompt.memory_line(item).removeprefix('- ')}" for item in items]
    return prompt.block(lines) if lines else nothing, FromMemory(f"{name}: {len(items)} found", records)


def _as_item(turn: Turn) -> RecallItem:
    source = {"role": turn.role, "speaker": turn.speaker}
    return RecallItem(turn.id, "turn", turn.text, 0.0, turn.occurred_at, source, "")
