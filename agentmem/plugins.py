"""Plug-ins: pluggy hooks through which backends come in, the built-in ones included, and indexes of vectors that stand
beside a store, and the door of user interfaces.

The smallest plug-in is one module and an entry point in the group `agentmem`:

    from agentmem.plugins import hookimpl

    @hookimpl
    def register_backends(register):
        register("postgresql", open_backend, abilities=ABILITIES, api_version=1)

`register_indexes(register)` is the like for `register("qdrant", open_index, api_version=1)`.

A user interface is an entry point in the group `agentmem.ui`: a callable `run(memory, settings, *, namespace, session,
chosen, private)` that returns an exit code. Plug-ins are imported at the first need of one: a SQLite store needs none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from agentmem import __version__
from agentmem.errors import AgentmemError, PluginError
from agentmem.interfaces import API_VERSION, Abilities, Backend, Clock, VectorIndex

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from agentmem.config import Settings

GROUP = "agentmem"
UI_GROUP = "agentmem.ui"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class OpenBackend(Protocol):
    """Opens the store at `url`, with time from `clock` where one is given.

    Raises StoreMissingError where there is no store and `create` is False.
    """

    def __call__(self, url: str, *, create: bool, settings: Settings, clock: Clock | None) -> Backend: ...


class RegisterBackend(Protocol):
    """`scheme` stands before the colon of a store's URL; `api_version` is the interface the plug-in was written to."""

    def __call__(self, scheme: str, open_backend: OpenBackend, *, abilities: Abilities, api_version: int) -> None: ...


class OpenIndex(Protocol):
    """The index at `url`. Raises SettingsError for a URL that says what cannot be; a server is asked at the first
    need."""

    def __call__(self, url: str, *, settings: Settings) -> VectorIndex: ...


class RegisterIndex(Protocol):
    """`scheme` stands before the colon of an index's URL; `api_version` is the interface the plug-in was written to."""

    def __call__(self, scheme: str, open_index: OpenIndex, *, api_version: int) -> None: ...


class Hooks:
    """What a plug-in may implement."""

    @hookspec
    def register_backends(self, register: RegisterBackend) -> None:
        """Call `register` once for each kind of store."""

    @hookspec
    def register_indexes(self, register: RegisterIndex) -> None:
        """Call `register` once for each kind of vector index."""


@dataclass(frozen=True, slots=True)
class BackendKind:
    scheme: str
    open_backend: OpenBackend
    abilities: Abilities


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plug-in as `agentmem plugins` shows it; `backends` maps schemes to abilities, `indexes` are schemes of vector
    indexes, `error` says why it failed."""

    name: str
    version: str
    group: str
    backends: dict[str, Abilities] = field(default_factory=dict)
    indexes: tuple[str, ...] = ()
    error: str | None = None


def open_store(url: str, settings: Settings, *, create: bool = True, clock: Clock | None = None) -> Backend:
    """The backend at `url`: a path (SQLite), or `scheme:…` of a built-in or installed backend.

    Raises PluginError for a scheme nobody registered, and what the backend raises (StoreError).
    """
    scheme = scheme_of(url)
    kind = _builtin().get(scheme)
    if kind is None:
        kind = _installed().get(scheme)
    if kind is None:
        raise PluginError(_unknown_scheme(scheme))
    return kind.open_backend(url, create=create, settings=settings, clock=clock)


def open_index(url: str, settings: Settings) -> VectorIndex:
    """The vector index at `url`. Raises PluginError where no plug-in brings one, SettingsError for a malformed URL."""
    scheme = url.partition(":")[0].lower()
    for found in _loaded():
        if scheme in found.indexes:
            return found.indexes[scheme](url, settings=settings)
    failed = [f"{found.name} failed to load ({found.error})" for found in _loaded() if found.error]
    hint = "; ".join(failed) or f"install agentmem-{scheme}, or set `index` to auto"
    raise PluginError(f"no vector index for {scheme!r}: {hint}")


def is_url(index: str) -> bool:
    """Whether the setting `index` names one outside of the process, rather than a kind of those in RAM."""
    return re.match(r"[A-Za-z][A-Za-z0-9+-]*:", index) is not None


def scheme_of(url: str) -> str:
    """The URL's scheme; "sqlite" for a path. One letter before a colon is a Windows drive."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+-]+):", url)
    return found.group(1).lower() if found and not os.path.exists(url) else "sqlite"


def installed_plugins() -> list[PluginInfo]:
    """The built-in backends, then every installed plug-in, with the reason where one failed to load."""
    infos = [PluginInfo("agentmem", __version__, "built-in", _abilities(_builtin()))]
    for found in _loaded():
        brings = (_abilities(found.kinds), tuple(found.indexes))
        infos.append(PluginInfo(found.name, found.version, GROUP, *brings, found.error))
    for entry in _entry_points(UI_GROUP):
        infos.append(PluginInfo(entry.name, _version(entry), UI_GROUP, error=_load(entry)[1]))
    return infos


