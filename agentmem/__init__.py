"""agentmem: a memory for LLM agents that lasts, explains itself, and forgets for good.

    from agentmem import Agent, Memory

These names are the public ones. What needs heavy packages is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentmem.errors import (
    AgentmemError,
    ConflictError,
    EmbedderError,
    EmbedderMismatchError,
    FormatError,
    InputError,
    ModelError,
    NamespaceError,
    NotFoundError,
    PluginError,
    SecretError,
    SettingsError,
    SnapshotError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreFullError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
    VectorIndexError,
)
from agentmem.types import (
    Chunk,
    ForgetPlan,
    History,
    Inserted,
    NewTurn,
    Observed,
    Operation,
    RecallItem,
    Receipt,
    Recollection,
    SessionInfo,
    Signal,
    Stats,
    Thought,
    Turn,
)

if TYPE_CHECKING:
    from agentmem.agent import Agent, Answer
    from agentmem.config import Settings, load_settings
    from agentmem.interfaces import Backend, Embedder
    from agentmem.memory import Memory

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "AgentmemError",
    "Answer",
    "Backend",
    "Chunk",
    "ConflictError",
    "Embedder",
    "EmbedderError",
    "EmbedderMismatchError",
    "ForgetPlan",
    "FormatError",
    "History",
    "InputError",
    "Inserted",
    "Memory",
    "ModelError",
    "NamespaceError",
    "NewTurn",
    "NotFoundError",
    "Observed",
    "Operation",
    "PluginError",
    "RecallItem",
    "Receipt",
    "Recollection",
    "SecretError",
    "SessionInfo",
    "Settings",
    "SettingsError",
    "Signal",
    "SnapshotError",
    "Stats",
    "StoreBusyError",
    "StoreClosedError",
    "StoreError",
    "StoreForeignError",
    "StoreFullError",
    "StoreMissingError",
    "StoreReadOnlyError",
    "StoreVersionError",
    "Thought",
    "Turn",
    "VectorIndexError",
    "load_settings",
]

_LAZY = {
    "Agent": "agentmem.agent",
    "Answer": "agentmem.agent",
    "Backend": "agentmem.interfaces",
    "Embedder": "agentmem.interfaces",
    "Memory": "agentmem.memory",
    "Settings": "agentmem.config",
    "load_settings": "agentmem.config",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'agentmem' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
