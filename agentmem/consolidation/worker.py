"""The process that trains and judges: `python -m agentmem.consolidation.worker FOLDER`.

Apart from everything else, so that a server can be put to sleep meanwhile, memory is given back when it ends, and a
crash of it is no crash of a conversation. `FOLDER/job.json` says what to do; progress is told as lines of JSON on
stdout, an error as the last of them. It leaves `FOLDER/adapter` and `FOLDER/probes.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentmem.consolidation.curriculum import Curriculum, read, shuffled
from agentmem.consolidation.recipe import Recipe, recipe_of
from agentmem.errors import AgentmemError

JOB, CURRICULUM, PROBES, ADAPTER = "job.json", "curriculum.jsonl", "probes.json", "adapter"
_SHORTEST = 0.2
"""Seconds between two lines of progress."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to train on which base; `parent` is the folder of the adapter that serves, if any, `control` asks for the
    one that learns shuffled answers, `threads` is torch's number of them (0: its own choice), `nice` how much it gives
    way to other processes."""

    base: str
    base_digest: str
    recipe: Recipe
    parent: str | None = None
    control: bool = False
    threads: int = 0
    nice: int = 0

    def write(self, folder: Path) -> None:
        (folder / JOB).write_text(json.dumps(asdict(self)), "utf-8")


def read_job(folder: Path) -> Job:
    values = json.loads((folder / JOB).read_text("utf-8"))
    return Job(**{**values, "recipe": recipe_of(values["recipe"])})


def work(folder: Path) -> None:
    """Do what the folder's job says. What is there already is not done again."""
    import torch

    job, curriculum = read_job(folder), read(folder / CURRICULUM)
    os.nice(job.nice)
    if job.threads:
        torch.set_num_threads(job.threads)
    if not _done(folder):
        _train_and_probe(folder, job, curriculum)
    if job.control and not _done(folder / "control"):
        (folder / "control").mkdir(exist_ok=True)
        _train_and_probe(folder / "control", job, shuffled(curriculum), judged_by=curriculum)


def _done(folder: Path) -> bool:
    """Whether all is there: a cycle that was killed later may have moved the adapter away, to be made again (from the
    last checkpoint)."""
    return (folder / PROBES).exists() and (folder / ADAPTER).exists()


def _train_and_probe(folder: Path, job: Job, curriculum: Curriculum, judged_by: Curriculum | None = None) -> None:
    from agentmem.consolidation.adapters import WEIGHTS
    from agentmem.consolidation.encoding import load_encoder
    from agentmem.consolidation.probing import probe
    from agentmem.consolidation.training import save_adapter, summary, train

    encoder, parent = load_encoder(job.base), None if job.parent is None else Path(job.parent)
    model, training = train(
        curriculum,
        job.recipe,
        base=job.base,
        base_digest=job.base_digest,
        folder=folder,
        encoder=encoder,
        report=_Told(),
        parent=None if parent is None else parent / WEIGHTS,
        parent_name=None if parent is None else parent.name,
    )
    shutil.rmtree(folder / ADAPTER, ignore_errors=True)
    save_adapter(model, folder / ADAPTER, job.base)
    tell({"stage": "judge", "done": 0, "of": len(curriculum.items)})
    before = None
    if parent is not None:
        before = "before"
        model.load_adapter(str(parent), adapter_name=before, use_safetensors=True)
        model.set_adapter("default")
    found = {
        "run": summary(training),
        "probes": [asdict(p) for p in probe(model, encoder, judged_by or curriculum, before=before)],
    }
    draft = folder / f"{PROBES}.draft"
    draft.write_text(json.dumps(found), "utf-8")
    os.replace(draft, folder / PROBES)


class _Told:
    """Tells progress, not oftener than anybody can read it."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: Mapping[str, Any]) -> None:
        told_anyway = progress["done"] == progress["of"] or "right" in progress
        if not told_anyway and time.monotonic() - self._last < _SHORTEST:
            return
        self._last = time.monotonic()
        tell(progress)


def tell(line: Mapping[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _end_with_parent() -> None:
    """Whoever started this holds its input open. When that ends, by a kill too, nobody wants the result, and the next
    cycle works in the same folder."""
    while os.read(0, 1024):
        pass
    os._exit(1)


def main() -> None:
    from agentmem.offline import go_offline

    go_offline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(Path(sys.argv[1]))
    except AgentmemError as error:
        tell({"error": str(error)})
        sys.exit(1)
    except OSError as error:
        tell({"error": f"{error.filename or 'the disk'}: {error.strerror or error}"})
        sys.exit(1)


if __name__ == "__main__":
    main()
