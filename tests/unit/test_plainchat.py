"""The plain chat: lines in, answers out."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentmem.agent import Agent
from agentmem.memory import Memory
from agentmem.plainchat import run_plain
from agentmem.testing.fake_model import FakeChatModel, tool_call

NS = ("ada",)


class Terminal(io.StringIO):
    """A stream that says it is a terminal; an item that is an exception is raised where it is read."""

    def __init__(self, *lines: str | BaseException) -> None:
        super().__init__()
        self._lines = list(lines)

    def isatty(self) -> bool:
        return True

    def readline(self, _size: int = -1, /) -> str:  # type: ignore[override]  # typeshed's two bases disagree
        line = self._lines.pop(0) if self._lines else ""
        if isinstance(line, BaseException):
            raise line
        return line


def chat(memory: Memory, *lines: str, script: Any = None) -> tuple[int, str, Agent]:
    agent = Agent(memory, FakeChatModel(script) if script else None, namespace=NS)
    out = io.StringIO()
    code = run_plain(agent, io.StringIO("".join(f"{line}\n" for line in lines)), out)
    return code, out.getvalue(), agent


def at_terminal(memory: Memory, *lines: str | BaseException, script: Any = None) -> tuple[int, str]:
    out = Terminal()
    model = FakeChatModel(script) if script else None
    code = run_plain(Agent(memory, model, namespace=NS), Terminal(*lines), out)
    return code, out.getvalue()


def test_lines_in_answers_out(memory: Memory) -> None:
    code, said, _ = chat(memory, "Hello", "", "How are you?", script=["Hello Ada.", "Well."])
    assert (code, said) == (0, "Hello Ada.\nWell.\n")


def test_a_prompt_only_at_a_terminal(memory: Memory) -> None:
    code, said = at_terminal(memory, "Hello\n", script=["Hello Ada."])
    assert code == 0
    assert said == "Say something, or /help.\n> Hello Ada.\n> \n"


def test_it_remembers_across_restarts(memory: Memory) -> None:
    chat(memory, "My boat is called Pequod.")
    assert "“My boat is called Pequod.”" in chat(memory, "What is my boat called?")[1]


def test_why_shows_what_was_recalled(memory: Memory) -> None:
    _, said, agent = chat(memory, "/why", "My boat is called Pequod.", "What is my boat called?", "/why")
    assert said.startswith("nothing was asked yet\n")
    assert agent.last is not None
    shown = said.split("Pequod.”\n")[1]
    assert agent.last.recollection.items[0].id[-8:] in shown
    assert "My boat is called Pequod." in shown
    assert "words" in shown
    assert "by words alone" in shown


def test_forget_by_words_shows_asks_and_erases(memory: Memory) -> None:
    _, said, _ = chat(memory, "My boat is called Pequod.", "What is my boat called?", "/forget boat Pequod", "n")
    assert "goes: My boat is called Pequod." in said
    assert "says the same" in said
    assert "nothing was changed" in said
    _, said, _ = chat(memory, "/forget boat Pequod", "y", "What is the name of the boat?")
    assert "erased: done" in said
    assert "I don't remember" in said.splitlines()[-1]
    assert not any("Pequod" in turn.text for turn in memory.turns(namespace=NS))


def test_forget_by_id(memory: Memory) -> None:
    turn = memory.observe("user", "The code is 4711.", namespace=NS)
    _, said, _ = chat(memory, f"/forget {turn.id[-8:]}", "yes")
    assert "forgotten: 1 turns" in said
    assert memory.turns(namespace=NS) == []


def test_forget_asks_which(memory: Memory) -> None:
    memory.observe("user", "The red kite flew.", namespace=NS)
    memory.observe("user", "A red kite fell.", namespace=NS)
    for answer in ("", "7", "x"):
        assert "nothing was changed" in chat(memory, "/forget red kite", answer)[1]
    _, said, _ = chat(memory, "/forget red kite", "1", "y")
    assert "Which one?" in said
    assert len(memory.turns(namespace=NS)) == 1


@pytest.mark.parametrize("line", ["/forget", "/forget zeppelin", "/forget 01234567", "/nonsense"])
def test_a_command_that_cannot_be_done_is_one_line(memory: Memory, line: str) -> None:
    code, said, _ = chat(memory, line, "Hello.")
    assert said.splitlines()[0].startswith("error: ")
    assert said.splitlines()[1] == "Noted."
    assert code == 2


def test_private_remembers_nothing_until_turned_off(memory: Memory) -> None:
    _, said, _ = chat(memory, "/private", "I like tea.", "/private", "I like rum.")
    assert "private" in said
    assert [turn.text for turn in memory.turns(namespace=NS) if turn.role == "user"] == ["I like rum."]


def test_sessions_and_new(memory: Memory) -> None:
    _, said, agent = chat(memory, "I like tea.", "/new", "I like rum.", "/sessions", "/help", "/quit", "never read")
    assert f"{agent.session} (this one)" in said
    assert said.count(" 2 turns") == 2
    assert "/forget" in said
    assert not any("never read" in turn.text for turn in memory.turns(namespace=NS))


def test_two_slashes_say_one(memory: Memory) -> None:
    chat(memory, "//help is a word.")
    assert memory.turns(namespace=NS)[0].text == "/help is a word."


def test_an_error_of_the_model_does_not_end_the_chat(memory: Memory) -> None:
    code, said, _ = chat(memory, "one", "two", script=[["par", RuntimeError("boom")], "fine"])
    assert said == "par\nerror: the model fake failed: RuntimeError: boom\nfine\n"
    assert code == 5
    assert at_terminal(memory, "one\n", script=[RuntimeError("boom")])[0] == 0


def test_ctrl_c_cancels_the_answer_and_twice_ends(memory: Memory) -> None:
    script = [["one ", KeyboardInterrupt()], "two"]
    _, said = at_terminal(memory, "a\n", "b\n", KeyboardInterrupt(), KeyboardInterrupt(), "never\n", script=script)
    assert "(cancelled)" in said
    assert "two" in said
    assert [(t.role, t.status, t.text) for t in memory.turns(namespace=NS)] == [
        ("user", "complete", "a"),
        ("assistant", "cancelled", "one "),
        ("user", "complete", "b"),
        ("assistant", "complete", "two"),
    ]


def test_ctrl_c_right_after_a_cancelled_answer_ends(memory: Memory) -> None:
    at_terminal(memory, "a\n", KeyboardInterrupt(), "never\n", script=[["one ", KeyboardInterrupt()], "two"])
    assert len(memory.turns(namespace=NS)) == 2


def test_remembered_text_cannot_steer_the_terminal(memory: Memory) -> None:
    memory.observe("user", "The sea is \x1b[2J\x9b31mblue.", namespace=NS)
    said = chat(memory, "What colour is the sea?", "/why", "/forget sea blue", "n")[1]
    assert "blue" in said
    assert "\x1b" not in said
    assert "\x9b" not in said


def test_a_reader_that_goes_away_ends_the_chat_and_keeps_what_came(memory: Memory) -> None:
    class Closing(io.StringIO):
        def write(self, text: str, /) -> int:
            if "two" in text:
                raise BrokenPipeError
            return super().write(text)

    agent = Agent(memory, FakeChatModel(["one two three"]), namespace=NS)
    assert run_plain(agent, io.StringIO("count\nagain\n"), Closing()) == 0
    assert [(t.status, t.text) for t in memory.turns(namespace=NS)] == [
        ("complete", "count"),
        ("cancelled", "one two "),
    ]


def start(tmp_path: Path, **pipes: Any) -> subprocess.Popen[str]:
    env = {**os.environ, "HOME": str(tmp_path), "AGENTMEM_STORE": str(tmp_path / "m.db")}
    command = [sys.executable, "-m", "agentmem", "chat", "--plain"]
    return subprocess.Popen(command, env=env, stdin=subprocess.PIPE, text=True, stderr=subprocess.PIPE, **pipes)


def test_a_closed_pipe_leaves_no_trace_on_stderr(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = start(tmp_path, stdout=writing)
    os.close(writing)
    os.close(reading)
    _, said = process.communicate("I like tea.\nI like rum.\n", timeout=60)
    assert "Traceback" not in said
    assert "Exception" not in said


def test_ctrl_c_at_the_prompt_of_a_pipe_ends_quietly(tmp_path: Path) -> None:
    process = start(tmp_path, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("I like tea.\n")
    process.stdin.flush()
    assert process.stdout.readline() == "Noted.\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    assert "Traceback" not in said


@pytest.mark.parametrize(("said", "left"), [("y", 0), ("", 1)])
def test_at_a_terminal_the_user_is_asked_before_the_model_may_forget(memory: Memory, said: str, left: int) -> None:
    turn = memory.observe("user", "My boat is called Pequod.", namespace=NS)
    model = FakeChatModel([["Let me see. ", tool_call("forget_memory", ids=[turn.id])], "So be it."])
    out = Terminal()
    agent = Agent(memory, model, namespace=NS, memory_tools="auto")
    run_plain(agent, Terminal("Get rid of that ship.\n", f"{said}\n"), out)
    assert "Let me see. \ngoes: My boat is called Pequod.\nErase these for good? [y/N] " in out.getvalue()
    assert len([t for t in memory.turns(namespace=NS) if "Pequod" in t.text]) == left


def test_in_a_pipe_the_model_cannot_have_anything_erased(memory: Memory) -> None:
    turn = memory.observe("user", "My boat is called Pequod.", namespace=NS)
    model = FakeChatModel([tool_call("forget_memory", ids=[turn.id]), "Type it.", "Yes?"])
    agent = Agent(memory, model, namespace=NS, memory_tools="auto")
    run_plain(agent, io.StringIO("Get rid of that ship.\ny\n"), io.StringIO())
    assert memory.get_turn(turn.id, namespace=NS) == turn
    assert model.requests[2][-1].text == "y", "the next line is the next thing said"


def test_again_answers_the_last_question_anew_and_keeps_the_former_answer(memory: Memory) -> None:
    code, said, _ = chat(memory, "/again", "Which colour?", "/again", script=["Red.", "Blue."])
    assert "error: there is no question to answer anew" in said
    assert said.endswith("Red.\nBlue.\n")
    assert code != 0
    assert [(turn.text, turn.status) for turn in memory.turns(namespace=NS)] == [
        ("Which colour?", "complete"), ("Red.", "superseded"), ("Blue.", "complete"),
    ]  # fmt: skip
