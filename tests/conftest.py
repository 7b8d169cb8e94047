"""What every test gets: a home of its own, no model hub, and one thread per process for the linear algebra."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Set before torch or tokenizers are imported by anybody, and inherited by child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
# A shell starts what runs in its background with interrupts ignored, and child processes inherit that: some are
# interrupted by tests.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, so that no test reads or writes the memory or the settings of the person who runs it."""
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("AGENTMEM_", "XDG_"))]:
        if name != "AGENTMEM_TEST_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The published conversation sets, not part of the project: at `AGENTMEM_TEST_DATA`, else beside the checkout."""
    path = Path(os.environ.get("AGENTMEM_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (path / "locomo").is_dir():
        pytest.skip(f"no test data at {path}: set AGENTMEM_TEST_DATA")
    return path


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to preload into a child process: it notes writes, syncs and connections; compiled once a run."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler (cc), to watch system calls")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    source = ROOT / "tests" / "integration" / "shim.c"
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"the shim does not compile here: {made.stderr.splitlines()[-1:]}")
    return built
