"""Talking with an agent that remembers: `chat` and `ask`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from agentmem.commands.common import Call, F, at_terminal, common, json_option
from agentmem.commands.output import item_json, print_json, say
from agentmem.display import clean

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
@_talking
@common
def chat(call: Call, model: str | None, base_url: str | None, session: str | None, private: bool, plain: bool) -> None:
    """Talk with an agent that remembers.

    The model is the one given, else that of the settings, else a vLLM answering on localhost:8000, else none: then
    answers quote what is remembered.
    """
    call = call.with_settings(model=model, base_url=base_url)
    with call.memory(create=True, embed=True) as memory:
        if plain or not at_terminal():
            _chat_plain(call, memory, session, private)
        else:
            _chat_full(call, memory, session, private)


def _chat_plain(call: Call, memory: Memory, session: str | None, private: bool) -> None:
    from agentmem.plainchat import run_plain

    code = run_plain(_agent(call, memory, session, private, memory_tools="auto"), sys.stdin, sys.stdout)
    raise click.exceptions.Exit(code)


def _chat_full(call: Call, memory: Memory, session: str | None, private: bool) -> None:
    from agentmem.agent import choose_model
    from agentmem.plugins import find_ui

    run = find_ui()
    chosen = choose_model(call.settings)
    code = run(memory, call.settings, namespace=call.namespace, session=session, chosen=chosen, private=private)
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


def words(given: tuple[str, ...]) -> str:
    """The words of an argument as one text, or stdin's where it is `-`."""
    return sys.stdin.read().strip() if given == ("-",) else " ".join(given)


COMMANDS = (chat, ask)
