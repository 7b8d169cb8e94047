from collections.abc import Iterable, Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from agentmem import episodes
from agentmem.columns import Columns
from agentmem.episodes import LOOSE_TURNS, NOBODY, Layout, Span, beside, key_relevance, mates
from agentmem.indexes.arrays import contains
from agentmem.indexes.postings import Postings

FAR = int(np.iinfo(np.int64).max)


class Place:
    """Documents with a session (0: a thought), a seq and a length, and chunks, laid out turn by turn or at once."""

    def __init__(self) -> None:
        self.columns, self.postings = Columns(), Postings()
        self.layout = Layout(self.columns, self.postings)
        self.live: list[bool] = []

    def add(self, session: int, seq: int, length: int = 1) -> int:
        doc = self.columns.append({"session": session, "seq": seq})
        self.postings.add(doc, ["word"] * length)
        self.layout.add(doc)
        self.live.append(True)
        return doc

    def remove(self, doc: int) -> None:
        if self.live[doc]:
            self.live[doc] = False
            self.layout.remove(doc)
            self.postings.remove(doc)

    def current(self) -> Layout:
        return self.layout.current(np.array(self.live, bool))


def _laid_out(session: Sequence[int], seq: Iterable[int], spans: Iterable[tuple[int, int, int]] = ()) -> Place:
    place = Place()
    for number, at in zip(session, seq, strict=True):
        place.add(number, at)
    for span in spans:
        place.layout.open(Span(*span))
    return place


def _docs(*numbers: int) -> episodes.Docs:
    return np.array(numbers, np.int32)


def test_turns_stand_by_session_and_seq_however_they_arrived() -> None:
    layout = _laid_out([2, 1, 2, 1, 1], [1, 1, 0, 0, 7]).current()
    assert layout.before[:5].tolist() == [2, 3, 2, 3, 1]
    assert layout.after[:5].tolist() == [0, 4, 0, 1, 4]
    assert layout.sessions.count == 2
    assert layout.sessions.numbers[:5].tolist() == [2, 1, 2, 1, 1]


def test_chunks_follow_their_spans_the_open_one_too() -> None:
    chunks = _laid_out([1] * 6, range(6), [(1, 0, 2), (1, 3, FAR)]).current().chunks
    assert chunks.count == 2
    assert chunks.numbers[:6].tolist() == [chunks.numbers[0]] * 3 + [chunks.numbers[3]] * 3
    assert chunks.numbers[0] != chunks.numbers[3]


def test_turns_in_no_chunk_fall_into_blocks_of_their_session() -> None:
    turns = LOOSE_TURNS + 2
    chunks = _laid_out([1] * turns + [2], [*range(turns), 0], [(6, 0, FAR)]).current().chunks
    assert chunks.count == 3
    assert len({*chunks.numbers[: turns + 1].tolist()}) == 3


def test_a_thought_stands_alone_and_a_hole_beside_nobody() -> None:
    place = _laid_out([1, 0, 1, 1], [0, 0, 1, 2])
    place.remove(2)
    layout = place.current()
    stands = (layout.before[1], layout.after[1], layout.chunks.numbers[1], layout.sessions.numbers[1])
    assert stands == (1, 1, 0, 0)
    assert (layout.after[0], layout.before[3]) == (3, 0)


def test_a_chunk_is_as_relevant_as_its_best_turn() -> None:
    layout = _laid_out([1, 1, 1, 0], [0, 1, 2, 0], [(1, 0, 1), (1, 2, FAR)]).current()
    scores = np.array([0.9, -0.2, 0.1, 0.4], np.float32)
    docs = _docs(0, 1, 2, 3)
    np.testing.assert_allclose(key_relevance(scores, layout, docs), [0.9, 0.9, 0.1, 0.4])
    np.testing.assert_allclose(key_relevance(scores, layout, docs, _docs(0)), [0.9, -0.2, 0.1, 0.4])


