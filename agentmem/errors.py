"""Every error agentmem raises on purpose; foreign errors are mapped to these at the edge where they arise.

    AgentmemError
    ├── InputError              what the caller gave cannot be used
    │   ├── NamespaceError      missing or malformed namespace
    │   ├── FormatError         a conversation or export file is malformed (file, line, what was expected)
    │   ├── SecretError         a secret was about to become a thought
    │   ├── NotFoundError       no such record in this namespace
    │   └── ConflictError       the record is not in a state that allows this
    ├── SettingsError           a setting is unknown or impossible
    ├── StoreError              the database cannot be used
    │   ├── StoreMissingError   no database there
    │   ├── StoreForeignError   not an agentmem database, or damaged
    │   ├── StoreVersionError   written by a newer agentmem, or SQLite too old
    │   ├── StoreBusyError      another process holds the write lock
    │   ├── StoreReadOnlyError  no permission to write
    │   ├── StoreFullError      no space left on the device
    │   ├── StoreClosedError    closed, or used after a fork
    │   ├── SnapshotError       what was saved of an index is damaged or does not fit
    │   └── VectorIndexError    a vector index beside the store cannot be reached or does not fit
    ├── EmbedderError           the embedding model cannot be loaded or does not fit
    │   └── EmbedderMismatchError  vectors in the store came from another embedder
    ├── ModelError              the language model failed
    └── PluginError             a plug-in failed to load or does not fit this version

A message says what happened, to what, and what to do next, in one line.
"""

from __future__ import annotations


class AgentmemError(Exception):
    """Base of all errors raised by agentmem."""

    exit_code = 1


class InputError(AgentmemError):
    exit_code = 2


class NamespaceError(InputError):
    pass


class FormatError(InputError):
    pass


class SecretError(InputError):
    pass


class NotFoundError(InputError):
    pass


class ConflictError(InputError):
    pass


class SettingsError(AgentmemError):
    exit_code = 2


class StoreError(AgentmemError):
    exit_code = 3


class StoreMissingError(StoreError):
    pass


class StoreForeignError(StoreError):
    pass


class StoreVersionError(StoreError):
    pass


class StoreBusyError(StoreError):
    pass


class StoreReadOnlyError(StoreError):
    pass


class StoreFullError(StoreError):
    pass


class StoreClosedError(StoreError):
    pass


class SnapshotError(StoreError):
    pass


class VectorIndexError(StoreError):
    pass


class EmbedderError(AgentmemError):
    exit_code = 4


class EmbedderMismatchError(EmbedderError):
    pass


class ModelError(AgentmemError):
    exit_code = 5


class PluginError(AgentmemError):
    exit_code = 6


def first_line(error: Exception) -> str:
    """What a foreign error says in its first line; its type where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
