"""What people bring along from mem0 and LangGraph: complete, dated, once, and nobody else's."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.memory import InMemoryStore

from agentmem import Memory
from agentmem.cli import cli
from agentmem.config import Settings
from agentmem.errors import FormatError
from agentmem.ingest import detect_format, read_turns

NS = ("ann",)
MEMORIES = [
    {
        "id": "m1",
        "memory": "Has a blue kiln",
        "hash": "9a0",
        "metadata": {"topic": "craft"},
        "created_at": "2024-05-01T08:00:00-07:00",
        "updated_at": "2024-05-31T18:30:00.5+00:00",
        "user_id": "ann",
        "run_id": "r7",
        "actor_id": "Ann",
        "role": "user",
        "score": 0.4,
    },
    {"id": "m2", "memory": "Recommended stoneware", "created_at": None, "user_id": "ann", "role": "assistant"},
]
POINTS = {
    "result": {
        "points": [
            {
                "id": "m1",
                "vector": [0.1, 0.2],
                "payload": {
                    "data": "Has a blue kiln",
                    "hash": "9a0",
                    "text_lemmatized": "have blue kiln",
                    "user_id": "ann",
                    "run_id": "r7",
                    "role": "user",
                    "created_at": "2024-05-01T08:00:00-07:00",
                    "updated_at": "2024-05-31T18:30:00.5+00:00",
                },
            }
        ]
    }
}
HISTORY = """
    CREATE TABLE history (id TEXT PRIMARY KEY, memory_id TEXT, old_memory TEXT, new_memory TEXT, event TEXT,
        created_at DATETIME, updated_at DATETIME, is_deleted INTEGER, actor_id TEXT, role TEXT);
    CREATE TABLE messages (id TEXT PRIMARY KEY, session_scope TEXT, role TEXT, content TEXT, name TEXT,
        created_at DATETIME);
"""
STORE = """
    CREATE TABLE store (prefix text NOT NULL, key text NOT NULL, value text NOT NULL,
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
        expires_at TIMESTAMP, ttl_minutes REAL, PRIMARY KEY (prefix, key));
"""
CHECKPOINTS = """
    CREATE TABLE checkpoints (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '',
        checkpoint_id TEXT NOT NULL, parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB,
        PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id));
