"""Logging for the command line: what is done, on stderr. Records name ids, counts and times, never what was said."""

from __future__ import annotations

import logging
import sys
import traceback

LOGGER = logging.getLogger("agentmem")


def set_up(*, verbose: bool) -> None:
    """Show agentmem's warnings, or with `verbose` all it does."""
    LOGGER.handlers = [_rich_handler() if verbose else _plain_handler()]
    LOGGER.setLevel(logging.DEBUG if verbose else logging.WARNING)
    LOGGER.propagate = False


def trace(error: BaseException) -> None:
    """Show where an error came from, if what is done is shown at all."""
    if LOGGER.isEnabledFor(logging.DEBUG):
        traceback.print_exception(error, file=sys.stderr)


def _plain_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    return handler


def _rich_handler() -> logging.Handler:
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False, markup=False)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s", datefmt="%H:%M:%S"))
    return handler
