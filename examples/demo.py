"""The main job of agentmem, unattended: `make demo`.

Every line after `$` is a process of its own, so whatever one of them knows of another it has from the store.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

CONVERSATION = Path(__file__).parent / "data" / "mara.jsonl"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(AGENTMEM_STORE=f"{folder}/memory.db", AGENTMEM_NAMESPACE="mara")
        remember()
        change_a_fact()
        forget_one(Path(folder))


def remember() -> None:
    say("Five months of conversation, once. A second time adds nothing.")
    agentmem("ingest", os.path.relpath(CONVERSATION))
    agentmem("ingest", os.path.relpath(CONVERSATION))
    say("Ask. There is no language model here, so the answer quotes what was said.")
    agentmem("ask", "What is Elin allergic to?")
    say("Restarted (each command is a process of its own), it still knows, and says why.")
    agentmem("ask", "Which degrees does the kiln in the cannery need?")
    agentmem("recall", "-k", "2", "Where is the studio?")


def change_a_fact() -> None:
    say("A fact, and the fact that changes it: the old one stays in the history.")
    old = agentmem("thoughts", "add", "Mara takes 20 mg of iron a day", "--valid-from", "2026-03-03")[-9:-1]
    agentmem("thoughts", "add", "Mara takes 40 mg of iron a day", "--valid-from", "2026-03-29", "--supersedes", old)
    agentmem("thoughts", "list")
    agentmem("thoughts", "list", "--as-of", "2026-03-10")
    agentmem("ask", "How much iron do I take a day?")


def forget_one(folder: Path) -> None:
    say("A secret, asked about once more, so that the agent's own answer repeats it…")
    agentmem("ask", "Where did I apply for a residency?")
    found = json.loads(agentmem("recall", "residency in Kyoto at the Murasaki kilns", "--json", shown=False))
    secret = [item["id"][-8:] for item in found["items"] if "Kyoto" in item["text"]]
    places = occurrences(folder, b"Kyoto")
    say(f"…and then forgotten: {len(secret)} turns name Kyoto, which stands in {places} places of the store's files.")
    agentmem("forget", *secret, "--yes")
    say("Found no more: not by asking, and not by a search of every byte of the store's files.")
    agentmem("ask", "Where did I apply for a residency?")
    left = occurrences(folder, b"Kyoto") + occurrences(folder, b"Murasaki")
    print(f"places in the store's files that say Kyoto or Murasaki: {left}")
    if left:
        sys.exit("the demonstration failed: what was forgotten is still in the files")


def occurrences(folder: Path, needle: bytes) -> int:
    """How often bytes stand in the database, its log, and whatever else lies beside it."""
    return sum(path.read_bytes().count(needle) for path in folder.iterdir())


def say(text: str) -> None:
    print(f"\n# {text}", flush=True)


def agentmem(*arguments: str, shown: bool = True) -> str:
    """Run the command line in a process of its own; print the call and what it says; return that."""
    if shown:
        print(f"$ agentmem {shlex.join(arguments)}", flush=True)
    run = subprocess.run([sys.executable, "-m", "agentmem", *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"agentmem {arguments[0]} failed: {run.stderr.strip()}")
    if shown:
        print(run.stdout, end="", flush=True)
    return run.stdout


if __name__ == "__main__":
    main()
