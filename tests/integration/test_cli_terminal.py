"""The command line as a process: terminals, pipes, signals and encodings."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentmem.config import Settings
from agentmem.memory import Memory

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "m.db"
    with Memory(path, embedder=None, settings=Settings(store=str(path))) as memory:
        memory.insert("Zoë drinks 茶 at noon.", namespace=("me",))
    return path


@pytest.fixture
def start(store: Path) -> Start:
    def run(*args: str, env: dict[str, str] | None = None, **streams: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "agentmem", "--store", str(store), "--namespace", "me", *args]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen(command, env={**os.environ, **(env or {})}, **pipes)

    return run


def at_terminal(start: Start, *args: str, typed: str | None, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run at a pseudo-terminal, type once it asks (None: interrupt it), and return the exit code and what was shown."""
    ours, theirs = pty.openpty()
    process = start(*args, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, sent, due, ends = b"", False, 0.0, time.monotonic() + 60
    while time.monotonic() < ends:
        if typed is None and b"[y/N]" in shown and time.monotonic() > due:
            # Again after a while, as a person would: a signal just before the read begins does not end it.
            process.send_signal(signal.SIGINT)
            due = time.monotonic() + 3
        elif typed is not None and not sent and b"[y/N]" in shown:
            os.write(ours, typed.encode())
            sent = True
        if select.select([ours], [], [], 0.1)[0]:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    return process.wait(timeout=60), shown.decode()


def thoughts(start: Start) -> list[dict[str, Any]]:
    out, _ = start("thoughts", "list", "--json").communicate(timeout=60)
    found: list[dict[str, Any]] = json.loads(out)["thoughts"]
    return found


def test_forget_shows_asks_and_takes_no_for_an_answer(start: Start) -> None:
    before = thoughts(start)
    code, shown = at_terminal(start, "thoughts", "forget", before[0]["id"], typed="n\n")
    assert code == 1
    assert "茶 at noon" in shown
    assert "nothing was changed" in shown
    assert thoughts(start) == before


def test_forget_takes_yes_for_an_answer(start: Start) -> None:
    code, shown = at_terminal(start, "thoughts", "forget", thoughts(start)[0]["id"], typed="y\n")
    assert code == 0
    assert "erased: done" in shown
    assert thoughts(start) == []


def test_an_interrupt_at_the_question_changes_nothing(start: Start) -> None:
    before = thoughts(start)
    code, _ = at_terminal(start, "thoughts", "forget", before[0]["id"], typed=None)
    assert code == 130
    assert thoughts(start) == before


def test_a_terminal_gets_a_table_that_fits_and_no_colour_where_none_is_wanted(start: Start) -> None:
    env = {"NO_COLOR": "1", "COLUMNS": "60", "TERM": "xterm-256color"}
    _, shown = at_terminal(start, "thoughts", "list", typed="", env=env)
    assert "Zoë drinks 茶 at noon." in shown
    assert "\x1b[3" not in shown
    code, shown = at_terminal(start, "thoughts", "show", "nosuch00", typed="", env=env)
    assert code == 2
    assert "\x1b" not in shown


def test_ctrl_c_ends_with_130(start: Start) -> None:
    process = start("recall", "-")
    time.sleep(1.0)  # it waits for its standard input, which never comes
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode().strip().startswith("error: interrupted")


def test_a_reader_that_goes_away_is_no_error(start: Start, store: Path) -> None:
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        for n in range(100):
            memory.insert(f"Fact {n}. " + "word " * 1000, namespace=("me",))
    with start("thoughts", "list") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_terminal_without_unicode_loses_nothing(start: Start, env: dict[str, str]) -> None:
    out, said = start("thoughts", "list", "--json", env=env).communicate(timeout=60)
    assert said == b""
    assert json.loads(out)["thoughts"][0]["text"] == "Zoë drinks 茶 at noon."
    out, said = start("thoughts", "list", env=env).communicate(timeout=60)
    assert said == b""
    assert b"drinks" in out
