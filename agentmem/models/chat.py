"""The edge to LangChain chat models and tools: nothing is traced, and a foreign error becomes one clear line.

LangChain sends traces to LangSmith where the environment says so. `untraced` turns that off around each of our calls:
what was said goes to the model's server and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from agentmem.errors import AgentmemError, ModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCall, ToolMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    Speaker: TypeAlias = "Runnable[Any, Any]"

_LONGEST_REASON = 200
_LONGEST_FAULT = 2000


@contextmanager
def untraced() -> Iterator[None]:
    """No LangSmith tracing inside, whatever environment variables or an outer run say."""
    from langchain_core.tracers.context import tracing_v2_callback_var
    from langsmith.run_helpers import tracing_context

    token = tracing_v2_callback_var.set(None)
    try:
        with tracing_context(enabled=False, parent=False):
            yield
    finally:
        tracing_v2_callback_var.reset(token)


@contextmanager
def _untraced_context() -> Iterator[Callable[..., Any]]:
    """Runs functions where nothing is traced; between them the caller's own context holds. To enter `untraced` for each
    chunk of an answer would take as long as all else that is done with one."""
    context, entered = copy_context(), ExitStack()
    context.run(entered.enter_context, untraced())
    try:
        yield context.run
    finally:
        context.run(entered.close)


def label_of(model: BaseChatModel) -> str:
    """The model's name, else that of its class."""
    names = (getattr(model, attribute, None) for attribute in ("model_name", "model", "model_id"))
    return next((name for name in names if isinstance(name, str) and name), type(model).__name__)


def with_tools(model: BaseChatModel, tools: Sequence[BaseTool]) -> Speaker:
    """The model told of the tools. Raises ModelError where it cannot call any."""
    if not tools:
        return model
    with mapped(model):
        return model.bind_tools(tools)


