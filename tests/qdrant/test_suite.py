"""The suite of vector indexes finds what it is for: each that is broken on purpose fails the test about its fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentmem.interfaces import Matrix, VectorIndex
from agentmem.testing.conformance_index import VectorIndexConformance
from agentmem_qdrant import index as module
from agentmem_qdrant.index import QdrantIndex
from agentmem_qdrant.options import read_url


class LeaksASpace(QdrantIndex):
    def _among(self, key: str, space: str) -> Any:  # noqa: ARG002 - that is the fault
        return self._models.Filter(must_not=[self._models.IsEmptyCondition(is_empty={"key": "id"})])


class ForgetsNothing(QdrantIndex):
    def remove(self, ids: Sequence[str], *, space: str) -> None:
        """The fault."""


class KeepsTheMark(QdrantIndex):
    def drop(self, *, space: str) -> None:
        kept = self.mark(space=space)
        super().drop(space=space)
        if kept is not None:
            self.set_mark(kept, space=space)


class DropsAll(QdrantIndex):
    def drop(self, *, space: str) -> None:  # noqa: ARG002 - that is the fault
        self._client().delete_collection(self._options.collection)


class FindsTheFarthest(QdrantIndex):
    def search(self, vector: Matrix, k: int, *, space: str) -> list[str]:
        return super().search(np.negative(vector), k, space=space)


class ListsOnePage(QdrantIndex):
    def ids(self, *, space: str) -> Iterator[str]:
        return islice(super().ids(space=space), module._PAGE)


class GivesTooFew(QdrantIndex):
    def search(self, vector: Matrix, k: int, *, space: str) -> list[str]:
        return super().search(vector, k, space=space)[:2]


class AddsTwice(QdrantIndex):
    def ids(self, *, space: str) -> Iterator[str]:
        for id_ in super().ids(space=space):
            yield from (id_, id_)


class LosesAll(QdrantIndex):
    """It is in RAM, and says nothing of that."""


CAUGHT_BY = {
    LeaksASpace: "test_a_space_never_shows_anothers",
    ForgetsNothing: "test_what_was_removed_is_found_no_more",
    KeepsTheMark: "test_a_space_never_shows_anothers",
    DropsAll: "test_a_space_never_shows_anothers",
    FindsTheFarthest: "test_the_nearest_come_first_and_find_themselves",
    ListsOnePage: "test_many_ids_come_each_once",
    GivesTooFew: "test_fewer_than_were_asked_for_are_all",
    AddsTwice: "test_putting_again_changes_nothing_and_another_vector_takes_the_place",
    LosesAll: "test_what_was_put_is_there_when_it_is_opened_again",
}


@pytest.mark.parametrize("mutant", CAUGHT_BY)
def test_the_suite_finds(mutant: type[QdrantIndex], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 30)

    class Suite(VectorIndexConformance):
        many = 70

        def make_index(self, tmp_path: Path) -> VectorIndex:  # noqa: ARG002 - it is in RAM
            return mutant(read_url("qdrant:memory"))

    test = getattr(Suite(), CAUGHT_BY[mutant])
    if mutant is LosesAll:
        with pytest.raises(AssertionError):
            test(tmp_path)
        return
    index = Suite().make_index(tmp_path)
    with pytest.raises(AssertionError):
        test(index)
    index.close()
