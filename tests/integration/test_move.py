"""A store moved into one of another kind is the same to the last bit, also when the move is killed on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from agentmem.backends.sqlite import SqliteBackend
from agentmem.cli import cli
from agentmem.errors import ConflictError, InputError, StoreError
from agentmem.interfaces import Backend
from agentmem.moving import digest_of, move
from agentmem.testing.samples import (
    ODD_TEXTS,
    new_adapter,
    new_chunk,
    new_job,
    new_operation,
    new_suppression,
    new_thought,
    new_turn,
)
from agentmem.types import Edge, Namespace, Record
from minimal_backend import MinimalBackend

TEAM: tuple[Namespace, ...] = (("team", "ada"), ("team", "bo"), ("é/1",))


def fill(backend: Backend, turns: int = 40) -> None:
    for space in TEAM:
        said = [new_turn(f"turn {n}", namespace=space, source="f", external_id=str(n)) for n in range(turns)]
        odd = [new_turn(text[:99], namespace=space, session=f"s{text[:9]}") for text in ODD_TEXTS]
        thoughts = [new_thought(f"thought {n}", namespace=space) for n in range(9)]
        job, operation = new_job(said[0].id, namespace=space), new_operation(namespace=space)
        others: list[Record] = [job, operation, new_suppression(namespace=space), new_adapter(namespace=space)]
        others.append(new_chunk(summary="s", namespace=space))
        with backend.write() as writer:
            writer.add([*said, *odd, *thoughts, *others])
            vectors = np.random.default_rng(1).normal(size=(turns, 8)).astype(np.float32)
            writer.set_vectors("turn", [turn.id for turn in said], vectors, namespace=space)
            writer.link((Edge("thought", t.id, "turn", said[3].id, "source") for t in thoughts), namespace=space)
            writer.set_meta("embedder_name", "some")


def digest(backend: Backend) -> str:
    with backend.read() as reader:
        return digest_of(reader)


@pytest.fixture
def old(tmp_path: Path) -> SqliteBackend:
    backend = SqliteBackend(tmp_path / "old.db")
    fill(backend)
    return backend


def test_a_store_moves_there_and_back(old: SqliteBackend, tmp_path: Path) -> None:
    there, back = MinimalBackend(tmp_path / "there"), SqliteBackend(tmp_path / "back.db")
    progress: list[tuple[int, int]] = []
    moved = move(old, there, lambda done, total: progress.append((done, total)))
    assert moved.digest == digest(old) == digest(there)
    assert moved.counts["turn"] == 3 * (40 + len(ODD_TEXTS))
    assert (moved.counts["vector"], moved.counts["edge"], moved.namespaces) == (120, 27, 3)
    assert progress == sorted(progress)
    assert progress[-1][0] == progress[-1][1]
    assert move(there, back).digest == moved.digest
    assert back.check() == []
    with old.read() as before, back.read() as after:
        assert before.digest("tea") == after.digest("tea")
        where = {"source": "f", "external_id": "7"}
        assert list(before.select("turn", namespace=TEAM[0], where=where)) == list(
            after.select("turn", namespace=TEAM[0], where=where)
        )


def test_a_target_with_something_in_it_is_refused(old: SqliteBackend, tmp_path: Path) -> None:
    other = SqliteBackend(tmp_path / "other.db")
    fill(other, turns=4)
    before = digest(other)
    with pytest.raises(ConflictError, match="holds memories already"):
        move(old, other)
    assert digest(other) == before
    with pytest.raises(InputError, match="both ends"):
        move(old, SqliteBackend(tmp_path / "old.db"))
    move(old, new := SqliteBackend(tmp_path / "new.db"))
    with pytest.raises(ConflictError, match="holds memories already"):
        move(old, new)


class Enough(Exception):
    pass


def stop(done: int, _total: int) -> None:
    if done > 60:
        raise Enough


def test_a_move_goes_on_where_it_was_and_takes_what_changed(old: SqliteBackend, tmp_path: Path) -> None:
    new = SqliteBackend(tmp_path / "new.db")
    with pytest.raises(Enough):
        move(old, new, stop)
    with pytest.raises(ConflictError, match=r"half of a move from .*old\.db"):
        move(SqliteBackend(tmp_path / "third.db"), new)
    with old.write() as writer:
        first, second, *_ = writer.select("turn", namespace=TEAM[0])
        writer.remove("turn", [first.id], namespace=TEAM[0])
        writer.replace([replace(second, status="superseded")])
        writer.set_vectors("turn", [second.id], np.ones((1, 8), np.float32), namespace=TEAM[0])
        writer.unlink(writer.edges(namespace=TEAM[0])[:1], namespace=TEAM[0])
        writer.add([new_turn(namespace=TEAM[0])])
        writer.remove_namespace(namespace=TEAM[1])
    moved = move(old, new)
    assert moved.digest == digest(old) == digest(new)
    assert moved.written < sum(moved.counts.values())


def test_a_source_that_is_written_to_meanwhile_is_noticed(old: SqliteBackend, tmp_path: Path) -> None:
    new = SqliteBackend(tmp_path / "new.db")
    other = SqliteBackend(tmp_path / "old.db")

    def write(done: int, total: int) -> None:
        if done == total:
            with other.write() as writer:
                writer.add([new_turn(namespace=TEAM[0])])

    with pytest.raises(StoreError, match=r"old\.db: was written to meanwhile: move again"):
        move(old, new, write)
    assert move(old, new).digest == digest(old) == digest(new)


KILLED = """
import os, signal, sys
from agentmem.config import Settings
from agentmem.moving import move
from agentmem.plugins import open_store
source, target, last = sys.argv[1:]

def report(done, total):
    if done > float(last) * total:
        os.kill(os.getpid(), signal.SIGKILL)

settings = Settings()
move(open_store(source, settings), open_store(target, settings), report)
"""


@pytest.mark.crash
def test_a_move_killed_twice_ends_the_same(tmp_path: Path) -> None:
    old = SqliteBackend(tmp_path / "old.db")
    fill(old, turns=1500)
    urls = [str(tmp_path / "old.db"), f"sqlite:///{tmp_path / 'new.db'}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for share in ("0.1", "0.3"):
        run = subprocess.run([sys.executable, "-c", KILLED, *urls, share], env=environment, check=False)
        assert run.returncode == -9
    result = CliRunner().invoke(cli, ["move", "--from", urls[0], "--to", urls[1], "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    new = SqliteBackend(tmp_path / "new.db")
    assert said["digest"] == digest(old) == digest(new)
    assert 0 < said["written"] < sum(said["counts"].values())
    assert new.check() == []


def test_the_command_says_what_it_did(old: SqliteBackend, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["move", "--from", str(old.path), "--to", str(tmp_path / "new.db")])
    assert result.exit_code == 0, result.output
    assert "147 turns" in result.stdout
    assert "yours to remove" in result.stdout
    missing = CliRunner().invoke(cli, ["move", "--from", str(tmp_path / "none.db"), "--to", str(tmp_path / "x.db")])
    assert missing.exit_code == 3 or isinstance(missing.exception, StoreError)
    assert not (tmp_path / "x.db").exists()
