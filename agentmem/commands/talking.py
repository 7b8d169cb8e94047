"""Talking with an agent that remembers: `chat` and `ask`."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, F, at_terminal, common, json_option
from agentmem.commands.output import item_json, print_json, say
from agentmem.commands.progress import progress
from agentmem.commands.store import told
from agentmem.display import clean
from agentmem.errors import ModelError

if TYPE_CHECKING:
    from agentmem.agent import Agent
    from agentmem.memory import Memory


def _talking(function: F) -> F:
    options: list[Callable[[F], F]] = [
        click.option("--model", metavar="NAME", help="The model to answer with."),
        click.option("--base-url", metavar="URL", help="An OpenAI-compatible server, e.g. http://localhost:8000/v1."),
        click.option("--session", metavar="NAME", help="The session to go on with.  [default: a new one]"),
        click.option("--private", is_flag=True, help="Recall, but remember nothing of this."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.option("--plain", is_flag=True, help="Lines in, answers out. So it is, too, where there is no terminal.")
@click.option("--web", is_flag=True, help="In a browser on this machine: prints the address.")
@click.option("--port", type=click.IntRange(1, 65535), default=8765, show_default=True, help="Of --web.")
@_talking
@common
def chat(
    call: Call,
    model: str | None,
    base_url: str | None,
    session: str | None,
    private: bool,
    plain: bool,
    web: bool,
    port: int,
) -> None:
    """Talk with an agent that remembers.

    The model is the one given, else that of the settings, else a vLLM answering on localhost:8000, else none: then
    answers quote what is remembered.
    """
    call = call.with_settings(model=model, base_url=base_url)
    with call.memory(create=True, embed=True) as memory:
        if plain or not (web or at_terminal() or _in_browser()):
            _chat_plain(call, memory, session, private)
        else:
            _chat_full(call, memory, session, private, port if web else None)


def _in_browser() -> bool:
    """Whether a server that shows it in a browser started this process."""
    return "TEXTUAL_DRIVER" in os.environ


def _chat_plain(call: Call, memory: Memory, session: str | None, private: bool) -> None:
    from agentmem.plainchat import run_plain

    code = run_plain(_agent(call, memory, session, private, memory_tools="auto"), sys.stdin, sys.stdout)
    raise click.exceptions.Exit(code)


def _chat_full(call: Call, memory: Memory, session: str | None, private: bool, port: int | None) -> None:
    from agentmem.agent import choose_model
    from agentmem.plugins import find_ui

    run = find_ui()
    chosen = choose_model(call.settings)
    how: dict[str, Any] = {"session": session, "chosen": chosen, "private": private, "web_port": port}
    code = run(memory, call.settings, namespace=call.namespace, **how)
    raise click.exceptions.Exit(code)


@click.command()
@click.argument("question", nargs=-1, required=True)
@_talking
@json_option
@common
def ask(
    call: Call, question: tuple[str, ...], model: str | None, base_url: str | None, session: str | None, private: bool
) -> None:
    """Ask one question.

    The answer comes from what is remembered. `-` reads the question from stdin.
    """
    text = words(question)
    call = call.with_settings(model=model, base_url=base_url)
    with call.memory(create=True, embed=True) as memory:
        agent = _agent(call, memory, session, private)
        agent.wait = None  # the one answer there is: worth the embedder's start
        if call.as_json:
            answer = agent.ask(text)
            print_json({"answer": answer.text, "recalled": [item_json(i) for i in answer.recollection.items]})
        else:
            _stream(agent, text)


def _stream(agent: Agent, text: str) -> None:
    for piece in agent.stream(text):
        if isinstance(piece, str):
            click.echo(clean(piece), nl=False)
            sys.stdout.flush()
    click.echo()


def _agent(call: Call, memory: Memory, session: str | None, private: bool, **how: Any) -> Agent:
    from agentmem.agent import Agent, choose_model

    chosen: Any = choose_model(call.settings)
    if chosen.notice:
        say(chosen.notice, dim=True, err=True)
    known: dict[str, Any] = {"namespace": call.namespace, "settings": call.settings}
    return Agent(memory, chosen.model, session=session, private=private, **known, **how)


@click.command()
@click.option("--model", metavar="NAME", help="The model to think with.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible server, e.g. http://localhost:8000/v1.")
@click.option("--retry", is_flag=True, help="Also what was given up after several tries.")
@json_option
@common
def think(call: Call, model: str | None, base_url: str | None, retry: bool) -> None:
    """Think about what was said, as far as that still waits.

    A chat does so behind its answers; this does all of it at once, in every namespace of the store: the model draws
    thoughts from each exchange, and compares them with those that are there. Exits with 1 where some of it failed and
    waits to be tried again.
    """
    from agentmem.agent import choose_model

    call = call.with_settings(model=model, base_url=base_url)
    chosen: Any = choose_model(call.settings)
    if chosen.model is None:
        raise ModelError("there is no model to think with: `agentmem serve MODEL` starts one, --base-url names one")
    with call.memory(embed=True) as memory:
        thinker = memory.thinker(chosen.model)
        before = Counter(memory.stats(namespace=call.namespace).thinking)
        thinker.hurry(parked=retry)
        with progress("thinking", hidden=call.as_json) as report:
            thinker.flush(report)
        memory.flush()
        after, left = memory.stats(namespace=call.namespace).thinking, thinker.waiting()
    counts = {name: count - before[name] for name, count in after.items()}
    if call.as_json:
        print_json({**counts, "waiting": left, "model": chosen.label})
    else:
        say(told(counts) or "nothing waited")
    if counts.get("faults"):
        say(f"{counts['faults']} answers could not be used: see `agentmem doctor`", err=True)
        raise click.exceptions.Exit(1)


def words(given: tuple[str, ...]) -> str:
    """The words of an argument as one text, or stdin's where it is `-`."""
    return sys.stdin.read().strip() if given == ("-",) else " ".join(given)


COMMANDS = (chat, ask, think)
