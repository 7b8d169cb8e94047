"""What the integration tests share: child processes, a deterministic embedder, words found nowhere else, faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentmem.interfaces import EmbedderIdentity, Matrix, Reader
from agentmem.memory import Memory
from agentmem.types import Chunk, Kind, Namespace, NewTurn, Thought, Turn

ROOT = Path(__file__).resolve().parents[2]
NS: Namespace = ("ada",)
_SYLLABLES = [c + v for c in "bdfglmnprtvz" for v in "aiou"]


class HashEmbedder:
    """Unit vectors drawn from a text's checksum: equal texts are at 1, others nearly orthogonal. No model needed."""

    def __init__(self, name: str = "hash", dimension: int = 64) -> None:
        self.identity = EmbedderIdentity(name, dimension, f"{name}-{dimension}")

    def encode(self, texts: Sequence[str]) -> Matrix:
        drawn = [self._draw(text) for text in texts]
        return np.array(drawn, dtype=np.float32).reshape(len(texts), self.identity.dimension)

    def _draw(self, text: str) -> Matrix:
        seed = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        vector = np.random.default_rng(seed).standard_normal(self.identity.dimension).astype(np.float32)
        return vector / np.float32(np.linalg.norm(vector))


def word(number: int) -> str:
    """The number as a word of its own, which stemming leaves alone."""
    digits = ""
    number += len(_SYLLABLES) ** 2
    while number:
        number, digit = divmod(number, len(_SYLLABLES))
        digits = _SYLLABLES[digit] + digits
    return digits + "k"


def said(text: str, **how: Any) -> NewTurn:
    return NewTurn(role=how.pop("role", "user"), parts=({"type": "text", "text": text},), **how)


def environment(home: Path, **more: str) -> dict[str, str]:
    """A child's environment: an empty home, this tree's code, no setting of the caller's."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("AGENTMEM_", "XDG_", "LANGSMITH", "LANGCHAIN", "HF_"))
    }
    paths = [str(ROOT), str(ROOT / "tui")]
    fixed = {"HOME": str(home), "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return {**kept, **fixed, **more}


def cli(
    *args: str | Path, home: Path, stdin: str | bytes = b"", env: Mapping[str, str] | None = None, **how: Any
) -> Any:
    """Run `agentmem ARGS` as a person would; stdout and stderr are captured as text."""
    data = stdin.encode("utf-8", "surrogatepass") if isinstance(stdin, str) else stdin
    command = [sys.executable, "-m", "agentmem", *map(str, args)]
    done = subprocess.run(
        command, input=data, capture_output=True, env=environment(home, **(env or {})), cwd=home, timeout=120, **how
    )
    out, err = (stream.decode("utf-8", "replace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def start(
    module: str, *args: str | Path, home: Path, env: Mapping[str, str] | None = None, **how: Any
) -> subprocess.Popen[str]:
    """Start `python -m tests.integration.MODULE ARGS` with pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.integration.{module}", *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(home, **(env or {})),
        cwd=ROOT,
        text=True,
        **how,
    )


def say(**line: Any) -> None:
    """One line of JSON on stdout, out of the process when this returns."""
    os.write(1, json.dumps(line).encode() + b"\n")


