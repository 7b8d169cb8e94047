"""The plain chat: lines in, answers out; for pipes, scripts and terminals of every kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TextIO

from agentmem.agent import Agent
from agentmem.display import clean, minute, one_line, short_id
from agentmem.errors import AgentmemError, InputError, NotFoundError
from agentmem.types import ForgetPlan, RecallItem, Turn

PROMPT = "> "
_HELP = """\
/why              what was recalled for the last answer, and why
/again            answer the last question anew; the answer before is kept, as superseded
/forget ID|TEXT   erase a memory, after showing what goes with it
/private          remember nothing from here on; again: remember
/sessions         earlier conversations
/new              begin another conversation
/quit             end (so do Ctrl-D, and Ctrl-C twice; once cancels an answer)
Everything else is said to the agent; begin with // to say something that begins with /."""
_CANDIDATES = 8
_ALL_WORDS = 0.99
_WIDTH = 100


def run_plain(agent: Agent, lines_in: TextIO, out: TextIO) -> int:
    """Chat until the lines end; return the exit code: of the last error where no person is there to see it, else 0.

    At a terminal there is a prompt. Ctrl-C cancels the answer, twice it ends the chat. When `out` is closed the chat
    ends, and an answer that was under way is kept as far as it came.
    """
    chat = _Chat(agent, lines_in, out)
    try:
        chat.run()
    except BrokenPipeError:
        _discard(out)
    return 0 if chat.at_terminal else chat.code


