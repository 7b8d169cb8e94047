"""A plug-in that lies in the tree, as if installed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentmem import plugins


@contextmanager
def lay_down(plugin: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Into a folder on the path its entry points, as pip would lay them down; its code is on the path already."""
    project = tomllib.loads((plugin / "pyproject.toml").read_text("utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{name} = {target}\n" for name, target in project["entry-points"]["agentmem"].items())
    (info / "entry_points.txt").write_text(f"[agentmem]\n{points}")
    monkeypatch.syspath_prepend(folder)
    plugins._loaded.cache_clear()
    yield
    plugins._loaded.cache_clear()
