"""One store's share of the comparison, run in a process and an environment of its own:

    python -m benchmarks.peers.child STEP MODULE:CLASS CORPUS STORE [ARGUMENT]

Answers with JSON on stdout; what the stores themselves print goes to stderr. Leaving the machine is refused.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.protocol import Corpus, Store, Vector

K = 10
BATCH = 500
WARM = 5
MOST_ADDS = 300
MOST_DELETES = 200
SLICES = 10
"""Parts in which searches, adds and deletes are done, the stores taking turns: a machine or disk that is slow for a
while is so for all of them."""
LONGEST = 20.0
"""Seconds after which filling goes on by the fastest way; the rate is that of what was done."""
LOOKED_UP = 20
"""Of the adds that a killed process had acknowledged, how many of the last are looked for by their vectors."""


def _at_home(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that lets nothing connect to another machine."""
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        raise PermissionError(f"the comparison stays on this machine; refused {arguments[1][0]}")


def find(name: str) -> type[Store]:
    module, _, attribute = name.partition(":")
    found: type[Store] = getattr(importlib.import_module(module), attribute)
    return found


class Steps:
    """What a child may be told to do; each step returns what it answers."""

    def __init__(self, store: str, corpus: Path, folder: Path, say: Callable[[object], None]) -> None:
        self._store, self._folder, self._say = store, folder, say
        self._corpus = Corpus(corpus)

    def _open(self, vectors: Mapping[str, Vector] | None = None) -> Store:
        given = self._corpus.vectors if vectors is None else vectors
        return find(self._store)(self._folder, given, self._corpus.dimension)

    def version(self, _: str) -> object:
        return {"version": find(self._store).version()}

    def fill(self, _: str) -> object:
        """Add all items in batches: timed, and by the fastest way where batches would take too long."""
        items, store = self._corpus.items, self._open()
        done, started = 0, time.perf_counter()
        while done < len(items) and time.perf_counter() - started < LONGEST:
            # A slow store shows its rate on less.
            size = BATCH if done or len(items) <= BATCH else BATCH // 10
            store.add_batch(items[done : done + size])
            done += len(items[done : done + size])
        rate = done / (time.perf_counter() - started)
        for first in range(done, len(items), BATCH):
            store.fill(items[first : first + BATCH])
        store.close()
        return {"batch": rate, "items": len(items)}

    def first(self, _: str) -> object:
        (query,) = vectors = self._corpus.first_query
        return {"found": self._open(vectors).search(query, K)}

    def work(self, _: str) -> object:
        """Do a slice of searches, single adds or deletes for each line of stdin ("search 3": the fourth slice), saying
        how many seconds each took and what the disk took meanwhile; at the end of stdin, what came of it."""
        store, disk, items = self._open(), Disk(self._folder), self._corpus.items
        found: list[list[str]] = []
        queries = [query.text for query in self._corpus.queries]
        for query in queries[:WARM]:
            store.search(query, K)
        added = self._corpus.extra[:MOST_ADDS]
        keys = random.Random(7).sample([item.key for item in items], min(MOST_DELETES, len(items) // 2))
        work: dict[str, list[Callable[[], object]]] = {
            "search": [partial(_search, store, query, found) for query in queries],
            "add": [partial(store.add, item) for item in added],
            "delete": [partial(store.delete, key) for key in keys],
        }
        done = dict.fromkeys(work, 0)
        self._say("ready")
        for line in sys.stdin:
            kind, part = line.split()
            took = _timed(_slice(work[kind], int(part)), disk.sync if kind != "search" else _nothing)
            done[kind] += len(took)
            self._say({"took": took, "disk": disk.taken()})
        held = store.keys()
        store.close()
        deleted = keys[: done["delete"]]
        wrong = len(held ^ ({item.key for item in (*items, *added[: done["add"]])} - set(deleted)))
        return {"found": found, "deleted": deleted, "wrong": wrong}

    def adds(self, argument: str) -> object:
        """Add items one by one, saying each one's key once it is added; `argument` is how many, or nothing for all.

        The file `marks` beside the store is synced after each, which shows in a trace of the system calls.
        """
        store = self._open()
        mark = os.open(self._folder.with_name("marks"), os.O_CREAT | os.O_WRONLY)
        store.add(self._corpus.extra[0])
        os.fsync(mark)
        self._say("ready")
        for item in self._corpus.extra[1 : int(argument) + 1 if argument else None]:
            store.add(item)
            self._say(item.key)
            if argument:
                os.fsync(mark)
        store.close()
        return "done"

    def survey(self, argument: str) -> object:
        """Which of the keys in the file `argument`, and of the items, are not there; which cannot be found."""
        said: list[str] = json.loads(Path(argument).read_text("utf-8"))
        store = self._open()
        held = store.keys()
        texts = {item.key: item.document for item in self._corpus.extra}
        lost = [key for key in said[-LOOKED_UP:] if key in held and key not in store.search(texts[key], K)]
        missing = [key for key in said if key not in held]
        gone = [item.key for item in self._corpus.items if item.key not in held]
        store.close()
        return {"missing": len(missing), "unfound": len(lost), "gone": len(gone)}


class Disk:
    """The yardstick for what is durable: what the disk takes to sync a page, tried in turns with the work."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder.with_name("yardstick"), os.O_CREAT | os.O_WRONLY)
        self._took: list[float] = []

    def sync(self) -> None:
        os.write(self._file, bytes(4096))
        started = time.perf_counter()
        os.fdatasync(self._file)
        self._took.append(time.perf_counter() - started)

    def taken(self) -> list[float]:
        """Seconds of the syncs since this was asked last."""
        took, self._took = self._took, []
        return took


def _search(store: Store, query: str, found: list[list[str]]) -> None:
    found.append(store.search(query, K))


def _nothing() -> None:
    return


def _slice(work: list[Callable[[], object]], part: int) -> list[Callable[[], object]]:
    size = -(-len(work) // SLICES)
    return work[part * size : (part + 1) * size]


def _timed(works: Iterable[Callable[[], object]], between: Callable[[], object]) -> list[float]:
    """Seconds that each piece of work took."""
    took: list[float] = []
    for work in works:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
        between()
    return took


def main() -> None:
    step, store, corpus, folder, *rest = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.addaudithook(_at_home)

    def say(what: object) -> None:
        answers.write(json.dumps(what) + "\n")

    steps = Steps(store, Path(corpus), Path(folder), say)
    say(getattr(steps, step)(rest[0] if rest else ""))


if __name__ == "__main__":
    main()
