"""The public proxy before a scripted server: it passes on, keeps what went by, and breaks answers when told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agentmem.models.server import get, post
from agentmem.testing.model_server import ModelServer
from agentmem.testing.proxy import Proxy

ANSWER = "One two three four five six seven eight."


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer([ANSWER], window=4096) as scripted:
        yield scripted


@pytest.fixture
def proxy(server: ModelServer) -> Iterator[Proxy]:
    with Proxy(server.url) as before:
        yield before


def asked(text: str = "Count!", **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], "stream": True, **more}


def streamed(proxy: Proxy, **more: Any) -> tuple[str, str | None]:
    """What the client of a stream hears, and why it ended. Raises where it breaks off."""
    from openai import OpenAI

    with OpenAI(base_url=proxy.url, api_key="none", max_retries=0) as client:
        events = list(client.chat.completions.create(**asked(**more)))
    text = "".join(event.choices[0].delta.content or "" for event in events)
    return text, events[-1].choices[0].finish_reason


def test_it_passes_on_and_keeps_what_went_by(proxy: Proxy, server: ModelServer) -> None:
    assert streamed(proxy) == (ANSWER, "stop")
    (exchange,) = proxy.exchanges
    assert (exchange.request["messages"], exchange.fault, exchange.status) == (asked()["messages"], None, 200)
    assert exchange.body.endswith(b"data: [DONE]\n\n")
    assert "Count!" in exchange.sent
    assert server.chats == proxy.requests


def test_all_else_passes_too(proxy: Proxy) -> None:
    assert get(f"{proxy.url}/models", None, 5)["data"][0]["id"] == "scripted"
    status, said = post(f"{proxy.url.removesuffix('/v1')}/tokenize", asked(), None, 5)
    assert (status, said["max_model_len"]) == (200, 4096)
    with proxy.failing("error"):
        assert get(f"{proxy.url}/models", None, 5)["object"] == "list"
    assert proxy.exchanges == []


def test_a_failure_for_so_many_times(proxy: Proxy) -> None:
    with proxy.failing("error", times=1):
        assert post(f"{proxy.url}/chat/completions", asked(), None, 5)[0] == 500
        assert streamed(proxy) == (ANSWER, "stop")
    assert [exchange.fault for exchange in proxy.exchanges] == ["error", None]


def test_a_connection_that_drops(proxy: Proxy) -> None:
    from openai import APIConnectionError

    with proxy.failing("drop"), pytest.raises(APIConnectionError):
        streamed(proxy)


def test_an_answer_that_is_cut_off(proxy: Proxy) -> None:
    with proxy.failing("truncate"):
        assert streamed(proxy) == ("One two three four ", "length")


def test_an_answer_that_goes_round_in_circles_to_its_limit(proxy: Proxy) -> None:
    with proxy.failing("repeat"):
        assert streamed(proxy, max_tokens=9) == ("the same again " * 3, "length")


def test_a_slow_answer_is_whole(proxy: Proxy) -> None:
    with proxy.failing("slow", delay=0.01):
        assert streamed(proxy) == (ANSWER, "stop")


def test_a_wrong_model_and_an_overflow_reach_the_server(proxy: Proxy, server: ModelServer) -> None:
    with proxy.failing("wrong_model"):
        streamed(proxy)
    assert server.chats[-1]["model"] == "scripted-that-is-not-there"
    with proxy.failing("overflow"):
        status, said = post(f"{proxy.url}/chat/completions", asked(), None, 30)
    assert (status, "maximum context length" in json.dumps(said)) == (400, True)
    assert proxy.requests[-1] == asked(), "what was asked, not what became of it"


def test_a_server_that_is_not_there(proxy: Proxy) -> None:
    proxy.target = "http://127.0.0.1:9/v1"
    status, said = post(f"{proxy.url}/chat/completions", asked(), None, 5)
    assert (status, "no answer from http://127.0.0.1:9/v1" in json.dumps(said)) == (502, True)
