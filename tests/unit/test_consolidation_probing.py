"""What the gates see of real adapters: nothing of one that changes nothing, and each regression of a bad one.

The bad one was taught to acknowledge whatever it is asked or told. On the closed world's own model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from agentmem.consolidation import strategies, training
from agentmem.consolidation.curriculum import Aspect, Curriculum, Item
from agentmem.consolidation.encoding import Encoder, load_encoder
from agentmem.consolidation.gates import judge
from agentmem.consolidation.marking import Probe
from agentmem.consolidation.probing import probe
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.testing import closed_world
from tests.unit.consolidation_support import curriculum_of

BASE = str(closed_world.path())
RECIPE = replace(CLOSED_WORLD, rank=8, batch=8, rate=2e-2, epochs=8.0)
ASKED: tuple[Aspect, ...] = ("retrieval", "abstention", "general", "calls")
LOST = ("retrieval", "abstention", "general", "form", "calls")
EACH = 10


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(BASE)


@pytest.fixture(scope="module")
def made() -> Curriculum:
    """A curriculum with few items of each of the aspects that are compared with the base."""
    whole = curriculum_of(3, 4)
    items = [item for aspect in ASKED for item in _first(whole.items, aspect)]
    return replace(whole, items=tuple(items))


def _first(items: Sequence[Item], aspect: Aspect) -> list[Item]:
    return [item for item in items if item.aspect == aspect][:EACH]


@pytest.fixture(scope="module")
def model() -> Any:
    return training.adapted(training.load_base(BASE, torch.device("cpu")), RECIPE).eval()


@pytest.fixture(scope="module")
def harmless(model: Any, encoder: Encoder, made: Curriculum) -> list[Probe]:
    return probe(model, encoder, made)


@pytest.fixture(scope="module")
def harmful(model: Any, encoder: Encoder, made: Curriculum, harmless: list[Probe]) -> list[Probe]:
    assert harmless, "asked before the adapter is spoilt"
    rows = [encoder.row(item.messages, closed_world.NOTED, item.tools) for item in made.items]
    short = sorted(rows, key=lambda row: len(row.ids))[: 3 * EACH]
    taught = [training.Lesson(row) for row in short]
    run = training.Training(model, encoder, taught, RECIPE, strategies.Strategy(), "planted")
    for places in (next(batches) for batches in [training.order(len(taught), RECIPE)] for _ in range(run.steps)):
        run.advance(places)
    return probe(model, encoder, made)


def test_an_adapter_that_changes_nothing_loses_nothing(harmless: list[Probe]) -> None:
    found = judge(harmless)
    assert found.passed, found.reasons
    assert {gate.name: gate.value for gate in found.gates if gate.name in LOST} == dict.fromkeys(LOST, 0.0)
    for name in LOST:
        assert sum(p.before for p in harmless if p.aspect == name) > EACH / 4, f"the base can do it: {name}"


@pytest.mark.parametrize("name", LOST)
def test_a_planted_regression_fails_its_gate(harmful: list[Probe], name: str) -> None:
    found = judge([p for p in harmful if p.aspect == name])
    assert not found.passed
    assert name in " ".join(found.reasons)


def test_it_stands_far_from_the_base(harmful: list[Probe]) -> None:
    assert {gate.name: gate.verdict for gate in judge(harmful).gates}["locality"] == "failed"
