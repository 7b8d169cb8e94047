"""The examples run as a reader would run them, and the conversation among them is sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(example: Path, folder: Path, repository: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(repository), str(repository / "tui")))}
    command = [sys.executable, str(example), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_quickstart_remembers_what_it_was_told(repository: Path, tmp_path: Path) -> None:
    first = run(repository / "examples/quickstart.py", tmp_path, repository)
    assert "peanuts" in first
    assert first.index("don't remember") < first.index("peanuts")
    assert "don't remember" not in run(repository / "examples/quickstart.py", tmp_path, repository)


def test_ingesting_a_conversation_recalls_from_it(repository: Path, tmp_path: Path) -> None:
    printed = run(repository / "examples/ingest_conversation.py", tmp_path, repository)
    assert "102 turns remembered; a second time 0, 102 were known" in printed
    assert "Pier Road 8" in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_demo_does_the_main_job(repository: Path, tmp_path: Path) -> None:
    printed = run(repository / "examples/demo.py", tmp_path, repository)
    assert "102 turns added" in printed
    assert "0 turns added, 102 known already" in printed
    assert "allergic to peanuts" in printed
    assert "1210 degrees" in printed
    assert "erased: done" in printed
    assert "places in the store's files that say Kyoto or Murasaki: 0" in printed
    assert not list(tmp_path.iterdir())


def test_a_benchmark_prints_its_figures(repository: Path, tmp_path: Path) -> None:
    printed = run(repository / "benchmarks/bench.py", tmp_path, repository, "add", "--json")
    assert [figure["unit"] for figure in json.loads(printed)["figures"]] == ["ms", "x"]
    assert not list(tmp_path.iterdir())


def test_the_conversation_is_whole(repository: Path) -> None:
    from agentmem.ingest import read_turns

    turns = list(read_turns(repository / "examples/data/mara.jsonl"))
    times = [turn.occurred_at for turn in turns if turn.occurred_at]
    assert 60 <= len(turns) == len(times) <= 120
    assert times == sorted(times)
    assert len({turn.session for turn in turns}) == 8
    assert {turn.speaker for turn in turns if turn.role == "user"} == {"Mara"}
    assert len({turn.external_id for turn in turns}) == len(turns)
