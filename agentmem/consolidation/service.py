"""Which adapter answers in a namespace, loaded where it has to be; and what is left of one that was withdrawn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentmem import lineage
from agentmem.clock import utc_now
from agentmem.consolidation import adapters, hotload
from agentmem.errors import AgentmemError, ModelError
from agentmem.models.select import Place, find_place, place_of
from agentmem.types import Adapter, Namespace

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from agentmem.config import Settings
    from agentmem.interfaces import Backend
    from agentmem.memory import Memory

_log = logging.getLogger(__name__)


def service_of(memory: Memory, model: BaseChatModel, namespace: Namespace) -> Service | None:
    """The service for a client's server; None where adapters cannot be had there at all."""
    place = place_of(model, memory.settings)
    return None if place is None else Service(memory.backend, memory.settings, place, namespace)


class Service:
    """The adapter that answers on one server, in one namespace. Asked before each request: what another process put
    into service, or withdrew, counts from the next one on."""

    def __init__(self, backend: Backend, settings: Settings, place: Place, namespace: Namespace) -> None:
        self._backend = backend
        self._place = place
        self._namespace = namespace
        self._root = adapters.root_of(settings, namespace)
        self._ready: str | None = None
        self._unusable: set[str] = set()

    def current(self) -> Adapter | None:
        """The adapter to ask, None for the base model alone: also where an adapter should serve and cannot, since
        what it learned is remembered as text too."""
        with self._backend.read() as reader:
            serving = lineage.serving(reader, namespace=self._namespace)
        if serving is None or serving.name in self._unusable or not self._of_this_base(serving):
            return None
        if serving.name != self._ready and not self._load(serving):
            return None
        return serving

    def _of_this_base(self, adapter: Adapter) -> bool:
        """An adapter that was tried on a server is of the model that has this name there."""
        return adapter.metadata.get("model") in (None, self._place.name)

    def _load(self, adapter: Adapter) -> bool:
        try:
            adapters.check(adapters.folder_of(self._root, adapter.name))
            hotload.load(self._place, self._root, adapter.name)
        except AgentmemError as error:
            _log.warning("the adapter cannot answer, the base model does: %s", error)
            self._unusable.add(adapter.name)
            return False
        self._ready = adapter.name
        return True

    def lost(self) -> None:
        """The server has no such adapter any more (it was restarted): load it again before the next request."""
        self._ready = None


def switch(
    backend: Backend, settings: Settings, place: Place | None, adapter: Adapter | None, namespace: Namespace
) -> None:
    """Have this adapter answer from now on, None: the base alone. Loaded first, then put into service, then the one
    before is unloaded: at each moment something that was judged answers."""
    root = adapters.root_of(settings, namespace)
    if adapter is not None:
        adapters.check(adapters.folder_of(root, adapter.name))
        if place is not None:
            hotload.load(place, root, adapter.name)
    with backend.write(namespace) as writer:
        before = lineage.serving(writer, namespace=namespace)
        lineage.put_in_service(writer, adapter, namespace=namespace, now=utc_now())
    if place is not None and before is not None and (adapter is None or before.name != adapter.name):
        try:
            hotload.unload(place, root, before.name)
        except ModelError as error:
            _log.warning("%s", error)


def retire(settings: Settings, names: Sequence[str], namespace: Namespace) -> list[str]:
    """Remove withdrawn adapters' folders, and have the server let go of them; returns where one may still be.

    They are out of service already: the store says so, and every request asks it. What cannot be removed now is tried
    again by `agentmem adapters` and by the next cycle.
    """
    root = adapters.root_of(settings, namespace)
    left = [str(path) for path in adapters.remove_all(root, names)]
    place = _place(settings) if names else None
    if place is None:
        return left
    for name in names:
        try:
            hotload.unload(place, root, name)
        except ModelError as error:
            left.append(str(error))
    return left


def _place(settings: Settings) -> Place | None:
    """The server that is named or is found on this machine; None where none answers."""
    try:
        return find_place(settings)
    except ModelError:
        return None
