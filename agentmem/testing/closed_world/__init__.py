"""A tiny Llama that does all that agentmem asks of a model, in a closed world of invented people.

    folder = closed_world.path()          # to serve with vLLM, or to load with transformers
    names = closed_world.held_out_people()

It answers from the memory in a prompt (agentmem.prompt), says "I don't remember.", knows the facts of its world's own
people by heart, draws, compares and merges thoughts, sums up (agentmem.thinking), calls tools, and acknowledges what it
is told. All of it in the wordings of `world` only: it is for tests and for trying agentmem without a real model.
Whom to invent: people of `held_out_people`, facts of `ATTRIBUTES` (`Fact`).
"""

from __future__ import annotations

from pathlib import Path

from agentmem.testing.closed_world.world import (
    ATTRIBUTES,
    BASE_FACTS,
    NOTED,
    UNKNOWN,
    USER,
    Attribute,
    Fact,
    base_people,
    held_out_people,
    question,
)

__all__ = [
    "ATTRIBUTES",
    "BASE_FACTS",
    "NOTED",
    "UNKNOWN",
    "USER",
    "Attribute",
    "Fact",
    "base_people",
    "held_out_people",
    "path",
    "question",
]


def path() -> Path:
    """The folder of the trained model: config, weights (bfloat16), tokenizer, chat template."""
    return Path(__file__).parent / "weights"
