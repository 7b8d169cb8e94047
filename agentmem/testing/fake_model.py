"""A chat model whose words are fixed beforehand: for tests where it matters what the model says or was told."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import BaseModel, Field, PrivateAttr

Said: TypeAlias = "str | AIMessage | BaseException | Sequence[Said]"
Step: TypeAlias = "Said | Callable[[list[BaseMessage]], Said]"


NOTHING = {"thoughts": '{"thoughts": []}', "decisions": '{"decisions": []}', "summary": '{"summary": "Talk."}'}


def tool_call(name: str, /, **arguments: Any) -> AIMessage:
    """A step of the script that calls a tool and says nothing."""
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}", "type": "tool_call"}])


class FakeChatModel(BaseChatModel):
    """Answers from a script, one step a call, word by word where it is streamed; never touches a network.

    A step is a text, an AIMessage (`tool_call` makes one that calls a tool), an exception to raise, a list of these
    (said one after another, so that an exception can break off an answer), or a function from the messages sent to
    one of them. `requests` holds the messages of each call, `tools` the names of the tools bound last. Raises
    AssertionError when it is asked more often than the script has steps, unless `repeat` begins it again.

    What a memory asks of it behind an answer (agentmem.thinking) takes no step of the script and is not in `requests`:
    `thinking` answers it, a function of the task's name ("thoughts", "decisions", "summary") and of the text of the
    user message, with a step as above; by default there is nothing worth keeping. `thought` holds what it was asked, as
    (name, text, options).
    """

    script: list[Any]
    repeat: bool = False
    model_name: str = "fake"
    requests: list[list[BaseMessage]] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)
    thinking: Callable[[str, str], Any] = Field(default=lambda name, _text: NOTHING[name])
    thought: list[tuple[str, str, dict[str, Any]]] = Field(default_factory=list)
    _calls: int = PrivateAttr(default=0)

    def __init__(self, script: Sequence[Step], **fields: Any) -> None:
        BaseModel.__init__(self, script=list(script), **fields)

    @property
    def _llm_type(self) -> str:
        return "agentmem-fake"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The same model; it notes the tools' names."""
        self.tools = [tool.name if isinstance(tool, BaseTool) else str(tool) for tool in tools]
        return self.bind(**kwargs)

    def _generate(self, messages: list[BaseMessage], *_args: Any, **options: Any) -> ChatResult:
        name = _task(messages[0].text)
        if name is not None:
            text = messages[-1].text
            self.thought.append((name, text, options))
            return _result(list(_said(self.thinking(name, text))))
        return _result(list(self._next(messages)))

    def _stream(self, messages: list[BaseMessage], *_args: Any, **_kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for message in self._next(messages):
            for word in re.findall(r"\S+\s*|\s+", message.text) or [""]:
                yield ChatGenerationChunk(message=AIMessageChunk(content=word))
            if message.tool_calls:
                yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_calls=message.tool_calls))

    def _next(self, messages: list[BaseMessage]) -> Iterator[AIMessage]:
        self.requests.append(list(messages))
        number, self._calls = self._calls, self._calls + 1
        if number >= len(self.script) and not self.repeat:
            raise AssertionError(f"the fake model's script has {len(self.script)} steps and was asked once more")
        step = self.script[number % len(self.script)]
        yield from _said(step(messages) if callable(step) else step)


class SlowChatModel(FakeChatModel):
    """The same with a pause before each piece for async callers, of up to `longest` seconds, drawn from `seed`."""

    _chance: random.Random = PrivateAttr()
    _longest: float = PrivateAttr()

    def __init__(self, script: Sequence[Step], *, seed: int = 0, longest: float = 0.01, **fields: Any) -> None:
        super().__init__(script, **fields)
        self._chance, self._longest = random.Random(seed), longest

    async def _astream(
        self, messages: list[BaseMessage], *_args: Any, **_kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        await self._pause()
        for chunk in self._stream(messages):
            await self._pause()
            yield chunk

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, self._longest))


def _task(instruction: str) -> str | None:
    """The name of the memory call that has this instruction, None where it is none."""
    from agentmem.thinking.asking import EXTRACT, RECONCILE, SUMMARISE

    return next((task.name for task in (EXTRACT, RECONCILE, SUMMARISE) if task.instruction == instruction), None)


def _result(said: list[AIMessage]) -> ChatResult:
    whole = said[0]
    if len(said) > 1:
        whole = AIMessage("".join(m.text for m in said), tool_calls=[call for m in said for call in m.tool_calls])
    return ChatResult(generations=[ChatGeneration(message=whole)])


def _said(step: Any) -> Iterator[AIMessage]:
    if isinstance(step, BaseException):
        raise step
    if isinstance(step, str):
        yield AIMessage(step)
    elif isinstance(step, AIMessage):
        yield step
    else:
        for part in step:
            yield from _said(part)
