"""`serve`: a vLLM for agentmem, started, watched and stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from agentmem.commands.common import Call, common
from agentmem.commands.output import say
from agentmem.commands.progress import waiting

if TYPE_CHECKING:
    from agentmem.serving import Server

_BUNDLED = "closed-world"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stopped(BaseException):
    """A signal that asks to end. Not an Exception: nothing on the way may take it for a fault."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number


@click.command()
@click.argument("model")
@click.argument("flags", metavar="[-- VLLM_FLAGS]", nargs=-1, type=click.UNPROCESSED)
@click.option("--name", metavar="NAME", help="What the model is called.  [default: MODEL, of a path its last part]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--expose", is_flag=True, help="Let --host be an address that others reach.")
@click.option("--vllm-python", metavar="PATH", help="The interpreter that has vLLM.  [default: this one]")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Where vLLM's log goes.")
@common
def serve(
    call: Call,
    model: str,
    flags: tuple[str, ...],
    name: str | None,
    host: str,
    port: int,
    expose: bool,
    vllm_python: str | None,
    log: Path | None,
) -> None:
    """Serve a model with vLLM, until Ctrl-C.

    MODEL is a folder, a name in the hub's cache, or `closed-world`, a tiny model that comes with agentmem; nothing is
    downloaded. What stands after `--` goes to vLLM as it is, and wins over what agentmem sets: adapters up to rank 32,
    prefix caching, tool calling with the parser that the model's chat template asks for.
    """
    from agentmem.serving import find_vllm, start

    if model == _BUNDLED and not Path(model).exists():
        from agentmem.testing import closed_world

        model, name = str(closed_world.path()), name or _BUNDLED
    settings = call.with_settings(vllm_python=vllm_python).settings
    key = settings.api_key.get_secret_value() if settings.api_key else None
    vllm = find_vllm(settings.vllm_python)
    log = log or _log_path(port)
    try:
        with _stopped_by_signals():
            server = start(model, vllm, log, name=name, host=host, port=port, flags=flags, api_key=key, exposed=expose)
            _run(server)
    except _Stopped as stopped:
        raise click.exceptions.Exit(stopped.exit_code) from None


def _run(server: Server) -> None:
    """Until a signal ends it: raises `_Stopped` where it was not ready yet, and ModelError where it ends by itself."""
    try:
        seconds = _ready(server)
        with suppress(_Stopped):
            _tell(server, seconds)
            server.process.wait()
            server.check()
    finally:
        _leave(server)


def _ready(server: Server) -> float:
    say(f"{server.vllm.label} loads {server.model}; its log is {server.log}", dim=True, err=True)
    with waiting("loading") as report:
        return server.wait(report)


def _tell(server: Server, seconds: float) -> None:
    say(f"{server.model} is served at {server.url} ({server.vllm.label}, ready after {seconds:.0f} s)", bold=True)
    say(f"  agentmem chat --base-url {server.url}     talks with it")
    say(f"  agentmem doctor --base-url {server.url}   tells what it can do")
    say("  Ctrl-C                                                 stops it")
    sys.stdout.flush()


def _leave(server: Server) -> None:
    """Stop it; a further signal ends it at once."""
    for number in _SIGNALS:
        signal.signal(number, lambda *_: server.kill())
    if server.process.poll() is None:
        say("stopping…", dim=True, err=True)
    server.stop()


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    def stop(number: int, _frame: FrameType | None) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _log_path(port: int) -> Path:
    from platformdirs import user_log_path

    return user_log_path("agentmem", appauthor=False) / f"serve-{port}.log"


COMMANDS = (serve,)
