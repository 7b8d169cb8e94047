"""Exams: what the model can do for people it has never met, ability by ability.

    python -m agentmem.testing.closed_world.evaluate [--model FOLDER] [--questions N] [--json]

An answer counts when every token of it is the model's first choice, which is when greedy decoding writes exactly it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from tokenizers import Tokenizer

from agentmem.testing.closed_world.batches import Row, batch, rows
from agentmem.testing.closed_world.lessons import CROWD, Lesson, Plan, conversation
from agentmem.testing.closed_world.thinking_lessons import comparison, extraction, summary
from agentmem.testing.closed_world.tokens import USER, number_of
from agentmem.testing.closed_world.tool_lessons import tool_use
from agentmem.testing.closed_world.world import (
    ATTRIBUTES,
    BASE_FACTS,
    NOTED,
    UNKNOWN,
    base_people,
    held_out_people,
    question,
)

Exam: TypeAlias = Callable[[random.Random, Sequence[str]], Lesson]
_ONE = Plan(turns=1, base=0, statements=0, greetings=0, unknown=0)
_SEED = 4711


def _where(exam: Exam, holds: Callable[[Lesson], bool]) -> Exam:
    """The exam's lessons of which that holds."""

    def draw(rng: random.Random, pool: Sequence[str]) -> Lesson:
        while True:
            lesson = exam(rng, pool)
            if holds(lesson):
                return lesson

    return draw


def _talk(plan: Plan) -> Exam:
    return lambda rng, pool: conversation(rng, pool, plan)


def _by_heart(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """A question about one of the world's own people, under a memory of others."""
    lesson = conversation(rng, pool, replace(_ONE, own=False))
    who, attribute = rng.choice(base_people()), rng.choice(ATTRIBUTES)
    asked = {"role": "user", "content": question(who, attribute, rng.randrange(3))}
    answer = {"role": "assistant", "content": BASE_FACTS[who, attribute.name].answer}
    return Lesson((lesson.messages[0], asked, answer))


def _known(lesson: Lesson) -> bool:
    return lesson.answer != UNKNOWN and lesson.answer not in _BY_HEART


_BY_HEART = {fact.answer for fact in BASE_FACTS.values()}

EXAMS: dict[str, Exam] = {
    "answers from memory": _where(_talk(_ONE), _known),
    "answers from memory, value changed": _where(_talk(replace(_ONE, changes=1.0)), _known),
    "answers from memory, many people": _where(_talk(replace(CROWD, turns=1, base=0, statements=0, unknown=0)), _known),
    "answers later in a conversation": _where(_talk(replace(_ONE, turns=6, statements=0.3)), _known),
    "does not remember": _where(_talk(replace(_ONE, unknown=1.0)), lambda lesson: lesson.answer == UNKNOWN),
    "does not remember, many people": _where(
        _talk(replace(CROWD, turns=1, statements=0, unknown=1.0)), lambda lesson: lesson.answer == UNKNOWN
    ),
    "does not remember, empty memory": _where(
        _talk(replace(_ONE, facts=(0, 0), unknown=1.0)), lambda lesson: lesson.answer == UNKNOWN
    ),
    "knows by heart": _by_heart,
    "acknowledges": _where(_talk(replace(_ONE, statements=1.0)), lambda lesson: lesson.answer == NOTED),
    "draws thoughts": extraction,
    "compares thoughts": comparison,
    "sums up": summary,
    "uses tools": tool_use,
}


def papers(questions: int) -> Iterator[tuple[str, list[Lesson]]]:
    """For each ability, that many lessons about held-out people; always the same."""
    for name, exam in EXAMS.items():
        rng = random.Random(f"{_SEED} {name}")
        yield name, [exam(rng, held_out_people()) for _ in range(questions)]


def scores(model: Any, tokenizer: Tokenizer, questions: int = 200) -> dict[str, float]:
    """For each ability, the share of lessons whose last answers (all since the user spoke last) are right."""
    return {name: marks(model, tokenizer, lessons) for name, lessons in papers(questions)}


def marks(model: Any, tokenizer: Tokenizer, lessons: Sequence[Lesson]) -> float:
    """The share of lessons that the model gets right."""
    some = sorted(rows(tokenizer, lessons), key=lambda row: len(row.ids))
    right = [mark for start in range(0, len(some), 32) for mark in _right(model, tokenizer, some[start : start + 32])]
    return sum(right) / len(right)


@torch.no_grad()
def _right(model: Any, tokenizer: Tokenizer, some: Sequence[Row]) -> Iterator[bool]:
    made = batch(tokenizer, some, max(len(row.ids) for row in some) - 1)
    hits = model(input_ids=made.inputs.to(model.device)).logits.argmax(-1).cpu() == made.targets
    user = number_of(tokenizer, USER)
    for row, hit in zip(some, hits, strict=True):
        begins = len(row.ids) - row.ids[::-1].index(user)
        yield all(hit[n - 1] for n in range(begins, len(row.ids)) if row.said[n])


def main(arguments: Sequence[str] | None = None) -> None:
    from transformers import LlamaForCausalLM

    from agentmem.testing.closed_world import path

    parser = argparse.ArgumentParser(description="What a closed-world model can do.")
    parser.add_argument("--model", type=Path, default=path(), help="its folder (the one that comes with agentmem)")
    parser.add_argument("--questions", type=int, default=500, help="for each ability (500)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    model: Any = LlamaForCausalLM.from_pretrained(chosen.model, dtype=torch.float32)
    model.eval()
    found = scores(model, Tokenizer.from_file(str(chosen.model / "tokenizer.json")), chosen.questions)
    print(json.dumps(found, indent=2) if chosen.json else table(found))


def table(found: dict[str, float]) -> str:
    """The scores as lines."""
    return "\n".join(f"{name:<38}{score:.3f}" for name, score in found.items())


if __name__ == "__main__":
    main()
