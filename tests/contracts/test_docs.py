"""The documentation holds: every command and script on its pages runs and prints what the page says it prints."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from docs.blocks import PAGES, Session, same, steps
from docs.generate import cli_reference


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_and_print_what_the_page_says(page: str, repository: Path, tmp_path: Path) -> None:
    session = Session(tmp_path / "session")
    found = list(steps((repository / page).read_text("utf-8")))
    assert found
    for step in found:
        printed = session.run(step)
        if step.expected is not None:
            assert same(step.expected, printed), f"{step.command}\n{printed}\n(`make docs` writes it anew)"


def test_command_line_reference_is_up_to_date(repository: Path) -> None:
    written = (repository / "docs/reference/cli.md").read_text("utf-8")
    assert written == cli_reference(), "run `make docs`"


def test_settings_page_names_every_setting_and_its_default(repository: Path) -> None:
    from agentmem import Settings

    page = (repository / "docs/reference/settings.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert rows.keys() == {f.name for f in fields(Settings)}
    shown = {f.name: f"`{f.default}`" for f in fields(Settings) if isinstance(f.default, int | float | str)}
    assert {name: rows[name].strip() for name in shown} == shown


def test_links_between_pages_lead_somewhere(repository: Path) -> None:
    broken = []
    for page in [repository / "README.md", *sorted((repository / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken


@pytest.mark.parametrize(
    ("expected", "printed", "equal"),
    [
        ("one\n", "one  \r\n".replace("\r", ""), True),
        ("one\n", "two\n", False),
        ("one\n…\nfour\n", "one\ntwo\nthree\nfour\n", True),
        ("one\n…\n", "one\n", True),
        ("one\n…\nfour\n", "one\nfour\n", True),
        ("one\n…\nfour\n", "one\nfive\n", False),
        ("at … it was\n", "at noon it was\n", True),
        ("at … it was\n", "at\nnoon it was\n", False),
        (" 1. a (b)\n", " 1. a (b)\n", True),
        ("took 3 ms\n", "took 12.5 ms\n", True),
        ("remembered 0f3b9c21\n", "remembered 9a77b0de\n", True),
        ("", "", True),
        ("", "loud\n", False),
    ],
)
def test_outputs_are_compared_but_for_what_differs_from_run_to_run(expected: str, printed: str, equal: bool) -> None:
    assert same(expected, printed) is equal


def test_steps_are_read_in_order_with_their_outputs() -> None:
    page = "x\n```console\n$ a \\\n  b\nout\n$ c\n```\ny\n```python\nprint(1)\n```\n\n```text\n1\n```\n"
    found = [(step.command, step.expected, step.python) for step in steps(page)]
    assert found == [("a \\\n  b", "out\n", False), ("c", "", False), ("print(1)\n", "1\n", True)]
