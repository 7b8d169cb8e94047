"""Forgetting curves and what is told of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.consolidation.retention import measures, run


def test_measures_of_a_matrix_by_hand() -> None:
    rows = [[1.0], [0.6, 0.9], [0.8, 0.5, 1.0]]
    found = measures(rows, [0.97, 0.9, 0.95])
    assert found.op == pytest.approx((0.8 + 0.5 + 1.0) / 3)
    assert found.bwt == pytest.approx(((0.8 - 1.0) + (0.5 - 0.9)) / 2)
    assert found.oldest == 0.8
    assert found.least == pytest.approx((0.6 + 0.5) / 2)
    assert found.worst == pytest.approx((1.0 + 0.6 + 0.5) / 3)
    assert found.windowed == pytest.approx(0.4)
    assert found.general == pytest.approx(-0.02)


def test_one_cycle_has_nothing_to_lose() -> None:
    found = measures([[0.9]], [1.0, 1.0])
    assert (found.op, found.bwt, found.least, found.worst, found.windowed, found.general) == (0.9, 0, 0, 0.9, 0, 0)


@pytest.mark.parametrize("strategy", ["from-base", "sequential"])
def test_cycles_are_run_and_asked_for(strategy: str, tmp_path: Path) -> None:
    tiny = replace(CLOSED_WORLD, rank=8, epochs=0.05, batch=8)
    rows, general = run(strategy, tmp_path, cycles=2, facts=2, recipe=tiny)
    assert [len(row) for row in rows] == [1, 2]
    assert len(general) == 3
    assert general[0] > 0.9, "the base knows its own people by heart"
    assert {path.name for path in tmp_path.iterdir()} == {f"{strategy}-0-0", f"{strategy}-0-1"}
