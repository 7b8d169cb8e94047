"""The page that builds a backend shows the one in the tree: all of it, in order."""

from __future__ import annotations

import re
from pathlib import Path


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def lines(text: str) -> list[str]:
    """Without their indentation: a part of a class stands at the margin on the page."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_the_page_shows_the_whole_example(repository: Path) -> None:
    example = repository / "examples/minimal_backend"
    page = (repository / "docs/tutorial/write-a-backend.md").read_text("utf-8")
    files = [(example / name).read_text("utf-8") for name in ("minimal_backend.py", "test_minimal_backend.py")]
    assert lines("".join(blocks(page, "python"))) == lines("".join(files))
    assert lines("".join(blocks(page, "toml"))) == lines((example / "pyproject.toml").read_text("utf-8"))


def test_the_example_is_small(repository: Path) -> None:
    module = (repository / "examples/minimal_backend/minimal_backend.py").read_text("utf-8")
    assert len(module.splitlines()) < 150
