"""The command line as a user and as a script meet it, on a real SQLite store."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agentmem.cli import cli

ITEM = {"id", "kind", "text", "score", "time", "source", "why"}
CHAT = [
    {"role": "user", "content": "My sister Maya moved to Lisbon in March."},
    {"role": "assistant", "content": "How lovely! What does she do there?"},
    {"role": "user", "content": "She paints azulejo tiles in a workshop in Alfama."},
    {"role": "assistant", "content": "That sounds like a patient craft."},
]

Run = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "memory.db"


@pytest.fixture
def run(store: Path) -> Iterator[Run]:
    def call(*args: object, input: str | None = None) -> Result:
        words = [str(arg) for arg in args]
        return CliRunner().invoke(cli, ["--store", str(store), "--namespace", "me", *words], input=input)

    yield call
    logging.getLogger("agentmem").handlers = []


@pytest.fixture
def chat_file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps({"messages": CHAT}))
    return path


def ok(result: Result) -> Any:
    """The JSON on stdout, of a command that succeeded and said nothing else there."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def failed(result: Result, code: int | None = None) -> str:
    """The one line on stderr, of a command that failed and printed nothing on stdout."""
    assert result.exit_code == code if code is not None else result.exit_code != 0, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def add(run: Run, *args: str) -> Any:
    return ok(run("thoughts", "add", *args, "--json"))


READING = [
    ("stats",),
    ("recall", "tea"),
    ("sessions",),
    ("sessions", "show", "default"),
    ("thoughts", "list"),
    ("thoughts", "show", "abcdef"),
    ("thoughts", "history", "abcdef"),
    ("thoughts", "forget", "abcdef", "--yes"),
    ("thoughts", "retract", "abcdef"),
    ("thoughts", "merge", "abcdef", "ghijkl", "--text", "both"),
    ("thoughts", "undo"),
    ("forget", "abcdef", "--yes"),
    ("erase", "--all", "--yes"),
    ("erase", "--older-than", "90d", "--yes"),
    ("export", "out.jsonl"),
    ("backup", "out.db"),
    ("reindex",),
]


