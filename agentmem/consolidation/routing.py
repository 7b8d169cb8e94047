"""Whether a question goes to the adapter or to the base model, by how near it is to what the adapter learned.

As WISE does (Wang et al. 2024, "WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language
Models", §2.3.1), what was not learned is answered by weights that nothing changed. There the router is the activation
of the layer that was edited; a server shows none, so here it is the cosine of the question and the thoughts learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentmem import lineage

if TYPE_CHECKING:
    from agentmem.memory import Memory
    from agentmem.types import Adapter

NEAR = 0.55
"""With the bundled embedder, questions about a hundred facts of the closed world, in two wordings each, had 0.56 to
0.88 with the nearest thought; a hundred about other people 0.20 to 0.62, three of them above; requests of any other
kind 0.54 at most."""
_LOOKED_AT = 8


def concerns(memory: Memory, adapter: Adapter, question: str) -> bool:
    """Whether something that the adapter learned is near the question. True where vectors cannot say, so that an
    adapter answers as it would without routing."""
    found = memory.recall(question, namespace=adapter.namespace, k=_LOOKED_AT, kinds=("thought",), wait=0)
    if not found.dense:
        return True
    with memory.backend.read() as reader:
        learned = set(lineage.learned(reader, adapter))
    return any(item.id in learned and item.measures.get("cosine", 0.0) >= NEAR for item in found.items)
