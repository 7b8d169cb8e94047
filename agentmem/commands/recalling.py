"""Looking things up: `recall` and `sessions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import click

from agentmem.commands.common import Call, Moment, common, json_option
from agentmem.commands.explaining import explained_json, show_reading, show_signals
from agentmem.commands.output import as_json, item_json, print_json, say, table
from agentmem.commands.talking import words
from agentmem.display import minute, one_line, short_id
from agentmem.errors import NotFoundError
from agentmem.logs import LOGGER
from agentmem.types import Origin, RecalledKind, RecallItem, Recollection, Turn


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("-k", "count", type=click.IntRange(1, 1000), help="How many things at most.  [default: recall_items]")
@click.option("--budget", type=click.IntRange(1), metavar="TOKENS", help="Their length at most, in tokens.")
@click.option("--after", type=Moment(), help="Only what was said then or later, or became true.")
@click.option("--before", type=Moment(), help="Only what was said earlier, or became true.")
@click.option("--as-of", type=Moment(end=True), help="What was true then.")
@click.option("--known-at", type=Moment(end=True), help="What was known then.")
@click.option("--session", metavar="NAME", help="Only from this session, and thoughts that came from it.")
@click.option("--kind", type=click.Choice(get_args(RecalledKind)), help="Only turns, or only thoughts.")
@click.option("--speaker", metavar="NAME", help="Only turns by this speaker, or of this role.")
@click.option("--origin", type=click.Choice(get_args(Origin)), help="Only thoughts of this origin.")
@click.option("--subtree", is_flag=True, help="Also from the namespaces below this one.")
@click.option("--explain", is_flag=True, help="Show what the query is read as, and each item's signals.")
@json_option
@common
def recall(
    call: Call,
    query: tuple[str, ...],
    count: int | None,
    budget: int | None,
    kind: RecalledKind | None,
    subtree: bool,
    explain: bool,
    **conditions: Any,
) -> None:
    """Show what is remembered about QUERY, and why.

    Turns and thoughts that bear on it, the best first. No model is asked.
    """
    with call.memory(embed=True) as memory:
        found = memory.recall(
            words(query),
            namespace=call.namespace,
            k=count or call.settings.recall_items,
            budget=budget,
            kinds=(kind,) if kind else get_args(RecalledKind),
            subtree=subtree,
            **conditions,
        )
        reading = memory.reading(words(query), namespace=call.namespace, subtree=subtree) if explain else None
    how = "words and meaning" if found.dense else "words alone"
    LOGGER.info("recalled %d things by %s in %.1f ms", len(found.items), how, found.milliseconds)
    if call.as_json:
        print_json(_as_json(found, reading))
    else:
        _show(found, reading)


def _as_json(found: Recollection, reading: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    notes = {"notes": found.notes} if found.notes else {}
    if reading is None:
        return {"items": [item_json(item) for item in found.items], **notes}
    return {
        "query": {**reading, "dense": found.dense},
        "items": [explained_json(item) for item in found.items],
        **notes,
    }


def _show(found: Recollection, reading: Mapping[str, Sequence[str]] | None) -> None:
    for note in found.notes:
        say(note, dim=True, err=True)
    if reading is not None:
        show_reading(reading)
    if not found.items:
        say("nothing is remembered that bears on this", dim=True, err=True)
    for rank, item in enumerate(found.items, 1):
        _show_item(rank, item)
        if reading is not None:
            show_signals(item, found.items)


def _show_item(rank: int, item: RecallItem) -> None:
    say(f"{rank:2}. {minute(item.time)}  {_where(item)}  {short_id(item.id)}", dim=True)
    say(f"    {one_line(item.text, _LONGEST)}")
    say(f"    {item.score:.3f}: {item.why}", dim=True)


def _where(item: RecallItem) -> str:
    if item.kind == "thought":
        return f"thought ({item.source.get('origin', 'user')})"
    speaker = item.source.get("speaker") or item.source.get("role", "")
    return f"{speaker} in {item.source.get('session', '')}"


_LONGEST = 400
"""Characters of a remembered text that are shown; --json has all of it."""


@click.group(invoke_without_command=True)
@json_option
@common
@click.pass_context
def sessions(ctx: click.Context, _call: Call) -> None:
    """List the sessions, show or rename one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_sessions)


@sessions.command("list")
@json_option
@common
def list_sessions(call: Call) -> None:
    """List the sessions, the latest first."""
    with call.memory() as memory:
        found = memory.sessions(namespace=call.namespace)
    if call.as_json:
        print_json({"sessions": found})
    else:
        rows = ((minute(s.last_at), s.turns, s.session, s.title or "") for s in found)
        table(("last turn", "turns", "session", "title"), rows)


@sessions.command("rename")
@click.argument("session")
@click.argument("title")
@json_option
@common
def rename_session(call: Call, session: str, title: str) -> None:
    """Call SESSION by a TITLE; an empty one takes its title away."""
    with call.memory() as memory:
        title_now = memory.rename_session(session, title, namespace=call.namespace)
    if call.as_json:
        print_json({"session": session, "title": title_now})
    else:
        say(f"{session} is called {title_now}" if title_now else f"{session} has no title")


@sessions.command("show")
@click.argument("session", required=False)
@click.option("--around", metavar="ID", help="Instead of a session: what stood around this turn.")
@json_option
@common
def show_session(call: Call, session: str | None, around: str | None) -> None:
    """Print the turns of SESSION in their order."""
    if (session is None) == (around is None):
        raise click.UsageError("give a session, or a turn with --around")
    with call.memory() as memory:
        if around is not None:
            turn_id = call.resolve(memory, around, "turn")
            turns = memory.open_chunk(turn_id, namespace=call.namespace)
        else:
            turns = memory.turns(namespace=call.namespace, session=session)
        if not turns:
            raise NotFoundError(f"no session {session!r} in this namespace: `agentmem sessions` lists them")
        chunks = memory.chunks(namespace=call.namespace, session=turns[0].session)
    summaries = {chunk.first_seq: chunk.summary for chunk in chunks if chunk.summary is not None}
    if call.as_json:
        held = [{"first_seq": seq, "summary": text} for seq, text in summaries.items()]
        print_json({"turns": [turn_json(turn) for turn in turns], "summaries": held})
    else:
        _show_turns(turns, around, summaries)


def _show_turns(turns: list[Turn], around: str | None, summaries: Mapping[int, str]) -> None:
    for turn in turns:
        if turn.seq in summaries:
            say(f"in short: {summaries[turn.seq]}", dim=True)
        marked = around is not None and (turn.id.startswith(around) or turn.id.endswith(around))
        state = "" if turn.status == "complete" else f" [{turn.status}]"
        say(f"{minute(turn.occurred_at)}  {turn.speaker or turn.role}{state}  {short_id(turn.id)}", dim=True)
        say(turn.text, bold=marked)


def turn_json(turn: Turn) -> dict[str, object]:
    return {**as_json(turn), "text": turn.text}


COMMANDS = (recall, sessions)
