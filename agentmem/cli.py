"""`agentmem`: the command line. Commands live in `agentmem.commands`; here errors become one line and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from agentmem import __version__, logs
from agentmem.commands import (
    about,
    consolidating,
    evaluating,
    forgetting,
    ingesting,
    moving,
    queue,
    recalling,
    serving,
    store,
    talking,
    thinking,
)
from agentmem.commands.common import Call, common
from agentmem.commands.output import colour
from agentmem.errors import AgentmemError

INTERRUPTED = 130
"""The shell's code for a program stopped by Ctrl-C."""
_BUG = 70


class Root(click.Group):
    """The group of all commands. Whatever goes wrong ends in one line on stderr and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        prepare_streams()
        sys.exit(guard(run))


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="agentmem", message="%(prog)s %(version)s")
@common
def cli(_call: Call) -> None:
    """A memory that lasts, for language-model agents: talk, remember, recall, forget.

    Settings come from arguments, AGENTMEM_* variables and the settings file, in this order (`agentmem settings show`).
    """


for module in (
    talking,
    serving,
    ingesting,
    recalling,
    thinking,
    consolidating,
    forgetting,
    queue,
    store,
    moving,
    evaluating,
    about,
):
    for command in module.COMMANDS:
        cli.add_command(command)


def main() -> NoReturn:
    """The entry point of the `agentmem` script."""
    from agentmem.offline import go_offline

    go_offline()
    try:
        cli.main(prog_name="agentmem")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not break the leaving
    raise AssertionError("unreachable: main exits")


def guard(run: Callable[[], Any]) -> int:
    """Run a command; return its exit code, having said in one line what went wrong."""
    try:
        code = run()
    except AgentmemError as error:
        return _fail(str(error), error.exit_code, error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        return _fail(_usage(error), error.exit_code, error)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code, error)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; what was acknowledged is kept", INTERRUPTED)
    except OSError as error:
        return _fail(_os_message(error), 1, error)
    except MemoryError as error:
        return _fail("out of memory", 1, error)
    except Exception as error:  # the last resort of a program: no stack trace for a person at a terminal
        return _fail(_bug(error), _BUG, error)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, error: BaseException | None = None) -> int:
    line = " ".join(message.split())
    click.echo(click.style("error:", fg="red") + f" {line}", err=True, color=colour())
    if error is not None:
        logs.trace(error)
    return code


def _usage(error: click.UsageError) -> str:
    hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
    return error.format_message().rstrip(".") + hint


def _os_message(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _bug(error: Exception) -> str:
    """The kind of error and its place, not its message: that may hold what was said."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return (
        f"unexpected {type(error).__name__}{place}: this is a fault in agentmem; please report it to the project "
        "with what the same command shows under --verbose"
    )


def prepare_streams() -> None:
    """Print whatever was remembered on whatever terminal: what it cannot show is escaped instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        _escape_unprintable(stream)


def _escape_unprintable(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