def find_ui(name: str = "textual") -> Callable[..., Any]:
    """The user interface registered as `name`. Raises PluginError where there is none, or it cannot be loaded."""
    for entry in _entry_points(UI_GROUP):
        if entry.name == name:
            loaded, error = _load(entry)
            if error is not None:
                raise PluginError(f"the interface {name!r} failed to load: {error}; `agentmem chat --plain` needs none")
            return loaded  # type: ignore[no-any-return]
    raise PluginError(f"no user interface {name!r} is installed: install agentmem anew, or use `agentmem chat --plain`")


class _Builtin:
    """The built-in backends, through the door that all use."""

    @hookimpl
    def register_backends(self, register: RegisterBackend) -> None:
        from agentmem.backends.memory import MemoryBackend
        from agentmem.backends.sqlite import SqliteBackend

        register("sqlite", _open_builtin, abilities=SqliteBackend.abilities, api_version=API_VERSION)
        register("memory", _open_builtin, abilities=MemoryBackend.abilities, api_version=API_VERSION)


def _open_builtin(url: str, *, create: bool, settings: Settings, clock: Clock | None) -> Backend:
    from agentmem.backends import open_backend

    return open_backend(url, create=create, busy_timeout=settings.busy_timeout_seconds, clock=clock)


@dataclass
class _Loaded:
    name: str
    version: str
    kinds: dict[str, BackendKind]
    indexes: dict[str, OpenIndex]
    error: str | None


@cache
def _builtin() -> dict[str, BackendKind]:
    return _collect(_Builtin(), taken=frozenset())[0]


def _installed() -> dict[str, BackendKind]:
    return {scheme: kind for found in _loaded() for scheme, kind in found.kinds.items()}


@cache
def _loaded() -> tuple[_Loaded, ...]:
    """The installed plug-ins, each on its own: one that fails takes no other with it."""
    taken = set(_builtin())
    found: list[_Loaded] = []
    for entry in _entry_points(GROUP):
        plugin, error = _load(entry)
        kinds, indexes = dict[str, BackendKind](), dict[str, OpenIndex]()
        if error is None:
            try:
                kinds, indexes = _collect(plugin, taken=frozenset(taken))
            except Exception as failure:  # a plug-in may raise anything; `agentmem plugins` shows it
                error = _reason(failure)
        taken |= {*kinds, *indexes}
        found.append(_Loaded(entry.name, _version(entry), kinds, indexes, error))
    return tuple(found)


def _collect(plugin: object, *, taken: frozenset[str]) -> tuple[dict[str, BackendKind], dict[str, OpenIndex]]:
    kinds, indexes = dict[str, BackendKind](), dict[str, OpenIndex]()

    def check(scheme: str, api_version: int) -> None:
        if api_version != API_VERSION:
            older = "update the plug-in" if api_version < API_VERSION else "update agentmem"
            raise PluginError(f"it is written for interface {api_version}, this agentmem has {API_VERSION}: {older}")
        if scheme in taken or scheme in kinds or scheme in indexes:
            raise PluginError(f"the scheme {scheme!r} is taken by another backend or index")

    def register(scheme: str, open_backend: OpenBackend, *, abilities: Abilities, api_version: int) -> None:
        check(scheme, api_version)
        kinds[scheme] = BackendKind(scheme, open_backend, abilities)

    def register_index(scheme: str, open_index: OpenIndex, *, api_version: int) -> None:
        check(scheme, api_version)
        indexes[scheme] = open_index

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    manager.register(plugin)
    manager.check_pending()
    manager.hook.register_backends(register=register)
    manager.hook.register_indexes(register=register_index)
    return kinds, indexes


def _entry_points(group: str) -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points

    yield from sorted(entry_points(group=group), key=lambda entry: entry.name)


def _load(entry: EntryPoint) -> tuple[Any, str | None]:
    """What the entry point names, or None and the reason."""
    try:
        return entry.load(), None
    except Exception as failure:  # importing a plug-in may raise anything; the reason is shown
        return None, _reason(failure)


def _reason(failure: Exception) -> str:
    first = str(failure).strip().splitlines()[:1]
    text = first[0] if first else "no reason given"
    return text if isinstance(failure, AgentmemError) else f"{type(failure).__name__}: {text}"


def _version(entry: EntryPoint) -> str:
    return entry.dist.version if entry.dist is not None else "unknown"


def _abilities(kinds: dict[str, BackendKind]) -> dict[str, Abilities]:
    return {scheme: kind.abilities for scheme, kind in kinds.items()}


def _unknown_scheme(scheme: str) -> str:
    known = sorted({*_builtin(), *_installed()})
    failed = [f"{found.name} failed to load ({found.error})" for found in _loaded() if found.error]
    brings = "agentmem-postgres, which brings it" if scheme.startswith("postgres") else "the plug-in that brings it"
    hint = "; ".join(failed) or f"install {brings}"
    return f"no backend for {scheme!r}: known are {', '.join(known)}; {hint}"
