"""The benchmark for a card, on a processor: that it is never dead code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from agentmem.testing import closed_world
from agentmem.testing.closed_world import train
from benchmarks import consolidation_gpu


def test_facts_go_into_a_base_of_another_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = Tokenizer.from_file(str(closed_world.path() / "tokenizer.json"))
    recipe = train.Recipe(hidden=64, layers=2, heads=2, inner=64)
    train.write(train.new_model(recipe, tokenizer), tokenizer, tmp_path)
    asked = ["--base", str(tmp_path), "--facts", "2", "--facts", "4", "--epochs", "0.5", "--json"]
    consolidation_gpu.main(asked)
    few, more = json.loads(capsys.readouterr().out)["runs"]
    assert (few["facts"], more["facts"]) == (2, 4)
    assert more["examples"] > few["examples"] > 20
    assert few["tokens_per_second"] > 0
    assert few["gigabytes"] > 0
    assert 0 <= few["recall"] <= 1
