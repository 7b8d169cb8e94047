"""Chunks of the ledger: made anew, and summed up.

A summary is a chunk's third key (HCAM, Lampinen et al. 2021, section 3): what a model wrote of it, in a sentence or
two. It is optional, derived from the chunk's turns, and goes when one of them is forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from agentmem.errors import ConflictError, InputError, NotFoundError
from agentmem.interfaces import Writer
from agentmem.ledger import drop_jobs, embed_job, new_chunk
from agentmem.secrets import refuse_secret
from agentmem.types import Chunk, Namespace


def summarize(writer: Writer, chunk_id: str, text: str | None, *, namespace: Namespace, now: datetime) -> Chunk:
    """Give a closed chunk its summary, to be embedded, or take it away (None).

    Raises NotFoundError for an unknown chunk, ConflictError for one that is open, InputError for an empty text,
    SecretError for one that holds a secret.
    """
    found: list[Chunk] = writer.get("chunk", [chunk_id], namespace=namespace)
    if not found:
        raise NotFoundError(f"no chunk {chunk_id} in this namespace")
    if text is not None:
        _check(found[0], text)
    chunk = replace(found[0], summary=text and text.strip())
    if chunk == found[0]:
        return chunk
    writer.replace([chunk])
    drop_jobs(writer, [chunk_id], namespace=namespace)
    if chunk.summary is not None:
        writer.add([embed_job("chunk", chunk_id, namespace=namespace, now=now)])
    return chunk


def _check(chunk: Chunk, text: str) -> None:
    if chunk.last_seq is None:
        raise ConflictError(f"chunk {chunk.id} is still open: sum it up when its last turn is there")
    if not text.strip():
        raise InputError("an empty summary says nothing: give a sentence, or None to take the summary away")
    refuse_secret(text, "summaries")


def rebuild(writer: Writer, *, namespace: Namespace, now: datetime, size: int) -> int:
    """Make all chunks anew from the ledger, of `size` turns; return how many there are. The last of each session is
    left as it was, open or closed; a chunk that comes out the same stays, with its summary."""
    held = {_place(chunk): chunk.id for chunk in writer.select("chunk", namespace=namespace)}
    open_sessions = {session for session, _, last in held if last is None}
    made: list[Chunk] = []
    for info in writer.sessions(namespace=namespace):
        turns = writer.select("turn", namespace=namespace, where={"session": info.session}, order="seq")
        seqs = [turn.seq for turn in turns]
        made += _chunks_of(info.session, seqs, info.session in open_sessions, namespace, now, size)
    wanted = {_place(chunk) for chunk in made}
    stale = [chunk_id for place, chunk_id in held.items() if place not in wanted]
    drop_jobs(writer, stale, namespace=namespace)
    writer.remove("chunk", stale, namespace=namespace)
    writer.add(chunk for chunk in made if _place(chunk) not in held)
    return len(made)


def _place(chunk: Chunk) -> tuple[str, int, int | None]:
    return chunk.session, chunk.first_seq, chunk.last_seq


def _chunks_of(
    session: str, seqs: list[int], is_open: bool, namespace: Namespace, now: datetime, size: int
) -> list[Chunk]:
    starts = list(range(0, len(seqs), size))
    lasts: list[int | None] = [seqs[min(start + size, len(seqs)) - 1] for start in starts]
    if is_open and lasts:
        lasts[-1] = None
    return [
        new_chunk(session, seqs[start], last, namespace=namespace, now=now)
        for start, last in zip(starts, lasts, strict=True)
    ]
