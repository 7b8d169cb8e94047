"""Background work of widgets and screens: nothing blocks the interface, and every failure is one line to the user."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from textual.widget import Widget
from textual.worker import Worker

from agentmem.errors import AgentmemError
from agentmem_tui.printable import one_line

W = TypeVar("W", bound=Widget)
P = ParamSpec("P")
_LINE = 400
_log = logging.getLogger(__name__)


def background(
    group: str, *, exclusive: bool = True
) -> Callable[[Callable[Concatenate[W, P], Coroutine[Any, Any, None]]], Callable[Concatenate[W, P], Worker[None]]]:
    """Make a coroutine method start as a worker of `group`; an `exclusive` one takes the place of the one before it.

    The method hands what waits for the store to `asyncio.to_thread`.
    """

    def decorate(
        method: Callable[Concatenate[W, P], Coroutine[Any, Any, None]],
    ) -> Callable[Concatenate[W, P], Worker[None]]:
        def start(self: W, /, *args: P.args, **kwargs: P.kwargs) -> Worker[None]:
            # A function, not a coroutine: a worker that the end of the app forestalls would leave one unawaited.
            work = partial(_telling, self, partial(method, self, *args, **kwargs))
            return self.run_worker(work, name=method.__name__, group=group, exclusive=exclusive, exit_on_error=False)

        start.__doc__ = method.__doc__
        return start

    return decorate


async def _telling(widget: Widget, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await work()
    except Exception as error:
        if widget.is_running:  # else the app is being left, and its widgets are gone
            tell(widget, error)


def tell(widget: Widget, error: Exception) -> None:
    """Show an error as a notice of one line; one that agentmem does not raise on purpose goes to the log as well."""
    if not isinstance(error, AgentmemError):
        _log.error("unexpected error in the interface", exc_info=error)
    widget.notify(said(error), title="That did not work", severity="error", timeout=10, markup=False)


def said(error: Exception) -> str:
    """The error in one line."""
    line = one_line(str(error), _LINE)
    return line if isinstance(error, AgentmemError) else f"{type(error).__name__}: {line}"
