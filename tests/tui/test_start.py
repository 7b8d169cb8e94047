"""Importing the package costs nothing: the command line looks at it before it knows whether it will be needed."""

from __future__ import annotations

import subprocess
import sys


def test_import_leaves_textual_alone() -> None:
    code = "import sys, agentmem_tui; print(sorted({'textual', 'torch', 'langchain_core', 'faiss'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "[]"


def test_the_app_needs_no_model_library_to_start() -> None:
    code = "import sys, agentmem_tui.app; print(sorted({'torch', 'langchain_core', 'faiss'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