def constraint(model: BaseChatModel, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What binds a model to write JSON under a schema."""
    wanted = {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
    if not hasattr(model, "openai_api_base"):
        return {"response_format": wanted}
    # Given as `response_format`, ChatOpenAI would have the answer parsed, and raise for one that was cut off.
    return {"extra_body": {**(getattr(model, "extra_body", None) or {}), "response_format": wanted}}


def stream(model: BaseChatModel, speaker: Speaker, messages: Sequence[BaseMessage]) -> Iterator[AIMessageChunk]:
    """The answer's chunks as they come. Raises ModelError where the model fails or breaks off."""
    with mapped(model), _untraced_context() as run:
        chunks = cast(Any, speaker.stream(list(messages)))
        try:
            seen = _Finish()
            while (chunk := run(next, chunks, None)) is not None:
                seen.note(chunk)
                yield chunk
            seen.check(model)
        finally:
            run(chunks.close)


async def astream(
    model: BaseChatModel, speaker: Speaker, messages: Sequence[BaseMessage]
) -> AsyncGenerator[AIMessageChunk, None]:
    """As `stream`."""
    with mapped(model):
        async with aclosing(cast(Any, speaker.astream(list(messages)))) as chunks:
            seen = _Finish()
            while True:
                with untraced():
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                seen.note(chunk)
                yield chunk
            seen.check(model)


class _Finish:
    """Notices an answer that ends without its end: a server that dies may close the connection in good order."""

    def __init__(self) -> None:
        self._metadata: dict[str, Any] = {}

    def note(self, chunk: AIMessageChunk) -> None:
        self._metadata.update(chunk.response_metadata)

    def check(self, model: BaseChatModel) -> None:
        if self._metadata.get("model_provider") == "openai" and not self._metadata.get("finish_reason"):
            raise ModelError(f"{_where(model)} broke off in the middle of its answer: see the server's log, ask again")


def tool_calls(message: AIMessage, step: int) -> list[tuple[ToolCall, str]]:
    """The tool calls of a whole message, each with what is wrong with it ("": nothing).

    LangChain completes JSON that was cut off; a call must not run on arguments that the model did not finish.
    """
    parts: list[Any] = getattr(message, "tool_call_chunks", None) or [
        {**call, "args": json.dumps(call["args"])} for call in [*message.tool_calls, *message.invalid_tool_calls]
    ]
    calls: list[tuple[ToolCall, str]] = []
    for number, part in enumerate(parts):
        arguments, fault = _parsed(part["args"])
        name, call_id = part["name"] or "", part["id"] or f"call-{step}-{number}"
        calls.append(({"name": name, "args": arguments, "id": call_id, "type": "tool_call"}, fault))
    return calls


def _parsed(text: str | None) -> tuple[dict[str, Any], str]:
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        return {}, "the arguments are not valid JSON"
    if not isinstance(arguments, dict):
        return {}, "the arguments are not a JSON object"
    return whole_characters(arguments), ""


def whole_characters(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments without halves of characters: JSON can escape them, and nothing can send them back."""
    written = json.dumps(arguments, ensure_ascii=False)
    sound: dict[str, Any] = json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return sound


def run_tool(tools: Mapping[str, BaseTool], call: ToolCall) -> ToolMessage:
    """The tool's result, or what went wrong as its result: the model can then do better."""
    tool = tools.get(call["name"])
    if tool is None:
        return failed(call, _unknown(tools, call))
    try:
        with untraced():
            return _as_message(tool.invoke(call), call)
    except Exception as error:
        return failed(call, _reason(error, _LONGEST_FAULT))


async def arun_tool(tools: Mapping[str, BaseTool], call: ToolCall) -> ToolMessage:
    """As `run_tool`."""
    tool = tools.get(call["name"])
    if tool is None:
        return failed(call, _unknown(tools, call))
    try:
        with untraced():
            return _as_message(await tool.ainvoke(call), call)
    except Exception as error:
        return failed(call, _reason(error, _LONGEST_FAULT))


def failed(call: ToolCall, reason: str) -> ToolMessage:
    """A tool message that says what went wrong."""
    from langchain_core.messages import ToolMessage

    return ToolMessage(f"Error: {reason}", tool_call_id=call["id"], name=call["name"], status="error")


def _unknown(tools: Mapping[str, BaseTool], call: ToolCall) -> str:
    return f"there is no tool {call['name']!r}; the tools are {', '.join(sorted(tools)) or 'none'}"


def _as_message(result: Any, call: ToolCall) -> ToolMessage:
    from langchain_core.messages import ToolMessage

    if isinstance(result, ToolMessage):
        return result
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"])


@contextmanager
def mapped(model: BaseChatModel) -> Iterator[None]:
    """Turns whatever a model or its server raises into ModelError."""
    try:
        yield
    except AgentmemError:
        raise
    except Exception as error:
        raise ModelError(explain(error, _where(model), label_of(model))) from error


def _where(model: BaseChatModel) -> str:
    address = getattr(model, "openai_api_base", None)
    return f"the model server at {address}" if address else f"the model {label_of(model)}"


def explain(error: Exception, where: str, model: str) -> str:
    """One line: what happened and what to do. Foreign errors are known by name and status: none of them is imported."""
    names = _names(error)
    status = getattr(error, "status_code", None)
    reason = _reason(error)
    if _overflow(error):
        return f"the prompt is too long for {where}: begin a new session, or lower prompt_budget_tokens ({reason})"
    if isinstance(status, int):
        return _explain_status(status, where, model, reason)
    if any("Timeout" in name for name in names):
        return f"{where} did not answer in time: see whether it is busy, then ask again"
    if names & {"RemoteProtocolError", "ReadError", "IncompleteRead", "ConnectionResetError"}:
        return f"{where} broke off in the middle of its answer: see the server's log, ask again"
    if names & {"APIConnectionError", "ConnectError", "ConnectionError"}:
        return f"{where} does not answer: start it, or name another with --base-url"
    if names & {"JSONDecodeError", "UnicodeDecodeError", "APIResponseValidationError"}:
        return f"{where} did not answer in the OpenAI protocol: is this the address of its /v1?"
    if isinstance(error, NotImplementedError):
        return f"{where} cannot do this: leave out the tools, or use a model that can call them"
    return f"{where} failed: {reason}"


def tools_refused(error: ModelError) -> bool:
    """Whether the server or the model takes no tools, as far as its words tell."""
    cause = error.__cause__
    refused = getattr(cause, "status_code", None) in (400, 404, 405, 422, 500, 501)
    return isinstance(cause, NotImplementedError) or (refused and "tool" in str(cause).lower())


def constraint_refused(error: ModelError) -> bool:
    """Whether the server takes no decoding constraint, as far as its words tell."""
    said = str(error.__cause__).lower()
    refused = getattr(error.__cause__, "status_code", None) in (400, 422, 500, 501)
    return refused and any(word in said for word in ("response_format", "json_schema", "schema", "grammar", "guided"))


def count_refused(error: ModelError) -> bool:
    """Whether the server does not take that a streamed answer's tokens are asked for."""
    cause = error.__cause__
    return getattr(cause, "status_code", None) in (400, 422) and "stream_options" in str(cause)


def has_gone(error: ModelError) -> bool:
    """Whether the server knows no model of the name that was asked."""
    return getattr(error.__cause__, "status_code", None) == 404


def was_too_long(error: ModelError) -> bool:
    """Whether the server refused the prompt for its length."""
    return error.__cause__ is not None and _overflow(error.__cause__)


def _overflow(error: BaseException) -> bool:
    said = str(error).lower()
    told = getattr(error, "status_code", None) == 400 and ("context" in said or "maximum model length" in said)
    return told or "ContextOverflow" in " ".join(_names(error))


def _names(error: BaseException | None) -> set[str]:
    """Names of the error's classes and of those of the errors that caused it."""
    names: set[str] = set()
    while error is not None:
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__
    return names


def _explain_status(status: int, where: str, model: str, reason: str) -> str:
    if status in (401, 403):
        return f"{where} refused the API key (status {status}): set AGENTMEM_API_KEY or api_key in the settings"
    if status == 404:
        return f"{where} has no model {model!r} (status 404): name one that its /models lists with --model"
    if status == 429:
        return f"{where} has too much to do (status 429): wait a little, then ask again"
    if status >= 500:
        return f"{where} failed (status {status}): see the server's log, then ask again"
    return f"{where} refused the request (status {status}): {reason}"


def _reason(error: Exception, longest: int = _LONGEST_REASON) -> str:
    """What the error says, in one line, cut short."""
    said = " ".join(str(error).split())
    cut = said if len(said) <= longest else said[:longest] + "…"
    return f"{type(error).__name__}: {cut}" if cut else type(error).__name__
