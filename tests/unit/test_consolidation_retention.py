"""Forgetting curves and what is told of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentmem.cli import cli
from agentmem.consolidation import retention
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.consolidation.retention import Run, Task, measures
from agentmem.evals.retention import bars, compare

TINY = ("--cycles", "2", "--facts", "2", "--epochs", "0.05")


def test_measures_of_a_matrix_by_hand() -> None:
    rows = [[1.0], [0.6, 0.9], [0.8, 0.5, 1.0]]
    found = measures(Run(rows, [], [0.97, 0.9, 0.95], [[], [1.0, 0.2, 0.7], [0.75, 0.8, 0.65]]))
    assert found.op == pytest.approx((0.8 + 0.5 + 1.0) / 3)
    assert found.bwt == pytest.approx(((0.8 - 1.0) + (0.5 - 0.9)) / 2)
    assert found.oldest == 0.8
    assert found.dip == pytest.approx(0.8)
    assert found.least == pytest.approx((0.6 + 0.5) / 2)
    assert found.worst == pytest.approx((1.0 + 0.6 + 0.5) / 3)
    assert found.windowed == pytest.approx(0.4)
    assert found.general == pytest.approx(-0.02)


def test_one_cycle_has_nothing_to_lose() -> None:
    found = measures(Run([[0.9]], [], [1.0, 1.0]))
    assert (found.op, found.bwt, found.least, found.worst, found.windowed, found.general) == (0.9, 0, 0, 0.9, 0, 0)
    assert found.dip == 0


def test_cycles_are_run_and_asked_for(tmp_path: Path) -> None:
    picture = tmp_path / "curves.svg"
    found = run("--strategy", "from-base", "--strategy", "sequential", *TINY, "--json", "--plot", str(picture))
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)["strategies"]
    assert set(told) == {"from-base", "sequential"}
    for name, strategy in told.items():
        (one,) = strategy["runs"]
        assert [len(row) for row in one["rows"]] == [1, 2]
        assert (len(one["recognised"]), len(one["general"])) == (2, 3)
        assert [len(shares) > 1 for shares in one["within"]] == [False, name == "sequential"]
        assert one["general"][0] > 0.9, "the base knows its own people by heart"
        assert strategy["measures"]["op"] == {"mean": sum(one["rows"][-1]) / 2, "low": None, "high": None}
    assert "from-base" in picture.read_text("utf-8")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["eval", "retention", *arguments])


CURVES = {"replay": [[1.0], [0.9, 1.0], [0.8, 1.0, 1.0]], "sequential": [[1.0], [0.5, 1.0], [0.0, 0.5, 1.0]]}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """A folder with runs that were made earlier: a seed takes a little off."""
    for strategy, rows in CURVES.items():
        for seed in range(3):
            less = [[share - 0.02 * seed * (share > 0.5) for share in row] for row in rows]
            task = Task(strategy, seed, cycles=3, facts=2)
            within = [[], [1.0, 0.5], [0.5, 0.25, 0.0]]
            retention._keep(Run(less, [0.75] * 3, [1.0] * 4, within, seconds=1.5), task, tmp_path)
    return tmp_path


def test_strategies_stand_side_by_side_with_intervals_over_seeds(given: Path) -> None:
    found = compare(["replay", "sequential"], cycles=3, facts=2, seeds=3, recipe=CLOSED_WORLD, folder=given)
    oldest = found["strategies"]["replay"]["measures"]["oldest"]
    assert oldest["mean"] == pytest.approx(0.78)
    assert oldest["low"] < oldest["mean"] < oldest["high"]
    curve = found["strategies"]["sequential"]["curve"]
    assert [point["mean"] for point in curve] == pytest.approx([0.98, 0.5, 0.0])
    assert bars(curve) == "█▅▁"
    assert found["strategies"]["replay"]["cpu_seconds"] == 4.5
    within = found["strategies"]["replay"]["within"]
    assert (within[0], within[5], within[10]) == pytest.approx((0.75, 0.5, 0.25))


def test_a_line_a_strategy_and_a_picture(given: Path) -> None:
    picture = given / "curves.png"
    kind = ["--strategy", "replay", "--strategy", "sequential", "--cycles", "3", "--facts", "2", "--into", str(given)]
    lines = run(*kind, "--seeds", "2", "--plot", str(picture)).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["replay", "sequential"]
    assert lines[1].split("\t")[3] == "0.00 [0.00 0.00]"
    assert lines[1].split("\t")[9] == "0.75 [0.75 0.75]"
    assert lines[1].endswith("█▅▁")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_runs_of_another_kind_are_not_mixed(given: Path) -> None:
    found = run("--strategy", "replay", "--cycles", "3", "--facts", "5", "--into", str(given))
    assert found.exit_code == 2
    assert "another kind of run (facts): choose another folder" in found.stderr


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cut short after the first cycle, it comes to the same as one in a single go."""
    recipe = replace(CLOSED_WORLD, epochs=0.05)
    task = Task("sequential", 0, cycles=2, facts=2, recipe=recipe)
    whole = retention.run(task, tmp_path)
    first = Run(whole.rows[:1], whole.recognised[:1], whole.general[:2], whole.within[:1])
    retention._keep(first, task, tmp_path)
    shutil.rmtree(tmp_path / "sequential-0-1")
    again = retention.run(task, tmp_path)
    again.seconds, whole.seconds = 0.0, 0.0
    assert again == whole


def test_what_cannot_be_measured_is_said_before_anything_is_trained() -> None:
    for arguments, said in ((["--strategy", "magic"], "there is no strategy"), (["--plot", "x.gif"], "written as")):
        found = run(*arguments)
        assert found.exit_code == 2
        assert said in found.stderr
