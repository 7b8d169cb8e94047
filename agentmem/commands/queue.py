"""`agentmem queue`: what waits to be embedded, thought about or summed up, and what was given up."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from agentmem.commands.common import Call, common, consent, json_option, yes_option
from agentmem.commands.output import print_json, say, table
from agentmem.display import minute, short_id
from agentmem.errors import InputError

if TYPE_CHECKING:
    from agentmem.types import Job


@click.group(invoke_without_command=True)
@json_option
@common
@click.pass_context
def queue(ctx: click.Context, _call: Call) -> None:
    """Waiting work: list, try again, give up."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_jobs)


@queue.command("list")
@click.option("--parked", is_flag=True, help="Only what was given up after several tries.")
@json_option
@common
def list_jobs(call: Call, parked: bool) -> None:
    """List what waits in the namespace."""
    with call.memory() as memory:
        found = memory.jobs(namespace=call.namespace, state="parked" if parked else None)
    if call.as_json:
        print_json({"jobs": found})
        return
    if not found and sys.stdout.isatty():
        say("nothing waits")
        return
    rows = (
        (short_id(job.id), minute(job.recorded_at), job.state, job.task, _target(job), job.reason or "")
        for job in found
    )
    table(("id", "since", "state", "task", "of", "reason"), rows)


def _target(job: Job) -> str:
    return f"{job.target_kind} {short_id(job.target)}"


def _chosen(call: Call, ids: tuple[str, ...], parked: bool) -> list[str] | None:
    """The ids given; None for all that is parked. Raises InputError for neither, or both."""
    if bool(ids) == parked:
        raise InputError(f"say which: ids from `agentmem queue`, or --parked for all in {'/'.join(call.namespace)}")
    return None if parked else list(ids)


@queue.command("retry")
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--parked", is_flag=True, help="All that was given up after several tries.")
@json_option
@common
def retry_jobs(call: Call, ids: tuple[str, ...], parked: bool) -> None:
    """Have work tried again, as if it never had been."""
    chosen = _chosen(call, ids, parked)
    with call.memory() as memory:
        done = memory.retry_jobs(chosen, namespace=call.namespace)
    if call.as_json:
        print_json({"queued": done})
    else:
        say(f"{done} queued: the next talk goes on with them, `agentmem think` and `agentmem reindex` at once")


@queue.command("drop")
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--parked", is_flag=True, help="All that was given up after several tries.")
@yes_option
@json_option
@common
def drop_jobs(call: Call, ids: tuple[str, ...], parked: bool, yes: bool) -> None:
    """Give work up.

    What it was about stays remembered. Without its vector it is found by its words alone; what was not thought about
    leaves no thought.
    """
    chosen = _chosen(call, ids, parked)
    with call.memory() as memory:
        if not consent(call, "Give this work up?", yes=yes):
            say("nothing was changed", err=True)
            raise click.exceptions.Exit(1)
        done = memory.drop_jobs(chosen, namespace=call.namespace)
    if call.as_json:
        print_json({"dropped": done})
    else:
        say(f"{done} dropped")


COMMANDS = (queue,)
