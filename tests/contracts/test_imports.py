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

# From the bottom to the top; a module may import those of its own layer and of layers below it.
LAYERS = [
    {"errors", "types"},
    {"interfaces", "clock", "ids", "logs", "namespaces", "text", "digests", "display", "secrets", "offline"},
    {"config", "plugins", "backends", "indexes", "embed", "testing"},
    {
        "episodes",
        "cache",
        "fusion",
        "recall",
        "thoughts",
        "forget",
        "ledger",
        "embedqueue",
        "views",
        "bridge",
        "ingest",
    },
    {"memory", "transfer"},
    {"models", "agent", "evals", "doctor"},
    {"integrations", "plainchat"},
    {"commands", "cli", "__main__"},
]


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


def _layer(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "agentmem" or len(parts) < 2:
        return None
    return next((level for level, names in enumerate(LAYERS) if parts[1] in names), None)


def test_every_module_has_a_layer(repository: Path) -> None:
    lost = [name for name, _ in _modules(repository) if name != "agentmem" and _layer(name) is None]
    assert not lost, f"name their layer in {Path(__file__).name}: {lost}"


def test_imports_point_downward(repository: Path) -> None:
    upward = [
        f"{name} imports {imported}"
        for name, path in _modules(repository)
        if (own := _layer(name)) is not None
        for imported in _imports(ast.parse(path.read_text("utf-8")), inside=False)
        if (other := _layer(imported)) is not None and other > own
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
