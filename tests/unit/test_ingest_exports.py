"""What people bring along from ChatGPT, Claude and their notes: complete, dated, and once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agentmem import Memory
from agentmem.cli import cli
from agentmem.config import Settings
from agentmem.errors import FormatError
from agentmem.ingest import detect_format, read_turns

NS = ("ann",)


def message(name: str, parent: str | None, children: list[str], role: str = "user", **fields: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [f"This is {name}."]}
    said = {"id": f"m-{name}", "author": {"role": role}, "create_time": 1717171717.5, "content": content} | fields
    return {"id": name, "parent": parent, "children": children, "message": said}


CHATGPT = [
    {
        "title": "A trip",
        "conversation_id": "c1",
        "current_node": "d",
        "mapping": {
            "root": {"id": "root", "parent": None, "children": ["sys"], "message": None},
            "sys": message("sys", "root", ["a"], "system"),
            "a": message("a", "sys", ["b", "d"]),
            "b": message("b", "a", [], "assistant"),
            "d": message("d", "a", ["hidden"], "assistant", content={"parts": ["Go to", {"asset": "image"}, "Porto."]}),
            "hidden": message("hidden", "d", [], metadata={"is_visually_hidden_from_conversation": True}),
        },
    },
    {"title": None, "id": "c2", "mapping": {"x": message("x", None, [])}},
]
CLAUDE: list[dict[str, Any]] = [
    {
        "uuid": "k1",
        "name": "Tea",
        "chat_messages": [
            {"uuid": "u1", "sender": "human", "text": "", "content": [{"type": "text", "text": "Green or black?"}],
             "created_at": "2024-05-31T18:30:00.123456Z"},
            {"uuid": "u2", "sender": "assistant", "text": "Green.", "created_at": "2024-05-31T18:30:05+00:00"},
            {"uuid": "u3", "sender": "human", "text": "", "content": []},
        ],
    }
]  # fmt: skip
NOTES = """---
tags: [garden]
---
Before any heading.

# Garden
The kiln stands in the shed.

## 2024-06-02 Roses
Pruned them.

```
# no heading
```
# Empty

# People
Ines is my sister.
"""


def file(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_chatgpts_export_keeps_branches(tmp_path: Path) -> None:
    path = file(tmp_path, "conversations.json", CHATGPT)
    assert detect_format(path) == "chatgpt"
    a, b, d, x = read_turns(path)
    assert [(t.role, t.text, t.status) for t in (a, b, d)] == [
        ("user", "This is a.", "complete"),
        ("assistant", "This is b.", "superseded"),
        ("assistant", "Go to\nPorto.", "complete"),
    ]
    assert (a.session, a.external_id, a.source, a.metadata) == ("c1", "m-a", "chatgpt:c1", {"title": "A trip"})
    assert a.occurred_at == datetime.fromtimestamp(1717171717.5, UTC)
    assert (x.session, x.status, x.metadata) == ("c2", "complete", {})


def test_claudes_export(tmp_path: Path) -> None:
    path = file(tmp_path, "conversations.json", CLAUDE)
    assert detect_format(path) == "claude"
    asked, answered = read_turns(path)
    assert [(t.role, t.text) for t in (asked, answered)] == [("user", "Green or black?"), ("assistant", "Green.")]
    assert asked.occurred_at == datetime(2024, 5, 31, 18, 30, 0, 123456, tzinfo=UTC)
    assert (asked.session, asked.external_id, asked.metadata) == ("k1", "u1", {"title": "Tea"})


def test_notes_are_sections_with_their_headings_and_days(tmp_path: Path) -> None:
    path = file(tmp_path, "2024-05-31 notes.md", NOTES)
    assert detect_format(path) == "markdown"
    first, garden, roses, people = read_turns(path)
    assert (first.text, first.metadata) == ("Before any heading.", {})
    assert garden.text == "Garden:\nThe kiln stands in the shed."
    assert roses.metadata == {"headings": ["Garden", "2024-06-02 Roses"]}
    assert "# no heading" in roses.text
    assert [t.occurred_at and t.occurred_at.day for t in (first, garden, roses, people)] == [31, 31, 2, 31]
    assert (roses.precision, roses.zone) == ("day", "floating")


@pytest.mark.parametrize("name", ["conversations.json", "notes.md"])
def test_what_has_grown_adds_what_is_new(tmp_path: Path, name: str) -> None:
    thanks = {"uuid": "u4", "sender": "human", "text": "Thanks."}
    grown = [{**CLAUDE[0], "chat_messages": [*CLAUDE[0]["chat_messages"], thanks]}]
    old, new = (CLAUDE, grown) if name.endswith("json") else (NOTES, f"{NOTES}\n# New\nMore.\n")
    with Memory("memory:", embedder=None, settings=Settings()) as memory:
        first = memory.observe_many(read_turns(file(tmp_path, name, old)), namespace=NS)
        again = memory.observe_many(read_turns(file(tmp_path, name, new)), namespace=NS)
    assert (len(again.added), again.known) == (1, len(first.added))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([{"mapping": {"x": 3}, "id": "c"}], "an object"),
        ([{"mapping": {"x": message("x", None, [])}}], '"conversation_id"'),
        ([{"uuid": "k", "chat_messages": [{"uuid": "u", "text": "Hi."}]}], '"sender"'),
        ([{"uuid": "k", "chat_messages": [{"sender": "human", "text": "Hi."}]}], '"id"'),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, content: Any, expected: str) -> None:
    with pytest.raises(FormatError, match=expected):
        list(read_turns(file(tmp_path, "conversations.json", content)))


def test_a_tree_that_bites_its_tail_ends(tmp_path: Path) -> None:
    loop = {"x": message("x", None, ["y"]), "y": message("y", "x", ["x", "y"])}
    path = file(tmp_path, "conversations.json", [{"id": "c", "current_node": "y", "mapping": loop}])
    assert [t.text for t in read_turns(path)] == ["This is x.", "This is y."]


def test_a_folder_of_notes_is_read_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    file(tmp_path / "notes", "a.md", NOTES)
    options = ["--store", str(tmp_path / "m.db"), "ingest", str(tmp_path / "notes"), "--no-embed", "--json"]
    assert CliRunner().invoke(cli, options).exit_code != 0
    done = CliRunner().invoke(cli, [*options, "--format", "markdown"])
    assert json.loads(done.stdout)["added"] == 4
