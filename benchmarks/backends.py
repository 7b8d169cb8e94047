"""The backends beside each other: many processes on one store, and the same recall from each.

    python -m benchmarks.backends processes [--processes 16] [--seconds 60] [--held MS] [--place FOLDER]
    python -m benchmarks.backends recall --data FOLDER [--conversations 5]
    python -m benchmarks.backends move [--turns 50000] [--place FOLDER]

`processes`: each process has a namespace of its own and one that all share; in turns it adds a turn with a job to each,
reads its newest turns back, and now and then claims work and does it. Counted are write transactions; no error and no
line of another namespace may show. On PostgreSQL this is done twice: as writers of the whole store, one at a time, and
as writers of a namespace each. `--held` has each transaction last so many milliseconds more, as the way to a server
elsewhere and back does, a statement at a time.

`recall`: LoCoMo's first conversations, embedded once in SQLite and moved into the others; the share of labelled
evidence among the first ten items, and milliseconds a recall. `move`: turns, a fifth as many thoughts and their
vectors, from SQLite to PostgreSQL, broken off twice on the way, and back. PostgreSQL is a server that is started for
this; on `--place` its files lie (a disk, where syncing is to count), as does SQLite's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from agentmem import Memory
from agentmem.config import Settings
from agentmem.embed import load_embedder
from agentmem.evals.datasets import Case, find_dataset, read_cases
from agentmem.ingest import read_turns
from agentmem.interfaces import Backend
from agentmem.moving import move
from agentmem.plugins import open_store
from agentmem.testing.samples import NS, new_job, new_thought, new_turn
from agentmem.types import Edge, Job, Namespace, NewTurn
from agentmem_postgres import open_backend as open_postgres
from benchmarks.bench import random_vectors
from tests.postgres.server import Server

SHARED = ("team", "shared")


def opened(url: str) -> Backend:
    """The plug-in need not be installed."""
    open_url = open_postgres if url.startswith("postgresql:") else open_store_by_url
    return open_url(url, create=True, settings=Settings(), clock=None)


def open_store_by_url(url: str, *, create: bool, settings: Settings, clock: Any) -> Backend:
    return open_store(url, settings, create=create, clock=clock)


@contextmanager
def stores(place: str | None, *, memory: bool) -> Iterator[dict[str, str]]:
    """URLs of an empty store of each kind."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=place))
        server = Server(place)
        stack.callback(server.close)
        urls = {"sqlite": f"sqlite:///{folder}/store.db", "postgresql": server.url()}
        yield urls | ({"memory": "memory:"} if memory else {})


def work(url: str, me: str, seconds: float, held: float, *, whole: bool) -> None:
    """What one process does; prints how many write transactions it made, and how long the slowest took."""
    backend, own, took = opened(url), ("team", me), [0.0]
    end, seq = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for space in (own, SHARED):
            turn = new_turn(f"{me} says {seq}", id=f"{me}-{seq}", session=me, seq=seq, namespace=space)
            job = new_job(turn.id, id=f"{me}-{seq}", namespace=space)
            took.append(timed(partial(write, backend, None if whole else space, [turn, job], held)))
        with backend.read() as reader:
            newest = reader.select("turn", namespace=own, order="seq", descending=True, where={"session": me}, limit=5)
            assert all(me in turn.text for turn in newest), "a line of another namespace"
        if seq % 10 == 9 and (jobs := backend.claim("embed", limit=20, lease_seconds=60)):
            for scope, group in grouped(jobs, whole=whole).items():
                took.append(timed(partial(finish, backend, scope, group, held)))
        seq += 1
    backend.close()
    print(len(took) - 1, max(took))


def timed(step: Callable[[], None]) -> float:
    started = time.monotonic()
    step()
    return time.monotonic() - started


def write(backend: Backend, scope: Namespace | None, records: list[Any], held: float) -> None:
    with backend.write(scope) as writer:
        writer.add(records)
        time.sleep(held)


