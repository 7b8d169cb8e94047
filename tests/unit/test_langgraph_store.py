"""The example's adapter to LangGraph's BaseStore answers as LangGraph's own store does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentmem.memory import Memory

pytest.importorskip("langgraph.store.base")

from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore


@pytest.fixture(scope="module")
def example(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("langgraph_store", repository / "examples" / "langgraph_store.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(example: ModuleType, memory: Memory) -> BaseStore:
    made: BaseStore = example.MemoryStore(memory)
    return made


@pytest.fixture
def both(store: BaseStore) -> list[BaseStore]:
    return [store, InMemoryStore()]


def fill(store: BaseStore) -> None:
    store.put(("users", "ada"), "boat", {"text": "The boat is called Pequod", "size": 3})
    store.put(("users", "ada"), "cat", {"text": "The cat is called Miso", "size": 1, "kind": "pet"})
    store.put(("users", "bob"), "boat", {"text": "The boat is called Beagle", "size": 5})
    store.put(("users", "bob", "old"), "bike", {"text": "A red bike", "size": 2})
    store.put(("rooms",), "one", {"text": "The first room"})
    store.put(("users", "ada"), "cat", {"text": "The cat is called Tiger", "size": 1, "kind": "pet"})
    store.delete(("rooms",), "one")


def plain(found: Any) -> Any:
    if isinstance(found, list):
        return sorted((plain(one) for one in found), key=repr)
    return (found.namespace, found.key, found.value) if hasattr(found, "key") else found


def test_it_answers_as_langgraphs_own(both: list[BaseStore]) -> None:
    seen = []
    for store in both:
        fill(store)
        seen.append(
            [
                plain(answer)
                for answer in (
                    store.get(("users", "ada"), "cat"),
                    store.get(("users", "ada"), "dog"),
                    store.get(("rooms",), "one"),
                    store.get(("nowhere",), "one"),
                    store.search(("users",)),
                    store.search(("users", "ada")),
                    store.search(("users",), filter={"kind": "pet"}),
                    store.search(("users",), filter={"size": {"$gte": 2, "$lt": 5}}),
                    store.search(("users",), filter={"size": {"$ne": 1}}),
                    store.search(("user",)),
                    store.list_namespaces(prefix=("users",)),
                    store.list_namespaces(prefix=("users", "*"), suffix=("old",)),
                    store.list_namespaces(prefix=("users",), max_depth=2),
                )
            ]
        )
    assert seen[0] == seen[1]


def test_search_is_by_words_across_namespaces(store: BaseStore) -> None:
    fill(store)
    best = store.search(("users",), query="Which boat is called Beagle?")[0]
    assert (best.namespace, best.key) == (("users", "bob"), "boat")
    assert best.score is not None
    assert len(store.search(("users",), query="boat", limit=1)) == 1
    assert store.search(("users",), query="boat", limit=9, offset=1)


def test_a_new_value_keeps_the_date_of_creation_and_the_history(store: BaseStore, memory: Memory) -> None:
    store.put(("n",), "boat", {"name": "Pequod"})
    first = store.get(("n",), "boat")
    store.put(("n",), "boat", {"name": "PEQUOD"})
    second = store.get(("n",), "boat")
    assert first is not None
    assert second is not None
    assert second.value == {"name": "PEQUOD"}
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert len(memory.thoughts(namespace=("n",), state="retracted")) == 1


def test_the_same_again_changes_nothing(store: BaseStore) -> None:
    store.put(("n",), "boat", {"name": "Pequod"})
    first = store.get(("n",), "boat")
    store.put(("n",), "boat", {"name": "Pequod"})
    assert store.get(("n",), "boat") == first


def test_keys_that_differ_in_case_are_two(store: BaseStore) -> None:
    store.put(("n",), "Boat", {"name": "Pequod"})
    store.put(("n",), "boat", {"name": "Pequod"})
    assert {item.key for item in store.search(("n",))} == {"Boat", "boat"}
    store.delete(("n",), "Boat")
    assert {item.key for item in store.search(("n",))} == {"boat"}


def test_delete_erases_the_history_too(store: BaseStore, memory: Memory) -> None:
    store.put(("n",), "boat", {"name": "Pequod"})
    store.put(("n",), "boat", {"name": "Beagle"})
    store.delete(("n",), "boat")
    store.delete(("n",), "boat")
    assert memory.thoughts(namespace=("n",), state=None) == []


async def test_async_forms(store: BaseStore) -> None:
    await store.aput(("n",), "boat", {"name": "Pequod"})
    found = await store.aget(("n",), "boat")
    assert found is not None
    assert found.value == {"name": "Pequod"}
