"""A sealed run of documents as bytes: what of them never changes, so that opening need not derive it again.

Layout: magic, digest of all that follows, length of the head, head (JSON: origin, texts, and name, type and length of
each array), the arrays. The origin names all that the bytes depend on besides the records: this form, how text becomes
terms, the store and the namespace. Whatever is not exactly as expected is refused, and the run built from its records.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.errors import SnapshotError
from agentmem.indexes.runs import Packed
from agentmem.interfaces import Reader
from agentmem.text import INDEXING
from agentmem.types import Namespace

_MAGIC = b"agentmem text 1\n"
_DIGEST = 16
_LENGTH = 4
_PACKED = ("counts", "rows", "frequencies", "distinct", "forward")
FIELDS = ("kind", "role", "origin", "tokens", "seq", "recorded", "quotes", "session", "speaker")
"""The columns of a document that never change. Session and speaker are places in the lists of names, 1 upwards."""


@dataclass(frozen=True, slots=True)
class Run:
    """Documents by row: their ids, fields, number of terms, and postings."""

    ids: list[str]
    sessions: list[str]
    speakers: list[str]
    fields: dict[str, NDArray[Any]]
    lengths: NDArray[np.float32]
    terms: list[str]
    packed: Packed


def origin(reader: Reader, namespace: Namespace) -> list[Any]:
    """All that a snapshot depends on besides the records."""
    return [INDEXING, reader.digest("agentmem snapshot"), list(namespace)]


def encode(run: Run, origin: list[Any]) -> bytes:
    arrays = run.fields | {"lengths": run.lengths} | {name: getattr(run.packed, name) for name in _PACKED}
    texts = {"ids": run.ids, "sessions": run.sessions, "speakers": run.speakers, "terms": run.terms}
    shapes = [[name, array.dtype.newbyteorder("<").str, len(array)] for name, array in arrays.items()]
    head = json.dumps({"origin": origin, "texts": texts, "arrays": shapes}, ensure_ascii=False, separators=(",", ":"))
    # Not escaped, because two halves of a surrogate pair would be read back as one character.
    start = head.encode("utf-8", "surrogatepass")
    columns = [array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays.values()]
    body = b"".join([len(start).to_bytes(_LENGTH, "little"), start, *columns])
    return _MAGIC + _digest(body) + body


def decode(data: bytes, origin: list[Any]) -> Run:
    """What `encode` wrote. Raises SnapshotError for anything else, for damage, and for another origin."""
    start = len(_MAGIC) + _DIGEST
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or len(body) < _LENGTH:
        raise SnapshotError("this is no snapshot of documents, or of another form")
    if _digest(body) != data[len(_MAGIC) : start]:
        raise SnapshotError("it is damaged")
    at = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    head = json.loads(bytes(body[_LENGTH:at]).decode("utf-8", "surrogatepass"))
    if head["origin"] != origin:
        raise SnapshotError("it was made from other records or by another version")
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, length in head["arrays"]:
        arrays[name] = np.frombuffer(body, dtype, length, at)
        at += arrays[name].nbytes
    packed = Packed(**{name: arrays[name] for name in _PACKED})
    fields = {name: arrays[name] for name in FIELDS}
    return Run(fields=fields, lengths=arrays["lengths"], packed=packed, **head["texts"])


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