def test_the_mates_of_turns_are_all_of_their_chunks() -> None:
    layout = _laid_out([1] * 6 + [0, 2], [*range(6), 0, 0], [(1, 0, 2), (1, 3, FAR)]).current()
    assert mates(layout, _docs(1)).tolist() == [0, 1, 2]
    assert mates(layout, _docs(1, 4, 6)).tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_who_is_set_apart_stands_alone_and_the_rest_closes_up() -> None:
    layout, all_four = _laid_out([1] * 4, range(4)).current(), _docs(0, 1, 2, 3)

    def stand(*apart: int) -> tuple[list[int], list[int]]:
        sides = (beside(links, all_four, _docs(*apart)).tolist() for links in (layout.before, layout.after))
        return next(sides), next(sides)

    assert stand() == ([0, 0, 1, 2], [1, 2, 3, 3])
    assert stand(1, 2) == ([0, 1, 2, 0], [3, 1, 2, 3])
    assert stand(0, 3) == ([0, 1, 1, 3], [0, 2, 2, 3])
    assert stand(0, 1, 2, 3) == ([0, 1, 2, 3], [0, 1, 2, 3])


def test_nothing_can_be_laid_out() -> None:
    layout = _laid_out([], [], [(1, 0, 3)]).current()
    assert (layout.chunks.count, layout.sessions.count) == (0, 0)
    assert len(key_relevance(np.zeros(0, np.float32), layout, NOBODY)) == 0


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("turn"), st.integers(0, 2), st.integers(0, 40), st.integers(0, 9)),
        st.tuples(st.just("remove"), st.integers(0, 50)),
        st.tuples(st.just("open"), st.integers(1, 2), st.integers(0, 40), st.none() | st.integers(0, 12)),
        st.tuples(st.just("close"), st.integers(0, 50)),
        st.tuples(st.just("anew")),
    ),
    max_size=40,
)


@given(_steps, st.sampled_from([3, episodes.WALK]))
def test_changes_one_by_one_lead_to_what_laying_out_at_once_gives(steps: list[tuple], walk: int) -> None:  # type: ignore[type-arg]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes, "WALK", walk)
        place, at_once = Place(), Place()
        for one in (place, at_once):
            one.layout.postpone() if one is at_once else None
            spans: list[Span] = []
            for step in steps:
                _take(one, spans, step, anew=one is place)
        _assert_equal(place, at_once)


def _take(place: Place, spans: list[Span], step: tuple, anew: bool) -> None:  # type: ignore[type-arg]
    what, *given_ = step
    taken = set(zip(place.columns["session"].tolist(), place.columns["seq"].tolist(), strict=True))
    if what == "turn" and (tuple(given_[:2]) not in taken or not given_[0]):
        place.add(*given_)
    elif what == "remove" and place.live:
        place.remove(given_[0] % len(place.live))
    elif what == "open":
        session, first, width = given_
        spans.append(Span(session, first, FAR if width is None else first + width))
        place.layout.open(spans[-1])
    elif what == "close" and spans:
        place.layout.close(spans.pop(given_[0] % len(spans)))
    elif what == "anew" and anew:
        place.layout.postpone()
        place.current()


def _assert_equal(one: Place, other: Place) -> None:
    a, b = one.current(), other.current()
    size = len(one.live)
    np.testing.assert_array_equal(a.before[:size], b.before[:size])
    np.testing.assert_array_equal(a.after[:size], b.after[:size])
    for mine, theirs in ((a.chunks, b.chunks), (a.sessions, b.sessions)):
        assert (mine.count, mine.total) == (theirs.count, theirs.total)
        numbers = zip(mine.numbers[:size].tolist(), theirs.numbers[:size].tolist(), strict=True)
        pairs = {pair for doc, pair in enumerate(numbers) if one.live[doc]}
        assert len(pairs) == len({m for m, _ in pairs}) == len({t for _, t in pairs})
        for m, t in pairs:
            assert (mine.lengths[m], mine.turns[m]) == (theirs.lengths[t], theirs.turns[t]) or m == 0 == t


@pytest.mark.parametrize("count", [0, 1, 8, 9, 60])
def test_numbers_are_found_among_few_and_many(count: int) -> None:
    held = np.sort(np.random.default_rng(count).choice(100, count, replace=False)).astype(np.int32)
    sought = np.array([*range(100), 7, 3, 99], np.int32)
    assert contains(held, sought).tolist() == [number in held for number in sought.tolist()]
