"""Post-thinking from the command line, and through a kill: what was acknowledged is thought about once, not twice."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.testing.model_server import ModelServer, Refusal
from tests.integration.support import NS, cli, files_of, heard, start
from tests.unit.thinking_support import Mind

CATS = {f"I have {n} cats.": [{"text": f"Ann has {n} cats.", "head": "Ann"}] for n in range(2, 12)}


def later() -> datetime:
    """Past every lease and every pause."""
    return datetime.now(UTC) + timedelta(hours=1)


def answer(request: Mapping[str, Any]) -> str:
    """What a model that thinks as it should says over the wire."""
    schema = request["response_format"]["json_schema"]["name"]
    said: str = Mind(CATS)(schema, request["messages"][-1]["content"])
    return said


def remember(store: Path) -> None:
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        for text in CATS:
            said = memory.observe("user", text, namespace=NS, speaker="Ann", think=True)
            memory.observe("assistant", "Noted.", namespace=NS, parent_id=said.id)


def thoughts(store: Path) -> list[tuple[str, int]]:
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        return sorted((thought.text, thought.strength) for thought in memory.thoughts(namespace=NS, state=None))


ALL = sorted((f"Ann has {n} cats.", 1) for n in range(2, 12))


def test_the_command_works_off_the_queue(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    remember(store)
    with ModelServer([answer]) as server:
        where: list[str | Path] = ["--store", store, "--base-url", server.url]
        done = cli("think", *where, "--json", home=tmp_path)
        assert done.returncode == 0, done.stderr
        counts = json.loads(done.stdout)
        assert (counts["exchanges"], counts["inserted"], counts["summaries"], counts["waiting"]) == (10, 10, 2, 0)
        assert counts["prompt_tokens"] == 7 * counts["calls"] == 7 * len(server.chats)
        assert cli("think", *where, home=tmp_path).stdout == "nothing waited\n"
    assert thoughts(store) == ALL
    shown = json.loads(cli("stats", "--store", store, "--json", home=tmp_path).stdout)
    assert shown["thinking"]["calls"] == counts["calls"]
    assert "exchanges 10" in cli("stats", "--store", store, home=tmp_path).stdout


def test_what_fails_is_said_and_shown_by_the_doctor_until_it_is_tried_again(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    remember(store)
    with ModelServer(["nothing that is JSON"]) as server:
        where: list[str | Path] = ["--store", store, "--base-url", server.url]
        codes = [cli("think", *where, home=tmp_path).returncode for _ in range(5)]
        assert codes == [1, 1, 1, 1, 0]
        doctor = cli("doctor", *where, home=tmp_path)
        assert doctor.returncode == 1
        assert "10 to think parked: the answer to `thoughts` was not JSON in 4 tries" in " ".join(doctor.stdout.split())
        assert "`agentmem think --retry` tries again" in " ".join(doctor.stdout.split())
        server.begin([answer])
        assert cli("think", *where, home=tmp_path).stdout == "nothing waited\n"
        assert cli("think", *where, "--retry", home=tmp_path).returncode == 0
    assert thoughts(store) == ALL


def test_without_a_server_it_says_so_and_nothing_is_lost(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    remember(store)
    with ModelServer([Refusal(500, "out of memory")]) as server:
        failed = cli("think", "--store", store, "--base-url", server.url, home=tmp_path)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert "failed (status 500)" in failed.stderr
    nobody = cli("think", "--store", store, "--base-url", server.url, home=tmp_path)
    assert nobody.returncode == 5
    assert json.loads(cli("stats", "--store", store, "--json", home=tmp_path).stdout)["parked"] == 0
    with ModelServer([answer]) as server:
        assert cli("think", "--store", store, "--base-url", server.url, home=tmp_path).returncode == 0
    assert thoughts(store) == ALL


@pytest.mark.crash
@pytest.mark.parametrize("moment", ["thoughts", "applied", "decisions"])
def test_killed_in_the_middle_of_thinking_it_goes_on_without_doing_it_twice(tmp_path: Path, moment: str) -> None:
    """The child is killed while the model is asked, or in the transaction that stores what it said."""
    store = tmp_path / "memory.db"
    remember(store)
    with start("thinking_child", store, moment, home=tmp_path) as child:
        assert child.stdout is not None
        assert [line["at"] for line in heard(iter(child.stdout))] == [moment]
    assert child.returncode == -signal.SIGKILL
    assert thoughts(store) == []
    with Memory(store, embedder=None, settings=Settings(), clock=later) as memory:
        memory.thinker(Mind(CATS).model()).flush()
        assert memory.backend.jobs(task="think") == []
        assert memory.stats(namespace=NS).thinking["exchanges"] == 10
    assert thoughts(store) == ALL


def test_no_byte_of_a_forgotten_exchange_is_left(tmp_path: Path) -> None:
    """Thought about, summed up, one parked with a reason: all of it goes with the turns."""
    store = tmp_path / "memory.db"
    word = "zanzibarquux"
    text = f"I like {word}."
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        for n in range(5):
            said = memory.observe("user", f"{text} {n}", namespace=NS, speaker="Ann", think=True)
            memory.observe("assistant", f"{word}!", namespace=NS, parent_id=said.id)
        mind = Mind({f"{text} {n}": [f"Ann likes {word}."] for n in range(5)}, summary=f"Ann likes {word}.")
        memory.thinker(mind.model()).flush()
        assert [thought.strength for thought in memory.thoughts(namespace=NS)] == [5]
        assert memory.chunks(namespace=NS)[0].summary == f"Ann likes {word}."
        assert word in _bytes(store)
        receipt = memory.forget([turn.id for turn in memory.turns(namespace=NS)], namespace=NS)
        assert receipt.erased == "done"
        assert word not in _bytes(store)
    assert word not in _bytes(store)


def _bytes(store: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in files_of(store))
