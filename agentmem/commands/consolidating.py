"""Memories into weights: `consolidate` runs a cycle, `adapters` shows what came of it and goes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Age, Call, common, json_option
from agentmem.commands.output import print_json, say, table
from agentmem.commands.progress import staged
from agentmem.display import one_line, short_id
from agentmem.errors import InputError

if TYPE_CHECKING:
    from agentmem.consolidation.cycle import Outcome, Plan
    from agentmem.consolidation.gates import Judgement
    from agentmem.consolidation.selection import Selection
    from agentmem.consolidation.verifying import Asked
    from agentmem.consolidation.writing import Writer
    from agentmem.memory import Memory
    from agentmem.models.select import Place
    from agentmem.types import Adapter

_SHOWN = 20
_FAILED = 1


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be learned, and why the rest would not.")
@click.option("--base", metavar="FOLDER", help="The base model.  [default: what the server on this machine serves]")
@click.option("--model", metavar="NAME", help="The base model's name on the server.")
@click.option("--base-url", metavar="URL", help="The vLLM that is to serve the adapter.")
@click.option(
    "--writer", type=click.Choice(("auto", "model", "templates", "closed-world")), default="auto", help="Who words it."
)
@click.option("--strategy", metavar="NAME", default="from-base", show_default=True, help="How it goes on learning.")
@click.option("--rank", type=int, help="Of the adapter: 8, 16, 32, 64, 128 or 256.")
@click.option("--rate", type=float, help="Of learning, at its highest.")
@click.option("--epochs", type=float, help="How often each example is seen.")
@click.option("--loss", type=click.Choice(("distilled", "plain")), help="What is learned from.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--settled", type=Age(), metavar="AGE", help="Only what has stood so long, e.g. 36h, 7d.")
@click.option("--control", is_flag=True, help="Train a second one on shuffled answers, which must fail.")
@click.option("--threads", type=click.IntRange(min=1), help="For training on the CPU.  [default: all cores]")
@click.option("--nice", type=click.IntRange(0, 19), default=0, help="How much training gives way to other processes.")
@click.option(
    "--limit", type=Age(), metavar="AGE", help="Stop training after so long; the next cycle goes on from there."
)
@click.option("--every", type=Age(), metavar="AGE", help="Stay, and run a cycle so long after the last.")
@click.option(
    "--when", "conditions", multiple=True, metavar="CONDITION", help="Stay, and run one when: idle, nightly, new:50."
)
@click.option("--once", is_flag=True, help="With --every or --when: look once, run a cycle if it is due, and end.")
@json_option
@common
def consolidate(
    call: Call,
    dry_run: bool,
    model: str | None,
    base_url: str | None,
    base: str | None,
    every: timedelta | None,
    conditions: tuple[str, ...],
    once: bool,
    **how: Any,
) -> None:
    """Distil what is remembered into an adapter of the model.

    It is trained beside the server, judged, and answers only if it passes. Text recall stays on. What this needs is in
    the extra `lora`.

    With --every or --when, which may be repeated, it stays and runs a cycle whenever all of them hold and something has
    changed; it says what it waits for.
    """
    call = call.with_settings(model=model, base_url=base_url, base=base)
    scheduled = every is not None or bool(conditions)
    if once and not scheduled:
        raise click.UsageError("--once goes with --every or --when")
    with call.memory() as memory:
        if scheduled and not dry_run:
            _keep(call, memory, conditions, every, once=once, how=how)
            return
        place = None if dry_run and call.settings.base is not None else _place(call)
        plan = _plan(call, place, **how)
        if dry_run:
            _preview(call, memory, plan)
        else:
            _run(call, memory, plan, place)


def _keep(
    call: Call,
    memory: Memory,
    conditions: tuple[str, ...],
    every: timedelta | None,
    *,
    once: bool,
    how: Mapping[str, Any],
) -> None:
    """Cycles as they fall due, until somebody ends it."""
    from threading import Event

    from agentmem.consolidation.schedule import Keeper, when_of

    def means() -> tuple[Plan, Place | None]:
        place = _place(call)
        return _plan(call, place, **how), place

    means()  # what is wrong with the command itself is told at once
    keeper = Keeper(
        memory.backend,
        call.settings,
        means,
        when_of(conditions, every),
        call.namespace,
        tell=lambda line: say(line, err=call.as_json),
        done=lambda outcome, place: _told(call, outcome, place),
    )
    if not once:
        keeper.keep(Event())
    elif (wait := keeper.look()) is not None:
        say(f"skipped: {wait.reason}", err=call.as_json)


def _place(call: Call) -> Place | None:
    from agentmem.models.select import find_place

    return find_place(call.settings)


def _plan(
    call: Call,
    place: Place | None,
    *,
    writer: str,
    settled: timedelta | None,
    control: bool,
    threads: int | None,
    nice: int,
    limit: timedelta | None,
    **how: Any,
) -> Plan:
    from dataclasses import replace

    from agentmem.consolidation.cycle import Plan, thresholds_of
    from agentmem.consolidation.recipe import CLOSED_WORLD, Recipe
    from agentmem.consolidation.selection import Rules
    from agentmem.testing import closed_world

    base = _base(call, place)
    tiny = writer == "closed-world" or (writer == "auto" and Path(base).resolve() == closed_world.path().resolve())
    given = {name: value for name, value in how.items() if value is not None}
    return Plan(
        base=base,
        writer=_chosen_writer(call, "closed world" if tiny else writer, place),
        recipe=replace(CLOSED_WORLD if tiny else Recipe(), **given),
        rules=Rules() if settled is None else Rules(settled=settled),
        thresholds=thresholds_of(call.settings),
        control=control,
        threads=threads or 0,
        nice=nice,
        limit=limit,
    )


def _chosen_writer(call: Call, name: str, place: Place | None) -> Writer:
    """The served model where there is one, unless another is named."""
    if name in ("auto", "model") and place is not None:
        from agentmem.consolidation.modelwriter import ModelWriter
        from agentmem.models.select import choose_model

        model = choose_model(call.settings).model
        if model is not None:
            return ModelWriter(model)
    if name == "model":
        raise InputError("no model server answers that could word the thoughts: name one with --base-url")
    return _writer(name)


def _base(call: Call, place: Place | None) -> str:
    from agentmem.consolidation import hotload
    from agentmem.offline import local_model

    named = call.settings.base or (None if place is None else hotload.base_folder(place))
    if named is None:
        raise InputError("which model is to be adapted? Give its folder with --base, or serve it on this machine")
    found = local_model(named, organisation="")
    if found is None:
        raise InputError(f"the base model {named!r} is not on this machine, and agentmem downloads none: name a folder")
    return str(found)


def _preview(call: Call, memory: Memory, plan: Plan) -> None:
    from agentmem.clock import utc_now
    from agentmem.consolidation.cycle import survey

    found = survey(memory.backend, plan, namespace=call.namespace, now=utc_now())
    if call.as_json:
        left = [{"id": t.id, "text": t.text, "reason": reason} for t, reason in found.left_out]
        print_json({"learned": [{"id": t.id, "text": t.text} for t in found.chosen], "left_out": left})
        return
    _summary(found)
    for thought in found.chosen[:_SHOWN]:
        say(f"  {short_id(thought.id)}  {one_line(thought.text, 100)}")
    if found.left_out:
        say("left out", bold=True)
    for thought, reason in found.left_out[:_SHOWN]:
        say(f"  {short_id(thought.id)}  {one_line(thought.text, 70)}  ({reason})")


def _summary(found: Selection) -> None:
    say(f"to be learned: {len(found.chosen)}, left out: {len(found.left_out)}", bold=True)
    for reason, count in Counter(reason for _, reason in found.left_out).most_common():
        say(f"  {count} {reason}", dim=True)


def _run(call: Call, memory: Memory, plan: Plan, place: Place | None) -> None:
    from agentmem.consolidation.cycle import consolidate as run

    with staged(hidden=call.as_json) as report:
        outcome = run(memory.backend, call.settings, plan, namespace=call.namespace, place=place, report=report)
    _told(call, outcome, place)
    if outcome.adapter.state == "rejected":
        raise click.exceptions.Exit(_FAILED)


def _told(call: Call, outcome: Outcome, place: Place | None) -> None:
    if call.as_json:
        print_json(_as_json(outcome))
    else:
        _tell(outcome, place)


def _as_json(outcome: Outcome) -> Mapping[str, Any]:
    return {
        "adapter": outcome.adapter.name,
        "state": outcome.adapter.state,
        "learned": len(outcome.selection.chosen),
        "left_out": len(outcome.selection.left_out),
        "judgement": outcome.judgement.as_json(),
        "control": None if outcome.control is None else outcome.control.as_json(),
    }


def _tell(outcome: Outcome, place: Place | None) -> None:
    _summary(outcome.selection)
    _gates(outcome.judgement)
    if outcome.control is not None:
        verdict = (
            "passed, which it must not: the gates tell nothing here" if outcome.control.passed else "failed, as it must"
        )
        say(f"the control, taught shuffled answers, {verdict}")
    if outcome.adapter.state == "rejected":
        say(f"{outcome.adapter.name} does not serve:", bold=True)
        for reason in outcome.judgement.reasons:
            say(f"  {reason}")
        return
    where = f"at {place.address}" if place is not None else "from the next chat on"
    say(f"{outcome.adapter.name} answers {where}", bold=True)


def _gates(judgement: Judgement) -> None:
    rows = [
        (gate.name, f"{gate.value:.3f}", f"{gate.bound:.3f}", f"{gate.threshold:g}", str(gate.items), gate.verdict)
        for gate in judgement.gates
    ]
    table(("gate", "value", "bound", "threshold", "items", "verdict"), rows)


@click.group(invoke_without_command=True)
@common
def adapters(_call: Call) -> None:
    """What was distilled into weights; without a command, a list."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        context.invoke(list_adapters)


