"""agentmem beside other memories and vector stores: same texts, same vectors, one run. `make bench-peers`.

"agentmem" adds as the others do: when an add returns, the item is found by its vector. "agentmem, behind" adds as an
agent does: the turn is safe and found by its words, and its vector follows. "agentmem, dense" searches by the vectors
alone, over the same index: what the others do, and what the rest of a recall is worth beside it.

Each store runs in processes of its own, in the environment where it is installed; one that is missing or fails is a
row that says why. Nothing leaves the machine, and no store is given an embedder: vectors are made beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.peers.corpus import locomo, synthetic
from benchmarks.peers.measure import ROOT, Bench, Peer, compare
from benchmarks.peers.table import notes, table

_ADAPTERS = "benchmarks.peers.adapters"
OURS = {
    "agentmem": f"{_ADAPTERS}.agentmem_store:AgentmemStore",
    "agentmem, behind": f"{_ADAPTERS}.agentmem_store:AgentmemBehindStore",
    "agentmem, dense": f"{_ADAPTERS}.agentmem_store:AgentmemDenseStore",
}
PEERS = {
    "mem0 + FAISS": f"{_ADAPTERS}.mem0_store:Mem0FaissStore",
    "mem0 + Qdrant": f"{_ADAPTERS}.mem0_store:Mem0QdrantStore",
    "Chroma": f"{_ADAPTERS}.chroma_store:ChromaStore",
    "LangGraph": f"{_ADAPTERS}.langgraph_store:LanggraphStore",
    "LanceDB": f"{_ADAPTERS}.lancedb_store:LancedbStore",
    "sqlite-vec": f"{_ADAPTERS}.sqlite_vec_store:SqliteVecStore",
}


def stores(python: Path) -> list[Peer]:
    """All, the others under `python`, whose children work in a folder of their own. Not resolved: a link to Python is
    what makes a virtual environment."""
    python = python.absolute()
    ours = [Peer(name, adapter) for name, adapter in OURS.items()]
    return ours + [Peer(name, adapter, python) for name, adapter in PEERS.items()]


def main() -> None:
    chosen = _arguments()
    peers = [peer for peer in stores(chosen.python) if not chosen.only or peer.name in chosen.only]
    with tempfile.TemporaryDirectory(dir=chosen.place, prefix=".bench-") as folder:
        place = Path(folder)
        made = locomo(place / "corpus", chosen.data) if chosen.data else synthetic(place / "corpus", chosen.items)
        load = os.getloadavg()[0]
        benches = [Bench(peer, made, place / f"store{n}", chosen.rounds) for n, peer in enumerate(peers)]
        rows = compare(benches, partial(print, file=sys.stderr, flush=True))
        size, queries = len(made.items), len(made.queries)
    about = {"items": size, "queries": queries, "load": [load, os.getloadavg()[0]], "cpus": os.cpu_count()}
    if chosen.json:
        print(json.dumps({**about, "rows": [asdict(row) for row in rows]}))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(
        table(rows, f"{size:,} items, {queries} queries, {os.cpu_count()} processors at a load of {load:.1f}")
    )
    for note in notes(rows, tuple(OURS)):
        console.print(f"- {note}", highlight=False, markup=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="LoCoMo's conversations (conv-*.json); else made up"
    )
    parser.add_argument("--items", type=int, default=6000, help="items to make up (default 6000)")
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=[*OURS, *PEERS], help="this store; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=8, help="processes to kill for each store (default 8)")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-peers/bin/python", help="has the peers installed")
    parser.add_argument("--place", type=Path, default=Path.cwd(), help="folder on the disk to measure (default: here)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
