import numpy as np
from numpy.typing import NDArray

from agentmem.indexes.flat import FlatIndex


def _unit(*values: float) -> NDArray[np.float32]:
    vector = np.array(values, dtype=np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def test_scores_are_cosines_and_zero_where_there_is_no_vector() -> None:
    index = FlatIndex()
    index.set(np.array([0, 40]), np.stack([_unit(1, 0), _unit(1, 1)]))
    scores = index.scores(_unit(1, 0), 50)
    assert scores.shape == (50,)
    np.testing.assert_allclose(scores[[0, 40]], [1, 0.5**0.5], rtol=1e-6)
    assert not scores[1:40].any()
    assert np.flatnonzero(index.present(50)).tolist() == [0, 40]


def test_a_cleared_vector_leaves_no_numbers() -> None:
    index = FlatIndex()
    index.set(np.array([3]), _unit(3, 4)[None])
    index.clear(3)
    index.clear(99)
    assert len(index) == 0
    assert not index.holds(3)
    assert not any(segment.codes.any() for segment in index._segments)


def test_vectors_of_another_dimension_take_the_place_of_all() -> None:
    index = FlatIndex()
    index.set(np.array([0]), _unit(1, 0)[None])
    index.set(np.array([1]), _unit(0, 0, 1)[None])
    assert index.dimension == 3
    assert np.flatnonzero(index.present(2)).tolist() == [1]
    index.set(np.zeros(0, dtype=np.intp), np.zeros((0, 0), dtype=np.float32))
    assert len(index) == 1
