"""Adapters in a running vLLM: loaded under their names, tried, unloaded. Plain requests to the server that was named.

A name is loaded once and never again with other weights, so nothing that the server cached under it can be wrong.
Requests under way when a name is unloaded are finished: the engine keeps the weights as long as it needs them. Where
several servers stand behind one address, each is asked by its own: one that lacks an adapter would fail every so many
requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from agentmem.consolidation.adapters import folder_of
from agentmem.consolidation.curriculum import Item
from agentmem.consolidation.marking import says
from agentmem.errors import ModelError
from agentmem.models.select import Place
from agentmem.models.server import get, on_this_machine, post

_SECONDS = 120.0
_TOKENS = 64
_TRIED = 8
"""Questions of a smoke test, spread over all: those on one person may be hard ones."""


def _each(place: Place) -> list[Place]:
    """The servers at a place, each by its own address."""
    return [replace(place, address=address, replicas=()) for address in place.replicas] or [place]


def loaded(place: Place) -> dict[str, str]:
    """The adapters that a server has, of several: that any of them has, by name, with the folder each was loaded from.
    Raises ModelError."""
    return {
        str(entry["id"]): str(entry.get("root") or "")
        for one in _each(place)
        for entry in _models(one)
        if isinstance(entry, Mapping) and entry.get("parent") and isinstance(entry.get("id"), str)
    }


def base_folder(place: Place) -> str | None:
    """The folder of the base model, where the server runs on this machine and says so."""
    first = _each(place)[0]
    for entry in _models(first):
        root = entry.get("root") if isinstance(entry, Mapping) and not entry.get("parent") else None
        if isinstance(root, str) and on_this_machine(first.address) and Path(root).is_dir():
            return root
    return None


def _models(place: Place) -> Sequence[Any]:
    try:
        said = get(f"{place.address}/models", place.key, _SECONDS)
    except (OSError, HTTPException) as error:
        raise ModelError(f"the server at {place.address} does not answer ({error}): see whether it runs") from error
    data = said.get("data") if isinstance(said, Mapping) else None
    return data if isinstance(data, list) else []


def load(place: Place, root: Path, name: str) -> None:
    """Have the server load an adapter, unless it has it; of several each. Raises ModelError where one cannot."""
    folder = folder_of(root, name)
    for one in _each(place):
        _load(one, folder, name)


def _load(place: Place, folder: Path, name: str) -> None:
    if name in loaded(place):
        return
    status, said = _post(place, "load_lora_adapter", {"lora_name": name, "lora_path": str(folder.absolute())})
    if status != 200 and name not in loaded(place):
        raise ModelError(
            f"the server at {place.address} does not load {name} (status {status}: {_told(said)}): serve the base "
            "model with `agentmem serve`, which lets adapters be loaded while it runs"
        )


def unload(place: Place, root: Path, name: str) -> None:
    """Have the server let go of an adapter, if it has it; of several each, also where one of them does not answer.
    Raises ModelError where it still has it."""
    folder_of(root, name)
    faults = []
    for one in _each(place):
        try:
            _unload(one, name)
        except ModelError as error:
            faults.append(str(error))
    if faults:
        raise ModelError("; ".join(faults))


def _unload(place: Place, name: str) -> None:
    if name not in loaded(place):
        return
    status, said = _post(place, "unload_lora_adapter", {"lora_name": name})
    if name in loaded(place):
        raise ModelError(f"the server at {place.address} keeps {name} (status {status}: {_told(said)}): restart it")


def try_out(place: Place, name: str, items: Sequence[Item], unknown: str) -> None:
    """Ask the adapter on the server, of several on each, for some of what it learned. Raises ModelError where it knows
    less than half: then what is served is not what was judged."""
    known = [item for item in items if item.aspect in ("recall", "older")]
    for one in _each(place):
        _try_out(one, name, known[:: max(1, len(known) // _TRIED)][:_TRIED], unknown)


def _try_out(place: Place, name: str, tried: Sequence[Item], unknown: str) -> None:
    right = 0
    for item in tried:
        asked = {"model": name, "messages": list(item.messages), "temperature": 0, "max_tokens": _TOKENS}
        status, said = _post(place, "chat/completions", asked)
        if status != 200:
            raise ModelError(f"{name} does not answer on {place.address} (status {status}: {_told(said)})")
        right += says(_content(said), item, unknown)
    if tried and right * 2 < len(tried):
        raise ModelError(
            f"{name} knows {right} of {len(tried)} on {place.address}, and passed its gates here: the server's base "
            "model is another one than was trained on; name it with --base"
        )


def _content(said: Any) -> str:
    try:
        return str(said["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        return ""


def _post(place: Place, page: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    try:
        return post(f"{place.address}/{page}", body, place.key, _SECONDS)
    except (OSError, HTTPException) as error:
        raise ModelError(f"the server at {place.address} does not answer ({error}): see whether it runs") from error


def _told(said: Any) -> str:
    error = said.get("error", said) if isinstance(said, Mapping) else said
    message = error.get("message") if isinstance(error, Mapping) else error
    return " ".join(str(message or "no reason given").split())[:200]
