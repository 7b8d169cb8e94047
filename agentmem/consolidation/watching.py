"""How far a cycle has come, for whoever looks on: a few hundred lines of JSON in its folder, written by its process.

The first line of each start names the process, so that a cycle that was stopped is told from one that is at work.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

JOURNAL = "journal.jsonl"
_POINTS = 200
"""Lines of a stage: a run of many hours is still read at once."""


class Journal:
    """Takes down a cycle's progress. Goes on where one that was stopped has left a journal."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / JOURNAL).open("a", encoding="ascii")
        self._last: tuple[str, int] | None = None
        self._write({"process": os.getpid()})

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def note(self, told: Mapping[str, Any]) -> None:
        """Take down {"stage", "done", "of", …}, unless it says hardly more than the line before."""
        place = str(told["stage"]), _POINTS * int(told["done"]) // max(1, int(told["of"]))
        if place != self._last or "right" in told:
            self._last = place
            self._write(told)

    def _write(self, told: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(told) + "\n")
        self._file.flush()


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `of` of a stage. `losses` and `right` are by training's step: the loss of a token of an answer, and the
    share of the examples looked at that are answered right. `running` is False where the cycle was stopped."""

    stage: str
    done: int
    of: int
    steps: int
    losses: tuple[tuple[int, float], ...]
    right: tuple[tuple[int, float], ...]
    running: bool


def progress_of(root: Path) -> Progress | None:
    """The newest cycle of a namespace's adapters that has not come to its end, None where there is none."""
    journals = sorted(root.glob(f"work-*/{JOURNAL}"), key=_written)
    return _read(journals[-1]) if journals else None


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> Progress | None:
    try:
        lines = [json.loads(line) for line in path.read_text("ascii").splitlines(keepends=True) if line.endswith("\n")]
    except (OSError, ValueError):
        return None  # the cycle has just ended, and its folder goes
    stages = [line for line in lines if "stage" in line] or [{"stage": "prepare", "done": 0, "of": 1}]
    steps = {int(line["done"]): line for line in stages if line["stage"] == "train"}
    return Progress(
        stage=str(stages[-1]["stage"]),
        done=int(stages[-1]["done"]),
        of=int(stages[-1]["of"]),
        steps=max((int(line["of"]) for line in steps.values()), default=0),
        losses=tuple((step, float(steps[step]["loss"])) for step in sorted(steps)),
        right=tuple((step, float(steps[step]["right"])) for step in sorted(steps) if "right" in steps[step]),
        running=_is_alive([line["process"] for line in lines if "process" in line]),
    )


def _is_alive(processes: list[int]) -> bool:
    if not processes:
        return False
    try:
        os.kill(processes[-1], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
