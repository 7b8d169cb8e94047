"""docs/howto/serve.md holds: its commands run against a real vLLM; the tiny model stands in for the page's."""

from __future__ import annotations

from pathlib import Path

from agentmem.serving import Server
from docs.blocks import Session, same, steps

ADDRESS, NAME = "http://127.0.0.1:8000/v1", "Qwen/Qwen3-0.6B"


def test_commands_print_what_the_page_says(served: Server, vllm_python: str, repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs/howto/serve.md").read_text("utf-8")
    here = page.replace(ADDRESS, served.url).replace(NAME, served.model)
    session = Session(tmp_path / "session")
    found = list(steps(here.replace("$AGENTMEM_VLLM_PYTHON", vllm_python)))
    assert len(found) == 3
    for step in found:
        printed = session.run(step)
        assert same(step.expected or "", printed), f"{step.command}\n{printed}"
