"""Export, import and restore lose nothing, and refuse what is not whole."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentmem.config import Settings
from agentmem.embed import load_embedder
from agentmem.errors import AgentmemError, ConflictError, FormatError, InputError, StoreBusyError, StoreForeignError
from agentmem.memory import Memory
from agentmem.transfer import export_records, import_records, restore
from agentmem.types import Kind, NewTurn

NS = ("ada",)


def opened(path: Path | str, **how: object) -> Memory:
    return Memory(path, embedder=None, settings=Settings(store=str(path)), **how)  # type: ignore[arg-type]


def fill(memory: Memory) -> None:
    turns = [
        memory.observe("user", f"Ada said \ud800 thing {n}", namespace=NS, source="f", external_id=str(n)).id
        for n in range(12)
    ]
    old = memory.insert("Ada lives in Turin", namespace=NS, sources=turns[:2]).thought
    memory.insert("Ada lives in Lisbon", namespace=NS, sources=turns[2:3], supersedes=old.id)
    ids = [memory.insert(f"Ada likes tea {n}", namespace=NS, sources=[turns[n]]).thought.id for n in (4, 5)]
    memory.merge(ids, "Ada likes tea", namespace=NS)
    memory.forget([turns[-1]], namespace=NS)


def contents(memory: Memory) -> list[object]:
    with memory.backend.read() as reader:
        kinds: tuple[Kind, ...] = ("turn", "chunk", "thought", "operation", "suppression")
        records = [list(reader.select(kind, namespace=NS)) for kind in kinds]
        vectors = {kind: reader.vectors(kind, namespace=NS) for kind in kinds if kind in ("turn", "thought")}
        held = {kind: dict(zip(ids, matrix.tolist(), strict=True)) for kind, (ids, matrix) in vectors.items()}
        return [records, set(reader.edges(namespace=NS)), held]


def test_round_trip_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Memory(tmp_path / "a.db", embedder=load_embedder(), settings=Settings()) as a:
        fill(a)
        a.flush()
        before = contents(a)
        counts = export_records(a.backend, path, namespace=NS)
    assert (counts["turn"], counts["vector"]) == (11, 16)
    with opened(tmp_path / "b.db") as b:
        assert import_records(b.backend, path)["turn"] == 11
        assert contents(b) == before
        assert b.stats(namespace=NS).waiting == 0
        assert not any(import_records(b.backend, path).values())
        assert contents(b) == before
        again = b.observe_many([_twelfth()], namespace=NS)
        assert again.suppressed == 1
        assert b.backend.check() == []


def _twelfth() -> NewTurn:
    return NewTurn(role="user", parts=({"type": "text", "text": "x"},), source="f", external_id="11")


def test_what_was_not_embedded_is_queued(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as a:
        fill(a)
        export_records(a.backend, tmp_path / "out.jsonl", namespace=NS)
    with opened("memory:") as b:
        import_records(b.backend, tmp_path / "out.jsonl", namespace=("eve",))
        assert len(b.turns(namespace=("eve",))) == 11
        assert b.stats(namespace=("eve",)).waiting == 11 + 5
        assert b.turns(namespace=NS) == []


@pytest.mark.parametrize("harm", ["cut", "changed", "foreign", "newer", "empty"])
def test_damaged_export_is_refused_whole(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "out.jsonl"
    with opened(tmp_path / "a.db") as a:
        fill(a)
        export_records(a.backend, path, namespace=NS)
    lines = path.read_text().splitlines(keepends=True)
    harmed = {
        "cut": lines[:-1],
        "changed": [*lines[:3], lines[3].replace("Ada", "Eve"), *lines[4:]],
        "foreign": ['{"role": "user", "text": "hello"}\n'],
        "newer": [json.dumps({**json.loads(lines[0]), "version": 99}) + "\n", *lines[1:]],
        "empty": [],
    }[harm]
    path.write_text("".join(harmed))
    with opened(tmp_path / "b.db") as b:
        with pytest.raises(FormatError) as caught:
            import_records(b.backend, path)
        assert "\n" not in str(caught.value)
        assert b.namespaces() == []


def test_import_beside_other_records_is_refused_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as a:
        fill(a)
        export_records(a.backend, tmp_path / "out.jsonl", namespace=NS)
    with opened(tmp_path / "b.db") as b:
        b.observe("user", "I was here first", namespace=NS)
        with pytest.raises(ConflictError, match="--namespace"):
            import_records(b.backend, tmp_path / "out.jsonl")
        assert [t.text for t in b.turns(namespace=NS)] == ["I was here first"]


def test_receipt_names_copies(tmp_path: Path) -> None:
    with opened(tmp_path / "a.db") as a:
        fill(a)
        export_records(a.backend, tmp_path / "out.jsonl", namespace=NS)
        a.backup(tmp_path / "copy.db")
        named = a.forget([a.turns(namespace=NS)[0].id], namespace=NS).copies
        assert [text.split(" (")[0] for text in named] == [str(tmp_path / "out.jsonl"), str(tmp_path / "copy.db")]
        (tmp_path / "out.jsonl").unlink()
        assert len(a.forget([a.turns(namespace=NS)[0].id], namespace=NS).copies) == 1


def test_restore_brings_back_and_keeps_the_old_aside(tmp_path: Path) -> None:
    store, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with opened(store) as a:
        fill(a)
        before = contents(a)
        a.backup(copy)
        a.observe("user", "said later", namespace=NS)
    aside = restore(copy, store)
    with opened(store) as a:
        assert contents(a) == before
    assert aside is not None
    with opened(aside) as old:
        assert old.turns(namespace=NS)[-1].text == "said later"
    restore(copy, tmp_path / "elsewhere" / "new.db")
    with opened(tmp_path / "elsewhere" / "new.db") as new:
        assert contents(new) == before


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\0" * 500])
def test_restore_of_something_else_changes_nothing(tmp_path: Path, content: bytes) -> None:
    store, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with opened(store) as a:
        fill(a)
        before = contents(a)
    copy.write_bytes(content)
    with pytest.raises(AgentmemError):
        restore(copy, store)
    with opened(store) as a:
        assert contents(a) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db", "copy.db"]


def test_restore_of_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    store, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with opened(store) as a:
        fill(a)
        a.backup(copy)
    data = bytearray(copy.read_bytes())
    data[3 * 4096 : 5 * 4096] = b"\xff" * (2 * 4096)
    copy.write_bytes(data)
    with pytest.raises(StoreForeignError, match="damaged"):
        restore(copy, store)


def test_restore_waits_for_others_to_close(tmp_path: Path) -> None:
    store, copy = tmp_path / "a.db", tmp_path / "copy.db"
    with opened(store) as a:
        fill(a)
        a.backup(copy)
    code = (
        f"import sqlite3, sys; c = sqlite3.connect({str(store)!r}); c.execute('select 1 from meta').fetchall();"
        "print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(StoreBusyError, match="in use"):
            restore(copy, store)
        other.communicate(b"")
    restore(copy, store)


HARM: dict[str, tuple[int, Callable[[str], str]]] = {
    "a role": (3, lambda line: line.replace('"role":"user"', '"role":"god"')),
    "a time": (3, lambda line: line.replace('"recorded_at":"2', '"recorded_at":"x2')),
    "a field": (4, lambda line: line.replace('"session":', '"sitting":')),
    "a kind": (2, lambda line: line.replace('"kind":"turn"', '"kind":"tune"')),
    "an edge": (-2, lambda line: line.replace('"kind":', '"kin":').replace('"relation":', '"relative":')),
    "the embedder": (0, lambda line: line.replace('"embedder":null', '"embedder":{"maker":"x"}')),
    "the namespace": (0, lambda line: line.replace('"namespace":["ada"]', '"namespace":[""]')),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_forged_line_is_refused_whole(tmp_path: Path, harm: str) -> None:
    """Its digest is right: only reading it shows that it cannot have been written by `export`."""
    path = tmp_path / "out.jsonl"
    with opened(tmp_path / "a.db") as a:
        fill(a)
        export_records(a.backend, path, namespace=NS)
    lines = path.read_text().splitlines(keepends=True)
    place, change = HARM[harm]
    forged = change(lines[place])
    assert forged != lines[place]
    lines[place] = forged
    whole = "".join(lines[:-1])
    end = {"end": True, "lines": len(lines) - 1, "sha256": hashlib.sha256(whole.encode()).hexdigest()}
    path.write_text(whole + json.dumps(end) + "\n")
    with opened(tmp_path / "b.db") as b:
        with pytest.raises(InputError) as caught:
            import_records(b.backend, path)
        assert "\n" not in str(caught.value)
        assert b.namespaces() == []


def test_vectors_of_another_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with Memory(tmp_path / "a.db", embedder=load_embedder(), settings=Settings()) as a:
        fill(a)
        a.flush()
        export_records(a.backend, path, namespace=NS)
    lines = path.read_text().splitlines(keepends=True)
    lines[0] = lines[0].replace('"dimension":384', '"dimension":383')
    whole = "".join(lines[:-1])
    end = {"end": True, "lines": len(lines) - 1, "sha256": hashlib.sha256(whole.encode()).hexdigest()}
    path.write_text(whole + json.dumps(end) + "\n")
    with opened(tmp_path / "b.db") as b:
        with pytest.raises(FormatError, match="384 numbers, not 383"):
            import_records(b.backend, path)
        assert b.namespaces() == []
