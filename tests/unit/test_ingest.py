"""Conversation files become turns: complete, dated, the same every time; and what is wrong with one is said."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentmem.config import Settings
from agentmem.errors import FormatError
from agentmem.ingest import detect_format, read_turns
from agentmem.memory import Memory
from agentmem.types import NewTurn, Observed

NS = ("ann",)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: Any, name: str = "talk.json") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


def jsonl(*lines: Any) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def ingest(memory: Memory, path: Path) -> Observed:
    return memory.observe_many(list(read_turns(path)), namespace=NS)


@pytest.fixture
def memory() -> Memory:
    return Memory("memory:", embedder=None, settings=Settings())


LOCOMO = {
    "sample_id": "talk-1",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Ben",
        "session_2_date_time": "12:05 am on 1 June, 2023",
        "session_2": [{"speaker": "Ben", "dia_id": "D2:1", "text": "I am back."}],
        "session_10": [{"speaker": "Ann", "dia_id": "D10:1", "text": "At last."}],
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ann", "dia_id": "D1:1", "text": "Hello, Ben."},
            {"speaker": "Ben", "dia_id": "D1:2", "text": "Look!", "blip_caption": "a red kite", "img_url": ["u"]},
            {"speaker": "Ann", "dia_id": "D1:3", "blip_caption": "a lake"},
        ],
        "session_3_date_time": "9:00 am on 2 June, 2023",
    },
    "qa": [{"question": "Who?", "answer": "Ben", "evidence": ["D2:1"], "category": 4}],
}


def test_locomo(write: Write) -> None:
    path = write(LOCOMO)
    assert detect_format(path) == "locomo"
    turns = list(read_turns(path))
    assert [t.external_id for t in turns] == ["D1:1", "D1:2", "D1:3", "D2:1", "D10:1"]
    assert [t.metadata["dia_id"] for t in turns] == [t.external_id for t in turns]
    assert {t.role for t in turns} == {"user"}
    assert [t.speaker for t in turns] == ["Ann", "Ben", "Ann", "Ben", "Ann"]
    assert turns[0].session == "talk-1/session_1"
    assert turns[3].session == "talk-1/session_2"
    assert turns[1].text == "Look!\n[image: a red kite]"
    assert turns[2].parts == ({"type": "image", "caption": "a lake"},)
    assert turns[0].occurred_at == datetime(2023, 5, 8, 13, 56, tzinfo=UTC)
    assert turns[3].occurred_at == datetime(2023, 6, 1, 0, 5, tzinfo=UTC)
    assert (turns[0].zone, turns[0].precision) == ("floating", "minute")
    assert turns[4].occurred_at is None


def test_locomo_samples_with_one_name_are_kept_apart(write: Write, memory: Memory) -> None:
    other = json.loads(json.dumps(LOCOMO).replace("Ben", "Eve"))
    assert len(ingest(memory, write([LOCOMO, other])).added) == 10


def test_beam(write: Write) -> None:
    ask = {"role": "user", "id": 0, "time_anchor": "March-15-2024", "index": "1,1", "content": "Which? ->-> 1,1"}
    batches = [
        {"batch_number": 1, "turns": [[ask, {"role": "assistant", "id": 1, "content": "That."}]], "time_anchor": None},
        {"batch_number": 2, "turns": [[{"role": "user", "id": 2, "content": "Thanks"}], []]},
        {"batch_number": 3, "turns": [[{"role": "user", "id": 3, "time_anchor": "April-02-2024", "content": "Hi"}]]},
    ]
    path = write(batches, "7/chat.json")
    assert detect_format(path) == "beam"
    turns = list(read_turns(path))
    assert [t.metadata["message_id"] for t in turns] == [0, 1, 2, 3]
    assert [t.external_id for t in turns] == ["0", "1", "2", "3"]
    assert turns[0].text == "Which? ->-> 1,1"
    assert [t.role for t in turns] == ["user", "assistant", "user", "user"]
    assert [t.occurred_at and t.occurred_at.isoformat()[:10] for t in turns] == ["2024-03-15"] * 3 + ["2024-04-02"]
    assert (turns[1].zone, turns[1].precision) == ("floating", "day")
    assert [t.session.split("/")[1] for t in turns] == ["batch_1", "batch_1", "batch_2", "batch_3"]
    assert turns[0].session.startswith("7-")


def test_longmemeval(write: Write) -> None:
    instance = {
        "question_id": "q1",
        "question": "How far?",
        "haystack_dates": ["2023/05/25 (Thu) 20:21", "2023/05/27 (Sat) 10:20", "2023/05/28 (Sun) 10:20"],
        "haystack_session_ids": ["s1", "s2", "s1"],
        "haystack_sessions": [
            [{**turn, "has_answer": True} for turn in said("5 km", "Well done")],
            said("Hi"),
            said("Yo"),
        ],
    }
    for path in (write([instance]), write(instance, "one.json")):
        assert detect_format(path) == "longmemeval"
        turns = list(read_turns(path))
        assert [t.session for t in turns] == ["q1/s1", "q1/s1", "q1/s2", "q1/s1#2"]
        assert [t.external_id for t in turns] == ["s1:0", "s1:1", "s2:0", "s1#2:0"]
        assert turns[1].metadata == {"session_id": "s1", "has_answer": True}
        assert turns[0].occurred_at == datetime(2023, 5, 25, 20, 21, tzinfo=UTC)


def test_json_lines_of_turns(write: Write) -> None:
    path = write(
        jsonl(
            {
                "role": "user",
                "text": "Hello",
                "session": "monday",
                "speaker": "Ann",
                "occurred_at": "2024-05-31T18:30:00+02:00",
                "external_id": 7,
                "source": "mail",
                "metadata": {"mood": "good"},
                "channel": "web",
            },
            {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}], "status": "cancelled"},
            {"role": "human", "parts": [{"type": "image", "caption": "a lake"}], "timestamp": 1717173000},
        ),
        "turns.jsonl",
    )
    assert detect_format(path) == "jsonl"
    first, second, third = read_turns(path)
    assert (first.source, first.external_id, first.session, first.speaker) == ("mail", "7", "monday", "Ann")
    assert first.occurred_at == datetime(2024, 5, 31, 16, 30, tzinfo=UTC)
    assert first.zone == "+02:00"
    assert first.metadata == {"mood": "good", "channel": "web"}
    assert (second.text, second.status, second.occurred_at) == ("Hi", "cancelled", None)
    assert second.session.startswith("turns-")
    assert (third.role, third.text) == ("user", "[image: a lake]")
    assert third.occurred_at == datetime(2024, 5, 31, 16, 30, tzinfo=UTC)


def test_a_single_line_is_a_turn_too(write: Write) -> None:
    path = write(jsonl({"role": "user", "text": "Hello"}), "turns.jsonl")
    assert (detect_format(path), [t.text for t in read_turns(path)]) == ("jsonl", ["Hello"])


def test_openai_chat(write: Write) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Rain?"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "dry"},
        {"role": "assistant", "content": "No rain."},
    ]
    for content in (messages, {"messages": messages}, [{"messages": messages}], {"id": "x", "messages": messages}):
        path = write(content)
        assert detect_format(path) == "openai"
        turns = list(read_turns(path))
        assert [t.role for t in turns] == ["system", "user", "assistant", "tool", "assistant"]
        assert turns[1].text == "Rain?"
        assert turns[1].parts[1]["type"] == "image_url"
        assert turns[2].parts == (
            {"type": "tool_call", "id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'},
        )
        assert turns[3].metadata == {"tool_call_id": "c1"}
        assert len({t.session for t in turns}) == 1


def test_json_lines_of_chats_are_sessions(write: Write) -> None:
    path = write(jsonl({"messages": said("Hi", "Hello")}, {"messages": said("Hi", "Good day")}), "chats.jsonl")
    assert detect_format(path) == "openai"
    turns = list(read_turns(path))
    assert len({t.session for t in turns}) == 2
    assert len({(t.source, t.external_id) for t in turns}) == 4


FILES: list[tuple[str, Any]] = [
    ("talk.json", LOCOMO),
    ("chat.json", said("Hi", "Hello", "ok", "ok", "ok", "ok")),
    ("turns.jsonl", jsonl(*said("Hi", "Hello", "ok", "ok", "ok"), {"role": "user", "text": "x", "session": "s"})),
]


@pytest.mark.parametrize(("name", "content"), FILES)
def test_the_same_file_again_adds_nothing(write: Write, memory: Memory, name: str, content: Any) -> None:
    path = write(content, name)
    added = len(ingest(memory, path).added)
    assert added == len(list(read_turns(path)))
    elsewhere = path.parent / "elsewhere" / name
    elsewhere.parent.mkdir()
    shutil.copy(path, elsewhere)
    again = ingest(memory, elsewhere)
    assert (len(again.added), again.known) == (0, added)


def test_a_file_that_grew_adds_what_is_new(write: Write, memory: Memory) -> None:
    for name, form in (("chat.json", json.dumps), ("log.jsonl", lambda turns: jsonl(*turns))):
        ingest(memory, write(form(said("Hi")), name))
        grown = ingest(memory, write(form(said("Hi", "Hello", "Hi")), name))
        assert ([t.text for t in grown.added], grown.known) == (["Hello", "Hi"], 1)
        assert len({t.session for t in grown.added}) == 1


def test_different_files_of_one_name_are_kept_apart(write: Write, memory: Memory) -> None:
    ingest(memory, write(said("Hi Ann", "Hello", "ok"), "a/chat.json"))
    assert len(ingest(memory, write(said("Hi", "Hello", "ok"), "b/chat.json")).added) == 3
    assert len(memory.sessions(namespace=NS)) == 2


def test_what_identifies_a_turn_tells_nothing_of_another(write: Write) -> None:
    """A forgotten turn must not be confirmed by a guess from what is kept of its neighbours."""
    one = list(read_turns(write(said("my PIN is 1234", "ok", "fine"), "a/chat.json")))
    two = list(read_turns(write(said("my PIN is 9876", "ok", "fine"), "b/chat.json")))
    assert [(t.source, t.session, t.external_id) for t in one[1:]] == [
        (t.source, t.session, t.external_id) for t in two[1:]
    ]


@pytest.mark.parametrize(
    ("given", "at", "zone", "precision"),
    [
        ("2024-05-31T18:30:15.25Z", "2024-05-31T18:30:15.250000+00:00", "UTC", "second"),
        ("2024-05-31 18:30", "2024-05-31T18:30:00+00:00", "floating", "minute"),
        ("2024-05-31T18-0330", "2024-05-31T21:30:00+00:00", "-03:30", "hour"),
        ("2024-05-31", "2024-05-31T00:00:00+00:00", "floating", "day"),
        ("2024-05", "2024-05-01T00:00:00+00:00", "floating", "month"),
        ("2024", "2024-01-01T00:00:00+00:00", "floating", "year"),
        (1717173000, "2024-05-31T16:30:00+00:00", "UTC", "second"),
        (1717173000123, "2024-05-31T16:30:00.123000+00:00", "UTC", "second"),
        (-86400.5, "1969-12-30T23:59:59.500000+00:00", "UTC", "second"),
    ],
)
def test_times(write: Write, given: Any, at: str, zone: str, precision: str) -> None:
    (turn,) = read_turns(write(jsonl({"role": "user", "text": "x", "occurred_at": given})), "jsonl")
    assert turn.occurred_at is not None
    assert (turn.occurred_at.isoformat(), turn.zone, turn.precision) == (at, zone, precision)


def test_a_time_without_zone_is_read_in_the_zone_given(write: Write) -> None:
    line = {"role": "user", "text": "x", "occurred_at": "2024-07-01 12:00", "zone": "Europe/Berlin"}
    (turn,) = read_turns(write(jsonl(line)), "jsonl")
    assert turn.occurred_at == datetime(2024, 7, 1, 10, tzinfo=UTC)
    assert turn.zone == "Europe/Berlin"


T = {"role": "user", "text": "x"}
BAD: list[tuple[Any, str]] = [
    ("", "is empty"),
    ("\ufeff \n\n", "is empty"),
    ("[]", "expected a LoCoMo, BEAM"),
    ("{}", "expected a LoCoMo, BEAM"),
    ("42", "got 42"),
    ('[{"role": "user", "content": "x"},', "line 1, column 35: expected JSON"),
    ('{\n"messages": [\n{"role" "user"}]}', "line 3, column 9: expected JSON"),
    (b'[{"role": "user", "content": "\xff"}]', "byte 30 is not UTF-8"),
    ("x".encode("utf-16"), "byte 0 is not UTF-8"),
    ("[" * 100_000, "less deeply nested"),
    ([{"role": "user", "content": 3}], r"at \[0\].content expected a string, got 3"),
    ([{"role": "robot", "content": "x"}], r'at \[0\].role expected a role \(user, .*got "robot"'),
    ([{"role": "user"}], r"at \[0\] expected a turn with one of"),
    ([{"content": "x", "role": "user"}, "x"], r'at \[1\] expected an object, got "x"'),
    ({"messages": {}}, "at messages expected a list, got an object"),
    ([{"role": "user", "content": [{"text": "x"}]}], r'at \[0\].content\[0\] expected an object with "type"'),
    ({"conversation": {"speaker_a": "A"}}, 'at conversation expected an object with "session_1"'),
    ({"conversation": {"session_1": [{"speaker": "A", "text": "x"}]}}, r'session_1\[0\] .* with "dia_id"'),
    ({"conversation": {"session_1": [], "session_1_date_time": "noon"}}, "a time such as '01:56 PM on 08 May, 2023'"),
    (
        [{"batch_number": 1, "turns": [[{"role": "user", "id": 1.5, "content": "x"}]]}],
        r"turns\[0\]\[0\].id expected an id",
    ),
    ([{"question_id": "q", "haystack_sessions": [[]]}], r'at \[0\] expected an object with "haystack_dates"'),
    (jsonl(T, {"role": "user"}), "at line 2 expected a turn"),
    (jsonl(T, {**T, "session": {}}), "at line 2: session expected an id"),
    (jsonl(T, {**T, "parts": []}), "at line 2 expected a turn with one of"),
    (jsonl(T, {**T, "metadata": "m"}), "at line 2: metadata expected an object"),
    (jsonl(T, {**T, "status": "odd"}), "expected one of complete, cancelled, superseded"),
    (jsonl(T) + '{"role": "user",\n', "line 2, column 17: expected JSON"),
    (jsonl(T) + '\n{"role": "user", "text": "x", "n": NaN}\n', "from line 3: expected JSON: NaN"),
    (jsonl(T).encode() + b'{"text": "\xe4"}\n', "byte 40 is not UTF-8"),
    (jsonl(T, {**T, "occurred_at": "yesterday"}), 'occurred_at expected a time .*ISO 8601.*got "yesterday"'),
    (jsonl(T, {**T, "occurred_at": "2023-02-30"}), "expected a time that exists"),
    (jsonl(T, {**T, "occurred_at": True}), "expected a time"),
    (jsonl(T, {**T, "occurred_at": 1e300}), "between the years 1 and 9999"),
    (jsonl(T, {**T, "occurred_at": "2023-02-20", "zone": "Mars/Base"}), "'Mars/Base' is none"),
    (jsonl(T, {**T, "occurred_at": "0001-01-01T00:00+10:00"}), "expected a time that exists"),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_what_is_wrong_is_said_in_one_line(write: Write, content: Any, message: str) -> None:
    path = write(content)
    with pytest.raises(FormatError, match=message) as caught:
        list(read_turns(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_other_formats_asked_for_complain(write: Write, tmp_path: Path) -> None:
    path = write(said("Hi"))
    for form in ("locomo", "beam", "longmemeval", "jsonl"):
        with pytest.raises(FormatError, match=re.escape(str(path))):
            list(read_turns(path, form))
    with pytest.raises(FormatError, match="unknown format 'csv'"):
        read_turns(path, "csv")
    with pytest.raises(FormatError, match="No such file"):
        detect_format(tmp_path / "none.json")
    with pytest.raises(FormatError, match="directory"):
        detect_format(tmp_path)


def test_errors_do_not_show_what_was_said(write: Write) -> None:
    secret = "what I told you in confidence, at some length"
    path = write([{"role": secret, "content": "x"}])
    with pytest.raises(FormatError) as caught:
        list(read_turns(path))
    assert "confidence" not in str(caught.value)


def test_a_byte_order_mark_and_crlf_are_no_trouble(write: Write) -> None:
    lines = [{"role": "user", "text": "a\u2028b"}, {"role": "user", "text": "c"}]
    text = "\r\n\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    path = write(b"\xef\xbb\xbf" + text.encode() + b"\r\n", "turns.jsonl")
    assert [t.text for t in read_turns(path)] == ["a\u2028b", "c"]
    assert [t.text for t in read_turns(write(b"\xef\xbb\xbf" + json.dumps(said("x")).encode()))] == ["x"]


def test_json_lines_are_read_as_they_come(write: Write) -> None:
    path = write(jsonl(T, T) + "not JSON\n", "turns.jsonl")
    turns = read_turns(path)
    assert isinstance(next(turns), NewTurn)
    next(turns)
    with pytest.raises(FormatError, match="line 3"):
        next(turns)


def test_odd_texts_are_kept(write: Write, memory: Memory) -> None:
    texts = ["a\0b", "\ud800 alone", "x" * 1_000_000, "", " \n"]
    observed = ingest(memory, write(jsonl(*({"role": "user", "text": text} for text in texts)), "turns.jsonl"))
    assert ([t.text for t in observed.added], observed.empty) == (texts[:3], 2)


def test_the_published_sets_are_read_whole(shared_data: Path) -> None:
    turns = list(read_turns(shared_data / "locomo" / "conv-26.json"))
    assert (len(turns), len({t.session for t in turns})) == (419, 19)
    sets = sorted(shared_data.glob("*/*/chat.json")) + sorted(shared_data.glob("*/conv-*.json"))
    every = [turn for path in [*sets, shared_data / "longmemeval" / "sample.json"] for turn in read_turns(path)]
    assert len(every) == 2432 + 2760 + 48
    assert len({(t.source, t.external_id) for t in every}) == len(every)
    assert all(t.occurred_at for t in every)
    with pytest.raises(FormatError, match="expected a LoCoMo, BEAM"):
        detect_format(shared_data / "beam" / "1" / "probing_questions.json")
