"""A real vLLM for the tests in this folder: `make test-vllm` prepares one and names its interpreter.

Fixtures to build on: `start_server` (a server of any model's folder, one a folder), `served` (the tiny model's),
`proxy` (a recording, fault-injecting proxy before it), `model_at` and `agent_at` (clients that are closed).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest
from langchain_core.language_models import BaseChatModel

from agentmem.agent import Agent, choose_model
from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.serving import Server, Vllm, find_vllm, start
from agentmem.testing.proxy import Proxy
from tests.vllm.tiny_model import write_model

HERE = Path(__file__).parent
NS = ("ada",)
READY_SECONDS = 400.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("vllm")


ModelAt: TypeAlias = Callable[[str], BaseChatModel]
AgentAt: TypeAlias = Callable[[str], Agent]


class StartServer(Protocol):
    def __call__(self, folder: Path, *flags: str) -> Server: ...


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """The interpreter of an environment with vLLM."""
    python = os.environ.get("AGENTMEM_VLLM_PYTHON")
    if not python:
        pytest.skip("no vLLM: `make test-vllm` prepares one (or set AGENTMEM_VLLM_PYTHON)")
    return python


@pytest.fixture(scope="session")
def vllm(vllm_python: str) -> Vllm:
    return find_vllm(vllm_python)


@pytest.fixture(scope="session")
def start_server(vllm: Vllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts a server of a model's folder on a free port and waits for it; the same folder and flags: the same server.

    They are stopped when the tests end. Their logs are in `server-….log` in pytest's temporary folder.
    """
    logs = tmp_path_factory.mktemp("servers")
    started: dict[tuple[object, ...], Server] = {}

    def started_for(folder: Path, *flags: str) -> Server:
        key = (folder, *flags)
        if key not in started:
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
            log = logs / f"server-{len(started)}.log"
            started[key] = start(str(folder), vllm, log, port=free_port(), flags=flags)
            print(f"{folder.name} is served: {log}")
            started[key].wait(seconds=READY_SECONDS)
        return started[key]

    yield started_for
    for server in started.values():
        server.stop()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def served(start_server: StartServer, tiny_model: Path) -> Server:
    """The tiny model, served."""
    return start_server(tiny_model)


@pytest.fixture
def proxy(served: Server) -> Iterator[Proxy]:
    with Proxy(served.url) as before:
        yield before


@pytest.fixture
def notes() -> Iterator[Memory]:
    """A memory in RAM that needs no embedder."""
    with Memory("memory:", embedder=None, settings=Settings()) as opened:
        yield opened


@pytest.fixture
def model_at() -> Iterator[ModelAt]:
    """Makes agentmem's client of the server at an address; its connections are closed after the test."""
    made: list[Any] = []

    def model(url: str) -> BaseChatModel:
        chosen = choose_model(Settings(base_url=url)).model
        assert chosen is not None
        made.append(chosen)
        return chosen

    yield model
    for model_made in made:
        model_made.root_client.close()


@pytest.fixture
def agent_at(model_at: ModelAt, notes: Memory) -> AgentAt:
    """Makes an agent whose model is at an address, and whose memory is `notes`, in the namespace ("ada",). It does not
    think behind its answers: the requests at a proxy can be counted."""
    return lambda url: Agent(notes, model_at(url), namespace=NS, think=False)


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])
