"""The work that waits in a namespace, and what can be done about it: look at it, try it again at once, give it up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agentmem.errors import NotFoundError
from agentmem.interfaces import Reader, Writer
from agentmem.ledger import SUMMARIZE, THINK, change_jobs
from agentmem.types import Job, Namespace

TASKS = ("embed", THINK, SUMMARIZE)
"""What people may see to. Erasing is not among it: it is not to be given up."""


def listed(reader: Reader, *, namespace: Namespace, state: str | None = None) -> list[Job]:
    """Jobs in the order they were made, those of a state ("queued", "parked") or all."""
    where = {"task": TASKS} if state is None else {"task": TASKS, "state": state}
    return list(reader.select("job", namespace=namespace, where=where))


def retry(writer: Writer, ids: Sequence[str], *, namespace: Namespace, now: datetime) -> int:
    """Queue these anew, as if never tried, due now; return how many. Raises NotFoundError for one that is not there."""
    found = _found(writer, ids, namespace)
    change_jobs(writer, found, state="queued", attempts=0, reason=None, run_after=now, lease_until=None)
    return len(found)


def drop(writer: Writer, ids: Sequence[str], *, namespace: Namespace) -> int:
    """Give these up; return how many. What they were about stays: without its vector it is found by its words alone,
    and what was not thought about leaves no thought. `agentmem reindex` queues embedding anew."""
    return writer.remove("job", [job.id for job in _found(writer, ids, namespace)], namespace=namespace)


def _found(reader: Reader, ids: Sequence[str], namespace: Namespace) -> list[Job]:
    """The jobs of which these are the ids, or their ends."""
    every = listed(reader, namespace=namespace)
    found = [next((job for job in every if job.id == i or (len(i) >= 6 and job.id.endswith(i))), None) for i in ids]
    for wanted, job in zip(ids, found, strict=True):
        if job is None:
            raise NotFoundError(f"no job {wanted} waits in this namespace: `agentmem queue` lists them")
    return [job for job in found if job is not None]
