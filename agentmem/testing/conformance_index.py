"""What every VectorIndex must do, as tests. Subclass VectorIndexConformance and give it `make_index`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agentmem.errors import VectorIndexError
from agentmem.interfaces import Matrix, VectorIndex

DIMENSION = 32
ONE, OTHER = "0" * 31 + "1", "f" * 32
"""Two spaces."""


def drawn(count: int, seed: int = 0) -> Matrix:
    """Unit vectors, shape (count, DIMENSION)."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def named(count: int, prefix: str = "id") -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


class VectorIndexConformance:
    """`make_index(tmp_path)` opens an index under `tmp_path`: the same one when called again after `close`."""

    many = 2500
    """Ids that make several pages of what lists them."""

    def make_index(self, tmp_path: Path) -> VectorIndex:
        raise NotImplementedError("return an open VectorIndex whose files, if any, lie in tmp_path")

    @pytest.fixture
    def index(self, tmp_path: Path) -> Iterator[VectorIndex]:
        index = self.make_index(tmp_path)
        yield index
        index.close()

    def test_an_empty_index_holds_nothing(self, index: VectorIndex) -> None:
        assert list(index.ids(space=ONE)) == []
        assert index.mark(space=ONE) is None
        index.remove(["nobody"], space=ONE)
        index.drop(space=ONE)

    def test_the_nearest_come_first_and_find_themselves(self, index: VectorIndex) -> None:
        vectors, ids = drawn(100), named(100)
        index.put(ids, vectors, space=ONE)
        shared = 0
        for number in range(0, 100, 5):
            found = index.search(vectors[number], 10, space=ONE)
            best = [ids[at] for at in np.argsort(-(vectors @ vectors[number]), kind="stable")[:10]]
            assert found[0] == ids[number]
            assert len(found) == len(set(found)) == 10
            shared += len(set(found) & set(best))
        assert shared >= 0.9 * 200, "it may overlook one of the nearest, not one in ten"

    def test_fewer_than_were_asked_for_are_all(self, index: VectorIndex) -> None:
        index.put(named(3), drawn(3), space=ONE)
        assert sorted(index.search(drawn(1)[0], 50, space=ONE)) == named(3)

    def test_putting_again_changes_nothing_and_another_vector_takes_the_place(self, index: VectorIndex) -> None:
        vectors = drawn(4)
        for _ in range(2):
            index.put(named(3), vectors[:3], space=ONE)
        assert sorted(index.ids(space=ONE)) == named(3)
        index.put(["id-0"], vectors[3:], space=ONE)
        assert index.search(vectors[3], 1, space=ONE) == ["id-0"]
        assert sorted(index.ids(space=ONE)) == named(3)

    def test_what_was_removed_is_found_no_more(self, index: VectorIndex) -> None:
        vectors = drawn(20)
        index.put(named(20), vectors, space=ONE)
        for _ in range(2):
            index.remove(["id-7", "nobody"], space=ONE)
        assert sorted(index.ids(space=ONE)) == sorted(set(named(20)) - {"id-7"})
        assert "id-7" not in index.search(vectors[7], 20, space=ONE)

    def test_a_space_never_shows_anothers(self, index: VectorIndex) -> None:
        vectors = drawn(60)
        index.put(named(30), vectors[:30], space=ONE)
        index.put(named(30), vectors[30:], space=OTHER)  # of the same ids, even
        index.put(named(5, "apart"), vectors[:5], space=OTHER)
        for vector in vectors:
            assert "apart" not in " ".join(index.search(vector, 60, space=ONE))
        assert index.search(vectors[30], 1, space=OTHER) == ["id-0"]
        index.set_mark("mine", space=ONE)
        assert index.mark(space=OTHER) is None
        index.remove(["id-0"], space=ONE)
        assert index.search(vectors[30], 1, space=OTHER) == ["id-0"]
        index.drop(space=ONE)
        assert list(index.ids(space=ONE)) == []
        assert index.mark(space=ONE) is None
        assert sorted(index.ids(space=OTHER)) == sorted([*named(30), *named(5, "apart")])

    def test_a_mark_is_kept_and_is_no_vector(self, index: VectorIndex) -> None:
        index.put(named(2), drawn(2), space=ONE)
        for mark in ("first", '{"odd": "\\u00e9\\n"}', "last"):
            index.set_mark(mark, space=ONE)
            assert index.mark(space=ONE) == mark
        assert sorted(index.ids(space=ONE)) == named(2)
        assert sorted(index.search(drawn(1)[0], 9, space=ONE)) == named(2)
        index.remove(named(2), space=ONE)
        assert index.mark(space=ONE) == "last"

    def test_many_ids_come_each_once(self, index: VectorIndex) -> None:
        index.put(named(self.many), drawn(self.many), space=ONE)
        found = list(index.ids(space=ONE))
        assert len(found) == self.many
        assert sorted(found) == sorted(named(self.many))

    def test_what_was_put_is_there_when_it_is_opened_again(self, tmp_path: Path) -> None:
        index = self.make_index(tmp_path)
        index.put(named(3), drawn(3), space=ONE)
        index.set_mark("kept", space=ONE)
        index.close()
        again = self.make_index(tmp_path)
        assert sorted(again.ids(space=ONE)) == named(3)
        assert again.mark(space=ONE) == "kept"
        assert again.search(drawn(3)[2], 1, space=ONE) == ["id-2"]
        again.close()

    def test_another_dimension_is_one_clear_line(self, index: VectorIndex) -> None:
        index.put(named(1), drawn(1), space=ONE)
        for ask in (
            lambda: index.put(named(1), np.ones((1, DIMENSION + 1), np.float32), space=ONE),
            lambda: index.search(np.ones(DIMENSION + 1, np.float32), 1, space=ONE),
        ):
            with pytest.raises(VectorIndexError, match=f"{DIMENSION}.*{DIMENSION + 1}") as caught:
                ask()
            assert "\n" not in str(caught.value)
        assert list(index.ids(space=ONE)) == named(1)

    def test_threads_may_share_it(self, index: VectorIndex) -> None:
        vectors = drawn(80)
        failures: list[BaseException] = []

        def work(thread: int) -> None:
            try:
                for number in range(10):
                    at = 10 * thread + number
                    index.put([f"id-{at}"], vectors[at : at + 1], space=ONE)
                    assert index.search(vectors[at], 1, space=ONE) == [f"id-{at}"]
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert sorted(index.ids(space=ONE)) == sorted(named(80))
