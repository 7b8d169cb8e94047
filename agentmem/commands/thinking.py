"""`agentmem thoughts`: statements that were kept, how they came about, and how they are changed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, Moment, common, json_option, unembedded, yes_option
from agentmem.commands.forgetting import forget_options, run_forget
from agentmem.commands.output import as_json, print_json, say, table
from agentmem.commands.talking import words
from agentmem.display import day, minute, one_line, short_id
from agentmem.errors import EmbedderError
from agentmem.namespaces import format_namespace

if TYPE_CHECKING:
    from agentmem.memory import Memory
    from agentmem.types import History, Thought

_SOON = 256
"""So much waiting work is done along with a new thought; more is left to `reindex` or the next talk."""


@click.group(invoke_without_command=True)
@json_option
@common
@click.pass_context
def thoughts(ctx: click.Context, _call: Call) -> None:
    """Remembered statements: list, add, change."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_thoughts)


@thoughts.command("list")
@click.option("--all", "everything", is_flag=True, help="Also what was retracted or merged.")
@click.option("--as-of", type=Moment(end=True), help="What was true then.")
@click.option("--known-at", type=Moment(end=True), help="What was known then.")
@json_option
@common
def list_thoughts(call: Call, everything: bool, as_of: datetime | None, known_at: datetime | None) -> None:
    """List the thoughts that are true now, or were at a date."""
    with call.memory() as memory:
        found = memory.thoughts(
            namespace=call.namespace, state=None if everything else "live", as_of=as_of, known_at=known_at
        )
    if call.as_json:
        print_json({"thoughts": found})
    else:
        rows = ((short_id(t.id), day(t.valid_from), _state(t), t.origin, t.text) for t in found)
        table(("id", "since", "state", "origin", "thought"), rows)


def _state(thought: Thought) -> str:
    if thought.state == "live" and thought.valid_to is not None:
        return f"until {day(thought.valid_to)}"
    return thought.state if thought.strength == 1 else f"{thought.state} x{thought.strength}"


@thoughts.command("show")
@click.argument("thought", metavar="ID")
@json_option
@common
def show_thought(call: Call, thought: str) -> None:
    """Show one thought with all its fields."""
    with call.memory() as memory:
        found = memory.get_thought(call.resolve(memory, thought, "thought"), namespace=call.namespace)
    if call.as_json:
        print_json(found)
    else:
        shown = {**as_json(found), "namespace": format_namespace(found.namespace)}
        rows = [(name, value) for name, value in shown.items() if value not in (None, {}, [])]
        table(("field", "value"), rows)


@thoughts.command("add")
@click.argument("text", nargs=-1, required=True)
@click.option("--supersedes", metavar="ID", help="The thought that this one takes the place of.")
@click.option("--valid-from", type=Moment(), help="Since when it is true.  [default: now]")
@click.option("--head", metavar="WHO", help="What it is about.")
@click.option("--relation", metavar="HOW", help="How head and tail are related.")
@click.option("--tail", metavar="WHAT", help="What the head is related to.")
@json_option
@common
def add_thought(call: Call, text: tuple[str, ...], supersedes: str | None, **given: Any) -> None:
    """Remember a statement.

    TEXT should stand on its own. `-` reads it from stdin.
    """
    with call.memory(create=True, embed=True) as memory:
        replaced = None if supersedes is None else call.resolve(memory, supersedes, "thought")
        done = memory.insert(words(text), namespace=call.namespace, supersedes=replaced, **given)
        _embed_soon(memory)
    if call.as_json:
        print_json({**as_json(done.thought), "strengthened": done.strengthened})
    else:
        say(f"{'strengthened' if done.strengthened else 'remembered'} {short_id(done.thought.id)}")


def _embed_soon(memory: Memory) -> None:
    """Give the thought its vector while we are here. It is kept all the same where the embedder fails."""
    if unembedded(memory) > _SOON:
        return
    try:
        memory.flush()
    except EmbedderError as error:
        say(f"warning: the thought is kept, but not yet embedded: {error}", err=True)


