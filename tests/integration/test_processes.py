"""Several processes on one store, and several namespaces in it: no loss, no leak, and each sees what the others did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from agentmem.config import Settings
from agentmem.errors import AgentmemError, InputError, NotFoundError, StoreClosedError
from agentmem.memory import Memory
from agentmem.types import Namespace
from tests.integration.support import NS, HashEmbedder, cli, environment, faults, heard, said, start

ADDS = 2000


def opened(store: Path, *, vectors: bool = False) -> Memory:
    return Memory(str(store), embedder=HashEmbedder() if vectors else None, settings=Settings(store=str(store)))


@pytest.mark.timeout(150)
def test_two_writing_processes_lose_nothing(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    opened(store).close()
    ids: dict[str, list[str]] = {}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(start("writer_child", store, name, str(ADDS), home=tmp_path))
            for name in ("anna", "ben")
        }
        replies = {name: heard(iter(child.stdout or ())) for name, child in writers.items()}
        for reply in replies.values():
            assert next(reply) == {"ready": True}
        for child in writers.values():
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        for name, child in writers.items():
            ids[name] = next(replies[name])["ids"]
            assert child.wait(30) == 0
    with opened(store, vectors=True) as memory:
        turns = memory.turns(namespace=NS, session="shared")
        assert [turn.seq for turn in turns] == list(range(2 * ADDS))
        by_id = {turn.id: turn.text for turn in turns}
        for name, written in ids.items():
            assert [by_id[i] for i in written] == [f"{name} wrote line {n}" for n in range(ADDS)]
            assert [t.id for t in turns if t.text.startswith(name)] == written, "a process's order is not kept"
        memory.flush()
        assert memory.stats(namespace=NS).waiting == 0
        assert faults(memory, NS) == []
        for text in ("anna wrote line 1234", "ben wrote line 77"):
            assert memory.recall(text, namespace=NS).items[0].text == text
        with memory.backend.read() as reader:
            assert set(reader.vectors("turn", namespace=NS)[0]) == set(by_id)


@pytest.mark.parametrize(("mine", "theirs"), [(("a", "bc"), ("ab", "c")), (("a",), ("a", "b")), (("a/b",), ("a", "b"))])
def test_a_namespace_shows_nothing_of_another(mine: Namespace, theirs: Namespace, tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db", vectors=True) as memory:
        my_turn = memory.observe("user", "the lighthouse is green", namespace=mine, session="s")
        their_turn = memory.observe("user", "the submarine is yellow", namespace=theirs, session="t")
        my_thought = memory.insert("lighthouses are green", namespace=mine, sources=[my_turn.id]).thought
        their_thought = memory.insert("submarines are yellow", namespace=theirs, sources=[their_turn.id]).thought
        memory.flush()
        found = memory.recall("yellow submarine lighthouse", namespace=mine, k=50).items
        assert {item.id for item in found} <= {my_turn.id, my_thought.id}
        assert [t.id for t in memory.turns(namespace=mine)] == [my_turn.id]
        assert [t.id for t in memory.thoughts(namespace=mine, state=None)] == [my_thought.id]
        assert [s.session for s in memory.sessions(namespace=mine)] == ["s"]
        assert memory.stats(namespace=mine).turns == 1
        for theirs_id in (their_turn.id, their_thought.id):
            with pytest.raises(NotFoundError):
                memory.resolve(theirs_id, namespace=mine)
            with pytest.raises(NotFoundError):
                memory.resolve(theirs_id[-12:], namespace=mine)
            with pytest.raises(NotFoundError):
                memory.forget([theirs_id], namespace=mine)
        with pytest.raises(NotFoundError):
            memory.get_turn(their_turn.id, namespace=mine)
        with pytest.raises(NotFoundError):
            memory.open_chunk(their_turn.id, namespace=mine)
        with pytest.raises(NotFoundError):
            memory.history(their_thought.id, namespace=mine)
        with pytest.raises(NotFoundError):
            memory.insert("stolen", namespace=mine, sources=[their_turn.id])
        with pytest.raises(AgentmemError):
            memory.retract(my_thought.id, namespace=mine, superseded_by=their_thought.id)
        with pytest.raises(NotFoundError):
            memory.merge([my_thought.id, their_thought.id], "both", namespace=mine)
        with pytest.raises(NotFoundError):
            memory.set_status(their_turn.id, "superseded", namespace=mine)
        plan = memory.plan_forget([their_turn.id], namespace=theirs)
        with pytest.raises(InputError):
            memory.forget(plan, namespace=mine)
        operation = memory.retract(their_thought.id, namespace=theirs)
        with pytest.raises(NotFoundError):
            memory.undo(operation.id, namespace=mine)
        memory.erase(namespace=mine)
        assert [t.id for t in memory.turns(namespace=theirs)] == [their_turn.id]
        assert faults(memory, theirs) == []


def test_recalled_edges_do_not_lead_across_namespaces(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as memory:
        mine = memory.observe("assistant", "the submarine is yellow I think", namespace=("a",))
        theirs = memory.observe("user", "the submarine is yellow", namespace=("b",))
        with suppress(AgentmemError):
            memory.record_recalled(mine.id, [("turn", theirs.id)], namespace=("a",))
        assert faults(memory, ("a",)) == []
        assert memory.plan_forget([theirs.id], namespace=("b",)).echoes == ()


def test_scores_depend_on_the_namespace_alone(tmp_path: Path) -> None:
    """Nothing of one tenant shows in another's scores."""
    with opened(tmp_path / "memory.db") as memory:
        memory.observe_many([said(f"green things number {n}") for n in range(10)], namespace=("a",))
        before = [(i.id, i.score) for i in memory.recall("green number 3", namespace=("a",), wait=0).items]
        memory.observe_many([said(f"green number {n} again and again") for n in range(500)], namespace=("b",))
        assert [(i.id, i.score) for i in memory.recall("green number 3", namespace=("a",), wait=0).items] == before