@pytest.mark.parametrize("command", READING)
def test_a_reading_command_says_that_there_is_no_store_and_makes_none(
    run: Run, store: Path, tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(store) in failed(run(*command, "--json"), 3)
    assert list(tmp_path.iterdir()) == []


def test_ingest_adds_once_and_embeds(run: Run, chat_file: Path) -> None:
    first = ok(run("ingest", chat_file, "--json"))
    assert (first["added"], first["known"], first["waiting"]) == (4, 0, 0)
    second = ok(run("ingest", chat_file, "--json"))
    assert (second["added"], second["known"]) == (0, 4)
    stats = ok(run("stats", "--json"))
    assert (stats["turns"], stats["waiting"], stats["namespace"]) == (4, 0, ["me"])


def test_ingest_without_embedding_leaves_it_to_reindex(run: Run, chat_file: Path) -> None:
    assert ok(run("ingest", chat_file, "--no-embed", "--json"))["waiting"] == 4
    assert ok(run("stats", "--json"))["waiting"] == 4
    assert ok(run("reindex", "--json"))["waiting"] == 0
    assert ok(run("stats", "--json"))["waiting"] == 0


def test_ingest_goes_on_after_a_malformed_file_and_says_which(run: Run, chat_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"role": "user", "text": "fine"}\n{"role": "user", "text": \n')
    result = run("ingest", bad, chat_file, "--no-embed")
    assert result.exit_code == 2
    assert str(bad) in result.stderr
    assert "2" in result.stderr.split(str(bad))[1]
    assert "Traceback" not in result.stderr
    assert ok(run("stats", "--json"))["turns"] == 4


def test_ingest_reads_folders_and_passes_over_what_is_no_conversation(run: Run, chat_file: Path) -> None:
    (chat_file.parent / "labels.json").write_text('{"labels": [1, 2]}')
    result = run("ingest", chat_file.parent, "--no-embed")
    assert result.exit_code == 0, result.stderr
    assert "labels.json" in result.stderr
    assert ok(run("stats", "--json"))["turns"] == 4


def test_ingest_of_a_missing_file_makes_no_store(run: Run, store: Path) -> None:
    assert "nowhere.json" in failed(run("ingest", "nowhere.json"), 2)
    assert not store.exists()


def test_recall_has_the_promised_shape(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    found = ok(run("recall", "What does Maya paint?", "-k", "2", "--json"))
    assert set(found) == {"items"}
    assert len(found["items"]) == 2
    assert all(set(item) == ITEM for item in found["items"])
    assert any("azulejo" in item["text"] for item in found["items"])
    assert found["items"][0]["source"]["role"] in ("user", "assistant")


def test_recall_meets_conditions(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    add(run, "Maya paints azulejo tiles.")

    def found(*conditions: object) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = ok(run("recall", "azulejo tiles", *conditions, "--json"))["items"]
        return items

    assert {item["kind"] for item in found("--kind", "turn")} == {"turn"}
    assert {item["kind"] for item in found("--kind", "thought")} == {item["kind"] for item in found("--origin", "user")}
    assert found("--origin", "agent") == []
    assert {item["source"]["role"] for item in found("--speaker", "assistant")} == {"assistant"}
    first = min(item["time"] for item in found("--kind", "turn"))
    assert found("--before", first) == []
    assert len(found("--after", first)) == len(found())


def test_recall_explains_itself(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    found = ok(run("recall", "What does Maya paint with zinnober?", "--explain", "--json"))
    assert found["query"]["unheard"] == ["zinnob"]
    assert {"maya", "paint"} < set(found["query"]["stems"])
    for item in found["items"]:
        assert set(item) == ITEM | {"signals", "measures"}
        assert sum(signal["contribution"] for signal in item["signals"]) == pytest.approx(item["score"], abs=1e-4)
        assert all(s["value"] * s["weight"] == pytest.approx(s["contribution"]) for s in item["signals"])
    shown = run("recall", "What does Maya paint with zinnober?", "--explain")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert "zinnob" in lines[0]
    assert all(sum(s["name"] in line and " x " in line for line in lines) for s in found["items"][0]["signals"])
    assert max(len(line) for line in lines if " x " in line) <= 80


def test_recall_shows_full_ids_to_a_pipe(run: Run) -> None:
    thought = add(run, "Maya lives in Lisbon.")
    result = run("recall", "Lisbon")
    assert thought["id"] in result.stdout


def test_ask_quotes_and_has_the_promised_shape(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    result = run("ask", "Where did Maya move?", "--json")
    answer = ok(result)
    assert set(answer) == {"answer", "recalled"}
    assert "Lisbon" in answer["answer"]
    assert all(set(item) == ITEM for item in answer["recalled"])


def test_ask_in_private_leaves_no_turn(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    result = run("ask", "Where did Maya move?", "--private")
    assert result.exit_code == 0, result.stderr
    assert "Lisbon" in result.stdout
    assert ok(run("stats", "--json"))["turns"] == 4


def test_chat_takes_lines_where_there_is_no_terminal(run: Run) -> None:
    result = run("chat", input="I keep three bees hives on the roof.\nWhere are my hives?\n")
    assert result.exit_code == 0, result.stderr
    assert "roof" in result.stdout
    assert ok(run("stats", "--json"))["turns"] == 4


def test_a_thought_is_added_strengthened_superseded_and_undone(run: Run) -> None:
    first = add(run, "Maya lives in Lisbon.", "--head", "Maya", "--relation", "lives in", "--tail", "Lisbon")
    assert not first["strengthened"]
    assert first["head"] == "Maya"
    assert add(run, "maya lives in lisbon")["strengthened"]
    second = add(run, "Maya lives in Porto.", "--supersedes", first["id"][-8:], "--valid-from", "2030-01-01")
    ids = [t["id"] for t in ok(run("thoughts", "list", "--all", "--json"))["thoughts"]]
    assert sorted(ids) == sorted([first["id"], second["id"]])
    retracted = ok(run("thoughts", "show", first["id"], "--json"))
    assert (retracted["state"], retracted["superseded_by"]) == ("retracted", second["id"])
    history = ok(run("thoughts", "history", second["id"], "--json"))
    assert [t["id"] for t in history["replaced"]] == [first["id"]]
    assert ok(run("thoughts", "undo", "--json"))["name"] == "retract"
    assert ok(run("thoughts", "show", first["id"], "--json"))["state"] == "live"


def test_a_bare_date_covers_its_whole_day(run: Run) -> None:
    add(run, "Maya lives in Lisbon.", "--valid-from", "2024-03-05T12:00")
    assert len(ok(run("thoughts", "list", "--as-of", "2024-03-05", "--json"))["thoughts"]) == 1
    assert ok(run("thoughts", "list", "--as-of", "2024-03-04", "--json"))["thoughts"] == []


def test_thoughts_merge_and_come_apart(run: Run) -> None:
    ids = [add(run, text)["id"] for text in ("Maya paints.", "Maya paints tiles.")]
    merged = ok(run("thoughts", "merge", *ids, "--text", "Maya paints tiles for a living.", "--json"))
    assert merged["operation"]
    assert [t["id"] for t in ok(run("thoughts", "list", "--json"))["thoughts"]] == [merged["id"]]
    ok(run("thoughts", "undo", "--json"))
    assert {t["id"] for t in ok(run("thoughts", "list", "--json"))["thoughts"]} == set(ids)


def test_forget_gives_the_receipt_and_leaves_no_byte(run: Run, store: Path) -> None:
    thought = add(run, "Maya is allergic to zanzibarine.")
    receipt = ok(run("thoughts", "forget", thought["id"], "--yes", "--json"))
    assert {"forgotten", "restored", "erased", "copies", "at"} <= set(receipt)
    assert {"turns", "chunks", "thoughts", "adapters"} <= set(receipt["forgotten"])
    assert receipt["forgotten"]["thoughts"] == [thought["id"]]
    assert ok(run("thoughts", "list", "--all", "--json"))["thoughts"] == []
    assert all(b"zanzibarine" not in path.read_bytes() for path in store.parent.iterdir())


@pytest.mark.parametrize("as_json", [True, False])
def test_forget_refuses_without_consent(run: Run, as_json: bool) -> None:
    thought = add(run, "Maya likes tea.")
    result = run("thoughts", "forget", thought["id"], *(["--json"] if as_json else []))
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert ("Maya likes tea." in result.stdout) is not as_json
    assert len(ok(run("thoughts", "list", "--json"))["thoughts"]) == 1


def test_turns_and_sessions_are_forgotten(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--no-embed", "--json"))
    session = ok(run("sessions", "--json"))["sessions"][0]
    turns = ok(run("sessions", "show", session["session"], "--json"))["turns"]
    assert [turn["text"] for turn in turns] == [turn["content"] for turn in CHAT]
    receipt = ok(run("forget", turns[1]["id"], "--keep-echoes", "--yes", "--json"))
    assert receipt["forgotten"]["turns"] == [turns[1]["id"]]
    receipt = ok(run("forget", "--session", session["session"], "--yes", "--json"))
    assert len(receipt["forgotten"]["turns"]) == 3
    assert ok(run("stats", "--json"))["turns"] == 0


def test_a_session_is_called_what_the_user_says(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--no-embed", "--json"))
    session = ok(run("sessions", "--json"))["sessions"][0]["session"]
    assert "is called Tiles of Lisbon" in run("sessions", "rename", session, "Tiles of  Lisbon").stdout
    assert ok(run("sessions", "--json"))["sessions"][0]["title"] == "Tiles of Lisbon"
    assert run("sessions").stdout.endswith("\tTiles of Lisbon\n")
    assert ok(run("sessions", "rename", session, "", "--json"))["title"] is None
    assert run("sessions", "rename", "nosuch", "x").exit_code == 2


def test_around_a_turn_stands_its_chunk(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    item = ok(run("recall", "azulejo tiles", "-k", "1", "--json"))["items"][0]
    turns = ok(run("sessions", "show", "--around", item["id"][-8:], "--json"))["turns"]
    assert [turn["text"] for turn in turns] == [turn["content"] for turn in CHAT]


def test_erase_takes_one_namespace(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--no-embed", "--json"))
    ok(run("ingest", chat_file, "--no-embed", "--namespace", "you", "--json"))
    assert failed(run("erase", "--all", "--json"), 2)
    receipt = ok(run("erase", "--all", "--yes", "--json"))
    assert len(receipt["forgotten"]["turns"]) == 4
    assert ok(run("stats", "--json"))["turns"] == 0
    assert ok(run("stats", "--namespace", "you", "--json"))["turns"] == 4


def test_retention_takes_what_is_old(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    lines = [{"role": "user", "text": text, "occurred_at": at} for text, at in OLD_AND_NEW]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ok(run("ingest", path, "--no-embed", "--json"))
    receipt = ok(run("erase", "--older-than", "90d", "--yes", "--json"))
    assert len(receipt["forgotten"]["turns"]) == 1
    receipt = ok(run("erase", "--older-than", "90d", "--yes", "--json"))
    assert receipt["forgotten"].get("turns", []) == []


OLD_AND_NEW = [("An old remark.", "2001-02-03T04:05:06Z"), ("A remark to come.", "2999-02-03T04:05:06Z")]


def test_the_retention_setting_is_kept_by_commands_that_write(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.jsonl"
    lines = [{"role": "user", "text": text, "occurred_at": at} for text, at in OLD_AND_NEW]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ok(run("ingest", path, "--no-embed", "--json"))
    monkeypatch.setenv("AGENTMEM_RETENTION_DAYS", "30")
    add(run, "Maya likes tea.")
    assert ok(run("stats", "--json"))["turns"] == 1


def test_export_import_backup_restore(run: Run, chat_file: Path, tmp_path: Path, store: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    add(run, "Maya likes tea.")
    ok(run("export", tmp_path / "out.jsonl", "--json"))
    ok(run("backup", tmp_path / "copy.db", "--json"))
    assert "already" in failed(run("backup", tmp_path / "copy.db", "--json"), 2)
    ok(run("import", tmp_path / "out.jsonl", "--namespace", "other", "--json"))
    other = ok(run("stats", "--namespace", "other", "--json"))
    assert (other["turns"], other["thoughts"], other["waiting"]) == (4, 1, 0)
    ok(run("erase", "--all", "--yes", "--json"))
    assert failed(run("restore", tmp_path / "copy.db", "--json"), 2)
    former = ok(run("restore", tmp_path / "copy.db", "--yes", "--json"))["former"]
    assert ok(run("stats", "--json"))["turns"] == 4
    assert store.exists()
    copies = ok(run("erase", "--all", "--yes", "--json"))["copies"]
    assert any("copy.db" in copy for copy in copies)
    assert any(former in copy for copy in copies)


def test_a_receipt_names_copies_made_earlier(run: Run, tmp_path: Path) -> None:
    thought = add(run, "Maya likes tea.")
    ok(run("backup", tmp_path / "copy.db", "--json"))
    receipt = ok(run("thoughts", "forget", thought["id"], "--yes", "--json"))
    assert any("copy.db" in copy for copy in receipt["copies"])


def test_doctor_finds_a_healthy_store_healthy(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--json"))
    found = ok(run("doctor", "--json"))
    assert found["ok"]
    names = {finding["name"] for finding in found["findings"]}
    assert {"sqlite", "settings", "disk", "store", "queue", "embedder", "model"} <= names


def test_doctor_names_each_fault_with_its_remedy(run: Run, store: Path) -> None:
    store.parent.mkdir()
    store.write_text("no database at all, but long enough to be read as one " * 40)
    result = run("doctor", "--json", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    assert result.exit_code == 1
    faults = {f["name"]: f for f in json.loads(result.stdout)["findings"] if f["state"] == "fault"}
    assert {"store", "model"} <= set(faults)


def test_settings_show_tells_where_they_come_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_MODEL", "qwen")
    monkeypatch.setenv("AGENTMEM_API_KEY", "sesame")
    result = run("settings", "show", "--json")
    shown = ok(result)["settings"]
    assert shown["model"] == {"value": "qwen", "source": "environment"}
    assert shown["namespace"] == {"value": ["me"], "source": "argument"}
    assert "sesame" not in result.stdout


def test_a_password_in_a_stores_url_is_not_shown(run: Run) -> None:
    for url in ("postgresql://ada:sesame@127.0.0.1:1/d", "postgresql://127.0.0.1:1/d?user=ada&password=sesame"):
        shown = run("--store", url, "settings", "show", "--json")
        assert ok(shown)["settings"]["store"]["value"].count("***") == 1
        for result in (shown, run("--store", url, "restore", __file__, "--yes"), run("--store", url, "-v", "stats")):
            assert "sesame" not in result.output + result.stderr


def test_a_group_alone_lists(run: Run, chat_file: Path) -> None:
    ok(run("ingest", chat_file, "--no-embed", "--json"))
    add(run, "Maya likes tea.")
    assert len(ok(run("thoughts", "--json"))["thoughts"]) == 1
    assert len(ok(run("sessions", "--json"))["sessions"]) == 1
    assert "Maya likes tea." in run("thoughts").stdout
    assert "busy_timeout_seconds" in run("settings").stdout


def test_no_command_shows_the_help_as_it_is() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    assert "\nCommands:\n" in result.stderr
    assert result.stdout == ""


def test_plugins_are_listed(run: Run) -> None:
    found = ok(run("plugins", "--json"))["plugins"]
    assert found[0]["backends"]["sqlite"]["durable"] is True


def test_options_after_the_command_win(run: Run, tmp_path: Path) -> None:
    add(run, "Maya likes tea.", "--store", str(tmp_path / "b.db"), "--namespace", "a/b")
    stats = ok(run("stats", "--store", tmp_path / "b.db", "--namespace", "a/b", "--json"))
    assert (stats["thoughts"], stats["namespace"]) == (1, ["a", "b"])


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("stats", "--namespace", ""), 2, "namespace"),
        (("recall", ""), 2, "empty"),
        (("recall", "x", "-k", "0"), 2, "-k"),
        (("recall", "x", "--after", "2024-05-09", "--before", "2024-05-08"), 2, "exchange"),
        (("recall", "x", "--speaker", "Maya", "--origin", "user"), 2, "one of the two"),
        (("recall", "x", "--kind", "chunk"), 2, "chunk"),
        (("thoughts", "list", "--as-of", "soon"), 2, "2024-05-08"),
        (("erase", "--older-than", "long", "--yes"), 2, "90d"),
        (("erase", "--yes"), 2, "--all"),
        (("forget", "--yes"), 2, "--session"),
        (("sessions", "show"), 2, "session"),
        (("sessions", "show", "nosuch"), 2, "nosuch"),
        (("thoughts", "show", "0000000"), 2, "0000000"),
        (("thoughts", "add", "my key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"), 2, "secret"),
        (("nosuch",), 2, "nosuch"),
        (("stats", "--store", "nosuch://x"), 6, "nosuch"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run: Run, args: tuple[str, ...], code: int, word: str) -> None:
    add(run, "Maya likes tea.")
    assert word in failed(run(*args), code).lower() or word in failed(run(*args), code)


def test_a_foreign_database_is_left_alone(run: Run, store: Path) -> None:
    store.parent.mkdir()
    with sqlite3.connect(store) as connection:
        connection.execute("create table bread (flour text)")
    connection.close()
    before = store.read_bytes()
    assert str(store) in failed(run("stats", "--json"), 3)
    assert str(store) in failed(run("thoughts", "add", "x y z", "--json"), 3)
    assert store.read_bytes() == before


def test_an_unexpected_error_is_one_line_without_a_trace(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    add(run, "Maya likes tea.")

    def fail(*_args: object, **_options: object) -> None:
        raise KeyError("what was said")

    monkeypatch.setattr("agentmem.memory.Memory.stats", fail)
    line = failed(run("stats"), 70)
    assert "KeyError" in line
    assert "report" in line
    assert "what was said" not in line
    assert "Traceback" in run("stats", "--verbose").stderr


def test_verbose_never_shows_what_was_said(run: Run, chat_file: Path) -> None:
    said = "azulejo"
    for command in (("ingest", str(chat_file)), ("recall", "tiles", "--json"), ("thoughts", "add", f"{said} tiles")):
        result = run(*command, "--verbose")
        assert result.exit_code == 0, result.stderr
        assert said not in result.stderr
    thought = add(run, f"{said} tiles")
    assert said not in run("thoughts", "forget", thought["id"], "--yes", "--verbose").stderr


def test_remembered_escape_sequences_do_not_reach_the_terminal(run: Run) -> None:
    add(run, "red \x1b[31malert\x1b]0;title\x07")
    assert "\x1b" not in run("thoughts", "list").stdout
