"""LoCoMo (Maharana et al. 2024): a long talk between two people, in sessions.

Both speakers are people, so every turn has the role "user" and its speaker. A session is "<sample>/session_<n>"; all
its turns carry the session's time, which is all that the file tells, and their order. An image is a part of type
"image" with its caption. `dia_id` is the external id, and in the metadata.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from agentmem.ingest.reading import Node
from agentmem.ingest.times import Time, read_pattern
from agentmem.types import NewTurn, Part

_SESSION = re.compile(r"session_(\d+)")
_TIME = "%I:%M %p on %d %B, %Y"


def turns(top: Node) -> Iterator[NewTurn]:
    """Turns of one sample, or of a list of them."""
    for sample in top.items() if isinstance(top.value, list) else [top]:
        yield from _sample(sample)


def _sample(sample: Node) -> Iterator[NewTurn]:
    conversation = sample.need("conversation")
    numbers = sorted(int(m[1]) for key in conversation.object() if (m := _SESSION.fullmatch(key)))
    if not numbers:
        raise conversation.fail('an object with "session_1", "session_2", …')
    name, source = _identity(sample, conversation, numbers[0])
    for number in numbers:
        given = conversation.get(f"session_{number}_date_time")
        time = read_pattern(given, _TIME, "minute") if given else None
        session = conversation.get(f"session_{number}")
        for turn in session.items() if session else []:
            yield _turn(turn, time, f"{name}/session_{number}", source)


def _identity(sample: Node, conversation: Node, first: int) -> tuple[str, str]:
    """(name, source). Samples that share a name are told apart by who speaks and since when, not by what is said:
    what is said may have to be forgotten."""
    given = sample.get("sample_id")
    keys = ("speaker_a", "speaker_b", f"session_{first}_date_time")
    mark = hashlib.sha256(repr([conversation.object().get(key) for key in keys]).encode()).hexdigest()[:8]
    name = given.name() if given else f"locomo-{mark}"
    return name, f"locomo:{name}:{mark}"


def _turn(turn: Node, time: Time | None, session: str, source: str) -> NewTurn:
    dia_id = turn.need("dia_id").name()
    return NewTurn(
        role="user",
        parts=tuple(_parts(turn)),
        session=session,
        speaker=turn.need("speaker").string(),
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=time.precision if time else "second",
        source=source,
        external_id=dia_id,
        metadata={"dia_id": dia_id},
    )


def _parts(turn: Node) -> Iterator[Part]:
    text = turn.get("text")
    caption = turn.get("blip_caption")
    if text or not caption:
        yield {"type": "text", "text": (text or turn.need("text")).string()}
    if caption:
        image: dict[str, Any] = {"type": "image", "caption": caption.string()}
        shown = turn.object()
        image |= {key: shown[name] for key, name in (("url", "img_url"), ("query", "query")) if shown.get(name)}
        yield image
