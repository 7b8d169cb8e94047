"""Unlearning: the loss's mathematics, and that an adapter says less of what it is to forget and no less of the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agentmem.consolidation import training
from agentmem.consolidation.encoding import Encoder, Row, load_encoder
from agentmem.consolidation.probing import likelihoods
from agentmem.consolidation.recipe import CLOSED_WORLD
from agentmem.consolidation.unlearning import npo, said, unlearn
from agentmem.testing import closed_world

BASE = str(closed_world.path())


def test_the_loss_draws_what_is_to_go_down_and_less_the_further_it_is() -> None:
    before = torch.tensor([-1.0, -1.0])
    now = torch.tensor([-1.0, -41.0], requires_grad=True)
    npo(now, before, beta=0.1).backward()  # type: ignore[no-untyped-call]  # torch's own
    assert now.grad is not None
    near, far = now.grad.tolist()
    assert near > far > 0, "a step against the gradient makes both less likely"
    assert near == pytest.approx(0.5), "as ascent of the likelihood's gradient where it begins: 1 over two rows"
    assert far / near == pytest.approx(2 / (1 + 2.718281828**4), rel=1e-3)


def test_the_loss_begins_at_a_known_place_and_ends_at_nothing() -> None:
    same = torch.tensor([-3.0])
    assert float(npo(same, same, beta=0.5)) == pytest.approx(4 * 0.693147, rel=1e-4)
    assert float(npo(torch.tensor([-1000.0]), same, beta=0.5)) == pytest.approx(0.0, abs=1e-6)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(BASE)


def _row(encoder: Encoder, fact: closed_world.Fact) -> Row:
    return encoder.row(({"role": "user", "content": fact.question(0)},), fact.answer)


def test_what_was_known_is_unlearned_and_the_rest_is_kept(encoder: Encoder) -> None:
    """On what the base itself knows by heart: no adapter has to be trained before."""
    known = list(closed_world.BASE_FACTS.values())[:24]
    gone, rest = ([_row(encoder, fact) for fact in some] for some in (known[:6], known[6:]))
    recipe = replace(CLOSED_WORLD, rank=8, batch=8, rate=2e-3)
    model = training.adapted(training.load_base(BASE, torch.device("cpu")), recipe).eval()
    sums = said(model, encoder, gone).detach()
    lengths = torch.tensor([len(row.answer) for row in gone])
    assert torch.allclose(sums / lengths, torch.tensor(likelihoods(model, encoder, gone)), atol=1e-4)
    unlearn(model, encoder, gone, [training.Lesson(row) for row in rest], recipe, steps=24)
    assert bool((said(model, encoder, gone).detach() < sums - 1.0).all()), "each e times less likely, or more"
    lost, left = (sum(likelihoods(model, encoder, rows)) / len(rows) for rows in (gone, rest))
    assert left > max(-0.7, lost + 1.0), "a token of what is kept is nearly as likely as before"
