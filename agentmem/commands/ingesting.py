"""`agentmem ingest`: conversations from files into the ledger, durable first, embedded after."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, common, json_option, unembedded
from agentmem.commands.output import print_json, say
from agentmem.commands.progress import progress
from agentmem.errors import FormatError, InputError
from agentmem.logs import LOGGER

if TYPE_CHECKING:
    from agentmem.memory import Memory
    from agentmem.types import NewTurn

FORMATS = (
    "auto",
    "locomo",
    "beam",
    "longmemeval",
    "jsonl",
    "openai",
    "chatgpt",
    "claude",
    "markdown",
    "mem0",
    "langgraph",
)
_BATCH = 500


@dataclass
class Ingested:
    """What became of one file's turns."""

    path: str
    format: str
    added: int = 0
    known: int = 0
    suppressed: int = 0
    empty: int = 0


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="auto", show_default=True)
@click.option(
    "--only", multiple=True, metavar="NAME", help="Of mem0 or LangGraph: this user, namespace or thread (* is all)."
)
@click.option("--no-embed", is_flag=True, help="Don't embed now: the next talk or `reindex` does.")
@json_option
@common
def ingest(call: Call, files: tuple[Path, ...], form: str, only: tuple[str, ...], no_embed: bool) -> None:
    """Remember conversations from files or folders.

    Read are LoCoMo, BEAM and LongMemEval, JSON Lines of turns, OpenAI-style chats, the conversations.json that
    ChatGPT and Claude export, memories of mem0 (get_all as JSON, its history.db) and LangGraph (a store's items as
    JSON, the SQLite files of stores and checkpoints), and Markdown notes (of a folder only with --format markdown).
    What is there already is not added again: stopped half-way, the same command goes on where it was.
    """
    paths = list(_expand(files, form))
    with call.memory(create=True, embed=not no_embed) as memory:
        done, failed = _ingest_all(call, memory, paths, form, only)
        if not no_embed:
            _embed(memory)
        waiting = unembedded(memory)
    if call.as_json:
        totals = {name: sum(getattr(f, name) for f in done) for name in ("added", "known", "suppressed", "empty")}
        print_json({"files": done, **totals, "waiting": waiting, "failed": failed})
    elif waiting:
        say(f"{waiting} waiting to be embedded; meanwhile full text finds them")
    if failed:
        raise FormatError(f"{len(failed)} of {len(paths)} files could not be read; the others are remembered")


def _expand(files: Sequence[Path], form: str) -> Iterator[tuple[Path, bool]]:
    """Files, with whether they were named (not merely found in a folder)."""
    for path in files:
        if path.is_dir():
            suffixes = (".md", ".markdown") if form == "markdown" else (".json", ".jsonl", ".ndjson")
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in suffixes)
            if not found:
                raise InputError(f"no {suffixes[0]} or {suffixes[1]} file in {path}")
            yield from ((p, False) for p in found)
        elif path.exists():
            yield path, True
        else:
            raise InputError(f"no such file: {path}")


def _ingest_all(
    call: Call, memory: Memory, paths: Sequence[tuple[Path, bool]], form: str, only: Sequence[str]
) -> tuple[list[Ingested], list[str]]:
    """Each file on its own: one that cannot be read takes no other with it."""
    done: list[Ingested] = []
    failed: list[str] = []
    for path, named in paths:
        try:
            found = _ingest(call, memory, path, form if named else _format_found(path, form), only)
        except FormatError as error:
            if len(paths) == 1:
                raise
            failed.append(str(path))
            say(f"error: {error}", err=True)
            continue
        if found is None:
            say(f"{path}: no conversation in it, passed over", dim=True, err=True)
            continue
        done.append(found)
        if not call.as_json:
            say(_summary(found))
    return done, failed


def _format_found(path: Path, form: str) -> str | None:
    """The format to read a file with that a folder holds; None where it is no conversation at all."""
    from agentmem.ingest import detect_format

    if form != "auto":
        return form
    try:
        return detect_format(path)
    except FormatError:
        return None


def _ingest(call: Call, memory: Memory, path: Path, form: str | None, only: Sequence[str]) -> Ingested | None:
    from agentmem.ingest import detect_format, read_turns

    if form is None:
        return None
    known_form = detect_format(path) if form == "auto" else form
    LOGGER.info("reading %s as %s", path, known_form)
    turns = list(read_turns(path, known_form, only=only))  # all of it first: a malformed file adds nothing
    result = Ingested(str(path), known_form)
    with progress(f"reading {path.name}") as report:
        for batch in _batches(turns):
            observed = memory.observe_many(batch, namespace=call.namespace)
            result.added += len(observed.added)
            result.known += observed.known
            result.suppressed += observed.suppressed
            result.empty += observed.empty
            report(result.added + result.known + result.suppressed + result.empty, len(turns))
    return result


def _batches(turns: Iterable[NewTurn]) -> Iterator[list[NewTurn]]:
    rest = iter(turns)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _embed(memory: Memory) -> None:
    LOGGER.info("embedding what waits")
    with progress("embedding") as report:
        memory.flush(progress=report)


def _summary(found: Ingested) -> str:
    parts: dict[str, Any] = {
        "known already": found.known,
        "forgotten earlier, left out": found.suppressed,
        "empty, left out": found.empty,
    }
    rest = "".join(f", {count} {name}" for name, count in parts.items() if count)
    return f"{found.path} ({found.format}): {found.added} turns added{rest}"


COMMANDS = (ingest,)
