"""Bounds: against published values, and by how often they hold."""

from __future__ import annotations

import math

import pytest

from agentmem.consolidation.bounds import least_lost, lower_bound, mean_bound, most_lost


@pytest.mark.parametrize(
    ("right", "items", "bound"),
    [(100, 100, 0.9705), (95, 100, 0.8978), (0, 50, 0.0), (50, 50, 0.9418), (9, 10, 0.6058)],
)
def test_bounds_of_shares_are_those_of_clopper_and_pearson(right: int, items: int, bound: float) -> None:
    assert lower_bound(right, items) == pytest.approx(bound, abs=2e-4)


def test_a_loss_is_bounded_from_both_sides() -> None:
    assert most_lost(0, 0, 150) == pytest.approx(1.6449**2 / (150 + 1.6449**2), abs=1e-6)
    assert least_lost(8, 6, 300) < 2 / 300 < most_lost(8, 6, 300)
    assert most_lost(3, 3, 100) == -least_lost(3, 3, 100)
    assert most_lost(0, 20, 100) < 0 < least_lost(20, 0, 100), "what surely got better, and worse"
    assert [most_lost(n, 2, 100) for n in range(5)] == sorted(most_lost(n, 2, 100) for n in range(5))


@pytest.mark.parametrize(("items", "lost", "won"), [(40, 0.05, 0.02), (150, 0.03, 0.01), (60, 0.1, 0.1)])
def test_the_bound_of_a_loss_holds_in_about_19_of_20_cases(items: int, lost: float, won: float) -> None:
    """Over all outcomes, each with its chance (Tango 1998, table II finds the like)."""

    def chance(a: int, b: int) -> float:
        ways = math.lgamma(items + 1) - math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(items - a - b + 1)
        rest = (items - a - b) * math.log(1 - lost - won)
        return math.exp(ways + a * math.log(lost) + b * math.log(won) + rest)

    likely = [(a, b, p) for a in range(items + 1) for b in range(items - a + 1) if (p := chance(a, b)) > 1e-6]
    held = sum(p for a, b, p in likely if most_lost(a, b, items) >= lost - won)
    assert 0.93 <= held <= 0.98


def test_the_bound_of_a_mean_falls_towards_it_with_more_values() -> None:
    few, many = [0.0, 0.2] * 5, [0.0, 0.2] * 500
    assert 0.1 < mean_bound(many) < mean_bound(few) < 0.2
    assert mean_bound([0.1, 0.1]) == pytest.approx(0.1)
