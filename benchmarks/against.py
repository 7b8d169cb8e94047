"""Two versions of the code, taking turns: `python benchmarks/against.py ../old-tree [--parts recall,scale,agent]`.

What a recall among 6,000 turns (of `bench.py`, and of `scale.py`) and an agent's turn cost in another checkout, and in
this one. Each runs in a process of its own, and one works while the other waits, so that a busy machine slows both: the
ratios are what to compare. Milliseconds by the clock and of the processor, the medians and the tenth percentiles.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[1]
Work = Callable[[int], object]


@contextmanager
def recall(folder: Path) -> Iterator[Work]:
    from agentmem.memory import Memory
    from agentmem.recall import RecallEngine
    from benchmarks.bench import NAMESPACE, filled, random_vectors, texts

    filled(folder / "recall.db", 6000)
    vectors, queries = random_vectors(100), [" ".join(text.split()[:8]) for text in texts(100, seed=11)]
    with Memory(folder / "recall.db", embedder=None) as memory:
        engine = RecallEngine(memory.backend)
        yield lambda n: engine.recall(queries[n % 100], vectors[n % 100], namespace=NAMESPACE, k=10)


@contextmanager
def scale(_folder: Path) -> Iterator[Work]:
    from agentmem.recall import RecallEngine
    from benchmarks.scale import NAMESPACE, Corpus

    corpus = Corpus(6000, thoughts=False)
    queries = [corpus.query(np.random.default_rng((17, n))) for n in range(100)]
    engine = RecallEngine(corpus)  # type: ignore[arg-type]
    yield lambda n: engine.recall(queries[n % 100].text, queries[n % 100].vector, namespace=NAMESPACE, k=10)


@contextmanager
def agent(folder: Path) -> Iterator[Work]:
    """With the model's words, which are there at once: about 0.4 ms of each turn."""
    from agentmem.agent import Agent
    from agentmem.config import Settings
    from agentmem.memory import Memory
    from agentmem.testing.fake_model import FakeChatModel
    from benchmarks.agent import ANSWERS, AtOnce, questions
    from benchmarks.bench import NAMESPACE, filled

    filled(folder / "agent.db", 6000)
    asked = questions(1000, seed=11)
    with Memory(folder / "agent.db", embedder=AtOnce(), settings=Settings()) as memory:
        talking = Agent(memory, FakeChatModel(ANSWERS, repeat=True), namespace=NAMESPACE, think=False)
        talking.wait = None
        yield lambda n: talking.ask(asked[n % 1000])


PARTS = {"recall": recall, "scale": scale, "agent": agent}


def serve(part: str) -> None:
    """Do the work once for each line that comes, and say what it took, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, PARTS[part](Path(folder)) as work:
        work(0)
        print("ready", flush=True)
        for n, _ in enumerate(sys.stdin):
            clock, worked = time.perf_counter(), time.thread_time()
            work(n)
            print(1000 * (time.perf_counter() - clock), 1000 * (time.thread_time() - worked), flush=True)


def compare(part: str, trees: list[Path], count: int) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(_started(part, tree)) for tree in trees]
        for child in children:
            assert _answer(child) == "ready"
        took = np.zeros((2, count, 2))
        for n in range(count):
            for which in (n % 2, 1 - n % 2):
                print("go", file=children[which].stdin, flush=True)
                took[which, n] = [float(value) for value in _answer(children[which]).split()]
        for child in children:
            child.communicate()
    for place, name in enumerate(("clock", "processor")):
        (old, old_best), (new, new_best) = (np.percentile(took[which, :, place], (50, 10)) for which in (0, 1))
        print(f"{part:8} {name:10} p50 {old:7.2f} {new:7.2f} ms, ratio {new / old:.2f}   "
              f"p10 {old_best:7.2f} {new_best:7.2f} ms, ratio {new_best / old_best:.2f}", flush=True)  # fmt: skip


def _started(part: str, tree: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--serve", part, str(tree)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tree, env=environment
    )


def _answer(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tree", type=Path, help="the other checkout (git worktree add ../old-tree COMMIT)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}, with commas")
    parser.add_argument("--count", type=int, default=300, help="how often each works  [default: 300]")
    parser.add_argument("--serve", choices=PARTS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve)
        return
    for part in chosen.parts.split(","):
        compare(part, [chosen.tree.resolve(), HERE], chosen.count)


if __name__ == "__main__":
    main()