def grouped(jobs: list[Job], *, whole: bool) -> dict[Namespace | None, list[Job]]:
    """The jobs that one write transaction can end: all at once as the store's writer, else those of a namespace."""
    groups: dict[Namespace | None, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[None if whole else job.namespace].append(job)
    return groups


def finish(backend: Backend, scope: Namespace | None, jobs: list[Job], held: float) -> None:
    with backend.write(scope) as writer:
        for job in jobs:
            assert writer.remove("job", [job.id], namespace=job.namespace) == 1, "work was done twice"
        time.sleep(held)


def processes(count: int, seconds: float, held: float, place: str | None) -> None:
    print(f"| store | writers of | processes | write transactions a second | slowest, s |\n{'|---' * 5}|")
    with stores(place, memory=False) as urls:
        runs = [("sqlite", "the store"), ("postgresql", "the store"), ("postgresql", "a namespace")]
        for name, scope in runs:
            for workers in sorted({1, count}):
                rate, slowest = side_by_side(urls[name], scope, workers, seconds, held)
                print(f"| {name} | {scope} | {workers} | {rate:.0f} | {slowest:.2f} |", flush=True)


def side_by_side(url: str, scope: str, workers: int, seconds: float, held: float) -> tuple[float, float]:
    """Write transactions a second of all processes together, and the seconds of the slowest one."""
    opened(url).close()
    command = [sys.executable, "-m", "benchmarks.backends", "work", url]
    names = [f"{scope[0]}{workers}x{n}x" for n in range(workers)]
    options = [f"--seconds={seconds}", f"--held={held}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    children = [
        subprocess.Popen([*command, me, scope, *options], stdout=subprocess.PIPE, text=True, env=environment)
        for me in names
    ]
    answers = [child.communicate()[0].split() for child in children]
    if any(child.returncode for child in children):
        raise SystemExit(f"{url}: a process failed")
    return sum(int(done) for done, _ in answers) / seconds, max(float(wait) for _, wait in answers)


def recall(data: Path, conversations: int) -> None:
    cases = read_cases(find_dataset("locomo"), data)[:conversations]
    embedder = load_embedder("bundled")
    print(f"| store | turns | recall at 10 | ms, median | ms, 95 % |\n{'|---' * 5}|")
    with stores(None, memory=True) as urls:
        first = opened(urls["sqlite"])
        with Memory(first, embedder=embedder) as memory:
            for number, case in enumerate(cases):
                memory.observe_many(turns_of(case), namespace=("c", str(number)))
            memory.flush()
        for name, url in urls.items():
            backend = opened(url)
            if name != "sqlite":
                old = opened(urls["sqlite"])
                move(old, backend)
                old.close()
            with Memory(backend, embedder=embedder) as memory:
                memory.flush()
                asked(memory, cases[:1])  # caches are filled
                found, took = asked(memory, cases)
                cuts = statistics.quantiles(took, n=20)
                turns = sum(memory.stats(namespace=("c", str(n))).turns for n in range(len(cases)))
                row = f"{statistics.mean(found):.3f} | {1000 * cuts[9]:.1f} | {1000 * cuts[18]:.1f}"
                print(f"| {name} | {turns} | {row} |", flush=True)


def turns_of(case: Case) -> Iterator[NewTurn]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.json"
        file.write_text(json.dumps(case.content), encoding="utf-8")
        yield from read_turns(file, "locomo")


def move_there_and_back(turns: int, place: str | None) -> None:
    with stores(place, memory=False) as urls, tempfile.TemporaryDirectory(dir=place) as folder:
        old, there, back = (opened(url) for url in (urls["sqlite"], urls["postgresql"], f"{folder}/back.db"))
        vectors = random_vectors(500)
        for at in range(0, turns, 500):
            said = [new_turn(f"turn {n} of many", seq=n) for n in range(at, at + 500)]
            thoughts = [new_thought(f"thought {n}") for n in range(100)]
            with old.write() as writer:
                writer.add([*said, *thoughts])
                writer.set_vectors("turn", [turn.id for turn in said], vectors, namespace=NS)
                writer.set_vectors("thought", [thought.id for thought in thoughts], vectors[:100], namespace=NS)
                writer.link((Edge("thought", t.id, "turn", said[0].id, "source") for t in thoughts), namespace=NS)
        for share in (0.1, 0.25):
            with suppress(InterruptedError):
                move(old, there, partial(break_off, share))
        digests = []
        for source, target in ((old, there), (there, back)):
            started = time.monotonic()
            moved = move(source, target)
            digests.append(moved.digest)
            kinds = " → ".join(backend.url.partition(":")[0] for backend in (source, target))
            took = time.monotonic() - started
            print(f"{kinds}: {took:.1f} s, {moved.written} written of {moved.counts}", flush=True)
        print("equal digests" if len(set(digests)) == 1 else f"DIFFERENT: {digests}")


def break_off(share: float, done: int, total: int) -> None:
    if done > share * total:
        raise InterruptedError


def asked(memory: Memory, cases: list[Case]) -> tuple[list[float], list[float]]:
    """For each question, the share of its evidence that was found, and the seconds it took."""
    dataset, found, took = find_dataset("locomo"), [], []
    for number, case in enumerate(cases):
        for question in case.questions:
            started = time.monotonic()
            items = memory.recall(question.text, namespace=("c", str(number)), k=10).items
            took.append(time.monotonic() - started)
            keys = {dataset.key_of(item) for item in items}
            found.append(len(keys & question.evidence) / len(question.evidence))
    return found, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("processes", "recall", "move", "work"))
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--held", type=float, default=0, metavar="MS")
    parser.add_argument("--place")
    parser.add_argument("--turns", type=int, default=50_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--conversations", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.part == "work":
        url, me, scope = chosen.rest
        work(url, me, chosen.seconds, chosen.held / 1000, whole=scope == "the store")
    elif chosen.part == "processes":
        processes(chosen.processes, chosen.seconds, chosen.held, chosen.place)
    elif chosen.part == "move":
        move_there_and_back(chosen.turns, chosen.place)
    else:
        recall(chosen.data, chosen.conversations)


if __name__ == "__main__":
    main()
