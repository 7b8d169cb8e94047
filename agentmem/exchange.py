"""A question and its answer as far as they have come: what the agent's sync and async loops both work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from agentmem import prompt
from agentmem.errors import ModelError
from agentmem.fitting import Draft, Fitted
from agentmem.models.calling import Calls, Hearing
from agentmem.models.reasoning import after_reasoning
from agentmem.tools import FromMemory
from agentmem.types import Kind, RecallItem, Recollection, Turn

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk, BaseMessage, ToolMessage

MAX_STEPS = 8
"""Model calls for one answer: enough for a chain of tools, and an end to a loop of them."""
_GAVE_UP = f"I stopped after {MAX_STEPS} steps with tools without reaching an answer."


@dataclass(frozen=True, slots=True)
class ToolStep:
    """A tool that the model called: `result` is None while it runs. Of what memory's own tools bring, `result` says
    only how much it was."""

    name: str
    arguments: str
    result: str | None = None
    failed: bool = False


Watch: TypeAlias = Callable[[ToolStep], None]


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
    calls: Calls = field(default_factory=list)
    """What the model wants done before it goes on."""
    reasoned: bool = False
    """Whether the model thought aloud, which is no part of the answer."""
    begun_inside: bool = False
    """Whether it did so without the mark that opens it."""
    erased: set[str] = field(default_factory=set)
    """Ids of what was erased at the user's word while the answer was under way."""
    hearing: Hearing | None = None
    tokens: int | None = None
    """Tokens of all that the model said, tool calls too, by the server's count; None where it gives none."""
    anew: bool = False
    """Whether the question was answered before: this answer takes the place of what followed it."""
    _shown: dict[str, RecallItem] = field(default_factory=dict)
    _beside: dict[tuple[Kind, str], None] = field(default_factory=dict)
    _steps: int = 0
    _before: int = 0
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
        """What was recalled, as far as it stood in a prompt and is still there."""
        items = tuple(item for item in self._shown.values() if item.id not in self.erased)
        return replace(self.recollection, items=items)

    def stood(self) -> list[tuple[Kind, str]]:
        """All that stood in the prompts: what was recalled, best first, then the rest, the question included."""
        recalled: list[tuple[Kind, str]] = [(item.kind, item.id) for item in self.recalled().items]
        return list(dict.fromkeys([*recalled, *self._beside]))

    def show(self, items: Iterable[RecallItem]) -> None:
        for item in items:
            self._shown.setdefault(item.id, item)

    def note(self, records: Iterable[tuple[Kind, str]]) -> None:
        """These stand in the prompt besides what was recalled for the question."""
        self._beside.update(dict.fromkeys(records))

    def put(self, fitted: Fitted, hearing: Hearing) -> None:
        """This is what the model is told next, and how it is listened to."""
        self.sent, self.hearing = fitted.messages, hearing
        self.show(fitted.items)
        self.note(("turn", turn) for turn in fitted.turns)

    def told(self, result: ToolMessage) -> None:
        """A tool's result, for the model: memory's own are quoted already, in others nothing can steer the template."""
        if not isinstance(result.artifact, FromMemory):
            self.after.append(result.model_copy(update={"content": prompt.disarmed(result.text)}))
            return
        self.after.append(result)
        self.note(result.artifact.records)
        if result.artifact.erased:
            self.drop(result.artifact.erased)

    def drop(self, erased: Iterable[str]) -> None:
        """What was erased stands in no later prompt of this exchange."""
        self.erased.update(erased)
        found = [item for item in self.draft.found if item.id not in self.erased]
        history = [said for said in self.draft.history if said.id not in self.erased]
        self.draft = replace(self.draft, found=found, history=history)
        self.after = [self._without_erased(message) for message in self.after]

    def _without_erased(self, message: BaseMessage) -> BaseMessage:
        artifact = getattr(message, "artifact", None)
        if not isinstance(artifact, FromMemory) or not {i for _, i in artifact.records} & self.erased:
            return message
        return message.model_copy(update={"content": "(This was erased.)"})

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
        self._gap = bool(self.pieces)

    def take(self, chunk: AIMessageChunk) -> Iterator[str]:
        assert self.hearing is not None
        if chunk.usage_metadata is not None:
            self.tokens = (self.tokens or 0) + chunk.usage_metadata["output_tokens"]
        yield from self._go_on(self.hearing.take(chunk))

    def _go_on(self, text: str) -> Iterator[str]:
        if text and self._gap:
            self._gap = False
            yield from self.say("\n\n")
        yield from self.say(text)

    def heard(self) -> Iterator[str]:
        """The message that just ended: what is left of its text, its calls."""
        from langchain_core.messages import AIMessage

        assert self.hearing is not None
        rest, self.calls = self.hearing.end(self._steps)
        yield from self._go_on(rest)
        self.reasoned |= self.hearing.reasoned
        self._cut_reasoning()
        self._wants_tools = bool(self.calls)
        if self.calls:
            text = "".join(self.pieces[self._before :]).lstrip()
            self.after.append(AIMessage(text, tool_calls=[call for call, _ in self.calls]))

    def _cut_reasoning(self) -> None:
        """Reasoning that nothing announced has been shown; it is not kept, and the next answer is listened to so."""
        answer = after_reasoning("".join(self.pieces[self._before :]))
        if answer is not None:
            self.pieces[self._before :] = [answer]
            self.reasoned = self.begun_inside = True

    def close(self) -> Iterator[str]:
        """The end of an answer that would otherwise have none. Raises ModelError for an empty one."""
        if self._wants_tools:
            yield from self.say(("\n\n" if self.pieces else "") + _GAVE_UP)
        elif not self.text.strip():
            raise ModelError(f"{self.label} gave an empty answer: ask again, or choose another model")
