"""The whole thing in a real terminal: `agentmem chat` on an empty home, quit, start again, and it remembers."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from secrets import token_hex

import pytest

pytestmark = [
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
    pytest.mark.skipif(
        not entry_points(group="agentmem.ui", name="textual"), reason="agentmem is not installed here: pip install -e ."
    ),
]
_PATIENCE = 60.0


class Terminal:
    """A shell in a tmux of its own, 80 by 24, with a home of its own."""

    def __init__(self, home: Path) -> None:
        self._tmux = ["tmux", "-L", f"agentmem-{token_hex(4)}", "-f", "/dev/null"]
        given = {
            "HOME": str(home),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PS1": "$ ",
            "LANG": "C.UTF-8",
        }
        environment = [f"{name}={value}" for name, value in given.items()]
        shell = shlex.join(["env", *environment, "sh"])
        subprocess.run([*self._tmux, "new-session", "-d", "-x", "80", "-y", "24", shell], check=True)

    def type(self, *keys: str) -> None:
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def screen(self) -> str:
        done = subprocess.run([*self._tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True)
        return done.stdout

    def wait_for(self, text: str) -> str:
        until = time.monotonic() + _PATIENCE
        while text not in (screen := self.screen()):
            assert time.monotonic() < until, f"{text!r} did not come up:\n{screen}"
            time.sleep(0.1)
        return screen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False)


@pytest.fixture
def terminal(own_home: Path) -> Iterator[Terminal]:
    opened = Terminal(own_home)
    yield opened
    opened.close()


CHAT = shlex.join([sys.executable, "-m", "agentmem", "chat"])


def test_remembers_across_a_restart(terminal: Terminal) -> None:
    terminal.type(CHAT, "Enter")
    terminal.wait_for("Three things to try")
    terminal.type("My locker code is seven blue herons.", "Enter")
    terminal.wait_for("Noted.")
    terminal.type("C-q")
    terminal.wait_for("$ ")
    terminal.type("clear", "Enter")
    terminal.type(CHAT, "Enter")
    terminal.wait_for("remembered from before")
    terminal.type("What is my locker code?", "Enter")
    terminal.wait_for("“My locker code is seven blue herons.”")
    terminal.wait_for("1 recalled")
    terminal.type("C-c")
    terminal.wait_for("$ ")


def test_a_term_signal_leaves_terminal_and_store_sound(terminal: Terminal, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    script = f"echo $$ > {shlex.quote(str(noted))}; exec {CHAT}"
    terminal.type(f"{shlex.join(['sh', '-c', script])}; echo left with $?", "Enter")
    terminal.wait_for("Three things to try")
    os.kill(int(noted.read_text()), signal.SIGTERM)
    terminal.wait_for("left with 0")
    assert "Traceback" not in terminal.screen()
    terminal.type("echo still", "Space", "here")
    terminal.wait_for("$ echo still here")
    terminal.type("Enter")
    terminal.wait_for("\nstill here")
    terminal.type(
        "clear; " + shlex.join([sys.executable, "-m", "agentmem", "doctor"]) + "; echo doctor says $?", "Enter"
    )
    terminal.wait_for("doctor says 0")


def test_a_closed_terminal_leaves_no_process_behind(terminal: Terminal, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    terminal.type(shlex.join(["sh", "-c", f"echo $$ > {shlex.quote(str(noted))}; exec {CHAT}"]), "Enter")
    terminal.wait_for("Three things to try")
    left = int(noted.read_text())
    terminal.close()
    until = time.monotonic() + _PATIENCE
    while Path(f"/proc/{left}").exists():
        assert time.monotonic() < until, "the chat went on without its terminal"
        time.sleep(0.1)
