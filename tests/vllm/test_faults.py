"""What goes wrong between agentmem and a real vLLM ends in one clear line, and nothing that was said is lost."""

from __future__ import annotations

import json

import pytest

from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem.models.server import post
from agentmem.testing.proxy import Fault, Proxy
from tests.vllm.conftest import NS, AgentAt, ModelAt

SAID = "My sister Ida moved to Bergen."


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("error", "failed (status 500): see the server's log"),
        ("drop", "broke off in the middle of its answer"),
        ("wrong_model", "has no model 'tiny' (status 404)"),
        ("overflow", "the prompt is too long for"),
    ],
)
def test_a_fault_is_one_line_and_the_turn_is_kept(
    fault: Fault, message: str, proxy: Proxy, agent_at: AgentAt, notes: Memory
) -> None:
    agent = agent_at(proxy.url)
    with proxy.failing(fault), pytest.raises(ModelError) as caught:
        agent.ask(SAID)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    first, *rest = notes.turns(namespace=NS)
    assert (first.role, first.text) == ("user", SAID)
    assert all(turn.status == "cancelled" for turn in rest)
    answer = agent.ask("And now?")  # the same agent goes on
    assert answer.text
    assert SAID in proxy.exchanges[-1].sent


def test_one_failure_is_not_seen(proxy: Proxy, agent_at: AgentAt) -> None:
    """The client asks again by itself."""
    with proxy.failing("error", times=1):
        assert agent_at(proxy.url).ask(SAID).text
    assert [exchange.fault for exchange in proxy.exchanges] == ["error", None]


def test_slow_pieces_come_as_they_come(proxy: Proxy, agent_at: AgentAt, notes: Memory) -> None:
    agent = agent_at(proxy.url)
    with proxy.failing("slow", delay=0.05):
        pieces = agent.stream(SAID)
        next(pieces)
        pieces.close()  # the user stops it
    kept = notes.turns(namespace=NS)
    assert [(turn.role, turn.status) for turn in kept] == [("user", "complete"), ("assistant", "cancelled")]


def test_an_answer_that_goes_round_in_circles_ends_and_is_kept(proxy: Proxy, agent_at: AgentAt, notes: Memory) -> None:
    with proxy.failing("repeat"):
        answer = agent_at(proxy.url).ask(SAID)
    assert answer.text.count("the same again") > 100
    assert [turn.role for turn in notes.turns(namespace=NS)] == ["user", "assistant"]


def test_json_is_cut_off_as_at_the_limit_of_tokens(proxy: Proxy) -> None:
    """What the fault makes of a constrained answer: no JSON any more, and the server's reason for it."""
    schema = {"type": "object", "properties": {"ok": {"enum": ["agentmem"]}}, "required": ["ok"]}
    bound = {"type": "json_schema", "json_schema": {"name": "ok", "strict": True, "schema": schema}}
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "?"}], "response_format": bound}
    with proxy.failing("truncate"):
        _, said = post(f"{proxy.url}/chat/completions", asked, None, 60.0)
    assert said["choices"][0]["finish_reason"] == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(said["choices"][0]["message"]["content"])


def test_a_stream_is_cut_off_as_at_the_limit_of_tokens(proxy: Proxy, model_at: ModelAt) -> None:
    with proxy.failing("truncate"):
        pieces = list(model_at(proxy.url).stream("?"))
    whole = [json.loads(line[6:]) for line in proxy.exchanges[0].body.splitlines() if line.startswith(b"data: {")]
    full = "".join(choice["delta"].get("content") or "" for event in whole for choice in event["choices"])
    cut = "".join(piece.text for piece in pieces)
    assert full.startswith(cut)
    assert 0 < len(cut) < len(full)
    assert {piece.response_metadata.get("finish_reason") for piece in pieces} == {None, "length"}
