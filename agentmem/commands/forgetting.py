"""Forgetting, with a preview and a receipt: `forget` for turns and sessions, `erase` for all or the old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Age, Call, F, Moment, common, consent, json_option, yes_option
from agentmem.commands.output import print_json, say
from agentmem.display import one_line, short_id
from agentmem.errors import InputError
from agentmem.namespaces import format_namespace

if TYPE_CHECKING:
    from agentmem.memory import Memory
    from agentmem.types import ForgetPlan, Receipt

_SHOWN = 20


def forget_options(function: F) -> F:
    """What a forget leaves: turned around into what it takes by the commands."""
    for option in (
        click.option("--keep-echoes", is_flag=True, help="Leave other turns that say the same."),
        click.option("--keep-repeats", is_flag=True, help="Leave other thoughts that say the same."),
        click.option("--keep-source", is_flag=True, help="Leave the turns; the thoughts will not come back from them."),
    ):
        function = option(function)
    return function


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--session", metavar="NAME", help="All turns of this session.")
@click.option("--before", type=Moment(), help="All turns from before this date.")
@forget_options
@yes_option
@json_option
@common
def forget(
    call: Call, ids: tuple[str, ...], session: str | None, before: datetime | None, yes: bool, **how: bool
) -> None:
    """Erase turns, thoughts or sessions.

    All that was derived from them goes too. What goes is shown first.
    """
    if not ids and session is None and before is None:
        raise click.UsageError("say what to forget: ids, --session or --before")
    with call.memory() as memory:
        full = [memory.resolve(i, namespace=call.namespace)[1] for i in ids]
        run_forget(call, memory, full, session=session, before=before, yes=yes, **how)


def run_forget(
    call: Call,
    memory: Memory,
    ids: Sequence[str],
    *,
    yes: bool,
    keep_source: bool,
    keep_repeats: bool,
    keep_echoes: bool,
    **what: Any,
) -> None:
    """Plan, show, ask, erase, and show the receipt."""
    plan = memory.plan_forget(
        ids,
        namespace=call.namespace,
        keep_source=keep_source,
        repeats=not keep_repeats,
        echoes=not keep_echoes,
        **what,
    )
    if not (plan.turns or plan.thoughts or plan.repeats or plan.echoes):
        raise InputError("there is nothing to forget: no turn or thought is meant by this")
    if not call.as_json and not yes:
        _preview(plan)
    if not consent(call, "Erase these for good?", yes=yes):
        raise click.exceptions.Exit(_declined())
    _show(call, memory.forget(plan, namespace=call.namespace))


def _declined() -> int:
    say("nothing was changed", err=True)
    return 1


def _preview(plan: ForgetPlan) -> None:
    _group(plan, "goes (thoughts)", plan.thoughts)
    _group(plan, "goes (turns)", plan.turns)
    _group(plan, "goes (thoughts that say the same; --keep-repeats leaves them)", plan.repeats)
    _group(plan, "goes (turns that say the same; --keep-echoes leaves them)", plan.echoes)
    _group(plan, "comes back (the merge above it is dissolved)", plan.restored)
    if plan.keep_source:
        say("the turns these thoughts came from stay, and will not bring them back")


def _group(plan: ForgetPlan, title: str, ids: Sequence[str]) -> None:
    if not ids:
        return
    say(f"{title}: {len(ids)}", bold=True)
    for i in ids[:_SHOWN]:
        say(f"  {short_id(i)}  {one_line(plan.samples.get(i, ''), 120)}")
    if len(ids) > _SHOWN:
        say(f"  … and {len(ids) - _SHOWN} more")


def _count(number: int, plural: str) -> str:
    return f"{number} {plural if number != 1 else plural[:-1]}"


_ERASED = {
    "done": "no byte of it is left in the store",
    "pending": "another process is reading, or an index cannot be reached; the next use of the store finishes it",
    "removed": "nothing holds it any more, but bytes of it may be left in a server's files, replicas and backups",
}


def _show(call: Call, receipt: Receipt) -> None:
    if call.as_json:
        print_json(receipt)
        return
    counts = [_count(len(ids), kind) for kind, ids in receipt.forgotten.items() if ids]
    say(f"forgotten: {', '.join(counts) or 'nothing'}")
    if receipt.restored:
        say(f"restored: {len(receipt.restored)}")
    say(f"erased: {receipt.erased}; {_ERASED[receipt.erased]}")
    for name in receipt.forgotten.get("adapters", ()):
        say(f"{name} had learned it and answers no more: `agentmem consolidate` makes one without it")
    for place in receipt.unreached:
        say(f"not removed yet, and tried again by `agentmem adapters`: {place}")
    for copy in receipt.copies:
        say(f"a copy made earlier is yours to remove: {copy}")


@click.command()
@click.option("--all", "everything", is_flag=True, help="The whole namespace.")
@click.option("--older-than", type=Age(), metavar="AGE", help="Turns older than this, e.g. 90d, 12w, 2y.")
@yes_option
@json_option
@common
def erase(call: Call, everything: bool, older_than: timedelta | None, yes: bool) -> None:
    """Erase the whole namespace, or what is old."""
    if everything == (older_than is not None):
        raise click.UsageError("say what to erase: --all or --older-than AGE")
    with call.memory() as memory:
        if older_than is not None:
            _erase_older(call, memory, older_than, yes)
        else:
            _erase_all(call, memory, yes)


def _erase_all(call: Call, memory: Memory, yes: bool) -> None:
    held = memory.stats(namespace=call.namespace)
    name = one_line(format_namespace(call.namespace))
    if not yes and not call.as_json:
        thoughts = held.thoughts + held.retracted
        say(f"namespace {name}: {_count(held.turns, 'turns')}, {_count(thoughts, 'thoughts')}")
    if not consent(call, f"Erase everything in {name} for good?", yes=yes):
        raise click.exceptions.Exit(_declined())
    _show(call, memory.erase(namespace=call.namespace))


def _erase_older(call: Call, memory: Memory, age: timedelta, yes: bool) -> None:
    from agentmem.clock import utc_now

    plan = memory.plan_forget(namespace=call.namespace, before=_before(utc_now(), age), repeats=False, echoes=False)
    if not plan.turns and not call.as_json:
        say("nothing is as old as that")
        return
    if not yes and not call.as_json:
        _preview(plan)
    if plan.turns and not consent(call, "Erase these for good?", yes=yes):
        raise click.exceptions.Exit(_declined())
    _show(call, memory.forget(plan, namespace=call.namespace))


def _before(now: datetime, age: timedelta) -> datetime:
    try:
        return now - age
    except OverflowError as error:
        raise InputError("that age reaches back before the year 1: give a shorter one") from error


COMMANDS = (forget, erase)
