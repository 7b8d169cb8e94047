"""How an adapter is trained: numbers, with what they rest on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from agentmem.errors import InputError

RANKS = (8, 16, 32, 64, 128, 256)
"""What vLLM takes (its LoRAConfig); `agentmem serve` reserves room for 32."""
MODULES = {
    "all": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
Loss: TypeAlias = Literal["distilled", "plain"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`rate` is AdamW's at its highest, after a warm-up over a share of the steps, before a cosine to zero; gradients
    are clipped to the norm `clip`. "distilled": the divergence from what the base says with the memory before its eyes
    (its `top` likeliest tokens), plus `plain` times the cross-entropy; "plain": of what is new the cross-entropy alone,
    the divergence still where nothing is to change."""

    strategy: str = "from-base"
    rank: int = 32
    modules: str = "all"
    rate: float = 2e-4
    epochs: float = 4.0
    batch: int = 16
    warm_up: float = 0.05
    clip: float = 1.0
    loss: Loss = "distilled"
    plain: float = 0.3
    top: int = 64
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.rank not in RANKS:
            raise InputError(f"rank {self.rank} cannot be served: choose one of {', '.join(map(str, RANKS))}")
        if self.modules not in MODULES:
            raise InputError(f"modules is {self.modules!r}: choose all or mlp")
        if self.rate <= 0 or self.epochs <= 0 or self.batch < 1:
            raise InputError("rate, epochs and batch must be above zero")


def recipe_of(values: dict[str, Any]) -> Recipe:
    """The recipe that `asdict` made these values of."""
    known = {f.name for f in fields(Recipe)}
    return Recipe(**{name: value for name, value in values.items() if name in known})


def as_values(recipe: Recipe) -> dict[str, Any]:
    return asdict(recipe)


CLOSED_WORLD = Recipe(rank=32, rate=3e-3, epochs=8.0, batch=32, loss="plain")
"""What the tiny model of `agentmem.testing.closed_world` takes: a million parameters need large steps, and answer too
seldom rightly from a memory to teach it."""
