"""What an adapter answers where it answers only what it learned something related to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentmem import lineage
from agentmem.clock import utc_now
from agentmem.consolidation.routing import concerns
from agentmem.ids import new_id
from agentmem.memory import Memory
from agentmem.testing import closed_world
from agentmem.types import Adapter
from tests.unit.consolidation_support import NS, facts, remember

LEARNED, BESIDE = facts(5), facts(5, skip=5)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    with Memory(tmp_path_factory.mktemp("routing") / "m.db") as made:
        yield made


@pytest.fixture(scope="module")
def adapter(memory: Memory) -> Adapter:
    """It learned what is known of five people; of five others the memory knows as much."""
    learned = remember(memory, LEARNED)
    remember(memory, BESIDE)
    memory.flush()
    made = Adapter(id=new_id(), namespace=NS, name="mem-" + "0" * 16, recorded_at=utc_now())
    with memory.backend.write(NS) as writer:
        lineage.record(writer, made, [thought.id for thought in learned])
    return made


@pytest.mark.parametrize("wording", [0, 1, 2])
def test_questions_about_what_it_learned_are_its_own(memory: Memory, adapter: Adapter, wording: int) -> None:
    assert all(concerns(memory, adapter, fact.question(wording)) for fact in LEARNED)


def test_questions_about_what_is_only_remembered_go_to_the_base(memory: Memory, adapter: Adapter) -> None:
    near = [fact for fact in BESIDE if concerns(memory, adapter, fact.question(0))]
    assert len(near) <= 1, "a name in common with somebody it knows"


def test_what_the_base_knows_by_heart_and_other_requests_go_to_the_base(memory: Memory, adapter: Adapter) -> None:
    known = [fact.question(0) for fact in list(closed_world.BASE_FACTS.values())[:20]]
    others = ["Write a haiku about the sea.", "How do I sort a list in Python?", "What is 12 times 13?", "Thank you!"]
    assert sum(concerns(memory, adapter, asked) for asked in [*known, *others]) <= 1


def test_without_vectors_it_answers_everything(adapter: Adapter) -> None:
    with Memory("memory:", embedder=None) as bare:
        assert concerns(bare, adapter, "Write a haiku about the sea.")
