"""Memory calls and tool calls as prompts: what a model must still be able to do when it has learned something.

A memory call is one of agentmem's own (`agentmem.thinking.asking`), under its JSON schema; for a tool call the tools
are offered by the model's own chat template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from agentmem.models.structured import conforms, objects, read

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Message: TypeAlias = dict[str, str]
"""A chat message: role and content."""
Tool: TypeAlias = Mapping[str, Any]
"""As the API has it: {"type": "function", "function": {"name", "description", "parameters"}}."""
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
LONGEST = 192
"""Tokens of a call."""


@dataclass(frozen=True, slots=True)
class Call:
    """A prompt, and what is right: JSON under the `schema` that says `expected`, or a call of the tool `expected` among
    the `tools`."""

    messages: tuple[Message, ...]
    expected: str
    tools: tuple[Tool, ...] = ()
    schema: Mapping[str, Any] | None = None


def as_sent(messages: Iterable[BaseMessage]) -> tuple[Message, ...]:
    """As the API has them."""
    return tuple({"role": _ROLES[m.type], "content": str(m.content)} for m in messages)


def tool(name: str, description: str, **parameters: str) -> Tool:
    """A tool whose parameters are texts, each with its description; all are wanted."""
    properties = {key: {"type": "string", "description": said} for key, said in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def keeps(answer: str, schema: Mapping[str, Any]) -> bool:
    """Whether an answer is read as JSON under a schema, as agentmem reads it."""
    from langchain_core.messages import AIMessage

    return read(AIMessage(answer), schema, LONGEST)[0] is not None


def called(answer: str, tools: Sequence[Tool]) -> str | None:
    """The tool that an answer calls with all the arguments that it takes; None where it calls none. A call is a JSON
    object with a name and arguments, whatever marks a model puts around it."""
    offered = {t["function"]["name"]: t["function"]["parameters"] for t in tools}
    for value in objects(answer):
        name, arguments = value.get("name"), value.get("arguments", value.get("parameters"))
        if name in offered and conforms(arguments, offered[name]):
            return str(name)
    return None
