"""What the page of weights shows and does: adapters, how each was made and judged, which one answers. No widgets here.

The functions are those of `agentmem adapters`. They wait for the store, and some for the model server, so they run in
worker threads; `agentmem.consolidation` is imported at the first need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentmem import lineage
from agentmem.errors import InputError, ModelError
from agentmem.types import Adapter, Thought
from agentmem_tui.conversation import Conversation

if TYPE_CHECKING:
    from agentmem.consolidation.gates import Judgement
    from agentmem.consolidation.watching import Progress
    from agentmem.findings import Finding

IN_WORDS = {
    "serving": "it answers in this namespace",
    "ready": "it passed its gates and may answer",
    "rejected": "it did not pass its gates and never answers",
    "withdrawn": "it learned something that was forgotten and never comes back",
}
"""What the state of an adapter means."""


@dataclass(frozen=True, slots=True)
class About:
    """An adapter with what it was made from, how it was judged (None: it is not recorded), and those of the thoughts
    that it learned that are still there."""

    adapter: Adapter
    made_from: tuple[str, ...]
    judgement: Judgement | None
    thoughts: tuple[Thought, ...]


def adapters(talk: Conversation) -> list[Adapter]:
    """Those of the namespace, the newest first."""
    with talk.memory.backend.read() as reader:
        return lineage.adapters(reader, namespace=talk.namespace)[::-1]


def about(talk: Conversation, adapter: Adapter) -> About:
    from agentmem.consolidation.gates import judgement_of

    told = adapter.metadata.get("judgement")
    with talk.memory.backend.read() as reader:
        parents = lineage.made_from(reader, adapter)
        thoughts: list[Thought] = reader.get("thought", lineage.learned(reader, adapter), namespace=talk.namespace)
    names = tuple(parent.name for parent in parents)
    return About(adapter, names, judgement_of(told) if told else None, tuple(thoughts))


def before(talk: Conversation) -> Adapter:
    """The adapter that a rollback goes back to. Raises InputError where there is none."""
    with talk.memory.backend.read() as reader:
        found = lineage.previous(reader, namespace=talk.namespace)
    if found is None:
        raise InputError(
            f"there is no adapter to go back to: {talk.key('weights.base')} has the base model alone answer"
        )
    return found


def answer_with(talk: Conversation, adapter: Adapter | None) -> None:
    """Have this adapter answer from now on, None: the base model alone. Raises ModelError where it cannot."""
    from agentmem.consolidation.service import switch
    from agentmem.models.select import find_place

    switch(talk.memory.backend, talk.settings, find_place(talk.settings), adapter, talk.namespace)


def progress(talk: Conversation) -> Progress | None:
    """How far the cycle has come that is under way, or was stopped."""
    from agentmem.consolidation.adapters import root_of
    from agentmem.consolidation.watching import progress_of

    return progress_of(root_of(talk.settings, talk.namespace))


def traces(talk: Conversation, thought: str) -> list[Finding]:
    """Whether something is left of a thought that was forgotten: in store, records, folders, and on the server."""
    from agentmem.consolidation import verifying
    from agentmem.consolidation.adapters import root_of
    from agentmem.models.select import find_place

    root, place = root_of(talk.settings, talk.namespace), find_place(talk.settings)
    return list(verifying.traces(talk.memory.backend, root, thought, namespace=talk.namespace, place=place))


def missing() -> str | None:
    """What must be installed before an adapter can be made here; None where nothing is missing."""
    from agentmem.consolidation.cycle import require_extra

    try:
        require_extra()
    except InputError as error:
        return str(error)
    return None


def on_server(talk: Conversation, serving: Adapter | None) -> str:
    """What the model server has of the adapter that is to answer, in one line."""
    from agentmem.consolidation.hotload import loaded
    from agentmem.models.select import find_place

    try:
        place = find_place(talk.settings)
        held = {} if place is None else loaded(place)
    except ModelError as error:
        return f"No answer from the model server: {error}"
    if place is None:
        return "No model server answers on this machine: adapters wait for one."
    if serving is None:
        return f"The base model alone answers at {place.address}."
    if serving.metadata.get("model") not in (None, place.name):
        return f"{place.address} serves {place.name}, which {serving.name} was not tried on: the base model answers."
    if serving.name not in held:
        return f"{place.address} has not loaded it yet: the next question has it loaded."
    some = f", at least one of the {len(place.replicas)} servers there" if place.replicas else ""
    return f"{place.address} has it loaded{some}."
