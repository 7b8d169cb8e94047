"""The one bridge from the synchronous core to async callers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def to_async(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """The same method as a coroutine, run in a worker thread so that the event loop goes on."""

    @wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio  # a tenth of what a short command takes to start

        return await asyncio.to_thread(method, self, *args, **kwargs)

    return call
