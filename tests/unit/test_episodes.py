from collections.abc import Iterable, Sequence

import numpy as np

from agentmem.episodes import LOOSE_TURNS, Layout, key_relevance, lay_out

FAR = int(np.iinfo(np.int64).max)


def _laid_out(
    session: Sequence[int],
    seq: Iterable[int],
    spans: Iterable[tuple[int, int, int]] = (),
    live: Sequence[bool] | None = None,
) -> Layout:
    size = len(session)
    alive = np.ones(size, bool) if live is None else np.array(live)
    return lay_out(np.array(session, np.int32), np.array(list(seq), np.int64), alive, list(spans))


def test_turns_stand_by_session_and_seq_however_they_arrived() -> None:
    layout = _laid_out([1, 0, 1, 0], [1, 1, 0, 0])
    assert layout.before.tolist() == [2, 3, 2, 3]
    assert layout.after.tolist() == [0, 1, 0, 1]
    assert layout.sessions == 2
    assert layout.session[0] == layout.session[2] != layout.session[1] == layout.session[3]


def test_chunks_follow_their_spans_the_open_one_too() -> None:
    layout = _laid_out([0] * 6, range(6), [(0, 0, 2), (0, 3, FAR)])
    assert layout.chunks == 2
    assert layout.chunk.tolist() == [layout.chunk[0]] * 3 + [layout.chunk[3]] * 3
    assert layout.chunk[0] != layout.chunk[3]


def test_turns_in_no_chunk_fall_into_blocks_of_their_session() -> None:
    turns = LOOSE_TURNS + 2
    layout = _laid_out([0] * turns + [1], [*range(turns), 0], [(5, 0, FAR)])
    assert layout.chunks == 3
    assert len({*layout.chunk.tolist()}) == 3


def test_a_thought_stands_alone_and_a_hole_beside_nobody() -> None:
    layout = _laid_out([0, -1, 0, 0], [0, 0, 1, 2], live=[True, True, False, True])
    assert (layout.before[1], layout.after[1], layout.chunk[1], layout.session[1]) == (1, 1, -1, -1)
    assert (layout.after[0], layout.before[3]) == (3, 0)


def test_a_chunk_is_as_relevant_as_its_best_turn() -> None:
    layout = _laid_out([0, 0, 0, -1], [0, 1, 2, 0], [(0, 0, 1), (0, 2, FAR)])
    scores = np.array([0.9, -0.2, 0.1, 0.4], np.float32)
    np.testing.assert_allclose(key_relevance(scores, layout), [0.9, 0.9, 0.1, 0.4])


def test_what_is_taken_out_of_a_layout_stands_alone_and_the_rest_closes_up() -> None:
    layout = _laid_out([0] * 4, range(4), [(0, 0, FAR)])
    inner = layout.without([1, 2])
    assert (inner.before.tolist(), inner.after.tolist()) == ([0, 1, 2, 0], [3, 1, 2, 3])
    assert inner.chunk.tolist() == [0, -1, -1, 0]
    ends = layout.without([0, 3])
    assert (ends.before.tolist(), ends.after.tolist()) == ([0, 1, 1, 3], [0, 2, 2, 3])
    assert layout.before.tolist() == [0, 0, 1, 2]


def test_nothing_can_be_laid_out() -> None:
    layout = _laid_out([], [], [(0, 0, 3)])
    assert (layout.chunks, layout.sessions, len(key_relevance(np.zeros(0, np.float32), layout))) == (0, 0, 0)