@contextmanager
def _known(call: Call) -> Iterator[tuple[Memory, list[Adapter]]]:
    """The memory and its adapters, what is left of withdrawn ones being removed first."""
    from agentmem import lineage
    from agentmem.consolidation.adapters import folder_of, root_of
    from agentmem.consolidation.service import retire

    with call.memory() as memory:
        with memory.backend.read() as reader:
            known = lineage.adapters(reader, namespace=call.namespace)
        root = root_of(call.settings, call.namespace)
        left = [a.name for a in known if a.state == "withdrawn" and folder_of(root, a.name).exists()]
        for place in retire(call.settings, left, call.namespace) if left else ():
            say(f"could not be removed: {place}", err=True)
        yield memory, known


@adapters.command("list")
@json_option
@common
def list_adapters(call: Call) -> None:
    """The adapters of a namespace, and which one answers."""
    with _known(call) as (_, known):
        if call.as_json:
            print_json([_row(one) for one in known])
            return
        if not known:
            say("no adapter yet: `agentmem consolidate` makes one")
            return
        rows = [(a.name, a.state, f"{a.recorded_at:%Y-%m-%d %H:%M}", str(a.metadata.get("learned", ""))) for a in known]
        table(("name", "state", "made", "thoughts"), rows)


def _row(adapter: Adapter) -> Mapping[str, Any]:
    return {"name": adapter.name, "state": adapter.state, "made": adapter.recorded_at, **adapter.metadata}


