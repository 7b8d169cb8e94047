"""LangGraph's long-term store on agentmem: what a graph puts under a key is a thought, searchable, with its history.

    store = MemoryStore(Memory("memory.db"))
    graph = builder.compile(store=store)

`put` on a key that is taken retracts the former value, which stays in history; `delete` erases it for good. Search by
words and meaning comes from `recall`. What a thought cannot be: a value that holds a secret is refused (SecretError).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from agentmem import Memory
from agentmem.types import Namespace, Thought

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a is not None and float(a) > float(b),
    "$gte": lambda a, b: a is not None and float(a) >= float(b),
    "$lt": lambda a, b: a is not None and float(a) < float(b),
    "$lte": lambda a, b: a is not None and float(a) <= float(b),
}


class MemoryStore(BaseStore):
    """A LangGraph store whose items are live thoughts; key and value are in their metadata."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return [self._do(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await asyncio.to_thread(self.batch, list(ops))

    def _do(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            found = self._find(op.namespace, op.key)
            return _item(found) if found else None
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._list(op)
        self._put(op)
        return None

    def _items(self, namespace: Namespace) -> list[Thought]:
        return [thought for thought in self.memory.thoughts(namespace=namespace) if "key" in thought.metadata]

    def _find(self, namespace: Namespace, key: str) -> Thought | None:
        return next((thought for thought in self._items(namespace) if thought.metadata["key"] == key), None)

    def _put(self, op: PutOp) -> None:
        former = self._find(op.namespace, op.key)
        if op.value is None:
            every = self.memory.thoughts(namespace=op.namespace, state=None)
            gone = [thought.id for thought in every if thought.metadata.get("key") == op.key]
            # An item of similar text under another key is not meant.
            self.memory.forget(gone, namespace=op.namespace, repeats=False, echoes=False)
        elif former is None or former.metadata["value"] != op.value:
            since = _times(former)["created_at"].isoformat() if former else None
            if former:
                self.memory.retract(former.id, namespace=op.namespace)
            self._insert(op.namespace, op.key, dict(op.value), since)

    def _insert(self, namespace: Namespace, key: str, value: dict[str, Any], created_at: str | None) -> None:
        text = f"{key}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}"
        metadata = {"key": key, "value": value, "created_at": created_at}
        done = self.memory.insert(text, namespace=namespace, origin="code", metadata=metadata)
        if done.thought.metadata != metadata:  # equal but for case or spaces: to a memory the same, to a store not
            mark = hashlib.sha256(key.encode()).hexdigest()[:12]
            self.memory.insert(f"{text} ({mark})", namespace=namespace, origin="code", metadata=metadata)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        scored = self._recalled(op) if op.query else self._all(op.namespace_prefix)
        met = [(t, score) for t, score in scored if _meets(t.metadata["value"], op.filter)]
        return [_found(t, score) for t, score in met[op.offset : op.offset + op.limit]]

    def _all(self, root: Namespace) -> list[tuple[Thought, float | None]]:
        return [(thought, None) for ns in self.memory.namespaces(root) for thought in self._items(ns)]

    def _recalled(self, op: SearchOp) -> list[tuple[Thought, float | None]]:
        by_id = {thought.id: thought for thought, _ in self._all(op.namespace_prefix)}
        scored: list[tuple[Thought, float | None]] = []
        for ns in {thought.namespace for thought in by_id.values()}:
            found = self.memory.recall(op.query or "", namespace=ns, kinds=("thought",), k=len(by_id))
            scored += [(by_id[item.id], item.score) for item in found.items if item.id in by_id]
        return sorted(scored, key=lambda pair: -(pair[1] or 0.0))

    def _list(self, op: ListNamespacesOp) -> list[Namespace]:
        holding = [ns for ns in self.memory.namespaces() if self._items(ns)]
        met = [ns for ns in holding if all(_matches(ns, condition) for condition in op.match_conditions or ())]
        cut = sorted({ns[: op.max_depth] for ns in met})
        return cut[op.offset : op.offset + op.limit]


def _times(thought: Thought) -> dict[str, datetime]:
    created = thought.metadata["created_at"]
    return {
        "created_at": datetime.fromisoformat(created) if created else thought.recorded_at,
        "updated_at": thought.recorded_at,
    }


def _item(thought: Thought) -> Item:
    key, value = thought.metadata["key"], thought.metadata["value"]
    return Item(value=value, key=key, namespace=thought.namespace, **_times(thought))


def _found(thought: Thought, score: float | None) -> SearchItem:
    key, value = thought.metadata["key"], thought.metadata["value"]
    return SearchItem(thought.namespace, key, value, score=score, **_times(thought))


def _meets(value: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    return all(_compares(value.get(name), condition) for name, condition in (wanted or {}).items())


def _compares(have: Any, want: Any) -> bool:
    if isinstance(want, dict) and any(name.startswith("$") for name in want):
        return all(_COMPARE[name](have, bound) for name, bound in want.items())
    return bool(have == want)


def _matches(namespace: Namespace, condition: MatchCondition) -> bool:
    path = condition.path
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return len(part) == len(path) and all(want in ("*", have) for have, want in zip(part, path, strict=True))
