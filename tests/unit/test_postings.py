import random
from collections.abc import Mapping, Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from agentmem.episodes import Groups
from agentmem.indexes.bm25 import K1, B, Docs, rarity
from agentmem.indexes.postings import Postings

WORDS = ["red", "green", "blue", "cyan", "pink", "gold", "grey", "teal"]
SMALL = 7
"""Documents a segment has here, so that most are sealed."""


def _all(size: int) -> Docs:
    return np.arange(size, dtype=np.int32)


def _reference(docs: Mapping[int, Sequence[str]], query: Sequence[str], size: int) -> list[float]:
    """BM25 as the formula has it, document by document."""
    mean = sum(map(len, docs.values())) / max(len(docs), 1) or 1.0
    out = [0.0] * size
    for number, terms in docs.items():
        for term in query:
            n = sum(term in other for other in docs.values())
            tf = terms.count(term)
            idf = np.log1p((len(docs) - n + 0.5) / (n + 0.5))
            out[number] += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(terms) / mean))
    return out


def _rarest(docs: Mapping[int, Sequence[str]], size: int) -> list[float]:
    """The idf of each document's rarest term, by the formula."""
    held = [docs.get(number, []) for number in range(size)]
    return [max((rarity(len(docs), sum(t in d for d in held)) for t in text), default=0.0) for text in held]


def _indexed(docs: Mapping[int, Sequence[str]], segment: int = SMALL) -> Postings:
    postings = Postings(segment)
    for number, terms in docs.items():
        postings.add(number, terms)
    return postings


def _some_docs(count: int, seed: int) -> dict[int, Sequence[str]]:
    chance = random.Random(seed)
    return {number: chance.choices(WORDS, k=chance.randint(0, 9)) for number in range(count)}


def _grouped(postings: Postings, numbers: Sequence[int]) -> Groups:
    """Documents in groups by these numbers, 0 for none."""
    groups = Groups()
    groups.reach(len(numbers))
    for doc, group in enumerate(numbers):
        if group:
            groups.put(doc, group, float(postings.lengths[doc]))
    return groups


