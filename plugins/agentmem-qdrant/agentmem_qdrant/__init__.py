"""agentmem's vectors in Qdrant, as an index beside the store: `qdrant://host:6333` or, in this process, `qdrant:///folder`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentmem.plugins import RegisterIndex, hookimpl

if TYPE_CHECKING:
    from agentmem.config import Settings
    from agentmem.interfaces import VectorIndex


@hookimpl
def register_indexes(register: RegisterIndex) -> None:
    register("qdrant", open_index, api_version=1)


def open_index(url: str, *, settings: Settings) -> VectorIndex:  # noqa: ARG001 - the URL says it all
    """The index at `url`, asked at the first need. Raises SettingsError for a URL that says what cannot be."""
    from agentmem_qdrant.index import QdrantIndex
    from agentmem_qdrant.options import read_url

    return QdrantIndex(read_url(url))
