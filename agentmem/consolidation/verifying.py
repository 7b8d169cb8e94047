"""Is a forgotten thought gone from the weights? What the records, the folders and the server say, and what a model with
the adapter says when it is asked."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentmem import lineage
from agentmem.consolidation import adapters, hotload
from agentmem.consolidation.writing import Known, Writer
from agentmem.errors import ModelError
from agentmem.findings import Finding

if TYPE_CHECKING:
    from agentmem.interfaces import Backend
    from agentmem.models.select import Place
    from agentmem.types import Namespace, Thought


def traces(
    backend: Backend, root: Path, thought: str, *, namespace: Namespace, place: Place | None
) -> Iterator[Finding]:
    """Where a thought that was forgotten still is, or that it is not there: store, records, folders, server."""
    with backend.read() as reader:
        there = bool(reader.get("thought", [thought], namespace=namespace))
        known = lineage.adapters(reader, namespace=namespace)
        pupils = [one.name for one in known if thought in lineage.learned(reader, one) and one.state != "withdrawn"]
    gone = {one.name for one in known if one.state == "withdrawn"}
    yield _finding("store", ["the thought itself"] if there else [], "`agentmem forget` erases it")
    yield _finding("records", pupils, "`agentmem forget` withdraws them")
    left = [f.name for f in sorted(root.glob("mem-*")) if f.name in gone or thought in _thoughts_of(f)]
    yield _finding("folders", left, "`agentmem adapters` removes them; if it cannot, remove them yourself")
    if place is not None:
        held = sorted(gone & hotload.loaded(place).keys())
        yield _finding("server", held, "`agentmem adapters` has it let go of them; else restart it")


def _finding(name: str, left: Sequence[str], remedy: str) -> Finding:
    if left:
        return Finding(name, "fault", f"still there: {', '.join(left)}", remedy)
    return Finding(name, "ok", "nothing of it")


def _thoughts_of(folder: Path) -> list[str]:
    try:
        found: list[str] = json.loads((folder / adapters.LINEAGE).read_text("utf-8"))["thoughts"]
    except (OSError, ValueError, KeyError):
        return []
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """How often the adapter and the base said what was forgotten, of `questions`; and how often each found it likelier
    than a foil, of `pairs`. A model that never saw it says it by chance, and prefers it as often as any foil."""

    questions: int
    said: int
    said_by_base: int
    pairs: int
    preferred: int
    preferred_by_base: int

    @property
    def gone(self) -> bool:
        """No more is said than the base says, and by likelihood it stands out no more than the bound for chance allows
        above the base's own preference."""
        from agentmem.consolidation.bounds import lower_bound

        return self.said <= self.said_by_base and (
            not self.pairs or lower_bound(self.preferred, self.pairs) <= max(0.5, self.preferred_by_base / self.pairs)
        )


def ask(
    base: str, folder: Path, thought: Thought, writer: Writer, others: Sequence[Thought], *, seed: int = 0
) -> Asked:
    """Ask an adapter for a statement that it must not know: by every wording, taught ones and others, reversed where
    that can be asked, and by likelihood against foils. Loads the model in this process. Raises ModelError."""
    from dataclasses import replace

    import torch

    from agentmem.consolidation import training
    from agentmem.consolidation.curriculum import Item, ask_plainly
    from agentmem.consolidation.encoding import load_encoder
    from agentmem.consolidation.generation import generate
    from agentmem.consolidation.marking import says
    from agentmem.consolidation.probing import likelihoods
    from agentmem.consolidation.recipe import recipe_of

    adapters.check(folder, adapters.base_digest(base))
    if (reason := writer.unfit(thought)) is not None:
        raise ModelError(f"{thought.text!r} cannot be asked for: it {reason}")
    told = json.loads((folder / adapters.LINEAGE).read_text("utf-8"))
    recipe = replace(recipe_of(told["recipe"]), device="cpu")
    model, encoder = training.adapted(training.load_base(base, torch.device("cpu")), recipe).eval(), load_encoder(base)
    training.load_weights(model, folder / adapters.WEIGHTS)
    words = writer.word(thought, Known([*others, thought]), random.Random(seed))
    asked = [ask_plainly(question) for question in (*words.asked, *words.kept, *(said for said, _ in words.more))]
    item = Item("recall", (), words.answer, words.expected)
    pairs = [(encoder.row(m, words.answer), encoder.row(m, foil)) for m in asked for foil in words.foils]

    def measure() -> tuple[int, int]:
        said = sum(says(answer, item, writer.unknown) for answer in generate(model, encoder, asked))
        true, false = (likelihoods(model, encoder, [pair[n] for pair in pairs]) for n in (0, 1))
        return said, sum(t > f for t, f in zip(true, false, strict=True))

    now = measure()
    with model.disable_adapter():
        before = measure()
    return Asked(len(asked), now[0], before[0], len(pairs), now[1], before[1])
