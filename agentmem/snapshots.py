"""What caches derived from records, as bytes, so that opening need not derive it again: a sealed run of documents with
what of them never changes, and a graph over vectors.

Layout: magic, digest of all that follows, length of the head, head (JSON), and what the head describes. It names the
origin, all that the bytes depend on besides the records: how text becomes terms, or the embedder; the store and the
namespace. Whatever is not exactly as expected is refused, and derived anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentmem.errors import SnapshotError
from agentmem.indexes.runs import Packed
from agentmem.interfaces import Reader
from agentmem.text import INDEXING
from agentmem.types import Namespace

_MAGIC = b"agentmem snapshot 1\n"
_DIGEST = 16
_LENGTH = 4
_PACKED = ("counts", "rows", "frequencies", "distinct", "forward")
PLAIN = ("kind", "role", "origin", "told", "tokens", "seq", "recorded")
FIELDS = (*PLAIN, "quotes", "session", "speaker")
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
    """All that a snapshot of text depends on besides the records."""
    return [INDEXING, reader.digest("agentmem snapshot"), list(namespace)]


def graph_origin(reader: Reader, namespace: Namespace) -> list[Any]:
    """All that a snapshot of vectors depends on besides them."""
    return [reader.meta("embedder_digest"), reader.digest("agentmem snapshot"), list(namespace)]


def encode(run: Run, origin: list[Any]) -> bytes:
    arrays = run.fields | {"lengths": run.lengths} | {name: getattr(run.packed, name) for name in _PACKED}
    texts = {"ids": run.ids, "sessions": run.sessions, "speakers": run.speakers, "terms": run.terms}
    shapes = [[name, array.dtype.newbyteorder("<").str, len(array)] for name, array in arrays.items()]
    columns = (array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in arrays.values())
    return _signed({"origin": origin, "texts": texts, "arrays": shapes}, columns)


def decode(data: bytes, origin: list[Any]) -> Run:
    """What `encode` wrote. Raises SnapshotError for anything else, for damage, and for another origin."""
    head, body = _checked(data, origin)
    arrays: dict[str, NDArray[Any]] = {}
    at = 0
    for name, dtype, length in head["arrays"]:
        arrays[name] = np.frombuffer(body, dtype, length, at)
        at += arrays[name].nbytes
    packed = Packed(**{name: arrays[name] for name in _PACKED})
    fields = {name: arrays[name] for name in FIELDS}
    return Run(fields=fields, lengths=arrays["lengths"], packed=packed, **head["texts"])


def encode_graph(ids: Sequence[str], dump: bytes, origin: list[Any]) -> bytes:
    """A graph as its index dumps it, and the ids of its rows, "" for those that hold nothing."""
    return _signed({"origin": origin, "ids": ids}, [dump])


def decode_graph(data: bytes, origin: list[Any]) -> tuple[list[str], bytes]:
    """What `encode_graph` wrote. Raises SnapshotError like `decode`."""
    head, dump = _checked(data, origin)
    return head["ids"], bytes(dump)


def _signed(head: dict[str, Any], parts: Iterable[bytes]) -> bytes:
    # Not escaped, because two halves of a surrogate pair would be read back as one character.
    start = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    body = b"".join([len(start).to_bytes(_LENGTH, "little"), start, *parts])
    return _MAGIC + _digest(body) + body


def _checked(data: bytes, origin: list[Any]) -> tuple[dict[str, Any], memoryview]:
    """The head, and what follows it."""
    start = len(_MAGIC) + _DIGEST
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or len(body) < _LENGTH:
        raise SnapshotError("it is no snapshot, or one of another form")
    if _digest(body) != data[len(_MAGIC) : start]:
        raise SnapshotError("it is damaged")
    stop = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    head = json.loads(bytes(body[_LENGTH:stop]).decode("utf-8", "surrogatepass"))
    if head["origin"] != origin:
        raise SnapshotError("it was made from other records or by another version")
    return head, body[stop:]


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()
