"""Many conversations at once on one memory and one model: nothing of one reaches another, and all of them end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from agentmem.agent import Agent
from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.testing.fake_model import SlowChatModel, tool_call
from agentmem.types import Namespace

CONVERSATIONS = 64
SECONDS = 120.0
"""Far more than it takes (about 5 s on two cores): what it bounds is a deadlock."""
CODE = re.compile(r"code-\d+")


@pytest.fixture(params=["memory:", "sqlite"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Memory]:
    store = "memory:" if request.param == "memory:" else str(tmp_path / "memory.db")
    with Memory(store, embedder=None, settings=Settings(store=store, recall_items=4)) as opened:
        yield opened


def name_of(number: int) -> Namespace:
    return ("team", f"user-{number}")


def codes_in(messages: list[BaseMessage]) -> set[str]:
    return {code for message in messages for code in CODE.findall(str(message.content))}


def speak(messages: list[BaseMessage]) -> Any:
    """Says which codes it was told of; looks into memory first where it is asked to search."""
    if "Search" in messages[-1].text:
        return tool_call("search_memory", query="code of the door")
    return f"I was told: {', '.join(sorted(codes_in(messages))) or 'nothing'}."


async def converse(memory: Memory, model: SlowChatModel, number: int) -> list[str]:
    """Tell a code, begin another session, ask for it twice; every eighth breaks an answer off in between."""
    agent = Agent(memory, model, namespace=name_of(number), memory_tools=True)
    said = [(await agent.aask(f"The code of my door is code-{number}.")).text]
    if number % 8 == 0:
        async with aclosing(agent.astream("What did I just say of the door?")) as pieces:
            await anext(pieces)
    agent.begin_session()
    said.append((await agent.aask("What is the code of my door?")).text)
    said.append((await agent.aask("Search for what I said.")).text)
    return said


async def test_conversations_at_once_do_not_mix_and_all_end(memory: Memory) -> None:
    model = SlowChatModel([speak], repeat=True, seed=7, longest=0.005)
    async with asyncio.timeout(SECONDS):
        said = await asyncio.gather(*(converse(memory, model, n) for n in range(CONVERSATIONS)))
    for number, answers in enumerate(said):
        assert answers == [f"I was told: code-{number}."] * 3
    for number in range(CONVERSATIONS):
        turns = memory.turns(namespace=name_of(number))
        assert {code for turn in turns for code in CODE.findall(turn.text)} == {f"code-{number}"}
        broken = number % 8 == 0
        assert [turn.role for turn in turns].count("user") == 3 + broken
        assert [turn.status for turn in turns].count("cancelled") == broken
    assert all(len(codes_in(messages)) == 1 for messages in model.requests)


async def test_conversations_that_are_cancelled_together_keep_their_questions(memory: Memory) -> None:
    asked = [asyncio.Event() for _ in range(CONVERSATIONS)]

    async def one(number: int) -> None:
        def hang(_messages: list[BaseMessage]) -> str:
            asked[number].set()
            return "word " * 1000

        model = SlowChatModel([hang], seed=number, longest=0.05)
        await Agent(memory, model, namespace=name_of(number)).aask(f"The code of my door is code-{number}.")

    tasks = [asyncio.create_task(one(number)) for number in range(CONVERSATIONS)]
    async with asyncio.timeout(SECONDS):
        await asyncio.gather(*(event.wait() for event in asked))
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}
    assert all(memory.turns(namespace=name_of(n))[0].text == f"The code of my door is code-{n}." for n in range(64))
    assert (await Agent(memory, SlowChatModel(["Yes."]), namespace=name_of(0)).aask("Are you there?")).text == "Yes."
