"""One question to a chat model whose answer is JSON under a schema; what can go wrong with an answer has a name.

The schema is sent as a decoding constraint (`response_format`), and the answer is parsed here: LangChain's own
structured output loses an answer that was cut off. A server that refuses the constraint is asked in words alone from
then on. What the model reasoned (`<think>…</think>`) is no part of its answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentmem.errors import ModelError
from agentmem.models.chat import constraint, mapped, untraced
from agentmem.models.reasoning import without_reasoning

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage

Fault: TypeAlias = Literal["cut off", "empty", "repetitive", "over-long", "not JSON", "against the schema", "refused"]
"""What is wrong with an answer; "refused" is the request itself: too long for the model, say."""

_LONGEST_TOKEN = 16
"""Characters a token has at most, on average: a longer answer did not heed the cap."""
_REPEATS = re.compile(r"(.{1,200}?)\1{3,}", re.DOTALL)
_ENDLESS = 200
"""Characters of repetition that no answer has for a reason."""
_REFUSALS = frozenset({400, 413, 415, 422, 501})
_CUT_OFF = frozenset({"length", "max_tokens"})


@dataclass(frozen=True, slots=True)
class Usage:
    """What calls cost: how many there were, and the tokens the server counted (0 where it counts none)."""

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.answer_tokens + other.answer_tokens,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer's value, under the schema, or what is wrong with it."""

    value: Mapping[str, Any] | None
    fault: Fault | None
    usage: Usage


class Asker:
    """Asks one model for JSON. `constrained` is whether its server takes a schema; None until that is known."""

    def __init__(self, model: BaseChatModel, *, constrained: bool | None = None) -> None:
        self.model = model
        self.constrained = constrained

    def ask(self, messages: Sequence[BaseMessage], schema: Mapping[str, Any], *, name: str, max_tokens: int) -> Reply:
        """The answer to one call at temperature 0. Raises ModelError where the model cannot be asked now."""
        limits: dict[str, Any] = {"temperature": 0, "max_tokens": max_tokens}
        calls = 1
        try:
            if self.constrained is False:
                message = self._invoke(messages, limits)
            else:
                message, calls = self._try_constrained(messages, limits, schema, name)
        except ModelError as error:
            if status_of(error) not in _REFUSALS:
                raise
            return Reply(None, "refused", Usage(calls))
        value, fault = read(message, schema, max_tokens)
        return Reply(value, fault, _usage(message, calls))

    def _try_constrained(
        self, messages: Sequence[BaseMessage], limits: Mapping[str, Any], schema: Mapping[str, Any], name: str
    ) -> tuple[AIMessage, int]:
        """The answer, and how many calls it took: where it is not known whether the server takes a schema, a refusal
        is followed by the same question without one."""
        try:
            message = self._invoke(messages, {**limits, **constraint(self.model, schema, name)})
        except ModelError as error:
            if self.constrained or not _is_refusal(error):
                raise
            message = self._invoke(messages, limits)
            self.constrained = False
            return message, 2
        self.constrained = True
        return message, 1

    def _invoke(self, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> AIMessage:
        with mapped(self.model), untraced():
            return self.model.bind(**options).invoke(list(messages))


def status_of(error: ModelError) -> int | None:
    """The HTTP status with which a server answered, None where it did not get so far."""
    status = getattr(error.__cause__, "status_code", None)
    return status if isinstance(status, int) else None


def _is_refusal(error: ModelError) -> bool:
    return status_of(error) in _REFUSALS or isinstance(error.__cause__, TypeError | ValueError | NotImplementedError)


def _usage(message: AIMessage, calls: int) -> Usage:
    counted = message.usage_metadata
    if counted is None:
        return Usage(calls)
    return Usage(calls, counted["input_tokens"], counted["output_tokens"])


def read(
    message: AIMessage, schema: Mapping[str, Any], max_tokens: int
) -> tuple[Mapping[str, Any] | None, Fault | None]:
    """What a message says under the schema, or what is wrong with it. It is never mended: half an answer is none."""
    whole = without_reasoning(message.text)
    text = whole.strip()
    finish = message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason")
    if repeats(whole):
        return None, "repetitive"
    if finish in _CUT_OFF:
        return None, "cut off"
    if not text:
        return None, "empty"
    if len(text) > max_tokens * _LONGEST_TOKEN:
        return None, "over-long"
    found = list(objects(text))
    if not found:
        return None, "not JSON"
    fitting = [value for value in found if conforms(value, schema)]
    # Several that differ: an example beside the answer, or an answer thought better of. Which one is meant is a guess.
    if not fitting or any(value != fitting[0] for value in fitting):
        return None, "against the schema"
    return fitting[0], None


def repeats(text: str) -> bool:
    """Whether a text says the same again and again, as models do that have lost the thread."""
    return any(len(match[0]) >= _ENDLESS for match in _REPEATS.finditer(text))


def objects(text: str) -> Iterator[Any]:
    """The outermost JSON objects in a text, whatever stands around them."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            yield value
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)


_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int}


def conforms(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value is as the schema has it: objects with exactly their properties, arrays, strings, integers,
    enumerations. No more of JSON Schema is understood, since no more is asked for."""
    if not isinstance(value, _TYPES[schema["type"]]) or isinstance(value, bool):
        return False
    if schema["type"] == "object":
        properties = schema["properties"]
        return value.keys() == properties.keys() and all(conforms(value[name], properties[name]) for name in value)
    if schema["type"] == "array":
        return all(conforms(item, schema["items"]) for item in value)
    return "enum" not in schema or value in schema["enum"]
