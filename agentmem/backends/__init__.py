"""Where records are kept. `open_backend` chooses by URL; a backend's module is imported when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from agentmem.errors import SettingsError
from agentmem.interfaces import Backend

__all__ = ["open_backend"]


def open_backend(
    store: str | Path,
    *,
    create: bool = True,
    busy_timeout: float = 30.0,
    allow_network: bool = False,
    clock: Callable[[], datetime] | None = None,
) -> Backend:
    """Open a store: a path or `sqlite:///path` (SQLite), or `memory:`.

    `create=False` refuses a file that isn't there. `busy_timeout` is in seconds; `allow_network` lets SQLite use a
    network file system, where its locks may fail. Raises a StoreError, or SettingsError for an unknown URL.
    """
    name = str(store)
    if name == "memory:":
        from agentmem.backends.memory import MemoryBackend

        return MemoryBackend(clock=clock)
    if "://" in name and not name.startswith("sqlite:///"):
        raise SettingsError(f"no built-in backend opens {name!r}; give a path, sqlite:///path or memory:")
    from agentmem.backends.sqlite import SqliteBackend

    path = Path(name.removeprefix("sqlite:///")).expanduser()
    return SqliteBackend(path, create=create, busy_timeout=busy_timeout, allow_network=allow_network, clock=clock)
