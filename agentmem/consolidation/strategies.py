"""Ways to learn new thoughts: anew from the frozen base, or going on from the adapter that serves.

A strategy is asked at four places of the training loop; what it does there is all that tells it from the others. The
default needs none of them: it begins from the base with everything in its curriculum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agentmem.errors import InputError

if TYPE_CHECKING:
    import torch


class Strategy:
    """From the frozen base on all that is to be known: the default. Nothing drifts from cycle to cycle, and what is
    forgotten is gone with the next (exact unlearning: Bourtoule et al. 2021, "Machine Unlearning", §1)."""

    name = "from-base"
    goes_on = False
    """Whether it begins with the weights of the adapter that serves."""
    rehearses = True
    """Whether what was learned before is among its examples."""

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        """Before the first step; `weights` are the adapter's, by name, those of the one before where it goes on."""

    def penalty(self) -> torch.Tensor | None:
        """What is added to the loss of a step."""
        return None

    def adjust(self) -> None:
        """Between the gradient and the step."""

    def __repr__(self) -> str:
        return self.name


class Replay(Strategy):
    """Goes on from the adapter that serves, rehearsing what it knows (`agentmem.consolidation.replay`)."""

    name = "replay"
    goes_on = True


class Sequential(Strategy):
    """Goes on with the new thoughts alone: the baseline that shows how much is lost (McCloskey & Cohen 1989)."""

    name = "sequential"
    goes_on = True
    rehearses = False


class Anchored(Strategy):
    """Goes on with the new alone, held to the old weights by the square of the distance (Kirkpatrick et al. 2017,
    "Overcoming catastrophic forgetting", §2: the L2 baseline to which EWC is compared)."""

    name = "l2"
    goes_on = True
    rehearses = False
    strength = 0.1

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        self._pairs = [(weight, weight.detach().clone()) for weight in weights.values()]

    def penalty(self) -> torch.Tensor | None:
        import torch

        return self.strength * torch.stack([((now - old) ** 2).sum() for now, old in self._pairs]).sum()


class HalfFrozen(Strategy):
    """Goes on with the new alone, half of the matrices frozen, chosen anew each cycle (Hui et al. 2024, "HFT: Half
    Fine-Tuning for Large Language Models", §3)."""

    name = "hft"
    goes_on = True
    rehearses = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        import random

        modules = sorted({_module(name) for name in weights})
        frozen = set(random.Random(self._seed).sample(modules, len(modules) // 2))
        for name, weight in weights.items():
            weight.requires_grad_(_module(name) not in frozen)


class Magnitude(Strategy):
    """Goes on with the new alone; only the rows of largest magnitude move, by the product of the two factors (Du et al.
    2024, "Unlocking Continual Learning Abilities in Language Models" (MIGU), §3: there by the layer's output, here by
    the norm of the rows of what the adapter adds to it)."""

    name = "migu"
    goes_on = True
    rehearses = False
    share = 0.5

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        self._masks: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        for name, weight in weights.items():
            if "lora_B" in name:
                norms = weight.detach().norm(dim=1)
                least = norms.kthvalue(max(1, int(len(norms) * (1 - self.share)))).values
                self._masks.append((weight, (norms > least).to(weight.dtype).unsqueeze(1)))

    def adjust(self) -> None:
        for weight, mask in self._masks:
            if weight.grad is not None:
                weight.grad.mul_(mask)


def _module(name: str) -> str:
    """Both factors of a matrix go together."""
    return name.split(".lora_")[0]


_ALL: dict[str, Callable[[int], Strategy]] = {
    "from-base": lambda _seed: Strategy(),
    "replay": lambda _seed: Replay(),
    "sequential": lambda _seed: Sequential(),
    "l2": lambda _seed: Anchored(),
    "hft": HalfFrozen,
    "migu": lambda _seed: Magnitude(),
}
NAMES = tuple(_ALL)


def find(name: str, seed: int = 0) -> Strategy:
    """The strategy of that name. Raises InputError."""
    if name not in _ALL:
        raise InputError(f"there is no strategy {name!r}: choose one of {', '.join(_ALL)}")
    return _ALL[name](seed)


def names_of(model: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's weights in a peft model, by name."""
    return {name: weight for name, weight in model.named_parameters() if "lora_" in name}
