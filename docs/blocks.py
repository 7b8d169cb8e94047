"""Runs the code blocks of a page as a reader would, and compares what they print with what the page says.

```console blocks are commands after `$ ` with their output, ```python blocks are scripts; a ```text block right after
one is its output. A page's blocks share one empty home and one working directory. A line `…` stands for any lines, and
within a line for anything. Ids differ from run to run: the page's are matched with the run's, and later commands that
name one get the run's. Other fences (```sh, ```toml, …) are not run.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/howto.md",
    "docs/howto/chat.md",
    "docs/recall.md",
    "docs/thinking.md",
    "docs/reference/settings.md",
)

_FENCE = re.compile(r"^```(?P<kind>console|python|text)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_ID = re.compile(r"\b(?:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8})\b")
_MEASURE = re.compile(r"\b\d+\.\d+\b|\b\d+(?= ms\b| s\b| bytes\b)")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_ANY = re.escape("…")


@dataclass
class Step:
    """One command or script of a page: `expected` is None where the page shows no output; `span` is where it stands."""

    command: str
    expected: str | None
    span: tuple[int, int]
    python: bool = False


@dataclass
class Session:
    """A home, a working directory, and the ids seen so far (the page's to the run's). `more` is what a page's commands
    find in the environment besides; programs in the folders of its `PATH`, modules in those of its `PYTHONPATH`."""

    folder: Path
    ids: dict[str, str] = field(default_factory=dict)
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shims = self.folder / "bin"
        for path in (shims, self.folder / "home", self.work):
            path.mkdir(parents=True)
        (self.work / "examples").symlink_to(ROOT / "examples")
        self._shim(shims / "agentmem", f"{shlex.quote(sys.executable)} -m agentmem")
        self._shim(shims / "python", shlex.quote(sys.executable))

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @staticmethod
    def _shim(path: Path, command: str) -> None:
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
        path.chmod(0o755)

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTMEM_", "XDG_"))}
        programs = (str(self.folder / "bin"), self.more.get("PATH"), os.environ["PATH"])
        modules = (str(ROOT), str(ROOT / "tui"), self.more.get("PYTHONPATH"))
        return {
            **kept,
            **self.more,
            "HOME": str(self.folder / "home"),
            "PATH": os.pathsep.join(filter(None, programs)),
            "PYTHONPATH": os.pathsep.join(filter(None, modules)),
            "COLUMNS": "100",
            "TERM": "xterm",
            "USER": "mara",
            "LOGNAME": "mara",
        }

    def run(self, step: Step) -> str:
        """What the step prints at a terminal. Raises AssertionError where it fails without the page saying so."""
        script = _ID.sub(lambda found: self.ids.get(found[0], found[0]), step.command)
        command = [sys.executable, "-c", script] if step.python else ["bash", "-c", script]
        code, printed = run_at_terminal(command, self.environment(), self.work)
        printed = printed.replace(str(self.folder / "home"), "~").replace(f"{self.work}/", "")
        if code and "error:" not in (step.expected or ""):
            raise AssertionError(f"exit code {code}: {step.command}\n{printed}")
        if step.expected is not None:
            self.ids.update(zip(_ID.findall(step.expected), _ID.findall(printed), strict=False))
        return printed

    def as_on_the_page(self, printed: str) -> str:
        """A run's output with the ids by which the page knows them, so that its commands still name them."""
        pages = {run: page for page, run in self.ids.items()}
        text = _ID.sub(lambda found: pages.get(found[0], found[0]), printed)
        return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())


def run_at_terminal(command: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """Exit code and stdout of a command that believes that its stdout is a terminal; its stderr where it fails."""
    outer, inner = pty.openpty()
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=inner, stderr=subprocess.PIPE
    ) as process:
        os.close(inner)
        printed = b"".join(_read_all(outer))
        complaint = process.stderr.read() if process.stderr else b""
    os.close(outer)
    text = _STYLE.sub("", printed.decode("utf-8", "replace").replace("\r\n", "\n"))
    return process.returncode, text + (complaint.decode("utf-8", "replace") if process.returncode else "")


def _read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux reports a closed terminal as an error
            return
        if not piece:
            return
        yield piece


def steps(page: str) -> Iterator[Step]:
    """The steps of a page in their order."""
    blocks = list(_FENCE.finditer(page))
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if block["kind"] == "console":
            yield from _commands(block)
        elif block["kind"] == "python":
            output = following if following and _is_output(page, block, following) else None
            span = output.span("body") if output else (block.end("body"), block.end("body"))
            yield Step(block["body"], output["body"] if output else None, span, python=True)


def _is_output(page: str, block: re.Match[str], following: re.Match[str]) -> bool:
    return following["kind"] == "text" and not page[block.end() : following.start()].strip()


def _commands(block: re.Match[str]) -> Iterator[Step]:
    start = block.start("body")
    for part in re.finditer(
        r"^\$ (?P<command>(?:.*\\\n)*.+)\n(?P<output>(?:(?!\$ ).*\n)*)", block["body"], re.MULTILINE
    ):
        first, last = part.span("output")
        yield Step(part["command"], part["output"], (start + first, start + last))


def same(expected: str, printed: str) -> bool:
    """Whether a page's output tells of a run's, but for ids, measures, space at line ends, and what `…` stands for."""
    pattern = re.escape("\n".join(_plain(expected)) + "\n").replace("\\\n", "\n")
    pattern = re.sub(f"(?m)^{_ANY}\n", lambda _: "(?:.*\n)*?", pattern).replace(_ANY, ".*")
    return re.fullmatch(pattern, "\n".join(_plain(printed)) + "\n") is not None


def _plain(text: str) -> list[str]:
    text = _MEASURE.sub("N", _ID.sub("ID", text))
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def refreshed(page: str, folder: Path) -> str:
    """The page with the outputs of a run in place of those that tell of it no more."""
    session, edits = Session(folder), []
    for step in steps(page):
        printed = session.run(step)
        if step.expected is not None and not same(step.expected, printed):
            edits.append((step.span, session.as_on_the_page(printed)))
    for (start, end), text in reversed(edits):
        page = page[:start] + text + page[end:]
    return page
