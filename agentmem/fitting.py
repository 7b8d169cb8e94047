"""What goes into a prompt where not everything fits: memory and conversation give way, the question never does.

Turns of the conversation that no longer fit are not lost. They are in the ledger, and where they bear on the question
they come back among what is remembered, like any other turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from agentmem import prompt
from agentmem.errors import ModelError
from agentmem.text import count_tokens
from agentmem.types import RecallItem, Role

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_ROUNDS = 8
_TIGHTER = 0.9
"""Shares are rough: what is cut by its estimate is cut a little more than it need be."""
_RESULTS = (None, 16_000, 4000, 1000, 250)
"""Characters that the result of a tool may have, the most that fits (None: all it has)."""


class Said(NamedTuple):
    """A message of the conversation; `id` is None where it is not in the ledger."""

    role: Role
    text: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is sent, and what stands in it: items of memory, whole, and ids of the conversation's turns."""

    messages: list[BaseMessage]
    items: tuple[RecallItem, ...]
    turns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """Everything that could go into a prompt. `found` is best first, `history` oldest first; of the one at most
    `wanted` are shown that are not in the other. `budgets` are the tokens that each may take. Where the conversation
    does not fit, `again` recalls what there is besides the question, the conversation's turns among it."""

    question: str
    found: Sequence[RecallItem]
    wanted: int
    history: Sequence[Said]
    budgets: tuple[int, int]
    again: Callable[[], Sequence[RecallItem]]

    def shown(self, share: float = 1.0) -> tuple[list[RecallItem], list[Said]]:
        """The items and the messages that a share of the budgets has room for."""
        for_items, for_history = (int(budget * share) for budget in self.budgets)
        history = newest(self.history, for_history)
        standing = {said.id for said in history}
        fresh = [item for item in self.found if item.id not in standing][: self.wanted]
        return prompt.fit(fresh, for_items, self.question), history

    def tightened(self) -> Draft:
        """The same with budgets of no more than both are used for, so that a share of them cuts something. Either may
        use all of it: what leaves the conversation may come back among the items."""
        items, history = self.shown()
        used = prompt.cost(items) + sum(count_tokens(said.text) for said in history)
        return replace(self, found=self.again(), budgets=(min(self.budgets[0], used), min(self.budgets[1], used)))


Render = Callable[[Sequence[RecallItem], Sequence[Said], int | None], "list[BaseMessage]"]
"""Makes the messages of items, conversation, and the characters that a tool's result may have (None: all it has)."""
Count = Callable[[Sequence["BaseMessage"]], int]


def fit(draft: Draft, render: Render, count: Count, limit: int | None) -> Fitted:
    """The prompt with as much as `limit` tokens have room for (None: as the budgets have).

    Raises ModelError where the question alone does not fit.
    """
    whole = _made(draft, render, 1.0, None)
    if limit is None or (length := count(whole.messages)) <= limit:
        return whole
    draft = draft.tightened()
    result, least, shortest = _least(draft, render, count, limit)
    share = 1.0
    for _ in range(_ROUNDS):
        share *= _TIGHTER * max(limit - shortest, 0) / max(length - shortest, 1)
        made = _made(draft, render, min(share, 1.0), result)
        length = count(made.messages)
        if length <= limit:
            return made
    return least


def _least(draft: Draft, render: Render, count: Count, limit: int) -> tuple[int | None, Fitted, int]:
    """The prompt without memory and conversation: characters of a tool's result in it, itself, its tokens."""
    for result in _RESULTS:
        least = _made(draft, render, 0.0, result)
        length = count(least.messages)
        if length <= limit:
            return result, least, length
    raise ModelError(
        f"the question is too long for the model: with the instructions it takes {length} tokens, and {limit} are "
        "free: ask in fewer words, or serve a model with a longer context"
    )


def _made(draft: Draft, render: Render, share: float, result: int | None) -> Fitted:
    items, history = draft.shown(share)
    turns = tuple(said.id for said in history if said.id is not None)
    shown = {item.id for item in items}
    return Fitted(render(items, history, result), tuple(item for item in draft.found if item.id in shown), turns)


def newest(said: Sequence[Said], budget: int) -> list[Said]:
    """The newest messages that together have room in a budget of tokens, oldest first, the first of them the user's:
    chat templates refuse another, and what is not shown must not count as shown."""
    first = len(said)
    while first and (budget := budget - count_tokens(said[first - 1].text)) >= 0:
        first -= 1
    while first < len(said) and said[first].role != "user":
        first += 1
    return list(said[first:])
