"""What every command has: where the store is, whose memory it is, and how to say what was done."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentmem import logs
from agentmem.display import without_password
from agentmem.errors import InputError
from agentmem.logs import LOGGER

if TYPE_CHECKING:
    from agentmem.config import Settings
    from agentmem.memory import Memory
    from agentmem.types import Namespace

F = TypeVar("F", bound=Callable[..., Any])

_STORE = click.option("--store", metavar="PATH", help="The store: a path or URL.  [default: in the user's data folder]")
_NAMESPACE = click.option("--namespace", metavar="NS", help=r"Whose memory: a, a/b, …  [default: the user's name]")
_VERBOSE = click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is done.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Don't ask.")


@dataclass
class Call:
    """One call of a command: its common options, and what is made from them at the first need."""

    overrides: dict[str, Any] = field(default_factory=dict)
    verbose: bool = False
    as_json: bool = False

    @cached_property
    def settings(self) -> Settings:
        from agentmem.config import load_settings

        return load_settings(**self.overrides)

    @property
    def namespace(self) -> Namespace:
        return self.settings.namespace

    def memory(self, *, create: bool = False, embed: bool = False) -> Memory:
        """The memory, to be used in a `with`. Reading commands don't create a store, and need no embedder."""
        from agentmem.memory import Memory

        settings = self.settings
        LOGGER.info("opening %s for namespace %s", without_password(settings.store), "/".join(self.namespace))
        embedder = settings.embedder if embed else None
        memory = Memory(settings.store, embedder=embedder, settings=settings, create=create)
        if create and settings.retention_days is not None:
            memory.expire(namespace=self.namespace, older_than=timedelta(days=settings.retention_days))
        return memory

    def with_settings(self, **overrides: Any) -> Call:
        return replace(self, overrides={**self.overrides, **overrides})

    def resolve(self, memory: Memory, shortened: str, kind: str) -> str:
        """The full id of a turn or thought from a part of it. Raises NotFoundError, or InputError for another kind."""
        found, full = memory.resolve(shortened, namespace=self.namespace)
        if found != kind:
            raise InputError(f"{shortened} is a {found}, not a {kind}")
        return full


def common(function: F) -> F:
    """The options of every command; the function gets a `Call` first."""

    @_STORE
    @_NAMESPACE
    @_VERBOSE
    @click.pass_context
    @wraps(function)
    def wrapper(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        call = _take(ctx, kwargs)
        return function(call, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


def _take(ctx: click.Context, kwargs: dict[str, Any]) -> Call:
    """The call so far, with this command's options over those that stood before the command."""
    outer = ctx.obj if isinstance(ctx.obj, Call) else Call()
    given = {name: value for name in ("store", "namespace") if (value := kwargs.pop(name)) is not None}
    verbose = kwargs.pop("verbose") or outer.verbose
    call = Call({**outer.overrides, **given}, verbose, kwargs.pop("as_json", False) or outer.as_json)
    ctx.obj = call
    logs.set_up(verbose=verbose)
    return call


def unembedded(memory: Memory, state: str = "queued") -> int:
    """How many records wait for their vector, or were given up, in the whole store."""
    return len(memory.backend.jobs(task="embed", state=state))


def at_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def consent(call: Call, question: str, *, yes: bool) -> bool:
    """Whether the user agrees. Raises InputError where nobody can be asked."""
    if yes:
        return True
    if call.as_json or not at_terminal():
        raise InputError("nothing was changed: there is no terminal to ask at; add --yes to go ahead")
    return click.confirm(question, default=False)


class Moment(click.ParamType[datetime]):
    """A date or time in ISO form, UTC if it names no zone. A bare date is its first moment, with `end` its last."""

    name = "date"

    def __init__(self, *, end: bool = False) -> None:
        self._end = end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date or time: write 2024-05-08 or 2024-05-08T17:30", param, ctx)
        if self._end and re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", value):
            moment = datetime.combine(moment, time.max)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1), "y": timedelta(days=365)}


class Age(click.ParamType[timedelta]):
    """A length of time: 90d, 12w, 36h, 2y (of 365 days)."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(\d{1,6})([hdwy])", value)
        if found is None:
            self.fail(f"{value!r} is no age: write 90d, 12w, 36h or 2y", param, ctx)
        try:
            return int(found.group(1)) * _UNITS[found.group(2)]
        except OverflowError:
            self.fail(f"{value!r} is longer than time itself", param, ctx)
