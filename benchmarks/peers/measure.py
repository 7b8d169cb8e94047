"""Takes one store's figures: starts its processes, kills them, reads their answers, looks at the files they leave."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TextIO

from benchmarks.peers.child import LONGEST, SLICES, K
from benchmarks.peers.corpus import evidence, exact
from benchmarks.peers.protocol import Corpus

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT = 900.0
_TRACED = 12
_SYNCS = {"fsync", "fdatasync", "msync", "sync_file_range"}
_CALLS = ",".join([*sorted(_SYNCS), "write", "writev", "pwrite64", "pwritev", "pwritev2"])
_CALL = re.compile(r"(\w+)\(\d+<([^>]*)>")
_PLAIN = re.compile(r"[A-Za-z ,.]{20,}")


@dataclass(frozen=True, slots=True)
class Peer:
    """A store to measure: its adapter ("module:Class") and the Python that has it installed."""

    name: str
    adapter: str
    python: Path = Path(sys.executable)


@dataclass
class Row:
    """What was measured of a store, or why nothing was.

    Rates (`adds`, `batch`, `deletes`) are per second; `p50`, `p99` of a search and `disk`, a sync of the disk between
    adds and deletes, are in ms, `first` in s. `exact` and `evidence` are recall at 10. `lost` has an entry per kill.
    """

    name: str
    version: str = ""
    error: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


class ChildError(Exception):
    """A store's process failed; the message is its last line."""


class Worker:
    """A store's process that stays up and does what it is asked. Raises ChildError where it ends before it should."""

    def __init__(self, child: subprocess.Popen[str], complaint: Path) -> None:
        self._child = child
        self._complaint = complaint
        self._read()

    def ask(self, line: str) -> dict[str, Any]:
        assert self._child.stdin is not None
        # A child that is gone says so when it is read from.
        with suppress(BrokenPipeError):
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
        answer: dict[str, Any] = self._read()
        return answer

    def end(self) -> dict[str, Any]:
        assert self._child.stdin is not None
        self._child.stdin.close()
        with self._child:
            answer: dict[str, Any] = self._read()
        return answer

    def _read(self) -> Any:
        assert self._child.stdout is not None
        watch = threading.Timer(_TIMEOUT, self._child.kill)
        watch.start()
        line = self._child.stdout.readline()
        watch.cancel()
        if line:
            return json.loads(line)
        with self._child:
            code = self._child.wait()
        raise ChildError(_last_line(self._complaint.read_text("utf-8", "replace")) or f"ended with {code}")


