"""Filling an empty cache: from snapshots as far as they go, from the records for what they do not cover."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentmem.columns import NEVER, ROLES, STATES, THOUGHT, TURN, role_of
from agentmem.errors import SnapshotError
from agentmem.indexes.graphs import read_dump
from agentmem.indexes.rows import NONE, Docs
from agentmem.interfaces import Reader
from agentmem.snapshots import Run, decode, decode_graph, graph_origin, origin
from agentmem.types import Kind

if TYPE_CHECKING:
    from agentmem.cache import NamespaceCache

_KINDS: tuple[tuple[Kind, int], ...] = (("turn", TURN), ("thought", THOUGHT))
_TURN, _THOUGHT = ("id", "status", "occurred_at"), ("id", "state", "valid_from", "valid_to", "retracted_at", "trusted")
_ROLES = np.array([ROLES.index(role_of(trusted)) for trusted in (False, True)], np.int8)
_GROUP = 8192
"""Records to have in RAM at once."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Rows:
    """All turns, then all thoughts of a namespace: ids, and the fields that may change, shape (rows,)."""

    ids: list[str]
    turns: int
    changeable: dict[str, NDArray[Any]]


def fill(cache: NamespaceCache, reader: Reader) -> list[int]:
    """Bring all turns and thoughts into an empty cache; return the snapshots that are of no use."""
    snapshots = reader.snapshots("text", namespace=cache.namespace)
    first = next(snapshots, None)
    if first is None:
        for kind, _ in _KINDS:
            cache.add_all(reader.select(kind, namespace=cache.namespace))
        return []
    filling = _Filling(cache, reader)
    for snapshot in chain([first], snapshots):
        filling.take(snapshot.number, snapshot.data)
    filling.add_the_others()
    return filling.useless


def link(cache: NamespaceCache, reader: Reader) -> list[int]:
    """Bring saved graphs into the index of a cache that holds all vectors; return the snapshots that are of no use."""
    useless: list[int] = []
    expected = graph_origin(reader, cache.namespace)
    for snapshot in reader.snapshots("vectors", namespace=cache.namespace):
        try:
            ids, dumped = decode_graph(snapshot.data, expected)
            dump = replace(read_dump(dumped), docs=cache.ids.numbers(ids))
            cache.vectors.load(dump)
            cache.kept_graphs[first_of(dump.docs)] = dump.docs
        except SnapshotError as error:
            _log.info("snapshot %d is made anew: %s", snapshot.number, error)
            useless.append(snapshot.number)
    return useless


def first_of(docs: Docs) -> int:
    """The first document of a graph's rows: it names the graph, however it grows, until it is forgotten."""
    return int(docs[docs != NONE][0])


class _Filling:
    def __init__(self, cache: NamespaceCache, reader: Reader) -> None:
        self._cache, self._reader = cache, reader
        self._origin = origin(reader, cache.namespace)
        self._rows = _read(reader, cache)
        self._next = {TURN: 0, THOUGHT: self._rows.turns}
        self._taken = np.zeros(len(self._rows.ids), np.bool_)
        self.useless: list[int] = []

    def take(self, number: int, data: bytes) -> None:
        """Bring in what a snapshot holds, if it can be used."""
        try:
            run = decode(data, self._origin)
            rows = self._placed(run)
        except SnapshotError as error:
            _log.info("snapshot %d is made anew: %s", number, error)
            self.useless.append(number)
            return
        self._taken[rows] = True
        changeable = {name: column[rows] for name, column in self._rows.changeable.items()}
        turns = run.fields["kind"] == TURN
        changeable["state"][run.fields["quotes"] & turns] = STATES.index("quoting")
        changeable["role"][turns] = run.fields["role"][turns]
        self._cache.attach(run, changeable)

    def _placed(self, run: Run) -> NDArray[np.intp]:
        """The rows of a run's documents. Raises SnapshotError where one is not there, or came already."""
        rows = np.empty(len(run.ids), np.intp)
        for _, number in _KINDS:
            own = np.flatnonzero(run.fields["kind"] == number)
            rows[own] = self._found(number, run.ids if len(own) == len(rows) else [run.ids[at] for at in own.tolist()])
        kinds = np.where(rows < self._rows.turns, TURN, THOUGHT)
        if (rows < 0).any() or self._taken[rows].any() or (kinds != run.fields["kind"]).any():
            raise SnapshotError("it covers records that are not there, or that another covers")
        return rows

    def _found(self, kind: int, ids: list[str]) -> NDArray[np.intp]:
        """The rows of ids, -1 for those that have none. Mostly they follow each other, and the last of their kind."""
        start, stop = self._next[kind], self._next[kind] + len(ids)
        if self._rows.ids[start:stop] == ids:
            found = np.arange(start, stop)
        else:
            found = np.array([self._row_of.get(id_, -1) for id_ in ids], dtype=np.intp)
        self._next[kind] = int(found[-1]) + 1 if len(found) else start
        return found

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {id_: row for row, id_ in enumerate(self._rows.ids)}

    def add_the_others(self) -> None:
        """Bring in the records that no snapshot covers."""
        left = np.flatnonzero(~self._taken)
        for kind, number in _KINDS:
            wanted = left[left < self._rows.turns] if number == TURN else left[left >= self._rows.turns]
            ids = [self._rows.ids[row] for row in wanted.tolist()]
            for at in range(0, len(ids), _GROUP):
                self._cache.add_all(self._reader.get(kind, ids[at : at + _GROUP], namespace=self._cache.namespace))


def _read(reader: Reader, cache: NamespaceCache) -> _Rows:
    turns = reader.columns("turn", _TURN, namespace=cache.namespace)
    thoughts = reader.columns("thought", _THOUGHT, namespace=cache.namespace)
    never = np.full(len(turns["id"]), NEVER)
    return _Rows(
        ids=turns["id"] + thoughts["id"],
        turns=len(turns["id"]),
        changeable={
            "state": np.concatenate([_states(turns["status"]), _states(thoughts["state"])]),
            "role": np.concatenate([np.zeros(len(never), np.int8), _ROLES[thoughts["trusted"].astype(np.int8)]]),
            "at": np.concatenate([turns["occurred_at"], thoughts["valid_from"]]),
            "until": np.concatenate([never, _or_never(thoughts["valid_to"])]),
            "gone": np.concatenate([never, _or_never(thoughts["retracted_at"])]),
        },
    )


def _or_never(times: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(times), NEVER, times)


def _states(names: Sequence[str]) -> NDArray[np.int8]:
    numbers = {name: number for number, name in enumerate(STATES)}
    return np.fromiter(map(numbers.__getitem__, names), np.int8, len(names))