@pytest.mark.parametrize("segment", [SMALL, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_scores_are_bm25_also_after_removals(seed: int, segment: int) -> None:
    docs = _some_docs(40, seed)
    postings = _indexed(docs, segment)
    for number in range(0, 40, 3):
        postings.remove(number)
        del docs[number]
    query = ["red", "gold", "gold", "never"]
    expected = np.array(_reference(docs, query, 40))
    np.testing.assert_allclose(postings.find(query).scores(_all(40)), expected, rtol=1e-5)
    few = np.array([2, 3, 17, 39], np.int32)
    np.testing.assert_allclose(postings.find(query).scores(few), expected[few], rtol=1e-5)


@pytest.mark.parametrize("segment", [SMALL, 1000])
def test_the_rarest_term_of_each_document_also_after_removals(segment: int) -> None:
    docs = _some_docs(40, 7)
    postings = _indexed(docs, segment)
    for number in range(0, 40, 3):
        postings.remove(number)
        docs[number] = ()
    held = [sum(word in other for other in docs.values()) for word in WORDS]
    idfs = dict(zip(WORDS, (rarity(len(postings), n) for n in held), strict=True))
    expected = [max((idfs[word] for word in docs[number]), default=0.0) for number in range(40)]
    np.testing.assert_allclose(postings.rarest(_all(40)), expected, rtol=1e-5)
    few = np.array([1, 3, 22, 39], np.int32)
    np.testing.assert_allclose(postings.rarest(few), np.array(expected)[few], rtol=1e-5)


@pytest.mark.parametrize("segment", [1, 1000])
def test_a_forgotten_word_does_not_stay(segment: int) -> None:
    postings = _indexed({0: ["secret", "red"], 1: ["red"]}, segment)
    postings.remove(0)
    postings.remove(0)
    assert "secret" not in postings
    assert "red" in postings
    assert postings.terms == 1
    assert "secret" not in repr(vars(postings))


def test_nothing_tells_what_a_removed_document_held() -> None:
    docs = _some_docs(2 * SMALL, 3)
    postings, without = _indexed(docs), _indexed({n: terms if n != 2 else [] for n, terms in docs.items()})
    postings.remove(2)
    assert postings.signature(2) == frozenset()
    for term in WORDS:
        found, expected = postings.find([term]).entries[0], without.find([term]).entries[0]
        assert found.docs.tolist() == expected.docs.tolist()
        assert found.often.tolist() == expected.often.tolist()
    assert not any(2 in sealed.docs.tolist() for sealed in postings._sealed)


def test_everything_removed_leaves_nothing() -> None:
    docs = _some_docs(30, 1)
    postings = _indexed(docs)
    for number in docs:
        postings.remove(number)
    assert (len(postings), postings.terms) == (0, 0)
    assert not postings.find(["red"]).scores(_all(30)).any()


def test_a_word_said_very_often_is_counted_in_full() -> None:
    docs = {0: ["red"] * 70_000, 1: ["red"] * 300, 2: ["red"], 3: ["blue"]}
    assert _indexed(docs, 3).find(["red"]).frequencies(_all(4)).tolist() == [[70_000, 300, 1, 0]]


def test_pooled_scores_are_those_of_the_texts_put_together() -> None:
    docs = _some_docs(12, 2)
    postings = _indexed(docs)
    groups = _grouped(postings, [g + 1 for g in range(4) for _ in range(3)])
    together = {g: [t for d in range(3 * g, 3 * g + 3) for t in docs[d]] for g in range(4)}
    found = postings.find(["red", "pink"]).pooled(groups, _all(12))
    np.testing.assert_allclose(found, np.repeat(_reference(together, ["red", "pink"], 4), 3), rtol=1e-5)


def test_who_is_set_apart_does_not_count_in_its_group() -> None:
    docs = {0: ["red", "blue"], 1: ["red", "gold"], 2: ["pink"]}
    postings = _indexed(docs)
    found = postings.find(["red"]).pooled(_grouped(postings, [1, 1, 2]), _all(3), np.array([0], np.int32))
    alone = _indexed({1: docs[1], 2: docs[2]})
    expected = alone.find(["red"]).pooled(_grouped(alone, [0, 1, 2]), _all(3))
    np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-6)
    assert found[0] == pytest.approx(rarity(2, 1))


def test_a_document_in_no_group_is_scored_like_a_group_of_average_length() -> None:
    postings = _indexed({0: ["red", "blue"], 1: ["red", "pink"], 2: ["gold", "pink"], 3: ["gold"] * 50})
    found = postings.find(["red"]).pooled(_grouped(postings, [1, 0, 2, 0]), _all(4))
    assert found[0] == pytest.approx(found[1])
    assert not found[2:].any()
    loose = postings.find(["red"]).pooled(_grouped(postings, [0] * 4), _all(4))
    assert loose[0] == loose[1] > 0 == loose[2] == loose[3]


def test_coverage_counts_what_nobody_ever_said() -> None:
    postings = _indexed({0: ["red", "blue"], 1: ["red"]})
    whole = postings.idf("red") + postings.idf("blue") + postings.idf("never")
    found = postings.find(["red", "blue", "never", "red"])
    expected = [1 - postings.idf("never") / whole, postings.idf("red") / whole]
    np.testing.assert_allclose(found.coverage(_all(2)), expected, rtol=1e-6)
    assert postings.idf("never") > postings.idf("blue") > postings.idf("red")
    assert found.held(_all(2)) == {0: {"red", "blue"}, 1: {"red"}}


def test_holding_all() -> None:
    postings = _indexed({0: ["red", "blue"], 2: ["blue", "red", "red"], 5: ["red"]}, 2)
    assert postings.find(["red", "blue"]).holding_all().tolist() == [0, 2]
    assert postings.find(["red", "never"]).holding_all().tolist() == []
    assert postings.find([]).holding_all().tolist() == []


_texts = st.lists(st.sampled_from(WORDS), max_size=6)
_steps = st.lists(st.tuples(st.integers(1, 3), _texts) | st.integers(0, 40), max_size=40)


@given(_steps, st.integers(1, 9))
def test_any_sequence_leaves_what_a_dictionary_of_texts_says(
    steps: list[tuple[int, list[str]] | int], segment: int
) -> None:
    postings, model, size = Postings(segment), dict[int, list[str]](), 0
    for step in steps:
        if isinstance(step, tuple):
            size += step[0]  # numbers may be left out
            postings.add(size - 1, step[1])
            model[size - 1] = step[1]
        else:
            postings.remove(step)
            model.pop(step, None)
        np.testing.assert_allclose(postings.rarest(_all(size)), _rarest(model, size), rtol=1e-6)
    assert (len(postings), postings.terms) == (len(model), len({t for text in model.values() for t in text}))
    assert all((word in postings) == any(word in text for text in model.values()) for word in WORDS)
    found = postings.find(WORDS)
    assert found.frequencies(_all(size)).T.tolist() == [
        [model.get(doc, []).count(word) for word in WORDS] for doc in range(size)
    ]
    np.testing.assert_allclose(found.scores(_all(size)), _reference(model, WORDS, size), rtol=1e-5)
    for doc in range(size):
        text = model.get(doc, [])
        assert (postings.lengths[doc], postings.distinct[doc]) == (len(text), len(set(text)))
        same = {other for other in range(size) if postings.signature(other) == postings.signature(doc)}
        assert same == {other for other in range(size) if set(model.get(other, [])) == set(text)}
    backwards = _all(size)[::-1]
    prints = dict(zip(backwards.tolist(), postings.prints(backwards).tolist(), strict=True))
    for doc in range(size):
        alike = {prints[other] for other in range(size) if set(model.get(other, [])) == set(model.get(doc, []))}
        assert alike == {prints[doc]}
