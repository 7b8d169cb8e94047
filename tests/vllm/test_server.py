"""agentmem's own client against a real vLLM: chat, streaming, JSON under a schema, adapters, counts of tokens."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from agentmem.memory import Memory
from agentmem.models.server import get, post, root_of
from agentmem.serving import Server
from agentmem.testing.proxy import Proxy
from tests.vllm.conftest import NS, AgentAt
from tests.vllm.tiny_model import CONTEXT, write_adapter

SECONDS = 60.0
SCHEMA = {
    "type": "object",
    "properties": {"thoughts": {"type": "array", "items": {"enum": ["tea", "rain"]}, "minItems": 1, "maxItems": 2}},
    "required": ["thoughts"],
    "additionalProperties": False,
}


def chat(url: str, model: str, **more: Any) -> tuple[int, Any]:
    asked = {"model": model, "messages": [{"role": "user", "content": "What do you like?"}], **more}
    return post(f"{url}/chat/completions", asked, None, SECONDS)


def text_of(said: Any) -> str:
    return str(said["choices"][0]["message"]["content"])


def test_the_agent_talks_with_it(proxy: Proxy, agent_at: AgentAt, notes: Memory) -> None:
    agent = agent_at(proxy.url)
    pieces = list(agent.stream("I moved to Bergen."))
    assert agent.last is not None
    assert agent.last.text == "".join(pieces) != ""
    assert len(pieces) > 1, "it came in pieces"
    assert [turn.role for turn in notes.turns(namespace=NS)] == ["user", "assistant"]
    assert "I moved to Bergen." in proxy.exchanges[0].sent
    assert (proxy.exchanges[0].status, proxy.requests[0]["stream"]) == (200, True)


async def test_the_agent_talks_with_it_in_asyncio(served: Server, agent_at: AgentAt) -> None:
    agent = agent_at(served.url)
    answer = await agent.aask("I moved to Bergen.")
    assert answer.text
    assert answer.model == "tiny"
    await cast(Any, agent.model).root_async_client.close()  # its connections end with this event loop


def test_a_json_schema_binds_what_it_says(served: Server) -> None:
    bound = {"type": "json_schema", "json_schema": {"name": "thoughts", "strict": True, "schema": SCHEMA}}
    status, said = chat(served.url, served.model, response_format=bound, max_tokens=200)
    assert status == 200, said
    assert set(json.loads(text_of(said))["thoughts"]) <= {"tea", "rain"}


def test_an_adapter_comes_and_goes_and_answers_by_its_name(served: Server, tiny_model: Path, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "mem-0a1b", tiny_model)
    plain = text_of(chat(served.url, served.model, temperature=0)[1])
    loading = {"lora_name": "mem-0a1b", "lora_path": str(folder)}
    assert post(f"{served.url}/load_lora_adapter", loading, None, SECONDS)[0] == 200
    try:
        assert [model["id"] for model in get(f"{served.url}/models", None, SECONDS)["data"]] == ["tiny", "mem-0a1b"]
        status, said = chat(served.url, "mem-0a1b", temperature=0)
        assert (status, said["model"]) == (200, "mem-0a1b")
        assert text_of(said) != plain
        assert text_of(chat(served.url, served.model, temperature=0)[1]) == plain
    finally:
        assert post(f"{served.url}/unload_lora_adapter", {"lora_name": "mem-0a1b"}, None, SECONDS)[0] == 200
    assert chat(served.url, "mem-0a1b")[0] == 404


def test_it_counts_tokens(served: Server) -> None:
    asked = {"model": served.model, "messages": [{"role": "user", "content": "hello"}]}
    status, said = post(f"{root_of(served.url)}/tokenize", asked, None, SECONDS)
    assert (status, said["max_model_len"]) == (200, CONTEXT)
    longer = {"model": served.model, "messages": [{"role": "user", "content": "hello you"}]}
    assert post(f"{root_of(served.url)}/tokenize", longer, None, SECONDS)[1]["count"] == said["count"] + 4


def test_many_ask_at_once(proxy: Proxy, served: Server) -> None:
    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(lambda seed: chat(proxy.url, served.model, max_tokens=8, seed=seed)[0], range(64)))
    assert found == [200] * 64
    assert {request["seed"] for request in proxy.requests} == set(range(64))
