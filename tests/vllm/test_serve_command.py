"""`agentmem serve` from its start to its end, on a real vLLM, as a person or a supervisor runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.support import cli, environment
from tests.vllm.conftest import READY_SECONDS, free_port


class Serving:
    """`agentmem serve` in a process of its own; what it says on stdout and stderr goes to files."""

    def __init__(self, folder: Path, env: dict[str, str], *args: str | Path) -> None:
        self.out, self.err, self.log = folder / "out", folder / "err", folder / "log"
        command = [sys.executable, "-m", "agentmem", "serve", "--log", str(self.log), *map(str, args)]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(command, env=env, cwd=folder, stdout=out, stderr=err)

    def until(self, sign: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not sign():
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < deadline, self.log.read_text()[-2000:]
            time.sleep(0.1)

    def until_logged(self, words: str) -> None:
        self.until(lambda: self.log.exists() and words in self.log.read_text("utf-8", "replace"))

    def until_served(self) -> None:
        self.until(lambda: "is served at" in self.out.read_text())

    def servers(self) -> list[int]:
        """The processes that come from it: their environment names its folder."""
        return [pid for pid in _processes() if str(self.log.parent) in _environment_of(pid)]


def _processes() -> Iterator[int]:
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def _environment_of(pid: int) -> str:
    """A process's environment as it began; empty where it ended (a zombie has none)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
    return ""


def gone(serving: Serving) -> bool:
    return not [pid for pid in serving.servers() if pid != serving.process.pid]


@pytest.fixture
def serve(vllm_python: str, tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    started: list[Serving] = []
    settings = {"AGENTMEM_VLLM_PYTHON": vllm_python, "VLLM_CPU_KVCACHE_SPACE": "1", "STARTED_IN": str(tmp_path)}

    def begin(*args: str | Path, **more: str) -> Serving:
        started.append(Serving(tmp_path, environment(tmp_path, **settings, **more), *args))
        return started[-1]

    yield begin
    for serving in started:
        serving.process.kill()
        serving.process.wait()


def test_it_serves_until_it_is_told_to_stop_and_calls_nobody(
    serve: Callable[..., Serving], tiny_model: Path, tmp_path: Path, vllm_python: str, shim: Path
) -> None:
    port, calls = free_port(), tmp_path / "calls"
    watched = {"LD_PRELOAD": str(shim), "SHIM_LOG": str(calls)}
    serving = serve(tiny_model, "--port", port, "--name", "small", "--", "--max-model-len", "4096", **watched)
    serving.until_served()
    url = f"http://127.0.0.1:{port}/v1"
    assert f"agentmem chat --base-url {url}" in serving.out.read_text()
    assert not gone(serving)

    doctor = cli("doctor", "--json", "--base-url", url, home=tmp_path)
    found = {finding["name"]: finding for finding in json.loads(doctor.stdout)["findings"]}
    assert found["model"]["detail"].startswith(f"small at {url} (vLLM ")
    assert found["context"]["detail"] == "4096 tokens"
    assert {found[name]["state"] for name in ("model", "context", "tokens", "json schema", "adapters")} == {"ok"}

    twice = cli("serve", tiny_model, "--port", str(port), home=tmp_path, env={"AGENTMEM_VLLM_PYTHON": vllm_python})
    assert twice.returncode == 5
    assert f"cannot listen at 127.0.0.1:{port}" in twice.stderr

    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0
    assert gone(serving)
    assert calls.read_text() == "", "connections to what is not loopback"


def test_ctrl_c_while_it_loads_leaves_nothing(serve: Callable[..., Serving], tiny_model: Path) -> None:
    serving = serve(tiny_model, "--port", free_port())
    serving.until_logged("\n")
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(60) == 130
    assert gone(serving)
    assert "Traceback" not in serving.err.read_text()


def test_a_kill_leaves_nothing(serve: Callable[..., Serving], tiny_model: Path) -> None:
    serving = serve(tiny_model, "--port", free_port())
    serving.until_logged("EngineCore")
    serving.process.kill()
    serving.process.wait()
    deadline = time.monotonic() + 60
    while not gone(serving):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_flag_that_vllm_does_not_know_is_named(serve: Callable[..., Serving], tiny_model: Path) -> None:
    serving = serve(tiny_model, "--port", free_port(), "--", "--no-such-flag")
    assert serving.process.wait(READY_SECONDS) == 5
    said = serving.err.read_text().splitlines()[-1]
    assert "unrecognized arguments: --no-such-flag" in said
    assert "what stands after --" in said
    assert str(serving.log) in said