@adapters.command()
@click.argument("name")
@json_option
@common
def show(call: Call, name: str) -> None:
    """How an adapter was made and judged, and what it learned."""
    from agentmem import lineage
    from agentmem.consolidation.gates import judgement_of

    with _known(call) as (memory, _), memory.backend.read() as reader:
        found = lineage.find_adapter(reader, name, namespace=call.namespace)
        thoughts = reader.get("thought", lineage.learned(reader, found), namespace=call.namespace)
    if call.as_json:
        print_json({**_row(found), "thoughts": [{"id": t.id, "text": t.text} for t in thoughts]})
        return
    say(f"{found.name}: {found.state}", bold=True)
    for key in ("base", "strategy", "seed", "writer", "learned", "new"):
        say(f"  {key}: {found.metadata.get(key, '')}")
    if "judgement" in found.metadata:
        _gates(judgement_of(found.metadata["judgement"]))
    for thought in thoughts[:_SHOWN]:
        say(f"  {short_id(thought.id)}  {one_line(thought.text, 100)}")


@adapters.command()
@click.option("--to", "name", metavar="NAME", help="The adapter to go back to.  [default: the one before]")
@click.option("--off", is_flag=True, help="Have the base model alone answer.")
@click.option("--base-url", metavar="URL", help="The vLLM that serves it.")
@common
def rollback(call: Call, name: str | None, off: bool, base_url: str | None) -> None:
    """Go back to the adapter before, to a named one, or to none."""
    from agentmem.consolidation.service import switch

    call = call.with_settings(base_url=base_url)
    if off and name is not None:
        raise click.UsageError("give --to or --off, not both")
    with _known(call) as (memory, _):
        with memory.backend.read() as reader:
            target = None if off else _target(reader, name, call)
        if target is None and not off:
            raise InputError("there is no adapter to go back to: --off has the base model alone answer")
        switch(memory.backend, call.settings, _place(call), target, call.namespace)
    say(f"{target.name} answers" if target is not None else "the base model alone answers", bold=True)


