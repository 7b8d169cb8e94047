"""The examples run as a reader would run them, and the conversation among them is sound."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from agentmem.testing.fake_model import tool_call
from agentmem.testing.model_server import ModelServer


def run(example: Path, folder: Path, repository: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(repository), str(repository / "tui")))}
    command = [sys.executable, str(example), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_quickstart_remembers_what_it_was_told(repository: Path, tmp_path: Path) -> None:
    first = run(repository / "examples/quickstart.py", tmp_path, repository)
    assert "peanuts" in first
    assert first.index("don't remember") < first.index("peanuts")
    assert "don't remember" not in run(repository / "examples/quickstart.py", tmp_path, repository)


def test_ingesting_a_conversation_recalls_from_it(repository: Path, tmp_path: Path) -> None:
    printed = run(repository / "examples/ingest_conversation.py", tmp_path, repository)
    assert "102 turns remembered; a second time 0, 102 were known" in printed
    assert "Pier Road 8" in printed
    assert not list(tmp_path.iterdir())


def speak(request: Mapping[str, Any]) -> str | AIMessage:
    """A model of few words: what it remembers of degrees, and a tool for hours."""
    said = "\n".join(str(message["content"]) for message in request["messages"])
    if request["messages"][-1]["role"] == "tool":
        return f"It takes {request['messages'][-1]['content']}."
    if "How long" in request["messages"][-1]["content"]:
        return tool_call("firing_time", degrees=int(re.findall(r"(\d+) degrees", said)[0]))
    return "1210 degrees." if '"My kiln in the cannery needs 1210 degrees."' in said else "Noted."


def speak_json(request: Mapping[str, Any]) -> str:
    """The same, held to a schema; results of tools stand in the system message."""
    system, question = (str(request["messages"][place]["content"]) for place in (0, -1))
    done = re.search(r'returned:\n"(.*)"', system)
    if done:
        return json.dumps({"answer": f"It takes {done[1]}."})
    if "How long" in question:
        return json.dumps({"tool": "firing_time", "arguments": {"degrees": 1210}})
    said = speak(request)
    return json.dumps({"answer": said if isinstance(said, str) else ""})


@pytest.mark.parametrize("parser", [True, False])
def test_an_agent_on_a_server_remembers_and_uses_its_tool(repository: Path, tmp_path: Path, parser: bool) -> None:
    with ModelServer([speak if parser else speak_json], window=4096, parser=parser) as server:
        printed = run(repository / "examples/vllm_agent.py", tmp_path, repository, server.url)
    assert printed.splitlines() == [
        "answers come from scripted",
        "> My kiln in the cannery needs 1210 degrees.",
        "Noted.",
        "  (0 things were recalled for it)",
        "> Which degrees does my kiln need?",
        "1210 degrees.",
        "  (2 things were recalled for it)",
        "> How long does it take to get that hot?",
        "It takes 10.1 hours.",
        "  (2 things were recalled for it)",
    ]


@pytest.mark.slow
def test_demo_does_the_main_job(repository: Path, tmp_path: Path) -> None:
    printed = run(repository / "examples/demo.py", tmp_path, repository)
    assert "102 turns added" in printed
    assert "0 turns added, 102 known already" in printed
    assert "allergic to peanuts" in printed
    assert "1210 degrees" in printed
    assert "erased: done" in printed
    assert "places in the store's files that say Kyoto or Murasaki: 0" in printed
    assert not list(tmp_path.iterdir())


def test_a_benchmark_prints_its_figures(repository: Path, tmp_path: Path) -> None:
    printed = run(repository / "benchmarks/bench.py", tmp_path, repository, "add", "--json")
    assert [figure["unit"] for figure in json.loads(printed)["figures"]] == ["ms", "x"]
    assert not list(tmp_path.iterdir())


def test_the_conversation_is_whole(repository: Path) -> None:
    from agentmem.ingest import read_turns

    turns = list(read_turns(repository / "examples/data/mara.jsonl"))
    times = [turn.occurred_at for turn in turns if turn.occurred_at]
    assert 60 <= len(turns) == len(times) <= 120
    assert times == sorted(times)
    assert len({turn.session for turn in turns}) == 8
    assert {turn.speaker for turn in turns if turn.role == "user"} == {"Mara"}
    assert len({turn.external_id for turn in turns}) == len(turns)