"""


def written(folder: Path, content: Any, name: str = "export.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content, default=str), encoding="utf-8")
    return path


def database(path: Path, schema: str, table: str, rows: Iterable[tuple[Any, ...]]) -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(schema)
        for row in rows:
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    return path


def event(n: int, memory: str, old: str | None, new: str | None, what: str, day: int | None) -> tuple[Any, ...]:
    at = None if day is None else f"2024-05-{day:02}T08:00:00+00:00"
    return (f"h{n}", memory, old, new, what, "2024-05-01T08:00:00+00:00", at, int(what == "DELETE"), "Ann", "user")


EVENTS = [
    event(1, "m1", None, "Has a kiln", "ADD", None),
    event(2, "m9", None, "Has a secret", "ADD", None),
    event(3, "m1", "Has a kiln", "Has a blue kiln", "UPDATE", 9),
    event(4, "m9", "Has a secret", None, "DELETE", None),
]


def test_mem0s_memories_keep_words_times_speakers_and_all_that_is_told_of_them(tmp_path: Path) -> None:
    path = written(tmp_path, {"results": MEMORIES})
    assert detect_format(path) == "mem0"
    kiln, advice = read_turns(path)
    assert (kiln.role, kiln.text, kiln.speaker, kiln.session) == ("user", "Has a blue kiln", "Ann", "r7")
    assert kiln.occurred_at == datetime(2024, 5, 31, 18, 30, 0, 500_000, tzinfo=UTC)
    assert kiln.metadata == {
        "topic": "craft",
        "created_at": "2024-05-01T08:00:00-07:00",
        "updated_at": "2024-05-31T18:30:00.5+00:00",
        "user_id": "ann",
        "run_id": "r7",
        "actor_id": "Ann",
        "role": "user",
    }
    assert (advice.role, advice.occurred_at, advice.session) == ("assistant", None, "mem0")


def test_the_same_memory_from_its_vector_store_is_known(tmp_path: Path) -> None:
    (point,), (kiln, _) = (
        read_turns(written(tmp_path, POINTS, "points.json")),
        read_turns(written(tmp_path, MEMORIES)),
    )
    assert (point.text, point.external_id, point.source) == (kiln.text, kiln.external_id, kiln.source)
    assert point.metadata.keys() == {"user_id", "run_id", "role", "created_at", "updated_at"}


def test_mem0s_relations_come_too(tmp_path: Path) -> None:
    told = {"source": "ann", "relationship": "owns", "destination": "kiln"}
    path = written(tmp_path, {"results": MEMORIES, "relations": [told]})
    assert [turn.text for turn in read_turns(path)][2:] == ["ann owns kiln"]


def test_a_history_tells_former_wordings_and_brings_nothing_deleted_back(tmp_path: Path) -> None:
    path = database(tmp_path / "history.db", HISTORY, "history", EVENTS)
    assert detect_format(path) == "mem0"
    first, second = read_turns(path)
    assert [(t.text, t.status, t.speaker) for t in (first, second)] == [
        ("Has a kiln", "superseded", "Ann"),
        ("Has a blue kiln", "complete", "Ann"),
    ]
    assert [t.occurred_at and t.occurred_at.day for t in (first, second)] == [1, 9]
    (kiln, _) = read_turns(written(tmp_path, MEMORIES))
    assert kiln.external_id == second.external_id


def test_a_wording_that_came_back_stands(tmp_path: Path) -> None:
    back = event(5, "m1", "Has a blue kiln", "Has a kiln", "UPDATE", 10)
    path = database(tmp_path / "history.db", HISTORY, "history", [*EVENTS, back])
    assert {t.text: t.status for t in read_turns(path)} == {"Has a kiln": "complete", "Has a blue kiln": "superseded"}


def test_a_history_that_went_on_supersedes_what_it_replaced(tmp_path: Path) -> None:
    path = database(tmp_path / "history.db", HISTORY, "history", EVENTS)
    with Memory("memory:", embedder=None, settings=Settings()) as memory:
        memory.observe_many(read_turns(path), namespace=NS)
        database(path, "", "history", [event(6, "m1", "Has a blue kiln", "Sold her kiln", "UPDATE", 20)])
        again = memory.observe_many(read_turns(path), namespace=NS)
        assert (len(again.added), again.known) == (1, 2)
        assert [turn.status for turn in memory.turns(namespace=NS)] == ["superseded", "superseded", "complete"]
        assert [item.text for item in memory.recall("kiln", namespace=NS).items] == ["Sold her kiln"]


def test_a_historys_messages_are_turns_of_one_person_only(tmp_path: Path) -> None:
    path = database(tmp_path / "history.db", HISTORY, "history", EVENTS)
    said = [("x1", "user_id=ann", "user", "Hello", "Ann", "2024-05-01T08:00:00+00:00")]
    database(path, "", "messages", said)
    *_, hello = read_turns(path)
    assert (hello.role, hello.text, hello.speaker, hello.session) == ("user", "Hello", "Ann", "user_id=ann")
    database(path, "", "messages", [("x2", "user_id=ben", "user", "Hi", None, None)])
    with pytest.raises(FormatError, match="several people"):
        list(read_turns(path))
    assert len(list(read_turns(path, only=["*"]))) == 4


def test_what_belongs_to_several_is_read_for_one_at_a_time(tmp_path: Path) -> None:
    path = written(tmp_path, {"results": [*MEMORIES, {"id": "m3", "memory": "Sails", "user_id": "ben"}]})
    with pytest.raises(FormatError, match="'ann', 'ben': choose with --only"):
        list(read_turns(path))
    assert [turn.text for turn in read_turns(path, only=["ben"])] == ["Sails"]
    assert len(list(read_turns(path, only=["*"]))) == 3
    with pytest.raises(FormatError, match="nothing of 'eve'"):
        list(read_turns(path, only=["eve"]))


def test_langgraphs_items(tmp_path: Path) -> None:
    store = InMemoryStore()
    store.put(("users", "ann", "facts"), "kiln", {"text": "Has a blue kiln", "kind": "fact"})
    store.put(("users", "ann"), "profile", {"name": "Ann", "age": 40})
    store.put(("users", "anna"), "profile", {"name": "Anna"})
    path = written(tmp_path, [item.dict() for item in store.search((), limit=9)])
    assert detect_format(path) == "langgraph"
    with pytest.raises(FormatError, match=r"'users\.ann', 'users\.ann\.facts', 'users\.anna'"):
        list(read_turns(path))
    turns = {str(turn.metadata["key"]): turn for turn in read_turns(path, only=["users.ann"])}
    assert {key: turn.text for key, turn in turns.items()} == {
        "kiln": "Has a blue kiln",
        "profile": 'profile: {"age": 40, "name": "Ann"}',
    }
    held = store.get(("users", "ann", "facts"), "kiln")
    assert held is not None
    assert turns["kiln"].occurred_at == held.updated_at
    assert turns["kiln"].metadata["value"] == {"text": "Has a blue kiln", "kind": "fact"}


def test_langgraphs_store_file_is_the_same_and_a_changed_value_is_new(tmp_path: Path) -> None:
    row = (
        "users.ann",
        "kiln",
        b'{"text": "Has a blue kiln"}',
        "2024-05-01 08:00:00",
        "2024-05-31 18:30:00",
        None,
        None,
    )
    path = database(tmp_path / "store.db", STORE, "store", [row])
    assert detect_format(path) == "langgraph"
    (kiln,) = read_turns(path)
    assert (kiln.text, kiln.session) == ("Has a blue kiln", "users.ann")
    assert kiln.occurred_at == datetime(2024, 5, 31, 18, 30, tzinfo=UTC)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("""UPDATE store SET value = '{"text": "Sold her kiln"}'""")
    (sold,) = read_turns(path)
    assert sold.external_id != kiln.external_id


def checkpoints(*made: tuple[str, str | None, int, list[BaseMessage]]) -> list[tuple[Any, ...]]:
    rows = []
    for name, parent, minute, messages in made:
        state = {"id": name, "ts": f"2024-05-31T18:{minute:02}:00+00:00", "channel_values": {"messages": messages}}
        rows.append(("t1", "", name, parent, *JsonPlusSerializer().dumps_typed(state), b"{}"))
    return rows


def test_langgraphs_checkpoints_are_conversations(tmp_path: Path) -> None:
    asked, edited = HumanMessage("A kiln?", id="a"), HumanMessage("A wheel?", id="a")
    call = {"name": "price", "args": {"of": "wheel"}, "id": "c1"}
    answer = AIMessage("Let me see.", id="b", tool_calls=[call])
    found = ToolMessage("85", id="d", tool_call_id="c1", name="price")
    other = AIMessage("Yes, a kiln.", id="e")
    path = database(
        tmp_path / "checkpoints.db",
        CHECKPOINTS,
        "checkpoints",
        checkpoints(
            ("1", None, 0, [asked]),
            ("2", "1", 1, [asked, other]),  # left by the edit that follows
            ("3", "1", 2, [edited]),
            ("4", "3", 3, [edited, answer, found]),
            ("5", "4", 4, [found]),  # trimmed: what is gone from the state was said
        ),
    )
    assert detect_format(path) == "langgraph"
    turns = list(read_turns(path))
    assert [(t.role, t.status, t.occurred_at and t.occurred_at.minute) for t in turns] == [
        ("user", "superseded", 0),
        ("assistant", "superseded", 1),
        ("user", "complete", 2),
        ("assistant", "complete", 3),
        ("tool", "complete", 3),
    ]
    assert turns[3].parts[1]["name"] == "price"
    assert {t.session for t in turns} == {"t1"}
    with Memory("memory:", embedder=None, settings=Settings()) as memory:
        memory.observe_many(turns, namespace=NS)
        assert memory.observe_many(read_turns(path), namespace=NS).known == len(turns)


class Strange:
    """Of a program that is not here."""


def test_a_checkpoint_of_things_unknown_makes_none_of_them(tmp_path: Path) -> None:
    rows = checkpoints(("1", None, 0, [HumanMessage("Hello.", id="a")]))
    path = database(tmp_path / "c.db", CHECKPOINTS, "checkpoints", rows)
    assert [turn.text for turn in read_turns(path, only=["t1"])] == ["Hello."]
    with pytest.raises(FormatError, match="no thread 't2'"):
        list(read_turns(path, only=["t2"]))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE checkpoints SET type = 'pickle', checkpoint = x'8004'")
    with pytest.raises(FormatError, match="row 1 of checkpoints expected a checkpoint"):
        list(read_turns(path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"results": [{"id": "m1", "memory": "x"}, {"id": "m2"}]}, r'results\[1\] expected an object with "memory"'),
        ({"results": [{"id": "m1", "memory": "x"}, {"memory": "y"}]}, r'results\[1\] expected an object with "id"'),
        ({"results": [{"id": "m1", "memory": "x", "created_at": "soon"}]}, "a time"),
        ({"results": [{"id": "m1", "memory": "x", "role": "king"}]}, "a role"),
        ([{"namespace": ["a"], "key": "k", "value": "v"}, {"namespace": ["a"], "value": 1}], r'\[1\].*"key"'),
        ([{"namespace": 3, "key": "k", "value": "v"}], r"\[0\]\.namespace expected a string"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: Any, expected: str) -> None:
    with pytest.raises(FormatError, match=expected):
        list(read_turns(written(tmp_path, content)))


def test_other_databases_are_told_apart(tmp_path: Path) -> None:
    with Memory(str(tmp_path / "own.db"), embedder=None, settings=Settings()):
        pass
    with pytest.raises(FormatError, match="agentmem move"):
        detect_format(tmp_path / "own.db")
    with pytest.raises(FormatError, match="neither mem0's"):
        detect_format(database(tmp_path / "other.db", "CREATE TABLE other (x)", "other", [(1,)]))


def test_a_person_chooses_at_the_terminal(tmp_path: Path) -> None:
    path = written(tmp_path, [*MEMORIES, {"id": "m3", "memory": "Sails", "user_id": "ben"}])
    options = ["--store", str(tmp_path / "m.db"), "ingest", str(path), "--no-embed", "--json"]
    refused = CliRunner().invoke(cli, options)
    assert refused.exit_code != 0
    assert "--only" in refused.output
    done = CliRunner().invoke(cli, [*options, "--only", "ben"])
    assert json.loads(done.stdout)["added"] == 1
    notes = tmp_path / "notes.md"
    notes.write_text("# A\nb\n")
    assert "which is of one person" in CliRunner().invoke(cli, [*options[:3], str(notes), "--only", "ben"]).output
