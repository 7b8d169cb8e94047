"""Full collections of garbage wait until nobody is held up by them, and end with the app."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from agentmem_tui import collecting
from agentmem_tui.app import ChatApp
from agentmem_tui.collecting import IdleCollector
from tests.tui.conftest import SIZE, say


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdleCollector]:
    monkeypatch.setattr(collecting, "_DUE", 0)
    begun = IdleCollector()
    yield begun
    begun.end()


def test_it_waits_while_an_answer_comes_and_while_someone_types(
    collector: IdleCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.touch()
    assert not collector.collect(busy=False)
    monkeypatch.setattr(collecting, "_IDLE_SECONDS", 0.0)
    assert not collector.collect(busy=True)
    assert collector.collect(busy=False)


def test_it_does_nothing_where_little_was_made(collector: IdleCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_IDLE_SECONDS", 0.0)
    monkeypatch.setattr(collecting, "_DUE", 10**9)
    assert not collector.collect(busy=False)


async def test_the_process_is_as_before_when_the_app_has_gone(chat: Callable[..., ChatApp]) -> None:
    before = gc.get_threshold()
    async with chat("Yes.").run_test(size=SIZE) as pilot:
        await say(pilot, "Is it?")
        assert gc.get_threshold()[2] > before[2]
    assert gc.get_threshold() == before
