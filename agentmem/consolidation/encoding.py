"""Conversations as token ids, by the model's own chat template, and rows of them as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentmem.consolidation.calls import Message, Tool
from agentmem.errors import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and an answer in one list of ids; the answer, with the mark that ends it, begins at `start`."""

    ids: list[int]
    start: int

    @property
    def answer(self) -> list[int]:
        return self.ids[self.start :]


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer with a chat template."""

    tokenizer: Any

    @property
    def pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if pad is None else pad)

    @property
    def end(self) -> int:
        return int(self.tokenizer.eos_token_id)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> list[int]:
        return self._ids(self._text(messages, tools))

    def row(self, messages: Sequence[Message], answer: str, tools: Sequence[Tool] = ()) -> Row:
        """The prompt, then the answer as the template has the assistant say it."""
        before = self._text(messages, tools)
        whole = self._text([*messages, {"role": "assistant", "content": answer}], tools, ends=True)
        said = whole[len(before) :] if whole.startswith(before) else answer + self.tokenizer.eos_token
        ids = self._ids(before)
        return Row([*ids, *self._ids(said.rstrip("\n"))], len(ids))

    def words(self, ids: Sequence[int]) -> str:
        """What was said up to its end, with the marks of a tool call, which some models have as special tokens."""
        said = ids[: ids.index(self.end)] if self.end in ids else ids
        return str(self.tokenizer.decode(said, skip_special_tokens=False)).strip()

    def _text(self, messages: Sequence[Message], tools: Sequence[Tool], *, ends: bool = False) -> str:
        made = self.tokenizer.apply_chat_template(
            list(messages), tools=list(tools) or None, tokenize=False, add_generation_prompt=not ends
        )
        return str(made)

    def _ids(self, text: str) -> list[int]:
        return [int(i) for i in self.tokenizer(text, add_special_tokens=False)["input_ids"]]


def load_encoder(base: str) -> Encoder:
    """The tokenizer of a base model's folder. Raises ModelError where it has no chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(f"{base} has no chat template: consolidation needs the chat model that answers")
    return Encoder(tokenizer)


def padded(rows: Sequence[Sequence[int]], pad: int, *, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and attention mask, each of shape (rows, longest)."""
    import torch

    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for n, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[n, place] = torch.tensor(row)
        mask[n, place] = 1
    return ids, mask


def by_length(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Groups of at most `size` places, those of like lengths together."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), size):
        yield order[start : start + size]