@thoughts.command("forget")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@forget_options
@yes_option
@json_option
@common
def forget_thoughts(call: Call, ids: tuple[str, ...], yes: bool, **how: bool) -> None:
    """Erase thoughts and what they came from.

    The turns they came from and what repeats them go too. What goes is shown first.
    """
    with call.memory() as memory:
        full = [call.resolve(memory, i, "thought") for i in ids]
        run_forget(call, memory, full, yes=yes, **how)


@thoughts.command("retract")
@click.argument("thought", metavar="ID")
@click.option("--superseded-by", metavar="ID", help="The thought that took its place.")
@click.option("--valid-to", type=Moment(), help="Until when it was true.  [default: now]")
@json_option
@common
def retract_thought(call: Call, thought: str, superseded_by: str | None, valid_to: datetime | None) -> None:
    """Say that a thought is true no more.

    It stays in the history; `undo` brings it back.
    """
    with call.memory() as memory:
        done = memory.retract(
            call.resolve(memory, thought, "thought"),
            namespace=call.namespace,
            superseded_by=superseded_by and call.resolve(memory, superseded_by, "thought"),
            valid_to=valid_to,
        )
    if call.as_json:
        print_json(done)
    else:
        say("retracted; `agentmem thoughts undo` takes it back")


@thoughts.command("merge")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--text", required=True, help="The statement that takes the place of all of them.")
@json_option
@common
def merge_thoughts(call: Call, ids: tuple[str, ...], text: str) -> None:
    """Make one thought of several.

    It keeps where they came from; `undo` brings them back.
    """
    with call.memory() as memory:
        full = [call.resolve(memory, i, "thought") for i in ids]
        merged, operation = memory.merge(full, text, namespace=call.namespace)
    if call.as_json:
        print_json({**as_json(merged), "operation": operation.id})
    else:
        say(f"merged {len(full)} thoughts into {short_id(merged.id)}; `agentmem thoughts undo` takes it back")


@thoughts.command("undo")
@click.argument("operation", required=False)
@json_option
@common
def undo(call: Call, operation: str | None) -> None:
    """Take back a merge or a retraction.

    The newest one, or OPERATION.
    """
    with call.memory() as memory:
        done = memory.undo(operation, namespace=call.namespace)
    if call.as_json:
        print_json(done)
    else:
        say(f"the {_NOUN[done.name]} of {minute(done.recorded_at)} is taken back")


_NOUN = {"merge": "merging", "retract": "retraction"}


@thoughts.command("history")
@click.argument("thought", metavar="ID")
@json_option
@common
def history(call: Call, thought: str) -> None:
    """Show where a thought came from.

    And what it replaced, what became of it, and what is like it.
    """
    with call.memory() as memory:
        found = memory.history(call.resolve(memory, thought, "thought"), namespace=call.namespace)
    if call.as_json:
        print_json(_history_json(found))
    else:
        table(("", "date", "id", "text"), _history_rows(found))


def _history_json(found: History) -> dict[str, Any]:
    return {**as_json(found), "sources": [{**as_json(turn), "text": turn.text} for turn in found.sources]}


def _history_rows(found: History) -> list[tuple[str, str, str, str]]:
    rows = [_thought_row(found.thought.state, found.thought)]
    rows += [("from turn", minute(t.occurred_at), short_id(t.id), one_line(t.text, 300)) for t in found.sources]
    if found.erased_sources:
        rows.append(("from", "", "", f"{found.erased_sources} turns that were forgotten"))
    related = {
        "merged from": found.parents,
        "took the place of": found.replaced,
        "gave way to": found.successors,
        "similar": found.similar,
    }
    rows += [_thought_row(name, thought) for name, group in related.items() for thought in group]
    return rows


def _thought_row(name: str, thought: Thought) -> tuple[str, str, str, str]:
    return name, day(thought.valid_from), short_id(thought.id), thought.text


COMMANDS = (thoughts,)
