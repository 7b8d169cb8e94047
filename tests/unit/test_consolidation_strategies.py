"""The mathematics of the strategies, on weights of a few numbers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from agentmem.consolidation import strategies
from agentmem.consolidation.strategies import Average, Orthogonal, Refresh, Strategy, Twofold

RANK, WIDE = 4, 6
Weights = dict[str, torch.nn.Parameter]


def weights(first: torch.Tensor, second: torch.Tensor) -> Weights:
    return {"m.lora_A.default": torch.nn.Parameter(first), "m.lora_B.default": torch.nn.Parameter(second)}


def fresh() -> Weights:
    torch.manual_seed(0)
    return weights(torch.randn(RANK, WIDE), torch.zeros(WIDE, RANK))


@pytest.mark.parametrize("name", strategies.NAMES)
def test_every_strategy_has_its_name_and_says_where_it_is_from(name: str) -> None:
    found = strategies.find(name)
    assert found.name == name
    assert any(character.isdigit() for character in type(found).__doc__ or ""), "a year of a source"


def test_orthogonal_rows_cost_nothing_and_parallel_ones_their_product() -> None:
    one = Orthogonal()
    made = weights(torch.eye(RANK, WIDE), torch.zeros(WIDE, RANK))
    made["m.lora_B.default"].data[:, 0] = 1.0
    one.begin(made)
    penalty = one.penalty()
    assert penalty is not None
    assert float(penalty.detach()) == 0.0
    made["m.lora_A.default"].data[1] = 3.0 * made["m.lora_A.default"].data[0]
    penalty = one.penalty()
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(one.strength * 3.0)
    penalty.backward()  # type: ignore[no-untyped-call]  # torch's own
    grad = made["m.lora_A.default"].grad
    assert grad is not None
    assert grad[0].count_nonzero() == 0, "the old row is not drawn along"
    assert grad[1, 0] > 0


def test_the_first_cycle_has_nothing_to_be_orthogonal_to_and_the_last_quarter_is_used_again() -> None:
    one, made = Orthogonal(), fresh()
    one.begin(made)
    assert one.penalty() is None
    made["m.lora_B.default"].data[:] = 1.0
    one.begin(made)
    for weight in made.values():
        weight.grad = torch.ones_like(weight)
    one.adjust()
    first, second = (weight.grad for weight in made.values())
    assert first is not None
    assert second is not None
    assert first.sum(dim=1).tolist() == [0.0, 0.0, 0.0, WIDE]
    assert second.sum(dim=0).tolist() == [0.0, 0.0, 0.0, WIDE]


def test_the_slow_memory_is_exactly_the_moving_average_of_the_fast_one() -> None:
    one, made = Twofold(), fresh()
    one.begin(made)
    weight = made["m.lora_A.default"]
    expected = weight.detach().clone()
    for step in range(3):
        weight.data += step + 1.0
        one.after()
        expected = one.decay * expected + (1 - one.decay) * weight.detach()
    assert torch.allclose(one.state()["m.lora_A.default"], expected)
    assert not torch.allclose(weight, expected)
    one.end()
    assert torch.allclose(weight, expected)


class Tiny(torch.nn.Module):
    """A layer whose hidden state is its weight times the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))

    def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
        return SimpleNamespace(hidden_states=(input_ids.unsqueeze(-1) * self.weight,))


def test_it_is_drawn_to_what_the_slow_memory_makes_of_the_same_words() -> None:
    model, one = Tiny(), Twofold()
    one.begin(dict(model.named_parameters()))
    inputs = {"input_ids": torch.tensor([[1.0, 5.0]]), "attention_mask": torch.tensor([[1, 0]])}
    same = one.beside(model, inputs, model(**inputs).hidden_states[-1])
    assert same is not None
    assert float(same.detach()) == 0.0
    model.weight.data += torch.tensor([0.0, 2.0])
    apart = one.beside(model, inputs, model(**inputs).hidden_states[-1])
    assert apart is not None
    assert float(apart.detach()) == pytest.approx(2.0**2 / 2), "over the one word that is seen, and two numbers"
    apart.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert model.weight.grad is not None
    assert model.weight.grad.tolist() == [0.0, 2.0]


def test_an_average_lies_halfway_and_a_first_adapter_stays_as_it_was_learned() -> None:
    for learned, expected in ((torch.zeros(WIDE, RANK), 2.0), (torch.ones(WIDE, RANK), 1.5)):
        one, made = Average(), weights(torch.ones(RANK, WIDE), learned)
        one.begin(made)
        for weight in made.values():
            weight.data.fill_(2.0)
        one.end()
        assert torch.equal(made["m.lora_B.default"].detach(), torch.full((WIDE, RANK), expected))


def test_refreshing_goes_up_the_loss_by_a_share_of_the_weights_length() -> None:
    one, weight = Refresh(), torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    one.begin({"m.lora_A.default": weight})
    before = ((weight - 1) ** 2).sum()
    before.backward()  # type: ignore[no-untyped-call]  # torch's own
    old = weight.detach().clone()
    assert one.unlearn()
    assert float((weight.detach() - old).norm()) == pytest.approx(one.share * 5.0, rel=1e-4)
    assert float(((weight.detach() - 1) ** 2).sum()) > float(before.detach())
    assert not Strategy().unlearn()
    weight.grad = torch.zeros(2)
    old = weight.detach().clone()
    one.unlearn()
    assert torch.equal(weight.detach(), old), "nothing to go up"