def test_a_subtree_is_asked_by_whole_parts(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as memory:
        for namespace in (("a",), ("a", "b"), ("ab",), ("a/b",)):
            memory.observe("user", f"marker {'-'.join(namespace)}", namespace=namespace)
        found = memory.recall("marker", namespace=("a",), subtree=True, wait=0).items
        assert {item.text for item in found} == {"marker a", "marker a-b"}


def test_a_chat_and_a_script_see_each_others_writes(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    common = ["--store", str(store), "--namespace", "ada"]
    chat = subprocess.Popen(
        [sys.executable, "-m", "agentmem", "chat", "--plain", *common],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(tmp_path),
        cwd=tmp_path,
        text=True,
        bufsize=1,
    )
    assert chat.stdin is not None
    assert chat.stdout is not None
    with chat, opened(store) as memory:
        ask(chat, "My bicycle is called Rosinante.")
        seen = memory.recall("bicycle Rosinante", namespace=NS, wait=0).items
        assert any("Rosinante" in item.text for item in seen)
        memory.insert("Ada's boat is called Pequod.", namespace=NS)
        assert "Pequod" in ask(chat, "What is the boat called?")
        (turn,) = [t for t in memory.turns(namespace=NS) if "Rosinante." in t.text and t.role == "user"]
        memory.forget([turn.id], namespace=NS)
        assert "Rosinante" not in ask(chat, "How do I call the thing with two wheels?")
        chat.stdin.close()
        assert chat.wait(30) == 0


def ask(chat: subprocess.Popen[str], line: str) -> str:
    """Say a line to a plain chat; its answer is what comes until nothing has come for a while."""
    import selectors

    assert chat.stdin is not None
    assert chat.stdout is not None
    chat.stdin.write(line + "\n")
    chat.stdin.flush()
    answer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(chat.stdout, selectors.EVENT_READ)
        patience = 60.0
        while selector.select(patience) and (piece := os.read(chat.stdout.fileno(), 65536)):
            answer += piece
            patience = 2.0
    return answer.decode()


def test_two_open_memories_follow_each_other(tmp_path: Path) -> None:
    """Two processes in small: what one adds, retracts, forgets or erases is so for the other at its next recall."""
    store = tmp_path / "memory.db"

    def texts(memory: Memory, query: str) -> set[str]:
        return {item.text for item in memory.recall(query, namespace=NS).items}

    with opened(store, vectors=True) as chat, opened(store, vectors=True) as script:
        turn = chat.observe("user", "the kettle is copper", namespace=NS)
        assert texts(script, "copper kettle") == {"the kettle is copper"}
        thought = script.insert("Ada owns a copper kettle", namespace=NS, sources=[turn.id]).thought
        assert "Ada owns a copper kettle" in texts(chat, "copper kettle")
        script.retract(thought.id, namespace=NS)
        assert "Ada owns a copper kettle" not in texts(chat, "copper kettle")
        chat.undo(namespace=NS)
        assert "Ada owns a copper kettle" in texts(script, "copper kettle")
        script.forget([turn.id], namespace=NS)
        assert texts(chat, "copper kettle") == set()
        chat.observe("user", "the kettle is iron", namespace=NS)
        assert texts(script, "kettle") == {"the kettle is iron"}
        chat.erase(namespace=NS)
        assert texts(script, "kettle") == set()
        script.observe("user", "a kettle of tin", namespace=NS)
        assert texts(chat, "kettle") == {"a kettle of tin"}
        script.reindex()
        assert texts(chat, "kettle") == {"a kettle of tin"}
        assert faults(chat, NS) == []


def test_two_processes_in_each_others_way(tmp_path: Path) -> None:
    """Both add, merge, undo and forget at random in one namespace: nobody's work leaves the store in pieces."""
    store = tmp_path / "memory.db"
    opened(store).close()
    with opened(store, vectors=True) as onlooker, ExitStack() as stack:
        children = [
            stack.enter_context(start("crash_child", "storm", store, str(seed), "4", home=tmp_path)) for seed in (1, 2)
        ]
        replies = [list(heard(iter(child.stdout or ())))[-1] for child in children]
        assert [child.wait(30) for child in children] == [0, 0]
        assert all(reply["finished"] > 20 for reply in replies), replies
        onlooker.flush()
        assert faults(onlooker, NS) == []
        with opened(store, vectors=True) as fresh:
            for turn in fresh.turns(namespace=NS, limit=20, descending=True):
                answers = [
                    [(i.id, round(i.score, 4)) for i in m.recall(turn.text, namespace=NS).items]
                    for m in (fresh, onlooker)
                ]
                assert sorted(answers[0]) == sorted(answers[1])


def test_a_change_log_that_was_compacted_is_no_hindrance(tmp_path: Path) -> None:
    """Another process's cache stands before the oldest change that is left: it is made anew."""
    store = tmp_path / "memory.db"
    with opened(store) as mine, opened(store) as theirs:
        first = mine.observe("user", "the kettle is copper", namespace=NS)
        assert theirs.recall("kettle", namespace=NS, wait=0).items[0].id == first.id
        mine.forget([first.id], namespace=NS)
        second = mine.observe("user", "the kettle is iron", namespace=NS)
        with mine.backend.write() as writer:
            writer.compact_changes(keep=0)
        assert [i.id for i in theirs.recall("kettle", namespace=NS, wait=0).items] == [second.id]
        third = mine.observe("user", "the kettle is tin", namespace=NS)
        assert {i.id for i in theirs.recall("kettle", namespace=NS, wait=0).items} == {second.id, third.id}
        assert mine.backend.check() == []


def test_two_command_lines_at_once(tmp_path: Path) -> None:
    """Both make the store, at the same moment."""
    store = tmp_path / "new" / "memory.db"
    command = [sys.executable, "-m", "agentmem", "thoughts", "add", "--json", "--store", str(store), "--namespace", "a"]
    children = [
        subprocess.Popen([*command, f"Fact number {n} is here"], stdout=subprocess.PIPE, env=environment(tmp_path))
        for n in range(4)
    ]
    for child in children:
        out, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        assert json.loads(out)["id"]
    listed = json.loads(cli("thoughts", "list", "--json", "--store", store, "--namespace", "a", home=tmp_path).stdout)
    assert "Fact number 3" in json.dumps(listed)
    with opened(store) as memory:
        assert len(memory.thoughts(namespace=("a",))) == 4


def test_use_after_fork_is_a_clear_error(tmp_path: Path) -> None:
    with opened(tmp_path / "memory.db") as memory:
        memory.observe("user", "before the fork", namespace=NS)
        child = os.fork()
        if child == 0:
            try:
                memory.observe("user", "after the fork", namespace=NS)
            except StoreClosedError:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        memory.observe("user", "the parent goes on", namespace=NS)
        assert memory.backend.check() == []
