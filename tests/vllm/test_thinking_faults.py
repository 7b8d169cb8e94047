"""What goes wrong while agentmem thinks with a real vLLM: nothing that was said is lost, and nothing junk is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agentmem.config import Settings
from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem.testing.proxy import Fault, Proxy
from agentmem.types import Job
from tests.vllm.conftest import NS, ModelAt

SAID = ["My sister Ida moved to Bergen.", "How does she like it?"]
_TRIES = 4


class Clock:
    """Stands still until it is told to go on: what is put off for a minute is due when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(clock: Clock) -> Iterator[Memory]:
    """A memory that holds one exchange, which waits to be thought about."""
    short = Settings(prompt_budget_tokens=150)  # a random model goes on to the last token it may say
    with Memory("memory:", embedder=None, settings=short, clock=clock) as opened:
        turn = opened.observe("user", SAID[0], namespace=NS, session="s", think=True)
        opened.observe("assistant", SAID[1], namespace=NS, session="s", parent_id=turn.id)
        yield opened


def job_of(memory: Memory) -> Job:
    (job,) = memory.backend.jobs(task="think")
    return job


def nothing_is_lost(memory: Memory) -> bool:
    """The turns are there as they were said, and nothing was made of them."""
    return [turn.text for turn in memory.turns(namespace=NS)] == SAID and not memory.thoughts(namespace=NS)


@pytest.mark.parametrize("fault", ["error", "drop", "wrong_model"])
def test_a_server_that_fails_is_waited_for(fault: Fault, proxy: Proxy, model_at: ModelAt, told: Memory) -> None:
    """It counts as no try: a server may be away for days."""
    thinker = told.thinker(model_at(proxy.url))
    for _ in range(_TRIES + 1):
        with proxy.failing(fault), pytest.raises(ModelError) as caught:
            thinker.flush()
        assert "\n" not in str(caught.value)
    assert (job_of(told).state, job_of(told).attempts) == ("queued", 0)
    assert nothing_is_lost(told)


@pytest.mark.parametrize(
    ("fault", "named"),
    [("truncate", "cut off"), ("repeat", "repetitive"), ("overflow", "refused")],
)
def test_an_answer_that_cannot_be_used_is_tried_again_and_parked(
    fault: Fault, named: str, proxy: Proxy, model_at: ModelAt, told: Memory, clock: Clock
) -> None:
    thinker = told.thinker(model_at(proxy.url))
    with proxy.failing(fault):
        for _ in range(_TRIES):
            assert job_of(told).state == "queued"
            assert thinker.flush() == 1
            clock.now += timedelta(days=1)
        assert thinker.flush() == 0
    assert job_of(told).state == "parked"
    assert named in (job_of(told).reason or "")
    assert nothing_is_lost(told)


def test_what_the_server_was_asked_under_a_schema(proxy: Proxy, model_at: ModelAt, told: Memory) -> None:
    with proxy.failing("truncate"):
        told.thinker(model_at(proxy.url)).flush()
    (exchange,) = proxy.exchanges
    assert exchange.status == 200
    assert exchange.request["response_format"]["type"] == "json_schema"
    assert SAID[0] in exchange.request["messages"][1]["content"]
    assert exchange.body.lstrip().startswith(b"{")
