"""The figures of one ranking, against examples reckoned by hand, and the intervals around their means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agentmem.evals import intervals
from agentmem.evals.intervals import interval, resampled
from agentmem.evals.metrics import DEPTH, measure


def _marks(ranking: str, evidence: str) -> dict[str, list[float]]:
    """Keys are letters; a turn's tokens are 10, 20, 30, …"""
    found = measure(list(ranking), [10 * (n + 1) for n in range(len(ranking))], frozenset(evidence))
    return {name: values.tolist() for name, values in found.items()}


def test_recall_is_the_share_of_the_evidence_found_so_far() -> None:
    marks = _marks("xaxbxx", "abc")
    assert marks["recall"][:6] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert marks["recall"][-1] == pytest.approx(2 / 3)
    assert marks["all_evidence"] == [0] * DEPTH


def test_all_evidence_counts_from_where_the_last_of_it_is_found() -> None:
    assert _marks("axb", "ab")["all_evidence"][:4] == [0, 0, 1, 1]


def test_mrr_is_one_over_the_first_rank() -> None:
    assert _marks("xxab", "ab")["mrr"] == [pytest.approx(1 / 3)]
    assert _marks("ax", "ab")["mrr"] == [1]
    assert _marks("xx", "ab")["mrr"] == [0]


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    marks = _marks("axb", "ab")
    ideal = 1 + 1 / math.log2(3)
    assert marks["ndcg"][:3] == pytest.approx([1, 1 / ideal, (1 + 1 / 2) / ideal])
    assert _marks("ab", "ab")["ndcg"] == pytest.approx([1] * DEPTH)


def test_ndcgs_ideal_is_cut_where_the_ranking_is() -> None:
    # More evidence than the cut has room for: a ranking of evidence alone is perfect at every cut.
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert _marks(letters, letters)["ndcg"] == pytest.approx([1] * DEPTH)


def test_tokens_add_up_and_stay_where_the_ranking_ends() -> None:
    assert _marks("xyz", "a")["tokens"][:5] == [10, 30, 60, 60, 60]


def test_evidence_that_comes_twice_counts_once() -> None:
    marks = _marks("aab", "ab")
    assert marks["recall"][:3] == [0.5, 0.5, 1]
    assert marks["ndcg"][1] < 1


def test_nothing_found_is_nothing() -> None:
    marks = _marks("", "a")
    assert all(value == 0 for values in marks.values() for value in values)


# -- intervals --------------------------------------------------------------------------------------------------


def test_conversations_are_resampled_where_there_are_enough_else_questions() -> None:
    assert resampled([0, 0, 1, 2, 3, 4]) == "conversations"
    assert resampled([0, 0, 1, 2, 3, 3]) == "questions"


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly() -> None:
    values = np.random.default_rng(1).random((200, 2))
    groups = [n % 10 for n in range(200)]
    first, again, other = (interval(values, groups, seed=seed) for seed in (3, 3, 4))
    assert first.low.tolist() == again.low.tolist()
    assert first.low.tolist() != other.low.tolist()
    assert first.low == pytest.approx(other.low, abs=0.01)
    assert first.mean == pytest.approx(values.mean(axis=0))


def test_many_questions_get_the_normal_interval() -> None:
    values = np.random.default_rng(2).random((400, 1))
    found = interval(values, [0] * 400)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.003)
    assert found.high == pytest.approx(values.mean() + half, abs=0.003)


def test_questions_that_stand_and_fall_together_give_a_wide_interval() -> None:
    alike = np.repeat([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 50)[:, None]
    together = interval(alike, [n // 50 for n in range(300)])
    mixed = interval(alike, [n % 6 for n in range(300)])
    assert together.high - together.low > 0.5
    assert mixed.high - mixed.low < 0.1


def test_conversations_count_by_their_questions() -> None:
    values = np.array([[1.0]] * 96 + [[0.0]] * 4)
    assert interval(values, [0] * 96 + [1, 2, 3, 4]).mean == pytest.approx(0.96)


def test_one_question_has_no_interval() -> None:
    found = interval(np.array([[0.5]]), [0])
    assert found.mean == 0.5
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_a_figure_that_never_varies_has_no_width() -> None:
    found = interval(np.full((20, 1), 0.3), [n % 5 for n in range(20)])
    assert [*found.low, *found.high] == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize(("degrees", "quantile"), [(1, 12.706), (4, 2.776), (9, 2.262), (29, 2.045), (1000, 1.962)])
def test_students_quantiles(degrees: int, quantile: float) -> None:
    assert intervals._student(0.975, degrees) == pytest.approx(quantile, rel=1e-3)


@pytest.mark.parametrize("conversations", [5, 10])
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    conversations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "DRAWS", 2000)
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(conversations), 40)
    held = 0
    for trial in range(400):
        levels = rng.normal(0.6, 0.1, conversations)[groups]
        values = levels[:, None] + rng.normal(0, 0.3, (len(groups), 1))
        found = interval(values, groups.tolist(), seed=trial)
        held += int(found.low[0] <= 0.6 <= found.high[0])
    assert 0.88 <= held / 400 <= 0.98
