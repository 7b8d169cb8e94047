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
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.corpus import evidence, exact
from benchmarks.peers.protocol import Corpus

ROOT = Path(__file__).resolve().parents[2]
K = 10
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


@dataclass(frozen=True, slots=True)
class Bench:
    """One store on one corpus: `place` is a new folder for its files and their copies, `rounds` how many processes
    are killed, `starts` how many are timed until their first answer."""

    peer: Peer
    corpus: Corpus
    place: Path
    rounds: int = 8
    starts: int = 5

    def row(self) -> Row:
        row = Row(self.peer.name)
        self.place.mkdir()
        try:
            row.version = self.run("version", self.place)["version"]
            for part in (self._filled, self._started, self._worked, self._synced, self._killed):
                row.figures |= part()
        except ChildError as error:
            row.error = str(error)
        shutil.rmtree(self.place)
        return row

    @property
    def _base(self) -> Path:
        return self.place / "base" / "store"

    def _filled(self) -> dict[str, Any]:
        self._base.mkdir(parents=True)
        batch = self.run("fill", self._base)["batch"]
        used = sum(path.stat().st_blocks * 512 for path in self._base.rglob("*"))
        return {"batch": batch, "megabytes": used / 1e6}

    def _started(self) -> dict[str, Any]:
        """From the start of a process to its first answer, the files being in the system's cache."""
        folder, took = self._copied("first"), []
        for _ in range(self.starts):
            started = time.perf_counter()
            answer = self.run("first", folder)
            took.append(time.perf_counter() - started)
            if not answer["found"]:
                raise ChildError("found nothing after it was opened again")
        return {"first": statistics.median(took)}

    def _worked(self) -> dict[str, Any]:
        folder = self._copied("work")
        answer = self.run("work", folder)
        times = sorted(answer["searches"])
        return {
            "p50": 1000 * statistics.median(times),
            "p99": 1000 * times[int(0.99 * (len(times) - 1))],
            "adds": len(answer["adds"]) / sum(answer["adds"]),
            "deletes": len(answer["deletes"]) / sum(answer["deletes"]),
            "disk": 1000 * statistics.fmean(answer["disk"]),
            "exact": exact(self.corpus, answer["found"], K),
            "evidence": evidence(self.corpus, answer["found"]),
            "readable": self._readable(folder, set(answer["deleted"])),
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

    def _synced(self) -> dict[str, Any]:
        """Syncs per add, and the files that an add writes without syncing them; nothing without strace."""
        if shutil.which("strace") is None:
            return {"durable": None}
        folder, log = self._copied("traced"), self.place / "trace"
        trace = ["strace", "-f", "-qq", "-y", "-s0", f"-etrace={_CALLS}", "-o", str(log)]
        try:
            self.run("adds", folder, str(_TRACED), before=trace)
        except ChildError as error:
            if "ptrace" in str(error):
                return {"durable": None}
            raise
        return traced(log.read_text("utf-8", "replace").splitlines(), folder)

    def _killed(self) -> dict[str, Any]:
        """Processes killed while they add: acknowledged adds lost, by round; -1 where the store cannot be read."""
        chance = random.Random(7)
        lost = [self._kill(f"kill{n}", chance.uniform(0.05, 1.0)) for n in range(self.rounds)]
        shown = [lost_adds for lost_adds, _ in lost]
        return {"lost": shown, "acknowledged": [said for _, said in lost], "survived": shown.count(0)}

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
        folder = self.place / name / "store"
        shutil.copytree(self._base, folder)
        return folder

    def _child(self, step: str, folder: Path, *rest: str, before: Sequence[str] = ()) -> subprocess.Popen[str]:
        module = [str(self.peer.python), "-m", "benchmarks.peers.child", step, self.peer.adapter]
        return subprocess.Popen(
            [*before, *module, str(self.corpus.folder), str(folder), *rest],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
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
