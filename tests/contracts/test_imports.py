"""Imports point downward, and what is heavy is imported where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "sentence_transformers", "faiss", "textual", "langchain_core", "langchain_openai",
         "openai", "pydantic", "pydantic_settings", "sqlite_utils", "scipy", "sklearn"}  # fmt: skip

# What stands above the memory: nothing of the memory itself knows it.
ABOVE = {"prompt", "models", "fitting", "exchange", "tools", "agent", "evals", "doctor", "integrations", "plainchat",
         "commands", "cli", "__main__", "thinking", "serving", "testing", "consolidation"}  # fmt: skip
FLOOR: dict[str, set[str]] = {"types": set(), "errors": set(), "interfaces": {"types"}}


def _modules(root: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((root / "agentmem").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _imports(tree: ast.AST, *, inside: bool) -> Iterator[str]:
    """Imported module names; `inside`: those in functions too. What only type checkers read is passed over."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from _imports(node, inside=inside)


def _graph(root: Path) -> dict[str, set[str]]:
    """Which module imports which, at import time."""
    files = dict(_modules(root))
    imported = {n: set(_imports(ast.parse(p.read_text("utf-8")), inside=False)) for n, p in files.items()}
    return {name: (found & files.keys()) - {name, "agentmem"} for name, found in imported.items() if name != "agentmem"}


def test_imports_make_no_circle(repository: Path) -> None:
    graph = _graph(repository)
    while free := [name for name, needs in graph.items() if not needs & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph, "these import each other, or what does"


def test_the_floor_rests_on_nothing(repository: Path) -> None:
    graph = _graph(repository)
    assert {name: {i.removeprefix("agentmem.") for i in graph[f"agentmem.{name}"]} for name in FLOOR} == FLOOR


def test_the_memory_knows_nothing_of_what_stands_above_it(repository: Path) -> None:
    upward = [
        f"{name} imports {imported}"
        for name, imports in _graph(repository).items()
        if name.split(".")[1] not in ABOVE
        for imported in imports
        if imported.split(".")[1] in ABOVE
    ]
    assert not upward


def test_the_library_knows_no_plugin_and_no_interface_of_its_own(repository: Path) -> None:
    known = [
        f"{name} imports {imported}"
        for name, path in _modules(repository)
        for imported in _imports(ast.parse(path.read_text("utf-8")), inside=True)
        if imported.split(".")[0] in ("agentmem_tui", "tui", "plugins") or imported.startswith("agentmem_")
    ]
    assert not known


@pytest.mark.parametrize("module", ["agentmem", "agentmem.cli", "agentmem.memory"])
def test_nothing_heavy_is_imported_at_start(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(run.stdout.split())


def test_the_command_line_starts_without_numpy() -> None:
    code = "import sys, agentmem.cli; print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