def heard(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The whole lines of a child that may have been killed while it wrote one."""
    for line in lines:
        if line.endswith("\n"):
            yield json.loads(line)


def files_of(store: Path) -> list[Path]:
    """The database and whatever lies beside it."""
    return sorted(path for path in store.parent.rglob("*") if path.is_file())


def faults(memory: Memory, namespace: Namespace) -> list[str]:
    """What breaks DESIGN.md's invariants in a namespace, one line each."""
    with memory.backend.read() as reader:
        turns: list[Turn] = list(reader.select("turn", namespace=namespace))
        thoughts: list[Thought] = list(reader.select("thought", namespace=namespace))
        chunks: list[Chunk] = list(reader.select("chunk", namespace=namespace))
        embedded: dict[Kind, set[str]] = {
            "turn": {t.id for t in turns},
            "thought": {t.id for t in thoughts},
            "chunk": {c.id for c in chunks if c.summary is not None},
        }
        found = [
            *_chunk_faults(chunks, turns),
            *_edge_faults(reader, {t.id for t in turns}, thoughts, namespace),
            *_vector_faults(reader, embedded, namespace),
            *_operation_faults(reader, thoughts, namespace),
        ]
    return [*memory.backend.check(), *found]


def _chunk_faults(chunks: list[Chunk], turns: list[Turn]) -> Iterator[str]:
    by_session: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        by_session[chunk.session].append(chunk)
    holders: Counter[str] = Counter()
    for turn in turns:
        holding = [c for c in by_session[turn.session] if _holds(c, turn.seq)]
        holders.update(c.id for c in holding)
        if len(holding) != 1:
            yield f"turn {turn.session}/{turn.seq} is in {len(holding)} chunks"
    yield from (f"chunk {c.session}/{c.first_seq}-{c.last_seq} holds no turn" for c in chunks if not holders[c.id])
    for session, held in by_session.items():
        if sum(c.last_seq is None for c in held) > 1:
            yield f"session {session} has several open chunks"
    seqs = Counter((t.session, t.seq) for t in turns)
    yield from (f"place {place} is taken {n} times" for place, n in seqs.items() if n > 1)


def _holds(chunk: Chunk, seq: int) -> bool:
    return chunk.first_seq <= seq and (chunk.last_seq is None or seq <= chunk.last_seq)


def _edge_faults(reader: Reader, turns: set[str], thoughts: list[Thought], namespace: Namespace) -> Iterator[str]:
    by_id = {t.id: t for t in thoughts}
    known = turns | set(by_id)
    merged: dict[str, str] = {}
    for edge in reader.edges(namespace=namespace):
        if edge.child not in known:
            yield f"{edge.relation} edge from a {edge.child_kind} that is not there"
        elif edge.parent not in known and edge.relation != "source":
            yield f"{edge.relation} edge to a {edge.parent_kind} that is not there"
        if edge.relation == "merged":
            merged[edge.parent] = edge.child
    for thought in thoughts:
        yield from _thought_faults(thought, by_id, merged)


def _thought_faults(thought: Thought, by_id: Mapping[str, Thought], merged: Mapping[str, str]) -> Iterator[str]:
    above = merged.get(thought.id)
    if (thought.state == "merged") != (above is not None):
        yield f"thought {thought.text!r} is {thought.state}, merged into {above}"
    if thought.state == "merged" and thought.superseded_by != above:
        yield f"thought {thought.text!r} is merged into {above}, says {thought.superseded_by}"
    if thought.state == "live" and (thought.superseded_by or thought.retracted_at):
        yield f"thought {thought.text!r} is live, and superseded or retracted"
    if thought.superseded_by is not None and thought.superseded_by not in by_id:
        yield f"thought {thought.text!r} is superseded by one that is not there"


def _vector_faults(reader: Reader, ids: Mapping[Kind, set[str]], namespace: Namespace) -> Iterator[str]:
    waiting = {job.target for job in reader.select("job", namespace=namespace, where={"task": "embed"})}
    gone = waiting - set().union(*ids.values())
    if gone:
        yield f"{len(gone)} embed jobs for records that are not there"
    for kind, existing in ids.items():
        held = set(reader.vectors(kind, namespace=namespace)[0])
        if held - existing:
            yield f"{len(held - existing)} vectors of {kind}s that are not there"
        if existing - held - waiting:
            yield f"{len(existing - held - waiting)} {kind}s have neither a vector nor a job"


def _operation_faults(reader: Reader, thoughts: list[Thought], namespace: Namespace) -> Iterator[str]:
    """A standing operation must be one that can be undone, or was overtaken by a later one; its ids must exist."""
    ids = {t.id for t in thoughts}
    for operation in reader.select("operation", namespace=namespace, where={"undone_at": None}):
        named = {operation.before.get("thought"), operation.before.get("merged"), *operation.before.get("parents", ())}
        if named - {None} - ids:
            yield f"operation {operation.name} names a thought that is not there"
