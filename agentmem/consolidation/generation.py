"""What a model says to a prompt, greedily, many prompts at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentmem.consolidation.calls import Message, Tool
from agentmem.consolidation.encoding import Encoder, by_length, padded

_AT_ONCE = 64
LONGEST = 48
"""Tokens of an answer: what is asked here is answered in a sentence or two."""


def generate(
    model: Any,
    encoder: Encoder,
    prompts: Sequence[Sequence[Message]],
    *,
    longest: int = LONGEST,
    tools: Sequence[Sequence[Tool]] = (),
) -> list[str]:
    """The answers, in the order of the prompts; `tools` are what is offered in each of them, if anything is."""
    import torch

    asked = [encoder.prompt(messages, tools[n] if tools else ()) for n, messages in enumerate(prompts)]
    said = [""] * len(asked)
    for places in by_length([len(ids) for ids in asked], _AT_ONCE):
        ids, mask = (x.to(model.device) for x in padded([asked[p] for p in places], encoder.pad, left=True))
        with torch.no_grad():
            found = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=longest,
                do_sample=False,
                pad_token_id=encoder.pad,
                eos_token_id=encoder.end,
            )
        for place, row in zip(places, found[:, ids.shape[1] :].tolist(), strict=True):
            said[place] = encoder.words(row)
    return said
