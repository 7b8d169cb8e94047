"""What the user calls a session: kept where content is, gone with what it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentmem.config import Settings
from agentmem.errors import ConflictError, InputError, NotFoundError
from agentmem.memory import Memory
from agentmem.moving import move
from agentmem.transfer import export_records, import_records

NS = ("ada",)


def say(memory: Memory, text: str, session: str) -> str:
    return memory.observe("user", text, namespace=NS, session=session).id


def titles(memory: Memory) -> dict[str, str | None]:
    return {info.session: info.title for info in memory.sessions(namespace=NS)}


def test_the_newest_title_counts_and_an_empty_one_takes_it_away(memory: Memory) -> None:
    say(memory, "Hello there.", "s")
    say(memory, "And here.", "t")
    assert memory.rename_session("s", "  The\n kiln ", namespace=NS) == "The kiln"
    memory.rename_session("t", "Glazes", namespace=NS)
    memory.rename_session("s", "Two kilns", namespace=NS)
    assert titles(memory) == {"s": "Two kilns", "t": "Glazes"}
    assert memory.rename_session("s", " ", namespace=NS) is None
    assert titles(memory) == {"s": None, "t": "Glazes"}


def test_only_a_session_of_the_namespace_gets_one_and_no_other_sees_it(memory: Memory) -> None:
    say(memory, "Hello there.", "s")
    memory.observe("user", "Hello.", namespace=("bob",), session="s")
    with pytest.raises(NotFoundError, match="no session 'u'"):
        memory.rename_session("u", "Mine", namespace=NS)
    with pytest.raises(InputError, match="201 characters"):
        memory.rename_session("s", "x" * 201, namespace=NS)
    memory.rename_session("s", "Mine", namespace=NS)
    assert [info.title for info in memory.sessions(namespace=("bob",))] == [None]


def test_it_goes_with_the_last_turn_of_its_session(memory: Memory) -> None:
    ids = [say(memory, f"Turn number {n} of it.", "s") for n in range(2)]
    say(memory, "Something else is here.", "t")
    memory.rename_session("s", "Kilns", namespace=NS)
    memory.rename_session("t", "Glazes", namespace=NS)
    memory.forget(ids[:1], namespace=NS)
    assert titles(memory) == {"s": "Kilns", "t": "Glazes"}
    memory.forget(ids[1:], namespace=NS)
    say(memory, "The same name, another talk.", "s")
    assert titles(memory) == {"s": None, "t": "Glazes"}


def test_a_title_that_repeats_what_is_forgotten_goes_too(memory: Memory) -> None:
    turn = say(memory, "Elin is allergic to peanuts.", "s")
    for session, title in (("t", "On: elin is allergic to  peanuts."), ("u", "allergic to peanuts"), ("v", "Elin")):
        say(memory, f"This is session {session}.", session)
        memory.rename_session(session, title, namespace=NS)
    memory.forget([turn], namespace=NS)
    assert titles(memory) == {"t": None, "u": None, "v": "Elin"}


def test_no_byte_of_it_is_left(tmp_path: Path) -> None:
    store = str(tmp_path / "memory.db")
    with Memory(store, embedder=None, settings=Settings(store=store)) as memory:
        turn = say(memory, "Hello there.", "s")
        memory.rename_session("s", "Zweizahnkraut", namespace=NS)
        memory.forget([turn], namespace=NS)
        held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"Zweizahn" not in held


def test_undo_passes_over_it(memory: Memory) -> None:
    thought = memory.insert("Ada lives in Turin.", namespace=NS).thought
    memory.retract(thought.id, namespace=NS)
    say(memory, "Hello there.", "s")
    memory.rename_session("s", "Mine", namespace=NS)
    with memory.backend.read() as reader:
        (rename,) = reader.select("operation", namespace=NS, where={"name": "rename"})
    with pytest.raises(ConflictError, match="is a rename"):
        memory.undo(rename.id, namespace=NS)
    assert memory.undo(namespace=NS).name == "retract"
    assert titles(memory) == {"s": "Mine"}


def test_exports_and_moves_take_it_along(tmp_path: Path) -> None:
    stores = [str(tmp_path / f"{name}.db") for name in "abc"]
    first, second, third = (Memory(s, embedder=None, settings=Settings(store=s)) for s in stores)
    with first, second, third:
        say(first, "Hello there.", "s")
        first.rename_session("s", "Mine", namespace=NS)
        export_records(first.backend, tmp_path / "out.jsonl", namespace=NS)
        import_records(second.backend, tmp_path / "out.jsonl")
        move(second.backend, third.backend)
        assert titles(second) == titles(third) == {"s": "Mine"}
