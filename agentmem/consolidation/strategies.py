"""Ways to learn new thoughts: anew from the frozen base, or going on from the adapter that serves.

A strategy is asked at a few places of the training loop; what it does there is all that tells it from the others. The
default needs none of them: it begins from the base with everything in its curriculum. In the weights' names "lora_A" is
the factor of shape (rank, inputs), "lora_B" that of shape (outputs, rank), which begins with zeros.
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

    def beside(self, model: Any, inputs: Mapping[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor | None:
        """What is added to the loss of some rows; `hidden`, of shape (rows, width, size), is what the last layer made
        of them. Only asked of one that `distils`."""

    distils = False

    def unlearn(self) -> bool:
        """Before a step, with its gradient: whether it moved the weights, so that the gradient is to be taken anew."""
        return False

    def adjust(self) -> None:
        """Between the gradient and the step."""

    def after(self) -> None:
        """After a step."""

    def end(self) -> None:
        """After the last step: its last word on the weights."""

    def state(self) -> Mapping[str, torch.Tensor]:
        """What it has gathered on the way, by the weights' names: written over in place where a run is gone on with."""
        return {}

    def __repr__(self) -> str:
        return self.name


class Replay(Strategy):
    """Goes on from the adapter that serves, rehearsing what it knows by the time since it was last rehearsed
    (`agentmem.consolidation.replay`: Anderson & Schooler 1991)."""

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


class Orthogonal(Strategy):
    """Goes on with the new alone, in directions of its own: of the adapter's rank each cycle takes a quarter, whose
    rows of A are held orthogonal to those of the cycles before by the sum of their products' magnitudes; what these
    learned does not move (O-LoRA: Wang et al. 2023, "Orthogonal Subspace Learning for Language Model Continual
    Learning", §3.2; there each task adds an adapter, here all share the rank that is served, so from the fifth cycle on
    the last quarter is used again)."""

    name = "o-lora"
    goes_on = True
    rehearses = False
    share = 0.25
    strength = 0.5

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        import torch

        self._factors: list[tuple[torch.nn.Parameter, torch.nn.Parameter, slice]] = []
        for name, second in weights.items():
            if "lora_B" in name:
                rank = second.shape[1]
                size = max(1, int(rank * self.share))
                used = torch.nonzero(second.detach().abs().sum(dim=0)).flatten()
                first = min(int(used.max()) + 1 if len(used) else 0, rank - size)
                pair = weights[name.replace("lora_B", "lora_A")], second
                self._factors.append((*pair, slice(first, first + size)))

    def penalty(self) -> torch.Tensor | None:
        import torch

        products = [(a[: own.start].detach() @ a[own].T).abs().sum() for a, _, own in self._factors if own.start]
        return self.strength * torch.stack(products).sum() if products else None

    def adjust(self) -> None:
        for first, second, own in self._factors:
            if first.grad is not None and second.grad is not None:
                kept = first.grad[own].clone(), second.grad[:, own].clone()
                first.grad.zero_()
                second.grad.zero_()
                first.grad[own], second.grad[:, own] = kept


class Twofold(Strategy):
    """Two memories: the fast one learns, rehearsing, and is drawn to what the slow one makes of the same rows; the slow
    one is the fast one's moving average, and is what serves (I-LoRA: Ren et al. 2024, "Analyzing and Reducing
    Catastrophic Forgetting in Parameter Efficient Tuning", §4: the mean square of the difference of hidden states)."""

    name = "i-lora"
    goes_on = True
    distils = True
    decay = 0.95
    strength = 1.0

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        self._fast = weights
        self._slow = {name: weight.detach().clone() for name, weight in weights.items()}

    def beside(self, model: Any, inputs: Mapping[str, torch.Tensor], hidden: torch.Tensor) -> torch.Tensor | None:
        import torch

        with torch.no_grad():  # by value: the fast weights' graph is still to be gone back through
            slow = torch.func.functional_call(model, self._slow, kwargs=dict(inputs))
        seen = inputs["attention_mask"].unsqueeze(-1)
        apart: torch.Tensor = ((hidden - slow.hidden_states[-1]) ** 2 * seen).sum()
        return self.strength * apart / (seen.sum() * hidden.shape[-1])

    def after(self) -> None:
        for name, weight in self._fast.items():
            self._slow[name].lerp_(weight.detach(), 1 - self.decay)

    def end(self) -> None:
        for name, weight in self._fast.items():
            weight.data.copy_(self._slow[name])

    def state(self) -> Mapping[str, torch.Tensor]:
        return self._slow


class Average(Strategy):
    """Goes on with the new alone; what serves is halfway between the weights before and after (Wortsman et al. 2022,
    "Robust fine-tuning of zero-shot models", §3; the first adapter, which nothing comes before, is as it was learned).
    """

    name = "average"
    goes_on = True
    rehearses = False
    share = 0.5

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        self._pairs = [(weight, weight.detach().clone()) for weight in weights.values()]
        self._fresh = all(not bool(weight.any()) for name, weight in weights.items() if "lora_B" in name)

    def end(self) -> None:
        for weight, old in self._pairs if not self._fresh else ():
            weight.data.lerp_(old, self.share)


class Refresh(Strategy):
    """Goes on, rehearsing; before each step it unlearns a little of the step's own examples, up their loss, to learn
    them again (Wang et al. 2024, "A Unified and General Framework for Continual Learning", §4.2; there by Langevin
    steps under the Fisher information, here along the gradient, by a share of the weights' length)."""

    name = "refresh"
    goes_on = True
    share = 0.002

    def begin(self, weights: Mapping[str, torch.nn.Parameter]) -> None:
        self._weights = list(weights.values())

    def unlearn(self) -> bool:
        moving = [(weight, weight.grad) for weight in self._weights if weight.grad is not None]
        length = sum(float((grad**2).sum()) for _, grad in moving) ** 0.5
        size = sum(float((weight.detach() ** 2).sum()) for weight, _ in moving) ** 0.5
        for weight, grad in moving if length else ():
            weight.data.add_(grad, alpha=self.share * size / length)
        return True


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
    "o-lora": lambda _seed: Orthogonal(),
    "i-lora": lambda _seed: Twofold(),
    "average": lambda _seed: Average(),
    "refresh": lambda _seed: Refresh(),
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
