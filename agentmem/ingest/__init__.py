"""Conversations from files, as turns for `Memory.observe_many`.

Each turn carries a `source` and an `external_id` that depend on the file's name and content, not on where it lies, so
that reading a file again adds nothing, and reading one that has grown adds what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agentmem.errors import FormatError
from agentmem.ingest import beam, chat, exports, langgraph, locomo, longmemeval, mem0, notes
from agentmem.ingest.reading import Node, is_lines, lines, whole
from agentmem.ingest.tables import is_database, tables
from agentmem.types import NewTurn

__all__ = ["FORMATS", "detect_format", "read_turns"]

_READERS: dict[str, Callable[[Path], Iterator[NewTurn]]] = {
    "locomo": lambda path: locomo.turns(whole(path)),
    "beam": lambda path: beam.turns(whole(path), path),
    "longmemeval": lambda path: longmemeval.turns(whole(path)),
    "jsonl": lambda path: chat.plain_turns(lines(path), path),
    "openai": lambda path: chat.openai_turns(chat.conversations(path), path),
    "chatgpt": lambda path: exports.chatgpt_turns(whole(path)),
    "claude": lambda path: exports.claude_turns(whole(path)),
    "markdown": notes.turns,
}
_STORES: dict[str, Callable[[Path, Sequence[str]], Iterator[NewTurn]]] = {
    "mem0": lambda path, only: (
        mem0.history_turns(path, only) if is_database(path) else mem0.turns(whole(path), path, only)
    ),
    "langgraph": lambda path, only: _langgraph(path, only),
}
"""Other memories, which may hold what belongs to several people."""
FORMATS = (*_READERS, *_STORES)


def read_turns(path: str | Path, format: str = "auto", *, only: Sequence[str] = ()) -> Iterator[NewTurn]:
    """The turns of a conversation file, in order; what each format becomes is told in its module.

    JSON Lines are read as they come, line by line; other files at once. `only` names the users (mem0), namespaces or
    threads (LangGraph) to read. Raises FormatError that names the file, the line or the place in it, and what was
    expected there.
    """
    path = Path(path)
    name = detect_format(path) if format == "auto" else format
    if name in _STORES:
        return _STORES[name](path, only)
    if name not in _READERS:
        raise FormatError(f"unknown format {name!r}: it is one of auto, {', '.join(FORMATS)}")
    if only:
        raise FormatError(f"{path}: is {name}, which is of one person: --only is for {' and '.join(_STORES)}")
    return _READERS[name](path)


def _langgraph(path: Path, only: Sequence[str]) -> Iterator[NewTurn]:
    if not is_database(path):
        return langgraph.item_turns(whole(path), path, only)
    held = tables(path)
    if "checkpoints" in held and "store" in held and only:
        raise FormatError(f"{path}: holds a store and checkpoints: --only would be of both; read it without")
    parts = [("store", langgraph.store_turns), ("checkpoints", langgraph.checkpoint_turns)]
    return (turn for table, read in parts if table in held for turn in read(path, only))


def detect_format(path: str | Path) -> str:
    """One of `FORMATS`, by what stands in the file. Raises FormatError where it is none of them."""
    path = Path(path)
    if path.suffix.lower() in notes.SUFFIXES:
        return "markdown"
    if is_database(path):
        return _database(path)
    if is_lines(path):
        first = next(lines(path))
        return (
            "openai" if "messages" in first.entries() else _known("jsonl" if "role" in first.entries() else None, first)
        )
    top = whole(path)
    if mem0.looks_like(top):
        return "mem0"
    first = top.items()[0] if isinstance(top.value, list) and top.value else top
    return _known(_shape(first, within_list=first is not top), top)


def _shape(first: Node, *, within_list: bool) -> str | None:
    keys = first.entries()
    if keys.keys() >= langgraph.ITEM:
        return "langgraph"
    if "conversation" in keys:
        return "locomo"
    if "haystack_sessions" in keys:
        return "longmemeval"
    if "turns" in keys and within_list:
        return "beam"
    if "messages" in keys:
        return "openai"
    if "mapping" in keys or "chat_messages" in keys:
        return "chatgpt" if "mapping" in keys else "claude"
    if "role" in keys:
        return "openai" if within_list else "jsonl"
    return None


def _database(path: Path) -> str:
    held = tables(path)
    if "history" in held:
        return "mem0"
    if held & {"store", "checkpoints"}:
        return "langgraph"
    if {"turns", "thoughts"} <= held:
        raise FormatError(f"{path}: is a store of agentmem's: bring it in with `agentmem move`, or export and import")
    raise FormatError(f"{path}: is a database, and neither mem0's history.db nor one of LangGraph's")


def _known(format: str | None, node: Node) -> str:
    if format is None:
        raise node.fail(
            "a LoCoMo, BEAM or LongMemEval conversation, JSON Lines of turns, an OpenAI-style chat list,"
            " an export of ChatGPT's or Claude's, or memories of mem0's or LangGraph's"
        )
    return format
