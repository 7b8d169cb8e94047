"""Taking something out of an adapter without making it anew: approximate, and offered as no more than that.

What is forgotten for good is forgotten by the next cycle, from the base. This is for measuring what a shorter way would
leave behind (`benchmarks/unlearning.py`): nothing of it is served.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import log_softmax, logsigmoid

from agentmem.consolidation import strategies
from agentmem.consolidation.encoding import Encoder, Row, padded
from agentmem.consolidation.recipe import Recipe
from agentmem.consolidation.training import Lesson, loss_of

BETA = 0.1
"""Of negative preference optimisation: the smaller, the nearer to going up the gradient of the loss."""


def npo(now: torch.Tensor, before: torch.Tensor, beta: float = BETA) -> torch.Tensor:
    """Negative preference optimisation: 2/β · mean log(1 + (now / before) ** β), of answers that are to be unlearned;
    both are their log-probabilities, of shape (rows,), `before` those of the model to begin with.

    It falls as they become unlikely and levels off there, where plain ascent of the gradient would not stop (Zhang et
    al. 2024, "Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning", §3.1).
    """
    return -2 / beta * logsigmoid(-beta * (now - before)).mean()


def said(model: Any, encoder: Encoder, rows: Sequence[Row]) -> torch.Tensor:
    """The log-probability of each answer, of shape (rows,)."""
    ids, mask = (x.to(model.device) for x in padded([row.ids for row in rows], encoder.pad))
    logits = log_softmax(model(input_ids=ids, attention_mask=mask, use_cache=False).logits.float(), -1)
    picked = logits[:, :-1].gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
    places = torch.arange(picked.shape[1], device=picked.device)
    starts = torch.tensor([row.start - 1 for row in rows], device=picked.device).unsqueeze(-1)
    return (picked * (places >= starts) * mask[:, 1:]).sum(-1)


def unlearn(
    model: Any, encoder: Encoder, gone: Sequence[Row], kept: Sequence[Lesson], recipe: Recipe, *, steps: int
) -> None:
    """Move the adapter of a peft model so that it no longer says `gone`, by `npo`, and still says what `kept` teaches;
    in each step a batch of both counts alike."""
    weights = list(strategies.names_of(model).values())
    optimiser = torch.optim.AdamW(weights, lr=recipe.rate, weight_decay=0.0)
    with torch.no_grad():
        before = torch.cat([said(model, encoder, [row]) for row in gone])
    rng = random.Random(recipe.seed)
    for _ in range(steps):
        places = rng.sample(range(len(gone)), min(recipe.batch, len(gone)))
        some = rng.sample(kept, min(recipe.batch, len(kept)))
        loss = npo(said(model, encoder, [gone[p] for p in places]), before[places])
        ids, mask = (x.to(model.device) for x in padded([one.row.ids for one in some], encoder.pad))
        retained = loss_of(model(input_ids=ids, attention_mask=mask, use_cache=False).logits, some, recipe)
        loss = loss + retained / sum(len(one.row.answer) for one in some)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
