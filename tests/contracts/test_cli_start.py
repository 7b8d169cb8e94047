"""Start-up: what `--help` and `stats` may import, and how long they may take."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from agentmem.config import Settings
from agentmem.memory import Memory
from agentmem.types import NewTurn

HEAVY = (
    "torch",
    "faiss",
    "sentence_transformers",
    "transformers",
    "langchain_core",
    "textual",
    "sqlite_utils",
    "pydantic",
)
RUN = """
import sys
from agentmem.cli import cli
try:
    cli.main(sys.argv[2:], prog_name="agentmem")
except SystemExit as end:
    assert end.code == 0, end.code
found = [name for name in sys.argv[1].split(",") if name in sys.modules]
print("imported:", *found, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 6,000 turns."""
    path = tmp_path_factory.mktemp("large") / "m.db"
    turns = (
        NewTurn(role="user", parts=({"type": "text", "text": f"turn {n} about the garden"},), session=f"s{n // 200}")
        for n in range(6000)
    )
    with Memory(path, embedder=None, settings=Settings(store=str(path))) as memory:
        memory.observe_many(turns, namespace=("me",))
    return path


def run(*args: str, forbidden: tuple[str, ...]) -> str:
    command = [sys.executable, "-c", RUN, ",".join(forbidden), *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()[-1]


def best_seconds(*args: str) -> float:
    """Processor seconds, the best of three: what the program needs whatever else the machine does.

    `make bench` has the seconds by the clock, which mean something on a quiet machine only.
    """
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "agentmem", *args], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_imports_nothing_heavy() -> None:
    assert run("--help", forbidden=(*HEAVY, "numpy", "rich", "sqlite3")) == "imported:"


def test_stats_imports_nothing_heavy(large: Path) -> None:
    assert run("stats", "--store", str(large), "--namespace", "me", forbidden=HEAVY) == "imported:"


def test_help_answers_in_a_third_of_a_second() -> None:
    assert best_seconds("--help") < 0.3


def test_stats_answer_in_half_a_second(large: Path) -> None:
    assert best_seconds("stats", "--store", str(large), "--namespace", "me") < 0.5
