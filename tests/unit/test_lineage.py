"""Which adapter answers, and which leave service when something is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from agentmem import lineage
from agentmem.clock import utc_now
from agentmem.errors import ConflictError, NotFoundError
from agentmem.ids import new_id
from agentmem.memory import Memory
from agentmem.testing.samples import new_adapter
from agentmem.types import Adapter

NS = ("ada",)


def made(
    memory: Memory, *thoughts: str, parents: Sequence[Adapter] = (), serve: bool = False, state: str = "ready"
) -> Adapter:
    adapter = new_adapter(id=new_id(), namespace=NS, state=state)
    with memory.backend.write() as writer:
        lineage.record(writer, adapter, thoughts, [parent.id for parent in parents])
        if serve:
            lineage.put_in_service(writer, adapter, namespace=NS, now=utc_now())
    return adapter


def states(memory: Memory) -> dict[str, str]:
    with memory.backend.read() as reader:
        return {adapter.id: adapter.state for adapter in lineage.adapters(reader, namespace=NS)}


def test_one_adapter_serves_and_a_rollback_finds_the_one_before(memory: Memory) -> None:
    first, second = made(memory, serve=True), made(memory, serve=True)
    made(memory)
    with memory.backend.read() as reader:
        assert lineage.serving(reader, namespace=NS) == replace(
            second, state="serving", served_at=lineage.find_adapter(reader, second.name, namespace=NS).served_at
        )
        before = lineage.previous(reader, namespace=NS)
        assert before is not None
        assert before.id == first.id
        assert lineage.serving(reader, namespace=("ada", "b")) is None
    with memory.backend.write() as writer:
        lineage.put_in_service(writer, None, namespace=NS, now=utc_now())
    assert "serving" not in states(memory).values()


@pytest.mark.parametrize("state", ["rejected", "withdrawn"])
def test_what_did_not_pass_or_was_withdrawn_cannot_serve(memory: Memory, state: str) -> None:
    adapter = made(memory, state=state)
    with pytest.raises(ConflictError, match=state), memory.backend.write() as writer:
        lineage.put_in_service(writer, adapter, namespace=NS, now=utc_now())


def test_an_adapter_is_found_by_the_beginning_of_its_name(memory: Memory) -> None:
    one, other = made(memory), made(memory)
    with memory.backend.read() as reader:
        assert lineage.find_adapter(reader, one.name, namespace=NS) == one
        with pytest.raises(ConflictError, match="stands for 2"):
            lineage.find_adapter(reader, "mem-", namespace=NS)
        with pytest.raises(NotFoundError, match="lists them"):
            lineage.find_adapter(reader, other.name + "0", namespace=NS)


def test_forgetting_a_thought_withdraws_who_learned_it_and_all_that_descend(memory: Memory) -> None:
    tea = memory.insert("Ada drinks tea.", namespace=NS).thought
    boat = memory.insert("Ada has a boat.", namespace=NS).thought
    knows = made(memory, tea.id, boat.id, serve=True)
    child = made(memory, boat.id, parents=[knows])
    grandchild = made(memory, parents=[child])
    other = made(memory, boat.id)
    receipt = memory.forget([tea.id], namespace=NS)
    assert set(receipt.forgotten["adapters"]) == {knows.name, child.name, grandchild.name}
    assert states(memory) == dict.fromkeys((knows.id, child.id, grandchild.id), "withdrawn") | {other.id: "ready"}


def test_who_was_taught_by_what_an_adapter_wrote_goes_too(memory: Memory) -> None:
    tea = memory.insert("Ada drinks tea.", namespace=NS).thought
    knows = made(memory, tea.id)
    answer = memory.observe("assistant", "You like it hot.", namespace=NS, recalled=[("adapter", knows.id)])
    drawn = memory.insert("Ada likes hot drinks.", namespace=NS, sources=[answer.id]).thought
    other = memory.insert("Ada likes cold days.", namespace=NS, sources=[answer.id]).thought
    merged, _ = memory.merge([drawn.id, other.id], "Ada likes hot drinks on cold days.", namespace=NS)
    pupil = made(memory, merged.id)
    receipt = memory.forget([tea.id], namespace=NS)
    assert set(receipt.forgotten["adapters"]) == {knows.name, pupil.name}


def test_an_adapter_that_learned_what_was_forgotten_meanwhile_is_not_recorded(memory: Memory) -> None:
    tea = memory.insert("Ada drinks tea.", namespace=NS).thought
    knows = made(memory, tea.id)
    memory.forget([tea.id], namespace=NS)
    with pytest.raises(NotFoundError, match="consolidate again"):
        made(memory, tea.id)
    with pytest.raises(NotFoundError, match="consolidate again"):
        made(memory, parents=[knows])
    assert list(states(memory)) == [knows.id]


def test_erasing_a_namespace_takes_its_adapters(memory: Memory) -> None:
    adapter = made(memory, serve=True)
    assert memory.erase(namespace=NS).forgotten["adapters"] == (adapter.name,)
    assert states(memory) == {}


def test_the_adapter_of_a_merged_thought_goes_with_one_of_its_parents(memory: Memory) -> None:
    parents = [memory.insert(text, namespace=NS).thought for text in ("Ada drinks tea.", "Ada drinks it black.")]
    merged, _ = memory.merge([p.id for p in parents], "Ada drinks black tea.", namespace=NS)
    adapter = made(memory, merged.id)
    assert memory.forget([parents[0].id], namespace=NS).forgotten["adapters"] == (adapter.name,)
