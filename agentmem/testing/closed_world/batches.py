"""Lessons as rows of token ids, gathered into batches of equal shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from agentmem.testing.closed_world.lessons import Lesson
from agentmem.testing.closed_world.tokens import ASSISTANT, END, PAD, number_of, render

WIDTHS = (64, 96, 128, 160, 192, 224, 256, 320, 416, 512, 640)
"""Near enough to each other that one part in ten is padding, few since each is compiled once. A longer lesson is left
out."""
_READ_AHEAD = 256


@dataclass(frozen=True, slots=True)
class Row:
    """A lesson's token ids, and which of them the assistant says."""

    ids: list[int]
    said: list[bool]


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs, the tokens that follow, and what each of these counts; each of shape (rows, width)."""

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def rows(tokenizer: Tokenizer, lessons: Sequence[Lesson]) -> list[Row]:
    """The lessons, tokenised."""
    assistant, end = number_of(tokenizer, ASSISTANT), number_of(tokenizer, END)
    made = []
    for encoded in tokenizer.encode_batch([render(lesson) for lesson in lessons]):
        said, speaking = [], False
        for token in encoded.ids:
            said.append(speaking)
            speaking = token == assistant or (speaking and token != end)
        made.append(Row(encoded.ids, said))
    return made


def batch(tokenizer: Tokenizer, some: Sequence[Row], width: int, prompt: float = 0.0) -> Batch:
    """Rows of at most `width` + 1 tokens, padded on the right (where a causal model cannot see it).

    `prompt` is what a token of the prompt counts beside one of an answer.
    """
    ids = torch.full((len(some), width + 1), number_of(tokenizer, PAD))
    weights = torch.zeros(len(some), width + 1)
    for n, row in enumerate(some):
        ids[n, : len(row.ids)] = torch.tensor(row.ids)
        weights[n, : len(row.ids)] = torch.where(torch.tensor(row.said), 1.0, prompt)
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), weights[:, 1:].contiguous())


def batches(
    tokenizer: Tokenizer, lessons: Iterable[Lesson], tokens: int, prompt: Callable[[], float]
) -> Iterator[Batch]:
    """Batches of about so many tokens, each of rows of like length; `prompt` is asked for each."""
    waiting: dict[int, list[Row]] = {width: [] for width in WIDTHS}
    stream = iter(lessons)
    while True:
        for row in rows(tokenizer, [next(stream) for _ in range(_READ_AHEAD)]):
            width = next((width for width in WIDTHS if len(row.ids) <= width + 1), None)
            if width is not None:
                waiting[width].append(row)
        yield from _full(tokenizer, waiting, tokens, prompt)


def _full(
    tokenizer: Tokenizer, waiting: dict[int, list[Row]], tokens: int, prompt: Callable[[], float]
) -> Iterator[Batch]:
    while True:
        ready = [width for width, some in waiting.items() if len(some) >= max(1, tokens // width)]
        if not ready:
            return
        for width in ready:
            count = max(1, tokens // width)
            some, waiting[width] = waiting[width][:count], waiting[width][count:]
            yield batch(tokenizer, some, width, prompt())