def _discard(out: TextIO) -> None:
    """Nobody reads any more: what is still buffered goes nowhere, instead of raising once more at exit."""
    try:
        descriptor = out.fileno()
    except OSError:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class _Chat:
    def __init__(self, agent: Agent, lines_in: TextIO, out: TextIO) -> None:
        self.agent = agent
        self.code = 0
        self.at_terminal = lines_in.isatty() and out.isatty()
        self._in = lines_in
        self._out = out
        self._interrupted = False
        self._commands: Mapping[str, Callable[[str], None]] = {
            "/help": lambda _: self._say(_HELP),
            "/why": self._why,
            "/again": self._again,
            "/forget": self._forget,
            "/private": self._private,
            "/sessions": self._sessions,
            "/new": self._new,
        }

    def run(self) -> None:
        if self.at_terminal:
            self._say("Say something, or /help.")
            self.agent.confirm = self._confirm
        for line in self._lines():
            if line == "/quit":
                return
            try:
                self._do(line)
                self._interrupted = False
            except KeyboardInterrupt:
                if self._twice("cancelled"):
                    return
            except AgentmemError as error:
                self.code = error.exit_code
                self._say(f"error: {' '.join(str(error).split())}")

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = self._read(PROMPT)
            except KeyboardInterrupt:
                if self._twice("Ctrl-C once more ends the chat"):
                    return
                continue
            if not line:
                if self.at_terminal:
                    self._say("")
                return
            if line.strip():
                yield line.strip()

    def _twice(self, said: str) -> bool:
        """Whether this interruption ends the chat: the second without a line in between does."""
        self._say(f"\n({said})" if not self._interrupted else "")
        again, self._interrupted = self._interrupted, True
        return again

    def _read(self, prompt: str) -> str:
        """The next line with its end; empty where there is none."""
        if self.at_terminal:
            self._out.write(prompt)
            self._out.flush()
        return self._in.readline()

    def _say(self, text: str) -> None:
        self._out.write(clean(text) + "\n")
        self._out.flush()

    def _do(self, line: str) -> None:
        if not line.startswith("/") or line.startswith("//"):
            self._answer(line[1:] if line.startswith("//") else line)
            return
        name, _, rest = line.partition(" ")
        command = self._commands.get(name)
        if command is None:
            raise InputError(f"no command {name}; /help lists them, and // begins a line that is no command")
        command(rest.strip())

    def _again(self, _rest: str) -> None:
        last = self.agent.last
        if last is None or last.user_turn is None:
            raise InputError("there is no question to answer anew: ask one that is remembered")
        self._answer(last.user_turn)

    def _answer(self, text: str | Turn) -> None:
        begun = False
        try:
            with closing(self.agent.stream(text)) as pieces:
                for piece in pieces:
                    begun = True
                    self._out.write(clean(piece))
                    self._out.flush()
        except AgentmemError:
            if begun:
                self._say("")
            raise
        self._say("")

    def _why(self, _rest: str) -> None:
        last = self.agent.last
        if last is None:
            self._say("nothing was asked yet")
            return
        if not last.recollection.items:
            self._say("nothing was recalled")
        for rank, item in enumerate(last.recollection.items, 1):
            self._say(f"{rank:2}. {_shown(item)}\n    {item.why}")
        if not last.recollection.dense:
            self._say("by words alone: the embedding model is not up")
        for note in last.recollection.notes:
            self._say(note)

    def _private(self, _rest: str) -> None:
        self.agent.private = not self.agent.private
        self._say("private: nothing is remembered" if self.agent.private else "what is said is remembered again")

    def _sessions(self, _rest: str) -> None:
        for info in self.agent.memory.sessions(namespace=self.agent.namespace):
            here = " (this one)" if info.session == self.agent.session else ""
            self._say(f"{minute(info.last_at)}  {info.turns:5} turns  {info.title or info.session}{here}")

    def _new(self, _rest: str) -> None:
        self.agent.begin_session()
        self._say("a new conversation")

    def _forget(self, rest: str) -> None:
        if not rest:
            raise InputError("say what to forget: /forget ID, or /forget and words that it holds")
        memory, namespace = self.agent.memory, self.agent.namespace
        target = self._find(rest)
        if target is None:
            self._say("nothing was changed")
            return
        plan = memory.plan_forget([target], namespace=namespace)
        self._say(_preview(plan))
        if not self._agreed("Erase these for good? [y/N] "):
            self._say("nothing was changed")
            return
        receipt = memory.forget(plan, namespace=namespace)
        counts = [f"{len(ids)} {kind}" for kind, ids in receipt.forgotten.items() if ids]
        self._say(f"forgotten: {', '.join(counts)}; erased: {receipt.erased}")
        for copy in receipt.copies:
            self._say(f"a copy made earlier is yours to remove: {copy}")

    def _confirm(self, plan: ForgetPlan) -> bool:
        """Whether the user agrees to what the model proposes to forget."""
        self._say(f"\n{_preview(plan)}")
        return self._agreed("Erase these for good? [y/N] ")

    def _find(self, rest: str) -> str | None:
        """The id that is meant, or one chosen among memories that hold all these words; None where none was chosen."""
        memory, namespace = self.agent.memory, self.agent.namespace
        try:
            return memory.resolve(rest, namespace=namespace)[1]
        except NotFoundError:
            found = memory.recall(rest, namespace=namespace, k=_CANDIDATES, wait=0).items
        holding = [i for i in found if i.measures.get("coverage", 0.0) > _ALL_WORDS]
        if not holding:
            raise NotFoundError(f"nothing that holds all the words of {one_line(rest, 40)!r}; /why shows ids")
        if len(holding) == 1:
            return holding[0].id
        return self._choose(holding)

    def _choose(self, items: Sequence[RecallItem]) -> str | None:
        for number, item in enumerate(items, 1):
            self._say(f"{number}. {_shown(item)}")
        chosen = self._ask(f"Which one? [1-{len(items)}, empty: none] ")
        if chosen.isascii() and chosen.isdigit() and 1 <= int(chosen) <= len(items):
            return items[int(chosen) - 1].id
        return None

    def _agreed(self, question: str) -> bool:
        return self._ask(question).lower() in ("y", "yes")

    def _ask(self, question: str) -> str:
        if not self.at_terminal:
            self._say(question.rstrip())
        return self._read(question).strip()


def _shown(item: RecallItem) -> str:
    who = item.source.get("speaker") or item.source.get("role") or "thought"
    return f"{short_id(item.id)}  {minute(item.time)}  {clean(str(who))}: {one_line(item.text, _WIDTH)}"


def _preview(plan: ForgetPlan) -> str:
    groups = {
        "goes": plan.turns + plan.thoughts,
        "goes, for it says the same": plan.repeats + plan.echoes,
        "comes back, the merge above it being dissolved": plan.restored,
    }
    lines = []
    for title, ids in groups.items():
        lines += [f"{title}: {one_line(plan.samples.get(i, i), _WIDTH)}" for i in ids]
    return "\n".join(lines)
