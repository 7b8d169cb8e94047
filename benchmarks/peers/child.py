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

from benchmarks.peers.protocol import Corpus, Item, Store, Vector

K = 10
BATCH = 500
WARM = 5
MOST_ADDS = 300
MOST_DELETES = 200
LONGEST = 20.0
"""Seconds after which a step that is slow is cut short; its rate is that of what was done."""
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
        """Searches, single adds and deletes, in a store that is filled."""
        store, queries = self._open(), [query.text for query in self._corpus.queries]
        for query in queries[:WARM]:
            store.search(query, K)
        found: list[list[str]] = []
        searches = _timed((partial(_search, store, query, found) for query in queries), 2 * LONGEST)
        disk = Disk(self._folder)
        adds = _timed((partial(store.add, item) for item in self._corpus.extra[:MOST_ADDS]), LONGEST, disk.sync)
        keys = random.Random(7).sample([item.key for item in self._corpus.items], _most_deletes(self._corpus.items))
        deletes = _timed((partial(store.delete, key) for key in keys), LONGEST, disk.sync)
        held = store.keys()
        store.close()
        return {
            "found": found,
            "searches": searches,
            "adds": adds,
            "deletes": deletes,
            "disk": disk.took,
            "deleted": keys[: len(deletes)],
            "wrong": _wrong(held, self._corpus.items, self._corpus.extra[: len(adds)], set(keys[: len(deletes)])),
        }

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


def _most_deletes(items: list[Item]) -> int:
    return min(MOST_DELETES, len(items) // 2)


class Disk:
    """The yardstick for what is durable: what the disk takes to sync a page, tried in turns with the work."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder.with_name("yardstick"), os.O_CREAT | os.O_WRONLY)
        self.took: list[float] = []

    def sync(self) -> None:
        os.write(self._file, bytes(4096))
        started = time.perf_counter()
        os.fdatasync(self._file)
        self.took.append(time.perf_counter() - started)


def _search(store: Store, query: str, found: list[list[str]]) -> None:
    found.append(store.search(query, K))


def _nothing() -> None:
    return


def _timed(
    works: Iterable[Callable[[], object]], longest: float, between: Callable[[], object] = _nothing
) -> list[float]:
    """Seconds that each piece of work took, until all are done or the time is over."""
    took: list[float] = []
    for work in works:
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
        between()
        if sum(took) > longest:
            break
    return took


def _wrong(held: set[str], items: list[Item], added: list[Item], deleted: set[str]) -> int:
    """How many keys are there that should not be, or the other way round."""
    return len(held ^ ({item.key for item in (*items, *added)} - deleted))


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