@dataclass
class Bench:
    """One store on one corpus: `place` is a new folder for its files and their copies, `rounds` how many processes
    are killed. Its parts are tried in the order of `compare`; the first that fails ends them."""

    peer: Peer
    corpus: Corpus
    place: Path
    rounds: int = 8
    row: Row = field(init=False)
    _worker: Worker | None = None
    _starts: list[float] = field(default_factory=list)
    _times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.row = Row(self.peer.name)

    def attempt(self, part: Callable[[], None]) -> None:
        if self.row.error:
            return
        try:
            part()
        except ChildError as error:
            self.row.error = str(error)

    @property
    def _base(self) -> Path:
        return self.place / "base" / "store"

    def fill(self) -> None:
        self._base.mkdir(parents=True)
        self.row.version = self.run("version", self._base)["version"]
        self.row.figures["batch"] = self.run("fill", self._base)["batch"]
        used = sum(path.stat().st_blocks * 512 for path in self._base.rglob("*"))
        self.row.figures["megabytes"] = used / 1e6
        self._copied("work")

    def start(self) -> None:
        """From the start of a process to its first answer, the files being in the system's cache."""
        started = time.perf_counter()
        answer = self.run("first", self._of("work"))
        self._starts.append(time.perf_counter() - started)
        if not answer["found"]:
            raise ChildError("found nothing after it was opened again")

    def open(self) -> None:
        complaint = self.place / "complaint"
        with complaint.open("w") as said:
            self._worker = Worker(self._child("work", self._of("work"), stderr=said), complaint)

    def slice(self, kind: str, part: int) -> None:
        """A part of the searches, adds or deletes. Adds and deletes are left out where they have taken too long
        already; searches never, or recall would be judged on other questions than the other stores'."""
        assert self._worker is not None
        if kind == "search" or sum(self._times[kind]) < LONGEST:
            answer = self._worker.ask(f"{kind} {part}")
            self._times[kind] += answer["took"]
            self._times["disk"] += answer["disk"]

    def judge(self) -> None:
        assert self._worker is not None
        answer, times = self._worker.end(), self._times
        searches = sorted(times["search"])
        self.row.figures |= {
            "p50": 1000 * statistics.median(searches),
            "p99": 1000 * searches[int(0.99 * (len(searches) - 1))],
            "adds": len(times["add"]) / sum(times["add"]),
            "deletes": len(times["delete"]) / sum(times["delete"]),
            "disk": 1000 * statistics.fmean(times["disk"]),
            "first": statistics.median(self._starts),
            "exact": exact(self.corpus, answer["found"], K),
            "evidence": evidence(self.corpus, answer["found"]),
            "readable": self._readable(self._of("work"), set(answer["deleted"])),
            "wrong": answer["wrong"],
        }

    def _readable(self, folder: Path, deleted: set[str]) -> float | None:
        """The share of deleted texts that a search for their bytes still finds in the store's files.

        Compressed or encoded copies escape it: it is a lower bound.
        """
        stays = "\n".join(item.text for item in (*self.corpus.items, *self.corpus.extra) if item.key not in deleted)
        gone = {m[0] for item in self.corpus.items if item.key in deleted and (m := _PLAIN.search(item.text))}
        marks = [mark for mark in gone if mark not in stays]
        files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        return sum(mark.encode() in files for mark in marks) / len(marks) if marks else None

    def trace(self) -> None:
        """Syncs per add, and the files that an add writes without syncing them; nothing without strace."""
        self.row.figures["durable"] = None
        if shutil.which("strace") is None:
            return
        folder, log = self._copied("traced"), self.place / "trace"
        trace = ["strace", "-f", "-qq", "-y", "-s0", f"-etrace={_CALLS}", "-o", str(log)]
        try:
            self.run("adds", folder, str(_TRACED), before=trace)
        except ChildError as error:
            if "ptrace" in str(error):
                return
            raise
        self.row.figures |= traced(log.read_text("utf-8", "replace").splitlines(), folder)

    def kill(self) -> None:
        """Processes killed while they add: acknowledged adds lost, by round; -1 where the store cannot be read."""
        chance = random.Random(7)
        lost = [self._kill(f"kill{n}", chance.uniform(0.05, 1.0)) for n in range(self.rounds)]
        shown = [lost_adds for lost_adds, _ in lost]
        self.row.figures |= {"lost": shown, "acknowledged": [said for _, said in lost], "survived": shown.count(0)}

    def _kill(self, name: str, after: float) -> tuple[int, int]:
        folder = self._copied(name)
        with self._child("adds", folder, "") as child:
            assert child.stdout is not None
            if child.stdout.readline().strip() != '"ready"':
                raise ChildError(_last_line(child.communicate()[1]))
            time.sleep(after)
            child.kill()
            lines = child.communicate()[0].splitlines(keepends=True)
        said = [json.loads(line) for line in lines if line.endswith("\n") and line.strip() != '"done"']
        keys = self.place / "said.json"
        keys.write_text(json.dumps(said), "utf-8")
        try:
            found = self.run("survey", folder, str(keys))
        except ChildError:
            return -1, len(said)
        shutil.rmtree(folder.parent)
        return found["missing"] + found["unfound"] + found["gone"], len(said)

    def _copied(self, name: str) -> Path:
        """A copy of the filled store."""
        shutil.copytree(self._base, self._of(name))
        return self._of(name)

    def _of(self, name: str) -> Path:
        return self.place / name / "store"

    def _child(
        self, step: str, folder: Path, *rest: str, before: Sequence[str] = (), stderr: int | TextIO = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        module = [str(self.peer.python), "-m", "benchmarks.peers.child", step, self.peer.adapter]
        return subprocess.Popen(
            [*before, *module, str(self.corpus.folder), str(folder), *rest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=_environment(),
            cwd=self.place,
        )

    def run(self, step: str, folder: Path, *rest: str, before: Sequence[str] = ()) -> dict[str, Any]:
        """A step in a process of its own. Raises ChildError where it fails or takes too long."""
        try:
            with self._child(step, folder, *rest, before=before) as child:
                try:
                    out, err = child.communicate(timeout=_TIMEOUT)
                except subprocess.TimeoutExpired as error:
                    child.kill()
                    raise ChildError(f"{step} took longer than {_TIMEOUT:.0f} s") from error
        except OSError as error:
            raise ChildError(f"{self.peer.python}: {error.strerror}") from error
        if child.returncode:
            raise ChildError(_last_line(err) or f"{step} ended with {child.returncode}")
        answer = json.loads(out.splitlines()[-1])
        return answer if isinstance(answer, dict) else {}


def compare(benches: Sequence[Bench], say: Callable[[str], None], starts: int = 5) -> list[Row]:
    """One row for each store. Where time matters, the stores take turns; what is at work goes to `say`."""
    for bench in benches:
        say(f"filling {bench.peer.name}…")
        bench.attempt(bench.fill)
    say("searching, adding, deleting, in turns…")
    for _ in range(starts):
        for bench in benches:
            bench.attempt(bench.start)
    for bench in benches:
        bench.attempt(bench.open)
    for kind, part in product(("search", "add", "delete"), range(SLICES)):
        for bench in benches:
            bench.attempt(partial(bench.slice, kind, part))
    for bench in benches:
        say(f"killing {bench.peer.name}…")
        for step in (bench.judge, bench.trace, bench.kill):
            bench.attempt(step)
    return [bench.row for bench in benches]


def _environment() -> dict[str, str]:
    """The child's: this source tree, no telemetry, no model hub, and one thread for the linear algebra, as numpy's and
    FAISS's threads only wait for each other at this size."""
    quiet = {"ANONYMIZED_TELEMETRY": "False", "MEM0_TELEMETRY": "False", "HF_HUB_OFFLINE": "1"}
    return {
        **os.environ,
        **quiet,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tui")]),
    }


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def traced(lines: Sequence[str], folder: Path) -> dict[str, Any]:
    """What an add writes and syncs, from a trace: `durable` where every file that an add wrote to was synced by it."""
    syncs: Counter[str] = Counter()
    unsynced: Counter[str] = Counter()
    adds = 0
    for written, synced in _adds(lines, folder):
        adds += 1
        syncs.update(synced)
        unsynced.update(_shown(name) for name in set(written) - set(synced))
    durable = bool(syncs) and not unsynced
    return {"durable": durable, "syncs": sum(syncs.values()) / max(adds, 1), "unsynced": sorted(unsynced)}


def _shown(name: str) -> str:
    """A file's name, or the kind of it where the store makes up a new one each time."""
    return re.sub(r"[0-9a-f-]{12,}|\d{4,}|(?<=^.tmp)\w+", "…", name)


def _adds(lines: Sequence[str], folder: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Names of the files that each add wrote to, and synced: what happens between two syncs of the mark."""
    written: list[str] = []
    synced: list[str] = []
    begun = False
    mark = str(folder.with_name("marks"))
    for call in filter(None, map(_CALL.search, lines)):
        name, path = call.groups()
        if path == mark and name == "fsync":
            if begun:
                yield written, synced
            begun, written, synced = True, [], []
        elif path.startswith(f"{folder}{os.sep}"):
            (synced if name in _SYNCS else written).append(Path(path).name)
