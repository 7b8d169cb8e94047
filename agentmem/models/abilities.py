"""What a model server can do, found out by asking it: small requests that change nothing.

agentmem needs chat completions. All else makes it better and can be done without: each finding says how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from agentmem.findings import Finding
from agentmem.models.select import Place
from agentmem.models.server import get, post, root_of

_SECONDS = 30.0
_REASON = 200
_LITTLE_CONTEXT = 2000
"""Tokens for rules, conversation, question and answer, beside what is remembered."""
_TOKENS = 256
"""Of an answer: more than any of these takes, but for a model that reasons first."""
_SERVE = "serve it with `agentmem serve`"
_PARSER = "if others of its kind call tools, serve it with the --tool-call-parser that fits it"
_SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["agentmem"]}},
    "required": ["name"],
    "additionalProperties": False,
}
_ADAPTER = "agentmem-doctor"
_TOOL = {
    "type": "function",
    "function": {
        "name": "note_weather",
        "description": "Notes the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class _SilentError(Exception):
    """The server did not answer a request."""


def _get(place: Place, url: str) -> Any:
    """JSON of a GET; None where the server has no such page."""
    try:
        return get(url, place.key, _SECONDS)
    except HTTPError as error:
        error.close()
        return None
    except (OSError, HTTPException) as error:
        raise _SilentError(str(error) or type(error).__name__) from error


def _post(place: Place, url: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    try:
        return post(url, body, place.key, _SECONDS)
    except (OSError, HTTPException) as error:
        raise _SilentError(str(error) or type(error).__name__) from error


def _ask(place: Place, words: str, **more: Any) -> tuple[int, Any]:
    """A chat completion of few tokens."""
    asked = {
        "model": place.name,
        "messages": [{"role": "user", "content": words}],
        "max_completion_tokens": _TOKENS,
        **more,
    }
    return _post(place, f"{place.address}/chat/completions", asked)


def look_at(place: Place, budget: int) -> Iterator[Finding]:
    """Findings about a model and its server, up to the first fault; `budget` is how many tokens of a prompt remembered
    text may take."""
    try:
        for finding in _all(place, budget):
            yield finding
            if finding.state == "fault":
                return
    except _SilentError as error:
        detail = f"{place.address} did not answer within {_SECONDS:.0f} s ({error})"
        yield Finding("model", "fault", detail, "see whether it is busy, and its log; then ask again")


def _all(place: Place, budget: int) -> Iterator[Finding]:
    yield from _listed(place)
    yield from _context(place, budget)
    yield from _tokenize(place)
    yield from _chat(place)
    yield from _adapters(place)
    yield from _tools(place)


def _listed(place: Place) -> Iterator[Finding]:
    models = _models(place)
    here = f"{place.name} at {place.address}{_version(place)}"
    if not models:
        yield Finding("model", "note", f"{here}, which lists no models", "if answers fail, check --model")
    elif place.name not in models:
        detail = f"{place.address} serves {', '.join(models)}, and not {place.name}"
        yield Finding("model", "fault", detail, f"name one that it serves: --model {next(iter(models))}")
    else:
        yield Finding("model", "ok", here)


def _models(place: Place) -> dict[str, Mapping[str, Any]]:
    """The models of a server by name, adapters among them."""
    said = _get(place, f"{place.address}/models")
    entries = said.get("data") if isinstance(said, Mapping) else None
    return {e["id"]: e for e in entries or [] if isinstance(e, Mapping) and isinstance(e.get("id"), str)}


def _version(place: Place) -> str:
    said = _get(place, f"{root_of(place.address)}/version")
    return f" (vLLM {said['version']})" if isinstance(said, Mapping) and "version" in said else ""


def _context(place: Place, budget: int) -> Iterator[Finding]:
    models = _models(place)
    entry = models.get(place.name, {})
    length = entry.get("max_model_len") or models.get(str(entry.get("parent")), {}).get("max_model_len")
    if not isinstance(length, int):
        yield Finding("context", "note", "the server doesn't say how long a prompt may be: it is learnt from a refusal")
    elif length < budget + _LITTLE_CONTEXT:
        detail = f"{length} tokens, of which remembered text may take {budget}"
        remedy = "serve it with a larger --max-model-len, or lower prompt_budget_tokens; less is recalled meanwhile"
        yield Finding("context", "note", detail, remedy)
    else:
        yield Finding("context", "ok", f"{length} tokens")


def _tokenize(place: Place) -> Iterator[Finding]:
    asked = {"model": place.name, "messages": [{"role": "user", "content": "doctor"}]}
    status, said = _post(place, f"{root_of(place.address)}/tokenize", asked)
    if status == 200 and isinstance(said, Mapping) and isinstance(said.get("count"), int):
        yield Finding("tokens", "ok", "counted by the server (/tokenize)")
    else:
        yield Finding(
            "tokens", "note", "no /tokenize: the lengths of prompts are estimated", f"{_SERVE}, if it matters"
        )


def _chat(place: Place) -> Iterator[Finding]:
    """Whether it chats, and whether a JSON schema binds its answer: a model left free would say anything else."""
    schema = {"name": "doctor", "strict": True, "schema": _SCHEMA}
    status, said = _ask(place, "Say hello.", response_format={"type": "json_schema", "json_schema": schema})
    if status == 200 and _parsed(_content(said)) == {"name": "agentmem"}:
        yield Finding("json schema", "ok", "binds the model's answers")
        return
    if status == 200 and _reasons(said):
        yield Finding("json schema", "note", f"cannot be told: the model reasons for more than {_TOKENS} tokens")
        return
    bound = "refuses a JSON schema" if status != 200 else "does not heed a JSON schema"
    if status != 200:
        free, told = _ask(place, "Say hello.")
        if free != 200:
            yield Finding(
                "chat", "fault", f"the server does not chat (status {free}): {_said(told)}", _chat_remedy(free)
            )
            return
    remedy = f"{_SERVE}; without it, memory calls are asked for JSON in words, checked and asked again"
    yield Finding("json schema", "note", f"the server {bound}" + (f": {_said(said)}" if status != 200 else ""), remedy)


def _chat_remedy(status: int) -> str:
    if status in (401, 403):
        return "set AGENTMEM_API_KEY or api_key in the settings"
    if status == 404:
        return "name a model that it serves with --model, and its address, /v1 included, with --base-url"
    if status == 400:
        return "serve a chat model, or give its template (vLLM: --chat-template)"
    return "see the server's log"


def _tools(place: Place) -> Iterator[Finding]:
    words = "It rains in Oslo. Note it with the tool note_weather, and say nothing else."
    status, said = _ask(place, words, tools=[_TOOL], tool_choice="auto")
    remedy = f"{_SERVE} (vLLM: --enable-auto-tool-choice --tool-call-parser …); without it, tools are asked for in JSON"
    if status != 200:
        yield Finding("tools", "note", f"the server takes none: {_said(said)}", remedy)
    elif _message(said).get("tool_calls"):
        yield Finding("tools", "ok", "the model calls them")
    elif "note_weather" in _content(said):
        detail = f"a call came as plain text: {_content(said)[:80]!r}"
        yield Finding("tools", "fault", detail, _PARSER)
    else:
        yield Finding("tools", "note", "the server takes them; the model, asked to call one, called none", _PARSER)


def _adapters(place: Place) -> Iterator[Finding]:
    """Asked for an adapter that is not there: a server that can load them looks for it, another knows no such page."""
    asked = {"lora_name": _ADAPTER, "lora_path": f"/{_ADAPTER}-is-not-there"}
    status, said = _post(place, f"{place.address}/load_lora_adapter", asked)
    told = _said(said)
    if status in (400, 404) and _ADAPTER in told:
        loaded = [name for name, entry in _models(place).items() if entry.get("parent")]
        yield Finding("adapters", "ok", f"can be loaded at run time; loaded: {', '.join(loaded) or 'none'}")
        return
    remedy = f"{_SERVE} (vLLM: --enable-lora, VLLM_ALLOW_RUNTIME_LORA_UPDATING=True); only consolidation needs it"
    yield Finding("adapters", "note", "none can be loaded while it runs", remedy)


def _message(said: Any) -> Mapping[str, Any]:
    try:
        message = said["choices"][0]["message"]
    except (KeyError, IndexError, TypeError):
        return {}
    return message if isinstance(message, Mapping) else {}


def _reasons(said: Any) -> bool:
    """Whether an answer stopped at its limit before it said anything."""
    message = _message(said)
    return not message.get("content") and bool(message.get("reasoning") or message.get("reasoning_content"))


def _content(said: Any) -> str:
    return str(_message(said).get("content") or "")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _said(answer: Any) -> str:
    """What an error says, in one line."""
    error = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    message = error.get("message") if isinstance(error, Mapping) else error
    return " ".join(str(message or "no reason given").split())[:_REASON]
