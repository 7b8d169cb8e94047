"""People and facts of the closed world as thoughts, for the tests of consolidation."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentmem.clock import utc_now
from agentmem.config import Settings
from agentmem.consolidation import adapters
from agentmem.consolidation.curriculum import Curriculum, build
from agentmem.memory import Memory
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.types import Namespace, Thought

NS: Namespace = ("ada",)


def facts(people: int, each: int = 6, *, skip: int = 0, seed: int = 7) -> list[closed_world.Fact]:
    """So many facts of each of so many people whom the model has never met; the same for the same seed."""
    rng = random.Random(seed)
    names = closed_world.held_out_people()[skip : skip + people]
    return [
        closed_world.Fact(who, attribute, rng.choice(attribute.values))
        for who in names
        for attribute in rng.sample(closed_world.ATTRIBUTES, each)
    ]


def remember(memory: Memory, told: Sequence[closed_world.Fact], namespace: Namespace = NS) -> list[Thought]:
    return [
        memory.insert(
            fact.statement,
            namespace=namespace,
            head=fact.who,
            relation=fact.attribute.relation,
            tail=fact.value,
        ).thought
        for fact in told
    ]


def curriculum_of(people: int, each: int) -> Curriculum:
    """What some facts would be taught and judged by."""
    with Memory("memory:", embedder=None, settings=Settings()) as memory:
        thoughts = remember(memory, facts(people, each))
    return build(thoughts, ClosedWorldWriter(), seed=1, now=utc_now(), everything=thoughts)


def write_result(folder: Path) -> None:
    """What the worker leaves: an adapter (of one number), and probes that say that all is well."""
    import torch
    from safetensors.torch import save_file

    adapter = folder / "adapter"
    adapter.mkdir(parents=True, exist_ok=True)
    save_file({"weight": torch.zeros(1)}, adapter / adapters.WEIGHTS)
    (adapter / adapters.CONFIG).write_text("{}", "utf-8")
    probes: list[Mapping[str, Any]] = [{"aspect": "recall", "right": True, "before": False}] * 200
    (folder / "probes.json").write_text(json.dumps({"run": {}, "probes": probes}), "utf-8")


def quick(folder: Path, *_: Any) -> None:
    """In the trainer's place: weights that follow from the curriculum."""
    write_result(folder)
    (folder / "adapter" / adapters.CONFIG).write_text(json.dumps({"of": time.monotonic_ns()}), "utf-8")