@adapters.command("verify-forgotten")
@click.argument("thought", metavar="ID")
@click.option("--said", nargs=3, metavar="HEAD RELATION TAIL", help="What it said, to ask the adapter that answers.")
@click.option("--base", metavar="FOLDER", help="The base model.  [default: that the adapter was made of]")
@click.option("--base-url", metavar="URL", help="The vLLM that serves it.")
@json_option
@common
def verify_forgotten(
    call: Call, thought: str, said: tuple[str, str, str] | None, base: str | None, base_url: str | None
) -> None:
    """See that nothing learned from a forgotten thought is left.

    Store, records, folders and server are looked into. With --said the adapter that answers is asked for it too, in all
    wordings and by likelihood against foils, beside the base model, which never saw it.
    """
    from agentmem import lineage
    from agentmem.consolidation.adapters import root_of
    from agentmem.consolidation.verifying import traces

    call = call.with_settings(base_url=base_url, base=base)
    with call.memory() as memory:
        root = root_of(call.settings, call.namespace)
        found = list(traces(memory.backend, root, thought, namespace=call.namespace, place=_place(call)))
        with memory.backend.read() as reader:
            serving = lineage.serving(reader, namespace=call.namespace)
        asked = _ask(call, memory, serving, said) if said is not None and serving is not None else None
    sound = all(finding.state == "ok" for finding in found) and (asked is None or asked.gone)
    if call.as_json:
        print_json({"forgotten": sound, "traces": found, "asked": asked})
    else:
        for finding in found:
            say(f"{finding.name}: {finding.detail}" + (f" ({finding.remedy})" if finding.remedy else ""))
        if asked is not None:
            say(f"said by the adapter {asked.said}, by the base {asked.said_by_base} of {asked.questions} times")
            more = f"{asked.preferred}, by the base {asked.preferred_by_base} of {asked.pairs} times"
            say(f"likelier than a foil to the adapter {more}")
        say("forgotten" if sound else "not forgotten", bold=True)
    if not sound:
        raise click.exceptions.Exit(_FAILED)


def _ask(call: Call, memory: Memory, adapter: Adapter, said: tuple[str, str, str]) -> Asked:
    """The adapter that answers, asked for what was forgotten."""
    from agentmem.clock import utc_now
    from agentmem.consolidation.adapters import folder_of, root_of
    from agentmem.consolidation.verifying import ask
    from agentmem.types import Thought

    head, relation, tail = said
    text = f"{head} {relation} {tail}."
    now = utc_now()
    thought = Thought(
        id="",
        namespace=call.namespace,
        text=text,
        recorded_at=now,
        valid_from=now,
        head=head,
        relation=relation,
        tail=tail,
    )
    base = call.settings.base or str(adapter.metadata["base"])
    others = memory.thoughts(namespace=call.namespace)
    folder = folder_of(root_of(call.settings, call.namespace), adapter.name)
    return ask(base, folder, thought, _writer(str(adapter.metadata["writer"])), others)


def _writer(name: str) -> Writer:
    """By the name that an adapter's record has, or that the command was given."""
    from agentmem.consolidation.writing import Templates
    from agentmem.testing.closed_world_writer import ClosedWorldWriter

    return ClosedWorldWriter() if name.replace("-", " ") == ClosedWorldWriter.name else Templates()


def _target(reader: Any, name: str | None, call: Call) -> Adapter | None:
    from agentmem import lineage

    if name is None:
        return lineage.previous(reader, namespace=call.namespace)
    return lineage.find_adapter(reader, name, namespace=call.namespace)


COMMANDS = (consolidate, adapters)
