import random
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from agentmem.indexes.postings import K1, B, Postings

WORDS = ["red", "green", "blue", "cyan", "pink", "gold", "grey", "teal"]


def _reference(docs: Mapping[int, Sequence[str]], query: Sequence[str], size: int) -> list[float]:
    """BM25 as the formula has it, document by document."""
    mean = sum(map(len, docs.values())) / len(docs)
    out = [0.0] * size
    for number, terms in docs.items():
        for term in query:
            n = sum(term in other for other in docs.values())
            tf = terms.count(term)
            idf = np.log1p((len(docs) - n + 0.5) / (n + 0.5))
            out[number] += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(terms) / mean))
    return out


def _indexed(docs: Mapping[int, Sequence[str]]) -> Postings:
    postings = Postings()
    for number, terms in docs.items():
        postings.add(number, terms)
    return postings


def _some_docs(count: int, seed: int) -> dict[int, Sequence[str]]:
    chance = random.Random(seed)
    return {number: chance.choices(WORDS, k=chance.randint(0, 9)) for number in range(count)}


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_bm25_also_after_removals(seed: int) -> None:
    docs = _some_docs(40, seed)
    postings = _indexed(docs)
    for number in range(0, 40, 3):
        postings.remove(number)
        del docs[number]
    query = ["red", "gold", "gold", "never"]
    np.testing.assert_allclose(postings.scores(query, 40), _reference(docs, query, 40), rtol=1e-5)


def test_a_forgotten_word_does_not_stay() -> None:
    postings = _indexed({0: ["secret", "red"], 1: ["red"]})
    postings.remove(0)
    postings.remove(0)
    assert "secret" not in postings
    assert "red" in postings
    assert postings.terms == 1
    assert "secret" not in repr(vars(postings))


def test_everything_removed_leaves_nothing() -> None:
    docs = _some_docs(30, 1)
    postings = _indexed(docs)
    for number in docs:
        postings.remove(number)
    assert (len(postings), postings.terms) == (0, 0)
    assert not postings.scores(["red"], 30).any()


def test_pooled_scores_are_those_of_the_texts_put_together() -> None:
    docs = _some_docs(12, 2)
    groups = np.repeat(np.arange(4), 3)
    together = {g: [t for d in range(3 * g, 3 * g + 3) for t in docs[d]] for g in range(4)}
    found = _indexed(docs).pooled(["red", "pink"], groups, 4)
    np.testing.assert_allclose(found, np.repeat(_reference(together, ["red", "pink"], 4), 3), rtol=1e-5)


def test_a_document_in_no_group_is_scored_like_a_group_of_average_length() -> None:
    postings = _indexed({0: ["red", "blue"], 1: ["red", "pink"], 2: ["gold", "pink"], 3: ["gold"] * 50})
    found = postings.pooled(["red"], np.array([0, -1, 1, -1]), 2)
    assert found[0] == pytest.approx(found[1])
    assert not found[2:].any()
    assert postings.pooled(["red"], np.full(4, -1), 0).tolist() == pytest.approx([found[0]] * 2 + [0, 0], rel=2)


def test_coverage_counts_what_nobody_ever_said() -> None:
    postings = _indexed({0: ["red", "blue"], 1: ["red"]})
    whole = postings.idf("red") + postings.idf("blue") + postings.idf("never")
    coverage = postings.coverage(["red", "blue", "never", "red"], 2)
    np.testing.assert_allclose(coverage, [1 - postings.idf("never") / whole, postings.idf("red") / whole], rtol=1e-6)
    assert postings.idf("never") > postings.idf("blue") > postings.idf("red")
    assert postings.held(["red", "blue", "never"], [0, 1]) == {0: {"red", "blue"}, 1: {"red"}}


def test_holding_all() -> None:
    postings = _indexed({0: ["red", "blue"], 2: ["blue", "red", "red"], 5: ["red"]})
    assert postings.holding_all(["red", "blue"]) == [0, 2]
    assert postings.holding_all(["red", "never"]) == []
    assert postings.holding_all([]) == []
