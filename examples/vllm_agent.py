"""An agent on a vLLM, or on any OpenAI-compatible server: it remembers, looks into its memory itself, and uses a tool.

    agentmem serve MODEL       # or your own: vllm serve MODEL --enable-auto-tool-choice --tool-call-parser …
    python examples/vllm_agent.py [ADDRESS]

ADDRESS is such as http://gpu.local:8000/v1; without one, a server on localhost:8000 is found, and without that, answers
quote what is remembered. A server without a parser for tool calls is asked for JSON instead, by itself.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool

from agentmem import Agent, Memory, load_settings
from agentmem.agent import choose_model
from agentmem.types import ForgetPlan


@tool
def firing_time(degrees: int) -> str:
    """How many hours a kiln takes to a temperature in degrees Celsius."""
    return f"{degrees / 120:.1f} hours"


def agree(plan: ForgetPlan) -> bool:
    """The user's yes or no to what the model proposes to forget."""
    print(*plan.samples.values(), sep="\n")
    return input("Erase these for good? [y/N] ").strip().lower() == "y"


async def ask(agent: Agent, text: str) -> None:
    print(f"> {text}")
    async for piece in agent.astream(text):
        print(piece, end="", flush=True)
    print()
    assert agent.last is not None
    print(f"  ({len(agent.last.recollection.items)} things were recalled for it)")


def agent_on(memory: Memory, model: BaseChatModel | None) -> Agent:
    confirm = agree if sys.stdin.isatty() else None
    return Agent(memory, model, namespace=("mara",), tools=[firing_time], memory_tools=True, confirm=confirm)


async def main(address: str | None) -> None:
    chosen = choose_model(load_settings(base_url=address))
    print(chosen.notice or f"answers come from {chosen.label}")
    with tempfile.TemporaryDirectory() as folder:
        with Memory(Path(folder) / "memory.db") as memory:
            await ask(agent_on(memory, chosen.model), "My kiln in the cannery needs 1210 degrees.")
        with Memory(Path(folder) / "memory.db") as memory:  # as after a restart: another session, the same memory
            agent = agent_on(memory, chosen.model)
            await ask(agent, "Which degrees does my kiln need?")
            await ask(agent, "How long does it take to get that hot?")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
