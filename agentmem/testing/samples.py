"""Records for tests: valid, small, and different from each other."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmem.types import Adapter, Chunk, Job, Namespace, Operation, Suppression, Thought, Turn

NS: Namespace = ("test", "ada")
START = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
ODD_TEXTS = (
    "",
    "plain",
    "nul \0 inside",
    "lone \ud800 surrogate \udfff",
    "a pair in halves \ud83d\ude00",
    "emoji \U0001f600, combining e\u0301, right-to-left \u202e",
    "line\r\nbreaks\u2028 and \t tabs",
    '{"json": ["quoted \\" twice"]}',
    "long " * 200_000,
)
_numbers = itertools.count(1)


def new_turn(text: str = "We went to Lisbon in May.", **fields: Any) -> Turn:
    """A turn at its own place; `text` makes its one part."""
    n = next(_numbers)
    at = START + timedelta(seconds=n)
    defaults: dict[str, Any] = {
        "id": f"turn-{n}",
        "namespace": NS,
        "role": "user",
        "parts": ({"type": "text", "text": text},),
        "session": "first",
        "seq": n,
        "occurred_at": at,
        "recorded_at": at,
    }
    return Turn(**(defaults | fields))


def new_thought(text: str = "Ada went to Lisbon.", **fields: Any) -> Thought:
    n = next(_numbers)
    at = START + timedelta(seconds=n)
    times = {"recorded_at": at, "valid_from": at}
    defaults: dict[str, Any] = {"id": f"thought-{n}", "namespace": NS, "text": text, **times}
    return Thought(**(defaults | fields))


def new_chunk(**fields: Any) -> Chunk:
    n = next(_numbers)
    defaults: dict[str, Any] = {
        "id": f"chunk-{n}",
        "namespace": NS,
        "session": "first",
        "first_seq": n,
        "last_seq": None,
        "recorded_at": START,
    }
    return Chunk(**(defaults | fields))


def new_job(target: str = "turn-0", **fields: Any) -> Job:
    """A job that is due."""
    n = next(_numbers)
    defaults: dict[str, Any] = {
        "id": f"job-{n}",
        "namespace": NS,
        "task": "embed",
        "target_kind": "turn",
        "target": target,
        "recorded_at": START,
        "run_after": datetime(2000, 1, 1, tzinfo=UTC),
    }
    return Job(**(defaults | fields))


def new_operation(**fields: Any) -> Operation:
    n = next(_numbers)
    defaults: dict[str, Any] = {"id": f"op-{n}", "namespace": NS, "name": "merge", "before": {}, "recorded_at": START}
    return Operation(**(defaults | fields))


def new_suppression(digest: str = "0123456789abcdef", **fields: Any) -> Suppression:
    n = next(_numbers)
    defaults: dict[str, Any] = {"id": f"sup-{n}", "namespace": NS, "digest": digest, "recorded_at": START}
    return Suppression(**(defaults | fields))


def new_adapter(**fields: Any) -> Adapter:
    n = next(_numbers)
    defaults: dict[str, Any] = {"id": f"adapter-{n}", "namespace": NS, "name": f"mem-{n:016x}", "recorded_at": START}
    return Adapter(**(defaults | fields))
