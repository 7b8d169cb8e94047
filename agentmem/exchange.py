"""A question and its answer as far as they have come: what the agent's sync and async loops both work on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agentmem.errors import ModelError
from agentmem.fitting import Draft, Fitted
from agentmem.models import chat
from agentmem.types import Kind, RecallItem, Recollection, Turn

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage, ToolCall

MAX_STEPS = 8
"""Model calls for one answer: enough for a chain of tools, and an end to a loop of them."""
_GAVE_UP = f"I stopped after {MAX_STEPS} steps with tools without reaching an answer."


@dataclass
class Exchange:
    """`draft` is what may be sent; `after` follows the question: the tool calls so far and their results."""

    draft: Draft
    label: str
    user_turn: Turn | None
    recollection: Recollection
    sent: list[BaseMessage] = field(default_factory=list)
    after: list[BaseMessage] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    mended: set[str] = field(default_factory=set)
    """What has been mended once in this exchange, and is an error if it comes again."""
    _shown: set[str] = field(default_factory=set)
    _beside: dict[tuple[Kind, str], None] = field(default_factory=dict)
    _steps: int = 0
    _before: int = 0
    _whole: AIMessageChunk | None = None
    _wants_tools: bool = True
    _gap: bool = False

    @property
    def question(self) -> str:
        return self.draft.question

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def silent(self) -> bool:
        """Whether nothing has been said since the model was last asked, so that it can be asked again."""
        return len(self.pieces) == self._before

    def recalled(self) -> Recollection:
        """What was recalled, as far as it stood in a prompt."""
        items = tuple(item for item in self.recollection.items if item.id in self._shown)
        return replace(self.recollection, items=items)

    def stood(self) -> list[tuple[Kind, str]]:
        """All that stood in the prompts: what was recalled, best first, then the rest, the question included."""
        recalled: list[tuple[Kind, str]] = [(item.kind, item.id) for item in self.recalled().items]
        return list(dict.fromkeys([*recalled, *self._beside]))

    def show(self, items: Iterable[RecallItem]) -> None:
        self._shown.update(item.id for item in items)

    def note(self, records: Iterable[tuple[Kind, str]]) -> None:
        """These stand in the prompt besides what was recalled for the question."""
        self._beside.update(dict.fromkeys(records))

    def put(self, fitted: Fitted) -> None:
        """This is what the model is told next."""
        self.sent = fitted.messages
        self.show(fitted.items)
        self.note(("turn", turn) for turn in fitted.turns)

    def say(self, text: str) -> Iterator[str]:
        if text:
            self.pieces.append(text)
            yield text

    def step(self) -> bool:
        """Whether the model is to be asked (again)."""
        if not self._wants_tools or self._steps == MAX_STEPS:
            return False
        self._steps += 1
        self._begin()
        return True

    def again(self, mended: str) -> None:
        """The step that just failed doesn't count: what was wrong is mended."""
        self.mended.add(mended)
        self._steps -= 1

    def _begin(self) -> None:
        self._before = len(self.pieces)
        self._whole = None
        self._gap = bool(self.pieces)

    def take(self, chunk: AIMessageChunk) -> Iterator[str]:
        text = chunk.text
        if text and self._gap:
            self._gap = False
            yield from self.say("\n\n")
        self._whole = chunk if self._whole is None else self._whole + chunk
        yield from self.say(text)

    def calls(self) -> list[tuple[ToolCall, str]]:
        """The tool calls of the answer that just ended, each with what is wrong with it ("": nothing)."""
        from langchain_core.messages import AIMessage

        calls = [] if self._whole is None else chat.tool_calls(self._whole, self._steps)
        self._wants_tools = bool(calls)
        if calls and self._whole is not None:
            self.after.append(AIMessage(self._whole.text, tool_calls=[call for call, _ in calls]))
        return calls

    def close(self) -> Iterator[str]:
        """The end of an answer that would otherwise have none. Raises ModelError for an empty one."""
        if self._wants_tools:
            yield from self.say(("\n\n" if self.pieces else "") + _GAVE_UP)
        elif not self.text.strip():
            raise ModelError(f"{self.label} gave an empty answer: ask again, or choose another model")
