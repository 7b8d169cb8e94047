"""agentmem's memory in a PostgreSQL database: `postgresql://user@host/database?schema=name`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentmem.plugins import RegisterBackend, hookimpl

if TYPE_CHECKING:
    from agentmem.config import Settings
    from agentmem.interfaces import Backend, Clock

__all__ = ["open_backend", "register_backends"]

API_VERSION = 1
"""The version of agentmem.interfaces that this package is written to."""


@hookimpl
def register_backends(register: RegisterBackend) -> None:
    from agentmem_postgres.backend import ABILITIES

    for scheme in ("postgresql", "postgres"):
        register(scheme, open_backend, abilities=ABILITIES, api_version=API_VERSION)


def open_backend(url: str, *, create: bool, settings: Settings, clock: Clock | None) -> Backend:
    """The store at `url`. Raises StoreMissingError where there is none and `create` is False, and other StoreErrors."""
    from agentmem_postgres.backend import PostgresBackend

    return PostgresBackend(url, create=create, busy_timeout=settings.busy_timeout_seconds, clock=clock)
