"""`agentmem move`: a whole store into another."""

from __future__ import annotations

from contextlib import closing

import click

from agentmem.commands.common import Call, common, json_option
from agentmem.commands.output import as_json, print_json, say
from agentmem.commands.progress import progress
from agentmem.display import without_password


@click.command()
@click.option("--from", "source", metavar="URL", required=True, help="The store to move: a path or URL.")
@click.option("--to", "target", metavar="URL", required=True, help="An empty store, made where it is missing.")
@json_option
@common
def move(call: Call, source: str, target: str) -> None:
    """Move a whole store into another, of whatever kind.

    Ids, times, states, provenance and vectors stay what they are, and both stores are compared in the end. Stopped
    half-way, the same command goes on where it was. The old store is left as it is: it is yours to remove.
    """
    from agentmem import moving
    from agentmem.plugins import open_store

    with (
        closing(open_store(source, call.settings, create=False)) as old,
        closing(open_store(target, call.settings)) as new,
        progress("moving", hidden=call.as_json) as report,
    ):
        moved = moving.move(old, new, report)
        url = new.url
    if call.as_json:
        print_json({"from": without_password(source), "to": url, **as_json(moved)})
        return
    counts = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in moved.counts.items())
    say(f"moved to {url}: {counts or 'nothing'}; both stores have the digest {moved.digest[:16]}")
    say("the old store is as it was, and yours to remove: a later forget does not reach it")


COMMANDS = (move,)
