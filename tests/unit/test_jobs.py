"""Waiting work can be listed, tried again and given up, in its own namespace and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agentmem.cli import cli
from agentmem.errors import NotFoundError
from agentmem.interfaces import EmbedderIdentity, Matrix
from agentmem.memory import Memory

NS = ("ada",)
OTHER = ("bob",)


class Refusing:
    """An embedder that cannot take in some texts."""

    identity = EmbedderIdentity("refusing", 2, "d")

    def __init__(self) -> None:
        self.refuses = True

    def encode(self, texts: Sequence[str]) -> Matrix:
        if self.refuses and any("bad" in text for text in texts):
            raise ValueError("bad")
        return np.tile(np.array([1, 0], dtype=np.float32), (len(texts), 1))


@pytest.fixture
def refusing() -> Refusing:
    return Refusing()


@pytest.fixture
def parked(refusing: Refusing) -> Memory:
    memory = Memory("memory:", embedder=refusing)
    for namespace in (NS, OTHER):
        memory.observe("user", "bad one", namespace=namespace)
        memory.observe("user", "fine", namespace=namespace)
    memory.flush()
    return memory


def test_what_is_parked_is_listed_with_its_reason_in_its_own_namespace(parked: Memory) -> None:
    with parked as memory:
        (job,) = memory.jobs(namespace=NS)
        assert (job.state, job.task, job.namespace) == ("parked", "embed", NS)
        assert job.reason == "embedding failed: ValueError"
        assert memory.jobs(namespace=NS, state="queued") == []


def test_a_dropped_job_is_gone_and_what_it_was_about_stays(parked: Memory) -> None:
    with parked as memory:
        assert memory.drop_jobs([memory.jobs(namespace=NS)[0].id], namespace=NS) == 1
        assert memory.jobs(namespace=NS) == []
        assert len(memory.jobs(namespace=OTHER)) == 1
        assert "bad one" in [item.text for item in memory.recall("bad", namespace=NS).items]


def test_a_retried_job_is_as_if_never_tried(parked: Memory, refusing: Refusing) -> None:
    with parked as memory:
        refusing.refuses = False
        assert memory.retry_jobs(None, namespace=NS) == 1
        memory.flush()
        assert memory.jobs(namespace=NS) == []
        assert len(memory.jobs(namespace=OTHER, state="parked")) == 1


@pytest.mark.parametrize("wanted", ["nothing", "", "-"])
def test_a_job_that_is_not_there_is_an_error_that_names_the_list(parked: Memory, wanted: str) -> None:
    with parked as memory, pytest.raises(NotFoundError, match="agentmem queue"):
        memory.drop_jobs([wanted], namespace=NS)


def test_another_namespaces_job_is_not_there(parked: Memory) -> None:
    with parked as memory, pytest.raises(NotFoundError):
        memory.drop_jobs([memory.jobs(namespace=OTHER)[0].id], namespace=NS)


def test_erasing_that_waits_is_never_listed_nor_dropped(parked: Memory) -> None:
    with parked as memory:
        (job,) = memory.jobs(namespace=NS)
        with memory.backend.write() as writer:
            writer.add([replace(job, id="erase-job", task="erase")])
        assert [found.task for found in memory.jobs(namespace=NS)] == ["embed"]
        with pytest.raises(NotFoundError):
            memory.drop_jobs(["erase-job"], namespace=NS)


def run(store: Path, *arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["--store", str(store), "--namespace", "ada", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_the_command_lists_retries_and_drops(tmp_path: Path, refusing: Refusing) -> None:
    store = tmp_path / "memory.db"
    with Memory(store, embedder=refusing) as memory:
        memory.observe("user", "bad one", namespace=NS)
        memory.observe("user", "bad two", namespace=NS)
        memory.flush()
    listed = json.loads(run(store, "queue", "--json"))["jobs"]
    assert [job["state"] for job in listed] == ["parked", "parked"]
    assert "embedding failed: ValueError" in run(store, "queue", "list", "--parked")
    assert json.loads(run(store, "queue", "drop", listed[0]["id"], "--yes", "--json")) == {"dropped": 1}
    assert json.loads(run(store, "queue", "retry", "--parked", "--json")) == {"queued": 1}
    assert json.loads(run(store, "queue", "list", "--parked", "--json")) == {"jobs": []}
    assert [job["state"] for job in json.loads(run(store, "queue", "--json"))["jobs"]] == ["queued"]


def test_the_command_drops_nothing_unasked(tmp_path: Path, refusing: Refusing) -> None:
    store = tmp_path / "memory.db"
    with Memory(store, embedder=refusing) as memory:
        memory.observe("user", "bad one", namespace=NS)
        memory.flush()
    runner = CliRunner()
    for arguments in (["queue", "drop"], ["queue", "drop", "x", "--parked"], ["queue", "drop", "--parked"]):
        assert runner.invoke(cli, ["--store", str(store), "--namespace", "ada", *arguments]).exit_code != 0
    assert len(json.loads(run(store, "queue", "--json"))["jobs"]) == 1
